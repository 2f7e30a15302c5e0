"""Deployments: created by one command, run by a worker, cancelled, and served from a laptop."""

import os
import time
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows import automations
from flows.deploy import main
from flows.forms import renew_forms
from flows.local_server import Process, program
from flows.serve import apply, deployments
from flows.settings import cycle_or_current
from tests.harness.processes import flow_processes
from tests.harness.waiting import wait_for
from zagg_catalog.sandbox import SandboxServer, simulate

ROOT = Path(__file__).parents[2]
PAGE = 5
NAMES = {
    "prepare-cycle/prepare-one-cycle",
    "prepare-cycle/daily",
    "prepare-cycle/on-cycle",
    "watch-cycles/hourly",
    "watch-queue/listening",
    "report-overdue/on-event",
    "aggregate/on-release",
    "aggregate/catch-up",
    "aggregate/aggregate-one-release",
    "fetch-catalog/fetch-one-catalog",
    "build-shardmaps/build-maps-of-catalog",
    "backfill/backfill-many-cycles",
}


@pytest.fixture(scope="module")
def environment(prefect_server):
    # One second instead of ten between two looks for work, and for runs to be cancelled.
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    return os.environ | quick | {"PREFECT_API_URL": prefect_server}


@pytest.fixture(scope="module")
def deployed(environment):
    """The deployments by name, made as in docs/operate/operations.md."""
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        assert main([]) == 0
    with get_client(sync_client=True) as client:
        flows = {one.id: one.name for one in client.read_flows()}
        return {f"{flows[one.flow_id]}/{one.name}": one for one in client.read_deployments()}


@pytest.fixture(scope="module")
def worker(deployed, environment, tmp_path_factory):
    """A worker whose working directory is not the repository's."""
    folder = tmp_path_factory.mktemp("worker")
    command = [program("prefect"), "--no-prompt", "worker", "start", "--pool", "zagg-catalog"]
    process = Process(command, folder / "worker.log", environment, cwd=folder)
    yield process
    process.end()


@pytest.mark.slow
def test_one_command_creates_every_deployment(deployed):
    assert set(deployed) == NAMES
    assert all("zagg-catalog" in one.tags for one in deployed.values())
    assert [s.schedule.cron for s in deployed["prepare-cycle/daily"].schedules] == ["0 6 * * *"]
    assert {one.global_concurrency_limit for one in deployed.values()} == {None}


@pytest.mark.slow
def test_a_backfill_has_a_queue_of_its_own(deployed):
    queues = {name: one.work_queue_name for name, one in deployed.items()}
    assert queues.pop("backfill/backfill-many-cycles") == "backfill"
    assert set(queues.values()) == {"default"}


@pytest.mark.slow
def test_the_run_form_has_choices_limits_and_descriptions(deployed):
    schema = deployed["prepare-cycle/prepare-one-cycle"].parameter_openapi_schema
    form = schema["properties"]
    assert all(entry.get("description") for entry in form.values())
    assert "ATL06" in schema["definitions"]["Product"]["enum"]
    assert form["regions"]["items"]["enum"] == ["antarctica", "greenland", "serc"]
    assert "atl06-greenland-healpix" in form["grids"]["items"]["enum"]
    assert form["cycle"]["type"] == "integer"
    assert form["cycle"]["default"] == cycle_or_current(None)


@pytest.mark.slow
def test_what_an_event_starts_takes_names_that_are_no_choices(deployed):
    form = deployed["prepare-cycle/on-cycle"].parameter_openapi_schema["properties"]
    assert form["regions"]["anyOf"][0]["items"] == {"type": "string"}


@pytest.mark.slow
def test_the_watch_renews_the_current_cycle_of_a_form(deployed):
    name = "prepare-cycle/prepare-one-cycle"
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(name)
        schema = deepcopy(found.parameter_openapi_schema)
        schema["properties"]["cycle"]["default"] = 22
        update = DeploymentUpdate(parameter_openapi_schema=schema)
        client.update_deployment(found.id, update)
        renew_forms()
        again = client.read_deployment_by_name(name)
    assert again.parameter_openapi_schema == found.parameter_openapi_schema
    assert (again.tags, again.schedules) == (found.tags, found.schedules)


