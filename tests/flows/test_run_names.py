"""Names of runs say what a run does; and Prefect's own lines of a task are few and short."""

import logging
from types import SimpleNamespace

import pytest

import flows.logs
from flows.run_names import (
    LONGEST,
    aggregate_name,
    backfill_name,
    build_name,
    cycle_name,
    fetch_name,
    named_by,
    overdue_name,
    watch_name,
)
from flows.settings import Product, cycle_or_current

ATL06 = {"product": Product.ATL06, "version": "007"}
CATALOG = f"catalogs/product=ATL06_007/region=greenland/cycle=22/{'a' * 64}.parquet"
EVENT = SimpleNamespace(product="ATL06_007", region="antarctica", cycle=22)
KEY = "shardmap-atl06-007-greenland-c22-atl06-greenland-polar"


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        (cycle_name, ATL06 | {"cycle": 22}, "ATL06_007 c22"),
        (cycle_name, ATL06, f"ATL06_007 c{cycle_or_current(None)}"),
        (cycle_name, ATL06 | {"cycle": 22, "regions": ["serc"]}, "ATL06_007 serc c22"),
        (
            cycle_name,
            ATL06 | {"cycle": 22, "grids": [*"abcde"]},
            "ATL06_007 c22 (a, b, c and 2 more)",
        ),
        (fetch_name, ATL06 | {"cycle": 22, "region": "serc"}, "fetch ATL06_007 serc c22"),
        (build_name, {"catalog": CATALOG}, "build ATL06_007 greenland c22"),
        (build_name, {"catalog": "catalogs/x"}, "build maps"),
        (backfill_name, {"cycles": "1-22", "dry_run": True}, "plan the backfill of c1-22"),
        (backfill_name, {"cycles": "all"}, "backfill all cycles"),
        (aggregate_name, {"event": EVENT}, "aggregate antarctica c22"),
        (aggregate_name, {"region": "greenland", "cycle": 22}, "aggregate greenland c22"),
        (aggregate_name, {"product": Product.ATL06}, "aggregate ATL06"),
        (aggregate_name, {"artifact": KEY}, f"aggregate {KEY}"),
        (aggregate_name, {}, "aggregate what is pending"),
        (watch_name, {"products": ["ATL06_007"]}, "watch ATL06_007"),
        (watch_name, {}, "watch all products"),
        (overdue_name, {"resource": "zagg-catalog.cycle.atl06-007-c22"}, "alert ATL06_007 c22"),
        (overdue_name, {"resource": "zagg-catalog.watch.x"}, "alert zagg-catalog.watch.x"),
    ],
)
def test_a_run_is_named_by_what_it_does(name, values, shown):
    assert name(values) == shown


def test_a_name_is_a_short_line(monkeypatch):
    values = {"artifact": "a\nb" * 200}
    monkeypatch.setattr("flows.run_names.flow_run", SimpleNamespace(parameters=values))
    found = named_by(aggregate_name)()
    assert "\n" not in found
    assert len(found) <= LONGEST + 1


def shown_of(text, level=logging.INFO):
    """What a line of Prefect's engine becomes; None if it is dropped."""
    record = logging.LogRecord("prefect.task_runs", level, "", 1, text, None, None)
    return record.getMessage() if flows.logs._shorten(record) else None


def test_a_task_that_completed_has_no_line_and_any_other_end_has():
    assert shown_of("Finished in state Completed()") is None
    for line in ("Finished in state Failed('no')", "Finished in state Crashed('killed')"):
        assert shown_of(line, logging.ERROR) == line
    failed = "Finished in state Failed('Task run encountered an exception KeyError: 7')"
    assert shown_of(failed, logging.ERROR) == "Failed: KeyError: 7"
    assert shown_of("Something of a task.") == "Something of a task."


@pytest.mark.parametrize(
    ("when", "shown"),
    [("12.3456 second(s) from now", "in 12.3 s"), ("immediately", "immediately")],
)
def test_a_retry_is_a_short_line_with_the_error(when, shown):
    failed = "Task run failed with exception: RequestFailed('GET x: 503.')"
    expected = f"Attempt 1 of 5 failed, the next one begins {shown}: GET x: 503."
    assert shown_of(f"{failed} - Retry 1/4 will start {when}") == expected
