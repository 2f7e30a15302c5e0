"""The whole chain on real servers: from granules at the source to zagg's acknowledged dry run.

The services are those of deployments/compose.yaml as plain processes, with the values that it has.

Nobody starts `prepare-cycle` or `aggregate` here: a schedule or a scheduler starts the watch,
events do the rest, and what an event did not bring is made up for by what runs every hour.
"""

from contextlib import ExitStack, contextmanager, suppress
from string import Template

import psutil
import pytest
from prefect.states import Crashed

from flows.automations import CYCLE, PICKUP, POOL
from flows.chain import CATCH_UP, WATCH, Chain, timings
from flows.demo import PRODUCT, REGIONS, write_registry
from flows.events import RELEASE_PUBLISHED
from tests.flows.live import LiveServer
from tests.harness import servers
from tests.harness.compose import Compose
from tests.harness.postgres import newest_programs, postgresql
from tests.harness.processes import flow_processes
from tests.harness.waiting import wait_for
from zagg_catalog.releases import ReleaseKey, diff, find_release, verify
from zagg_catalog.releases.pickups import read_pickup_histories
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import open_store
from zagg_catalog.watch.events import AVAILABLE

pytest.importorskip("zagg")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    # Each test continues the story of the one before.
    pytest.mark.random_order(disabled=True),
    # Prefect's own: warnings of its dependencies, and sockets that its threads close late.
    pytest.mark.filterwarnings("ignore"),
]

TRACKS = range(1, 1388, 40)
# A busy machine takes its time; what is waited for is there much sooner on a quiet one.
LONG = 1200
# What a team writes into deployments/.env.
VALUES = {
    "PREFECT_LOGIN": "team:its password",
    "POSTGRES_PASSWORD": "of-the-database",
    "S3_KEY_ID": "team-key",
    "S3_SECRET": "team-secret-key",
}


@pytest.fixture(scope="module")
def source():
    """A STAC API that has cycle 21, and to which more is added."""
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS)) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="module")
def database():
    programs = newest_programs()
    if programs is None:
        pytest.skip("no PostgreSQL: install it as root on Debian with tools/install-postgresql")
    with postgresql(programs, "prefect", VALUES["POSTGRES_PASSWORD"]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def bucket(folder):
    """The S3 server of the file, with its data in a folder here."""
    port = servers.free_port()
    compose = Compose(VALUES, {"0.0.0.0:9000": f"127.0.0.1:{port}", "/cache": f"{folder}/cache"})
    login = compose.environment("s3")
    command = [Template(part).safe_substitute(login) for part in compose.command("s3")]
    (folder / "data" / "zagg-catalog").mkdir(parents=True)
    command = [servers.program(command[0]), *command[1:-1], str(folder / "data")]
    with servers.running(servers.Server(command, port)) as server:
        yield server


@pytest.fixture(scope="module")
def prefect(folder, database):
    """The server of the file: on PostgreSQL, with a login."""
    compose = Compose(VALUES, {"postgres:5432": database.address})
    settings = compose.environment("server")
    assert compose.command("server")[:3] == ["prefect", "server", "start"]
    # Its port is free instead.
    del settings["PREFECT_API_URL"], settings["PREFECT_SERVER_UI_API_URL"]
    quick = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}
    with LiveServer(folder / "prefect", **settings, **quick) as server:
        yield server


@pytest.fixture(scope="module")
def environment(source, prefect, bucket, folder):
    """Environment of a worker of the file, with four grids and short delays."""
    # An event that no run has processed after two seconds is repeated.
    hurry = {"first_cycle": 22, "changed_hours": 0, "patience_hours": 0.0005}
    here = {
        "ZAGG_CATALOG_REGISTRY": str(write_registry(folder, **hurry, overdue_days=None)),
        "ZAGG_CATALOG_STAC_ROOT": source.root_url,
    }
    addresses = {
        "server:4200": prefect.api_url.split("/")[2],
        "s3:9000": bucket.endpoint.split("/")[2],
    }
    return Compose(VALUES | here, addresses).environment("worker") | {
        "ZAGG_CATALOG_FLOW_AGGREGATE_LEASE": "5",
    }