@pytest.mark.slow
def test_a_worker_runs_the_deployment(worker, team, prepared):
    parameters = team.parameters(regions=["greenland"])
    run = run_deployment("prepare-cycle/prepare-one-cycle", parameters=parameters, timeout=900)
    assert run.state.is_completed(), run.state.message
    assert run.state.message == "ATL06_007, cycle 22: released greenland."
    control, _ = prepared
    assert team.release("greenland").digest == control.release("greenland").digest


@pytest.mark.slow
def test_cancelling_ends_the_work_within_seconds(worker, team):
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 20))
    with SandboxServer(granules, page_size=PAGE, faults=["latency=2"]) as slow:
        parameters = team.parameters(stac_root=slow.root_url, regions=["antarctica"], cycle=22)
        run = run_deployment("prepare-cycle/prepare-one-cycle", parameters=parameters, timeout=0)
        wait_for(lambda: slow.requests)
        processes = flow_processes(run.id)
        assert processes
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())
            asked = time.monotonic()
            wait_for(lambda: not any(map(psutil.pid_exists, processes)))
            print(f"ended after {time.monotonic() - asked:.1f} s")
            # It did not read on until the source had no more.
            assert len(slow.requests) < len(granules) / PAGE / 2
            wait_for(lambda: client.read_flow_run(run.id).state.is_cancelled())
    assert not list(Path(team.store_url).rglob("latest.json"))


def test_a_laptop_serves_the_same_deployments(prefect_server):
    served = deployments()
    assert {f"{one.flow_name}/{one.name}" for one in served} == NAMES
    daily = next(one for one in served if one.name == "daily")
    assert [s.schedule.cron for s in daily.schedules] == ["0 6 * * *"]


def test_each_schedule_has_a_name_and_the_period_of_its_alert(prefect_server):
    scheduled = {f"{one.flow_name}/{one.name}": one for one in deployments() if one.schedules}
    assert set(scheduled) == set(automations.PERIODS)
    for name, one in scheduled.items():
        (schedule,) = one.schedules
        assert name.endswith(f"/{schedule.slug}")
        hours = 24 if schedule.schedule.cron.split()[1].isdigit() else 1
        assert automations.PERIODS[name] == timedelta(hours=hours)


def test_a_queue_is_not_read_before_somebody_has_one(prefect_server):
    active = {
        f"{one.flow_name}/{one.name}": [schedule.active for schedule in one.schedules]
        for one in deployments()
    }
    assert active.pop("watch-queue/listening") == [False]
    assert all(all(schedules) for schedules in active.values())


def test_serving_again_leaves_a_schedule_paused_and_removes_an_old_limit(prefect_server):
    (daily,) = [one for one in deployments() if one.name == "daily"]
    apply(daily)
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("prepare-cycle/daily")
        client.update_deployment_schedule(found.id, found.schedules[0].id, active=False)
        client.update_deployment(found.id, DeploymentUpdate(concurrency_limit=1))
        (daily,) = [one for one in deployments() if one.name == "daily"]
        apply(daily)
        again = client.read_deployment_by_name("prepare-cycle/daily")
        assert [one.active for one in again.schedules] == [False]
        assert again.global_concurrency_limit is None
        client.update_deployment_schedule(again.id, again.schedules[0].id, active=True)


def test_the_heartbeat_automation_is_made_once_and_renewed(prefect_server):
    automations.ensure_automation(automations.heartbeat_automation())
    assert not automations.ensure_automation(automations.heartbeat_automation())
    with get_client(sync_client=True) as client:
        (made,) = client.read_automations_by_name(automations.HEARTBEAT)
    assert "prefect.flow-run.heartbeat" in made.trigger.after
