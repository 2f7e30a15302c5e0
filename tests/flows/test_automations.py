"""Automations on a real server: from an event to a run, and from silence to an alert."""

from datetime import datetime

import pytest
import yaml

from flows import watch as flow
from flows.automations import CYCLE
from flows.events import RELEASE_PUBLISHED
from flows.watch import watch_cycles
from tests.flows.hostile import ODD, RELEASE
from tests.flows.live import LiveServer
from tests.harness.waiting import wait_for
from zagg_catalog.cli import main
from zagg_catalog.releases import ReleaseKey, find_release
from zagg_catalog.releases.pickups import read_pickup_histories
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import open_store
from zagg_catalog.watch.events import AVAILABLE, OVERDUE, PREPARED

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.random_order(disabled=True),  # one story on one server
]

TRACKS = range(1, 1388, 40)
RELEASE_KEY = ReleaseKey("ATL06_007", "greenland", 22)
RESOURCE = "zagg-catalog.cycle.atl06-007-c{}"


@pytest.fixture(scope="module")
def source():
    """An API that has cycle 21, and to which more is added."""
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS)) as server:
        yield server


@pytest.fixture(scope="module")
def settings(source, registry_folder, tmp_path_factory):
    """Environment of everything that runs flows."""
    folder = tmp_path_factory.mktemp("automations")
    content = yaml.safe_load((registry_folder / "registry.yaml").read_text())
    rules = {"first_cycle": 22, "changed_hours": 0, "patience_hours": 0}
    content["watch"] = {"ATL06_007": rules | {"overdue_days": None}}
    content["grids"] = {
        name: {**grid, "config": str(registry_folder / grid["config"])}
        for name, grid in content["grids"].items()
        if grid["region"] == "greenland"
    }
    content["regions"]["greenland"] = {"bbox": [-74, 59, -10, 84]}
    content["regions"].pop("antarctica")
    (folder / "registry.yaml").write_text(yaml.safe_dump(content))
    return {
        "ZAGG_CATALOG_STORE": str(folder / "store"),
        "ZAGG_CATALOG_STAC_ROOT": source.root_url,
        "ZAGG_CATALOG_REGISTRY": str(folder / "registry.yaml"),
        "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(folder / "work"),
        "ZAGG_CATALOG_FLOW_LATE_AFTER": "10",
        "ZAGG_CATALOG_FLOW_SILENT_AFTER": "10",
        "ZAGG_CATALOG_RELEASE_REPORTS": "false",
    }


@pytest.fixture(scope="module")
def prefect(settings, tmp_path_factory):
    """A server, and one process that serves all deployments."""
    with (
        LiveServer(tmp_path_factory.mktemp("live") / "prefect") as server,
        server.serve(env=settings) as served,
    ):
        assert f"Automation {CYCLE!r}: created." in served.output
        yield server


