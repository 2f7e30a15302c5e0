"""The table of a run, and log lines that name product, region and cycle."""

import json
import logging

import pytest
from prefect import flow, get_run_logger, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.formatters import JsonFormatter

from flows.logs import log_about
from flows.run_table import Row
from flows.runtime import task_runner
from tests.flows.aggregator import GREENLAND, RELEASE_KEY
from tests.flows.conftest import artifact_of
from tests.harness.waiting import wait_for


def test_the_seconds_of_a_step_are_counted_although_it_fails():
    row = Row({"region": "greenland"})
    with pytest.raises(ValueError, match="no"), row.step("fetch"):
        raise ValueError("no")
    assert set(row.values) == {"region", "fetch_s"}


def test_a_run_of_prepare_cycle_has_one_table(prepared):
    _, run = prepared
    table = json.loads(artifact_of(run, "run-prepare-cycle").data)
    assert [row["region"] for row in table] == ["antarctica", "greenland"]
    for row in table:
        assert row["requests"] > row["retries"] >= 0
        assert row["received_bytes"] > 1000
        assert (row["maps"], row["cycle"]) == (2, 22)
        assert row["pairs"] > row["granules"] > 0
        assert row["catalog_bytes"] > 0
        assert row["map_bytes"] > 0
        assert {"fetch_s", "build_s", "publish_s"} <= set(row)
        assert row["peak_mb"] > 100


def test_a_run_of_aggregate_has_one_table(desk):
    run = desk.run(**GREENLAND, dry_run=True)
    table = json.loads(artifact_of(run, "run-aggregate").data)
    assert {row["outcome"] for row in table} == {"checked"}
    assert all(row["pairs"] >= row["shards"] > 0 and row["pick_up_s"] >= 0 for row in table)


@pytest.fixture
def lines(caplog):
    """Log records of two lines of a flow and one of its task, as JSON."""

    @task
    def inner():
        get_run_logger().info("Deeper.")

    @flow
    def outer():
        get_run_logger().info("Before.")
        with log_about(RELEASE_KEY):
            get_run_logger().info("%s: named already.", RELEASE_KEY)
            inner.submit().wait()

    with caplog.at_level(logging.INFO):
        outer()
    format_json = JsonFormatter("default", "", "").format
    ours = ("Before.", "named already.", "Deeper.")
    return [json.loads(format_json(one)) for one in caplog.records if one.msg.endswith(ours)]


@pytest.mark.usefixtures("prefect_server")
def test_a_log_line_names_its_run_product_region_and_cycle(lines):
    before, named, deeper = sorted(lines, key=lambda line: line["created"])
    assert "cycle" not in before
    assert named["message"] == f"{RELEASE_KEY}: named already."
    assert deeper["message"] == f"{RELEASE_KEY}: Deeper."
    for line in (named, deeper):
        assert (line["product"], line["region"], line["cycle"]) == ("ATL06_007", "greenland", 22)
        assert line["flow_run_name"]


@task
def on_a_worker():
    get_run_logger().info("Deeper.")


def lines_of(run) -> list[str]:
    """Lines of tasks that Prefect's server has of a flow run."""
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return [line.message for line in client.read_logs(chosen) if line.task_run_id]


@pytest.mark.slow
def test_a_log_line_of_a_dask_worker_names_them_too(prefect_server, monkeypatch):
    pytest.importorskip("prefect_dask")
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_TASK_RUNNER", "dask")
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_WORKERS", "1")

    @flow(task_runner=task_runner())
    def outer():
        with log_about(RELEASE_KEY):
            on_a_worker.submit().wait()
        on_a_worker.submit().wait()

    run = outer(return_state=True)
    assert run.is_completed(), run.message
    wait_for(lambda: len(lines_of(run)) == 2)  # Prefect's line that a task has completed is dropped
    assert sorted(lines_of(run)) == [f"{RELEASE_KEY}: Deeper.", "Deeper."]
