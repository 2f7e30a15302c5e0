"""The state of a shard, from zagg's results and from the reads that were watched."""

from __future__ import annotations

import pytest

from zagg_catalog.aggregation.granule_reads import GranuleRead
from zagg_catalog.aggregation.shard_results import PlannedShard, ShardRecord, classify

A, B = "ATL06_a.h5", "ATL06_b.h5"
BEAMS = ("gt1l", "gt1r")
NO_DATA = "No data after filtering"
NONE = "TypeError: object of type 'NoneType' has no len()"
SHARD = PlannedShard(key=7, granules=2, files=(A, B))


def result(**more) -> dict:
    """zagg's result of a shard that went well."""
    return {
        "shard_key": 7,
        "cells_with_data": 3,
        "total_obs": 20,
        "granule_count": 2,
        "files_processed": 2,
        "error": None,
    } | more


def empty(**more) -> dict:
    return result(**({"cells_with_data": 0, "total_obs": 0, "error": NO_DATA} | more))


def read(*beams: str, absent: tuple[str, ...] = (), **more) -> GranuleRead:
    return GranuleRead(beams={*beams, *absent}, absent=set(absent), **more)


WHOLE = {A: read(*BEAMS, values=True), B: read(*BEAMS, values=True)}
LACKS = WHOLE | {B: read("gt1l", absent=("gt1r",), values=True)}
DAMAGED = WHOLE | {B: read("gt1l", reason="gt1r: it is damaged")}


def state_of(*results, reads=WHOLE, shard=SHARD, **record):
    known = ShardRecord(results=results, reads=reads, **record)
    return classify(shard, known, beams=BEAMS, benign=(NO_DATA, "No granules found"))


@pytest.mark.parametrize(
    ("state", "results", "reads"),
    [
        pytest.param("done", [result()], WHOLE, id="all read"),
        pytest.param("done", [result(read_errors=1)], LACKS, id="a beam is not there"),
        pytest.param("empty", [empty()], WHOLE, id="no value"),
        pytest.param(
            "empty",
            [empty(read_errors=1, error=f"{NO_DATA} (1 group reads raised; e.g. {NONE})")],
            LACKS,
            id="no value, and a beam is not there",
        ),
        pytest.param("current", [result(current=True)], {}, id="skipped"),
        pytest.param("refused", [result(refused=True, missing_granules=[A])], {}, id="lost"),
        pytest.param("unread", [result(read_errors=1)], DAMAGED, id="a beam is damaged"),
        pytest.param("unread", [result(read_errors=1)], WHOLE, id="zagg counts more than was seen"),
        pytest.param("unread", [result(granule_errors=1)], WHOLE, id="read, and not used"),
        pytest.param("unread", [result()], {A: WHOLE[A]}, id="not opened"),
        pytest.param("unread", [result()], {**WHOLE, B: read("gt1l")}, id="a beam not asked for"),
        pytest.param("unread", [empty()], {}, id="no read was seen at all"),
        pytest.param("failed", [result(error="store refused")], WHOLE, id="not written"),
        pytest.param("failed", [], {}, id="no result"),
    ],
)
def test_the_state_of_a_shard(state, results, reads):
    assert state_of(*results, reads=reads).state == state


def test_a_shard_that_raised_has_its_error_and_names_no_granule():
    found = state_of(error="OSError: disk full", reads={})
    assert (found.state, found.reason, found.unread) == ("failed", "OSError: disk full", ())


def test_the_counts_are_zagg_s_and_a_granule_without_a_value_counts_as_not_used():
    found = state_of(result(), reads=WHOLE | {B: read(*BEAMS)})
    assert (found.key, found.observations, found.cells) == (7, 20, 3)
    assert (found.granules, found.read) == (2, 1)


def test_the_reason_is_that_of_the_first_granule_of_the_manifest():
    why = {A: "HTTP error 404", B: "HTTP error 403"}
    found = state_of(empty(), reads={}, not_opened=why)
    assert (found.unread, found.reason) == ((A, B), f"{A}: HTTP error 404")


def test_a_granule_without_an_address_for_the_driver_is_left_out_as_the_pick_up_allowed():
    shard = PlannedShard(key=7, granules=2, files=(A,))
    assert state_of(result(), reads={A: WHOLE[A]}, shard=shard).state == "done"


def test_windows_of_time_are_put_together():
    """zagg needs only the granules of a window, so one that it did not open may be right."""
    parts = [result(window="2023"), empty(window="2024")]
    found = state_of(*parts, reads={A: WHOLE[A]})
    assert (found.state, found.observations) == ("done", 20)
    lost = state_of(*parts, reads={A: WHOLE[A]}, not_opened={B: "HTTP error 404"})
    assert (lost.state, lost.unread) == ("unread", (B,))
    assert state_of(parts[0], result(window="2024", refused=True), reads=WHOLE).state == "refused"


def test_windows_that_zagg_reads_at_once_are_put_together():
    parts = [result(window="2023"), result(window="2024", refused=True, missing_granules=[A])]
    assert state_of(result(windows=parts)).state == "refused"
    assert state_of(result(windows=parts[:1]), reads={A: WHOLE[A]}).state == "done"


@pytest.mark.parametrize(
    ("state", "body"),
    [
        ("done", result()),
        ("empty", empty()),
        ("unread", result(granule_errors=1)),
        ("unread", result(read_errors=1, read_error_exemplars=[NONE])),
        ("current", result(current=True)),
    ],
)
def test_results_of_other_machines_are_judged_by_their_counts(state, body):
    """The backend lambda, whose reads are not watched."""
    found = {"shard_key": 7, "status_code": 200, "body": body, "error": body["error"]}
    assert state_of(found, reads=None).state == state


@pytest.mark.parametrize(("state", "absent"), [("unread", 1), ("done", 2), ("done", 3)])
def test_beams_known_to_be_absent_explain_as_many_lost_reads_of_other_machines(state, absent):
    found = {"shard_key": 7, "body": result(read_errors=2)}
    assert state_of(found, reads=None, absent=absent).state == state


def test_a_machine_that_died_has_its_error():
    found = state_of({"shard_key": 7, "error": "Task timed out"}, reads=None)
    assert (found.state, found.reason) == ("failed", "Task timed out")


def test_a_reason_has_a_bounded_length():
    assert len(state_of(error="x" * 10_000).reason) == 500