@pytest.fixture(scope="module")
def store(environment, bucket):
    settings = servers.settings_for(
        bucket.endpoint,
        s3_access_key_id=VALUES["S3_KEY_ID"],
        s3_secret_access_key=VALUES["S3_SECRET"],
        accept_last_writer_wins=True,
    )
    return open_store(environment["ZAGG_CATALOG_STORE"], settings=settings)


@pytest.fixture(scope="module")
def chain(prefect, store):
    return Chain(server=prefect, store=store, product=PRODUCT, cycle=22, regions=REGIONS)


@pytest.fixture(scope="module", autouse=True)
def workers(prefect, environment, folder):
    """Two workers with homes of their own; they can be closed. Deployed as the file does it."""
    command = Compose(VALUES).command("deploy")
    assert command[:2] == ["python", "-m"]
    said = prefect.run(*command[1:], env=environment, timeout=LONG)
    assert all(f"Automation {name}: created\n" in said for name in (CYCLE, PICKUP))
    with ExitStack() as stack:
        for name in ("first", "second"):
            (folder / name / "tmp").mkdir(parents=True)
            own = {
                "PREFECT_HOME": str(folder / name),
                "TMPDIR": str(folder / name / "tmp"),
                "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(folder / name / "work"),
            }
            stack.enter_context(prefect.work(POOL, environment | own, name))
        yield stack


def two_begun(prefect):
    """The two runs that aggregate, once both have begun: a dead worker begins none that it took."""
    runs = prefect.runs("aggregate")
    begun = [run for run in runs if not (run.state.is_scheduled() or run.state.is_pending())]
    return runs if len(begun) == 2 else None


def kill_worker_of(run, runs):
    """End the worker that runs a flow, and all else of it, as a machine would go down.

    Returns those of some runs that end with it: it may have taken several.
    """
    processes = wait_for(lambda: flow_processes(run.id), LONG)
    worker = next(
        one for one in psutil.Process(processes[0]).parents() if "worker" in one.cmdline()
    )
    whole = [worker, *worker.children(recursive=True)]
    pids = {one.pid for one in whole}
    lost = [one for one in runs if not pids.isdisjoint(flow_processes(one.id))]
    for one in whole:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    return lost


def add_tracks(source, first):
    """Let the granules of a few more tracks of cycle 22 arrive."""
    source.add(simulate("ATL06", cycle=22, tracks=range(first, 1388, 400)))


def ended(prefect, flow, count):
    """Wait until there are so many runs of a flow, and all have ended; return them."""

    def all_ended():
        runs = prefect.runs(flow)
        open_ones = [run for run in runs if not run.state.is_final()]
        return runs if len(runs) >= count and not open_ones else None

    return wait_for(all_ended, LONG)


def outcomes(store):
    """How every pick-up of cycle 22 ended, by region and grid, the newest first."""
    found = {
        region: read_pickup_histories(store, ReleaseKey(PRODUCT, region, 22)) for region in REGIONS
    }
    return {
        (region, grid): [entry.outcome for entry in standing.entries]
        for region, standings in found.items()
        for grid, standing in standings.items()
    }


def show_times(found):
    """Print the times of all steps: ``pytest -s`` shows them."""
    for what, since, step in timings(found):
        print(f"{since:6.1f} s  {step:+5.1f} s  {what}")


@contextmanager
def paused(prefect, automation):
    """An automation that hears nothing meanwhile: events that are emitted now are lost to it."""
    with prefect.client() as client:
        (found,) = client.read_automations_by_name(automation)
        client.pause_automation(found.id)
        yield
        client.resume_automation(found.id)