@pytest.fixture
def watch(prefect, settings, monkeypatch):
    """Poll once, and return what the run says."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def poll():
        with prefect.here():
            return watch_cycles(return_state=True).message

    return poll


def ended(prefect, flow, count):
    """Wait until so many runs of a flow have ended, and return them."""

    def all_ended():
        runs = prefect.runs(flow)
        return runs if len(runs) >= count and all(r.state.is_final() for r in runs) else None

    runs = wait_for(all_ended)
    assert len(runs) == count, [run.state for run in runs]
    return runs


def test_a_new_cycle_becomes_a_release_without_manual_steps(prefect, settings, source, watch):
    assert watch() == "ATL06_007: nothing new."
    source.add(simulate("ATL06", cycle=22, tracks=TRACKS))
    assert watch() == "ATL06_007: cycle 22 new."
    (run,) = ended(prefect, "prepare-cycle", 1)
    assert run.state.is_completed(), run.state.message
    typed = {name: run.parameters[name] for name in ("product", "version", "cycle")}
    assert typed == {"product": "ATL06", "version": "007", "cycle": 22}
    assert find_release(open_store(settings["ZAGG_CATALOG_STORE"]), "ATL06_007", "greenland", 22)
    (event,) = prefect.events("zagg-catalog.cycle.available")
    print(f"event to run created: {delay(event, run.created):.1f} s,")
    print(f"to user code {delay(event, run.start_time):.1f} s, to end {delay(event, run.end_time)}")
    (prepared,) = wait_for(lambda: prefect.events(PREPARED))
    assert prepared["resource"]["prefect.resource.id"] == RESOURCE.format(22)
    assert watch() == "ATL06_007: nothing new."
    ended(prefect, "aggregate", 1)  # before there is another release


def delay(event, when):
    return (when - datetime.fromisoformat(event["occurred"])).total_seconds()


def test_an_event_that_was_lost_is_made_up_for_by_a_later_poll(prefect, source, watch, monkeypatch):
    source.add(simulate("ATL06", cycle=22, tracks=range(2, 1388, 400)))
    with monkeypatch.context() as patch:
        patch.setattr(flow, "emit", lambda *args, **options: None)
        assert watch() == "ATL06_007: cycle 22 changed."
    assert watch() == "ATL06_007: cycle 22 again."
    last = ended(prefect, "prepare-cycle", 2)[-1]
    assert last.state.message == "ATL06_007, cycle 22: released greenland."


@pytest.mark.zagg
def test_a_published_release_is_picked_up_and_a_second_event_is_harmless(prefect, settings):
    pytest.importorskip("zagg")
    # The hourly catch-up may be due just now, and be faster than the run of the event.
    picked = ended(prefect, "aggregate", 2)
    assert all(run.state.is_completed() for run in picked), [run.state for run in picked]
    store = open_store(settings["ZAGG_CATALOG_STORE"])
    before = read_pickup_histories(store, RELEASE_KEY)
    for history in before.values():
        assert [entry.outcome for entry in history.entries] == ["checked"] * 2
    event = prefect.events(RELEASE_PUBLISHED)[-1]
    prefect.emit(RELEASE_PUBLISHED, event["resource"]["prefect.resource.id"], event["payload"])
    again = ended(prefect, "aggregate", 3)[-1]
    assert again.state.message == "Grids: 2 already."
    assert read_pickup_histories(store, RELEASE_KEY) == before


def test_notify_starts_a_run_and_the_same_twice_does_no_work_twice(prefect):
    command = ["notify", "--product", "ATL06", "--cycle", "22", "--api-url", prefect.api_url]
    assert [main(command), main(command)] == [0, 0]
    runs = ended(prefect, "prepare-cycle", 4)[-2:]
    assert all(run.parameters["notice"] for run in runs)
    said = {run.state.message.partition(": ")[2] for run in runs}
    assert said <= {"nothing new.", "an earlier run has processed this event."}
    assert "nothing new." in said


FAILED = "prefect.automation.action.failed"
RELEASE_22 = "zagg-catalog.release.atl06-007-greenland-c22"
CYCLE_22 = {"product": "ATL06", "version": "007", "cycle": 22}


def refused(prefect):
    """The events that an automation started nothing for."""
    return {
        related["prefect.resource.id"]
        for event in prefect.events(FAILED)
        for related in event["related"]
        if related["prefect.resource.role"] == "triggering-event"
    }


@pytest.mark.parametrize(
    ("event", "flow", "resource", "valid"),
    [
        (AVAILABLE, "prepare-cycle", RESOURCE.format(22), CYCLE_22),
        (RELEASE_PUBLISHED, "aggregate", "zagg-catalog.release.greenland", RELEASE),
    ],
)
def test_an_odd_event_starts_no_run(prefect, event, flow, resource, valid):
    """A third of the values that the templates are tested with; the server lists 50 events."""
    before = {run.id for run in prefect.runs(flow)}
    odd = ODD["cycle" if flow == "prepare-cycle" else "release"][::3]
    sent = {f"prefect.event.{prefect.emit(event, resource, valid | one)}" for one in odd}
    wait_for(lambda: sent <= refused(prefect))
    assert {run.id for run in prefect.runs(flow)} == before


def test_an_event_that_names_another_place_is_refused_and_does_nothing(prefect, source, settings):
    """The runs end Failed, and neither the API nor the store of the event is asked."""
    asked, ours = len(source.requests), {run.id for run in prefect.runs("aggregate")}
    done = {run.id for run in prefect.runs("prepare-cycle")}
    other = {"stac_root": source.root_url.replace("127.0.0.1", "localhost")}
    prefect.emit(AVAILABLE, RESOURCE.format(22), CYCLE_22 | other)
    prefect.emit(RELEASE_PUBLISHED, RELEASE_22, RELEASE)

    def ends(flow, before):
        runs = [run for run in prefect.runs(flow) if run.id not in before]
        return [run.state for run in runs if run.state.is_final()]

    (of_cycle,) = wait_for(lambda: ends("prepare-cycle", done))
    (of_release,) = wait_for(lambda: ends("aggregate", ours))
    for state, what in ((of_cycle, "stac_root"), (of_release, "store")):
        assert state.is_failed()
        assert f"The event names the {what}" in state.message
    assert len(source.requests) == asked


def test_an_event_whose_resource_is_of_another_cycle_or_release_is_refused(prefect, source):
    asked, ours = len(source.requests), {run.id for run in prefect.runs("aggregate")}
    done = {run.id for run in prefect.runs("prepare-cycle")}
    prefect.emit(AVAILABLE, RESOURCE.format(21), CYCLE_22)
    prefect.emit(RELEASE_PUBLISHED, "zagg-catalog.release.atl06-007-antarctica-c22", RELEASE)

    def ends(flow, before):
        runs = [run for run in prefect.runs(flow) if run.id not in before]
        return [run.state for run in runs if run.state.is_final()]

    for states in (
        wait_for(lambda: ends("prepare-cycle", done)),
        wait_for(lambda: ends("aggregate", ours)),
    ):
        (state,) = states
        assert state.is_failed()
        assert "The event's resource is" in state.message
    assert len(source.requests) == asked


def test_what_is_overdue_and_stays_so_raises_an_alert(prefect):
    payload = {"message": "ATL06_007, cycle 23 was due on 2024-08-31."}
    prefect.emit(OVERDUE, RESOURCE.format(23), payload)
    late = prefect.emit(OVERDUE, RESOURCE.format(24), payload)
    prefect.emit(PREPARED, RESOURCE.format(24), {}, follows=late)

    def reports():
        runs = prefect.runs("report-overdue")
        found = {run.parameters["resource"]: run for run in runs if run.state.is_final()}
        return found if RESOURCE.format(23) in found and len(found) >= 2 else None

    found = wait_for(reports)
    # Cycle 23 did not arrive, 24 did; and no poll runs any more.
    assert set(found) == {RESOURCE.format(23), "zagg-catalog.watch.atl06-007"}
    late = found[RESOURCE.format(23)]
    assert late.state.is_failed()
    assert late.state.message == payload["message"]
    silent = found["zagg-catalog.watch.atl06-007"]
    assert "not polled for too long" in silent.state.message