def test_a_new_cycle_is_picked_up_although_a_worker_dies(prefect, chain, source, store):
    start = chain.begin()
    source.add(simulate("ATL06", cycle=22, tracks=TRACKS))
    prefect.schedule(WATCH, in_seconds=8)
    runs = wait_for(lambda: two_begun(prefect), LONG)
    lost = kill_worker_of(runs[-1], runs)
    with prefect.client() as client:
        # As an automation does, minutes later; tests/flows/test_alerts.py waits for those.
        for run in lost:
            client.set_flow_run_state(run.id, Crashed(), force=True)
    # It is due once an hour.
    prefect.start_run(CATCH_UP)
    found = start.follow(seconds=LONG, idle=60)
    show_times(found)
    # The run of this test has no creator.
    runs = [(flow, run.created_by) for flow, runs in found.runs.items() for run in runs]
    starters = {(flow, creator.type) for flow, creator in runs if creator is not None}
    assert {
        ("watch-cycles", "SCHEDULE"),
        ("prepare-cycle", "AUTOMATION"),
        ("aggregate", "AUTOMATION"),
    } <= starters
    assert len(found.acknowledgements) == 4
    for said in found.acknowledgements.values():
        assert (said.outcome, said.dry_run, said.changes) == ("checked", True, None)
        assert said.zagg_version
        assert said.shards == said.summary["total_cells"] > 0
    assert verify(store).clean


def test_granules_that_arrive_later_are_picked_up_with_a_list_of_changed_shards(
    prefect, chain, source, store
):
    start = chain.begin()
    add_tracks(source, 2)
    prefect.start_run(WATCH)
    found = start.follow(seconds=LONG)
    show_times(found)
    assert found.events[0]["payload"]["why"] == "changed"
    for region, shown in found.releases.items():
        old = find_release(store, PRODUCT, region, 22, digest=start.digests[region])
        for grid in diff(store, old, shown.release).grids:
            changes = found.acknowledgements[grid.name].changes
            assert changes.base == start.digests[region]
            assert (changes.dropped.count, changes.granules_removed) == (0, 0)
            redo = sorted((*changes.added.keys, *changes.changed.keys))
            assert redo == [int(key) for key in grid.map.redo]
            assert 0 < len(redo) < found.acknowledgements[grid.name].shards


def test_the_same_events_twice_lead_to_one_aggregation(prefect, store):
    before = outcomes(store)
    prepared, aggregated = (len(ended(prefect, flow, 0)) for flow in ("prepare-cycle", "aggregate"))
    for event in (prefect.events(AVAILABLE)[-1], *prefect.events(RELEASE_PUBLISHED)[-2:]):
        prefect.emit(event["event"], event["resource"]["prefect.resource.id"], event["payload"])
    again = ended(prefect, "prepare-cycle", prepared + 1)[prepared:]
    picked = ended(prefect, "aggregate", aggregated + 2)[aggregated:]
    assert [run.state.message for run in again] == [
        "ATL06_007, cycle 22: an earlier run has processed this event."
    ]
    assert [run.state.message for run in picked] == ["Grids: 2 already."] * 2
    assert outcomes(store) == before


def test_nothing_is_lost_by_a_process_and_a_server_that_are_not_always_there(
    prefect, chain, source, store, environment, workers
):
    """`python -m flows.serve` in place of the workers."""
    workers.close()
    start = chain.begin()
    add_tracks(source, 3)
    # The event is emitted while no process serves flows; then the server stops, too.
    prefect.run("-m", "flows.watch", env=environment, timeout=LONG)
    wait_for(lambda: start.look().runs["prepare-cycle"], LONG)
    prefect.stop()
    prefect.start()
    with prefect.serve(environment), paused(prefect, PICKUP):
        wait_for(lambda: set(start.look().releases) == set(REGIONS), LONG)
        ended(prefect, "prepare-cycle", 0)
        wait_for(lambda: len(prefect.events(RELEASE_PUBLISHED)) >= 2, LONG)
    # The releases are out; no automation received their events, and no process serves flows.
    prefect.stop()
    prefect.start()
    assert [run for run in start.look().runs["aggregate"] if not run.auto_scheduled] == []
    with prefect.serve(environment):
        prefect.start_run(CATCH_UP)
        found = start.follow(seconds=LONG)
    assert len(found.acknowledgements) == 4
    assert {one.outcome for one in found.acknowledgements.values()} == {"checked"}
    for said in found.acknowledgements.values():
        assert said.changes.base in start.digests.values()
    assert verify(store).clean
