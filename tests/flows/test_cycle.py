"""prepare-cycle: one run per cycle, one release per region, one map per grid."""

import json
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from prefect.artifacts import Artifact

from flows import cycle, events, jobs, shardmaps, tasks
from flows.settings import flow_settings
from tests.flows.conftest import Team, artifact_of
from tests.harness import servers
from tests.harness.waiting import wait_for
from zagg_catalog import from_config
from zagg_catalog.aggregation.references import Announcement
from zagg_catalog.cli.main import main as command
from zagg_catalog.errors import InvalidQuery, ObjectMissing
from zagg_catalog.grids import OutputGrid
from zagg_catalog.index import INDEX_KEY
from zagg_catalog.registry import load_registry, model
from zagg_catalog.releases import ReleaseKey, list_releases, resolve, verify
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.sandbox import Fault, SandboxServer, simulate
from zagg_catalog.sandbox.granules import pick

ANTARCTICA = ["atl06-antarctica-healpix", "atl06-antarctica-polar"]
HEALPIX_ARTIFACT = "shardmap-atl06-007-greenland-c22-atl06-greenland-healpix"
GREENLAND = ["atl06-greenland-healpix", "atl06-greenland-polar"]


def grids_of(release):
    return {grid.name: grid.status for grid in release.record.grids}


class Builds:
    """Counts what maps are built for, and fails when told to."""

    def __init__(self, monkeypatch):
        self.calls: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self._build = tasks.build_stored
        monkeypatch.setattr(tasks, "build_stored", self)

    def __call__(self, catalog, grids, region, **options):
        (grid,) = grids
        name = f"{grid.grid.kind} {'south' if catalog.metadata['bbox'][3] < 0 else 'north'}"
        self.calls.append(name)
        if self.failures.get(name):
            raise self.failures[name].pop()
        return self._build(catalog, grids, region, **options)


DASK = {"ZAGG_CATALOG_FLOW_TASK_RUNNER": "dask", "ZAGG_CATALOG_FLOW_WORKERS": "2"}
HEALPIX_SOUTH = "healpix south"


@pytest.fixture
def builds(monkeypatch):
    return Builds(monkeypatch)


def test_a_cycle_becomes_a_release_per_region_with_a_map_per_grid(prepared):
    team, state = prepared
    assert state.is_completed()
    assert state.message == "ATL06_007, cycle 22: released antarctica, greenland."
    assert grids_of(team.release("antarctica")) == dict.fromkeys(ANTARCTICA, "complete")
    assert grids_of(team.release("greenland")) == dict.fromkeys(GREENLAND, "complete")
    assert verify(team.store).clean
    assert len(list_releases(team.store)) == 2


@pytest.mark.zagg
@pytest.mark.parametrize("grid", [*ANTARCTICA, *GREENLAND])
def test_zagg_takes_every_map(prepared, tmp_path, grid):
    """Its loader, its signature check against the registered config, and its dry run."""
    pytest.importorskip("zagg")
    from zagg.config import load_config
    from zagg.grids import from_config as zagg_grid
    from zagg.runner import _check_signature, _load_catalog, agg

    team, _ = prepared
    region = grid.split("-")[1]
    path = resolve(team.store, "ATL06_007", region, 22, grid, folder=tmp_path)
    loaded = _load_catalog(str(path))
    config = load_config(str(team.registry / "grids" / f"{grid}.yaml"))
    _check_signature(zagg_grid(config), loaded)
    dry = agg(config, catalog=str(path), store=str(tmp_path / "out.zarr"), dry_run=True)
    assert dry["total_cells"] == team.release(region).record.grid(grid).shards


@pytest.fixture
def settled(prepared, reports):
    """The prepared team; the newest status on the server is of its store, not of another test's."""
    team, _ = prepared
    team.run()
    return team


def test_a_second_run_writes_nothing_and_says_so(settled, builds):
    team = settled
    before = team.files()
    builds.calls.clear()
    state = team.run()
    assert state.is_completed()
    assert state.message == "ATL06_007, cycle 22: nothing new."
    assert team.files() == before
    assert builds.calls == []


def test_force_builds_again_and_ends_in_the_same_release(settled, builds):
    team = settled
    before = team.files()
    builds.calls.clear()
    assert team.run(force=True).message.endswith("nothing new.")
    assert len(builds.calls) == 4
    assert team.files() == before


def test_the_artifact_of_a_map_has_what_the_aggregator_needs(prepared):
    team, run = prepared
    release = team.release("antarctica")
    artifact = artifact_of(run, "shardmap-atl06-007-antarctica-c22-atl06-antarctica-polar")
    (row,) = json.loads(artifact.data)
    grid = release.record.grid("atl06-antarctica-polar")
    config = team.registry / "grids/atl06-antarctica-polar.yaml"
    assert json.loads(row["signature"]) == from_config(config).spatial_signature()
    assert row["signature_digest"] == grid.signature_digest
    assert row["digest"] == grid.manifest.parquet.digest
    assert row["manifest"].endswith(f"{row['digest']}.parquet")
    assert (row["shards"], row["pairs"]) == (grid.shards, grid.pairs)
    assert row["release"] == release.digest


def test_the_report_says_what_where_and_how_many(prepared):
    team, run = prepared
    release = team.release("greenland")
    text = artifact_of(run, "release-atl06-007-greenland-c22").data
    assert "# ATL06_007, greenland, cycle 22: complete" in text
    rows = release.record.catalog.rows
    assert f"Complete, and the latest release. {rows:,} of {rows:,} declared, complete." in text
    assert "2 of 2 maps. Checks: " in text
    assert f"{release.digest}\n" in text
    assert f"| granules | {rows:,} |" in text
    assert "This is the first release of the cycle." in text
    assert "## Missing" not in text
    rows = json.loads(artifact_of(run, "release-atl06-007-greenland-c22-grids").data)
    assert [row["grid"] for row in rows] == GREENLAND


def test_a_region_is_built_while_the_next_one_is_fetched(team, monkeypatch):
    second_begins = threading.Event()
    fetch, build = cycle.fetch, cycle.build

    def fetch_and_tell(job, session, **options):
        if job.region.name == "greenland":
            second_begins.set()
        return fetch(job, session, **options)

    def wait_and_build(job, grids, catalog):
        assert second_begins.wait(300)
        return build(job, grids, catalog)

    monkeypatch.setattr(cycle, "fetch", fetch_and_tell)
    monkeypatch.setattr(cycle, "build", wait_and_build)
    state = team.run(slices=1)
    assert state.message.endswith("released antarctica, greenland."), state.message


def test_the_latest_release_is_read_once_a_region(team, monkeypatch):
    reads = []
    read = jobs.read_latest
    monkeypatch.setattr(
        jobs, "read_latest", lambda *given: (reads.append(given[1]), read(*given))[1]
    )
    team.run(regions=["greenland"], slices=1)
    assert [key.region for key in reads] == ["greenland"]


def test_progress_is_shown(prepared):
    _, run = prepared
    assert artifact_of(run, "fetch-atl06-007-antarctica-c22").data == 100
    assert artifact_of(run, "build-atl06-007-antarctica-c22").data == 100


def test_a_grid_that_fails_twice_heals(team, builds, prepared):
    builds.failures[HEALPIX_SOUTH] = [ConnectionResetError("gone"), TimeoutError("late")]
    state = team.run(regions=["antarctica"])
    assert state.is_completed(), state.message
    assert builds.calls.count(HEALPIX_SOUTH) == 3
    control, _ = prepared
    assert team.release("antarctica").digest == control.release("antarctica").digest


def test_a_grid_that_cannot_heal_is_tried_once_and_does_not_stop_the_others(team, builds):
    builds.failures[HEALPIX_SOUTH] = [ValueError("no such thing")]
    state = team.run()
    assert state.is_failed()
    assert "atl06-antarctica-healpix: ValueError: no such thing" in state.message
    assert builds.calls.count(HEALPIX_SOUTH) == 1
    assert grids_of(team.release("greenland")) == dict.fromkeys(GREENLAND, "complete")
    (partial,) = list_releases(team.store, "ATL06_007", "antarctica")
    assert not partial.latest
    assert grids_of(partial) == {
        "atl06-antarctica-healpix": "failed",
        "atl06-antarctica-polar": "complete",
    }
    with pytest.raises(ObjectMissing):
        team.release("antarctica")
    text = Artifact.get("release-atl06-007-antarctica-c22").data
    assert "**not the latest**" in text
    assert "## Missing\n\n- grid atl06-antarctica-healpix: ValueError: no such thing" in text

    builds.calls.clear()
    assert team.run().message.endswith("released antarctica.")
    assert builds.calls == [HEALPIX_SOUTH]
    assert grids_of(team.release("antarctica")) == dict.fromkeys(ANTARCTICA, "complete")


def test_a_broken_config_is_named_and_a_partial_release_may_become_the_latest(team, builds):
    config = team.registry / "grids/atl06-antarctica-polar.yaml"
    good = config.read_text()
    config.write_text(good.replace("rectilinear", "hexagonal"))
    state = team.run(regions=["antarctica"], publish_partial=True)
    assert state.is_failed()
    assert "output.grid.type must be healpix or rectilinear" in state.message
    release = team.release("antarctica")
    assert release.record.status == "partial"
    assert release.record.grid("atl06-antarctica-polar").status == "failed"

    config.write_text(good)
    builds.calls.clear()
    assert team.run(regions=["antarctica"]).is_completed()
    # The shards of the grid that is back need a wider catalog, and so new maps of both grids.
    assert sorted(builds.calls) == [HEALPIX_SOUTH, "rectilinear south"]


@pytest.mark.parametrize(
    ("module", "name"), [(model, "coverage_of"), (shardmaps, "map_key"), (tasks, "from_config")]
)
def test_whatever_a_grid_raises_stops_no_other_grid_and_no_region(team, monkeypatch, module, name):
    """Where its area is found, where its task is submitted, where its map is built."""
    whole = getattr(module, name)

    def fail(*arguments):
        signatures = [one.spatial_signature() for one in arguments if isinstance(one, OutputGrid)]
        if "EPSG:3031" in f"{arguments} {signatures}":
            raise OverflowError("int too large to convert to float")
        return whole(*arguments)

    monkeypatch.setattr(module, name, fail)
    state = team.run()
    assert state.is_failed()
    assert "atl06-antarctica-polar: OverflowError: int too large" in state.message
    assert state.message.count("OverflowError") == 1
    (partial,) = list_releases(team.store, region="antarctica")
    found = grids_of(team.release("antarctica", partial.digest))
    assert found == dict(zip(ANTARCTICA, ["complete", "failed"], strict=True))
    assert grids_of(team.release("greenland")) == dict.fromkeys(GREENLAND, "complete")


def test_a_run_of_one_grid_keeps_what_was_released_besides(team, builds):
    assert team.run(grids=["atl06-antarctica-polar"]).is_completed()
    assert list(grids_of(team.release("antarctica"))) == ["atl06-antarctica-polar"]
    assert team.run(grids=["atl06-antarctica-healpix"]).is_completed()
    assert grids_of(team.release("antarctica")) == dict.fromkeys(ANTARCTICA, "complete")
    assert len(builds.calls) == 2


def test_a_map_that_vanished_from_the_store_is_built_again(team, builds):
    team.run(grids=["atl06-antarctica-polar"])
    grid = team.release("antarctica").record.grid("atl06-antarctica-polar")
    team.store.delete(grid.manifest.parquet.key)
    state = team.run(grids=["atl06-antarctica-polar"])
    assert state.message.endswith("released antarctica.")
    assert len(builds.calls) == 2
    assert verify(team.store).clean


def test_a_region_that_cannot_be_fetched_is_named(team, stac):
    elsewhere = stac.root_url + "/nowhere"
    state = team.run(stac_root=elsewhere, regions=["greenland"])
    assert state.is_failed()
    assert "ATL06_007, greenland, cycle 22" in state.message
    assert "HTTP 404" in state.message


def test_unknown_names_are_refused_before_anything_is_fetched(team, stac):
    before = len(stac.requests)
    state = team.run(grids=["nope"])
    assert state.is_failed()
    with pytest.raises(InvalidQuery, match="no grid nope"):
        state.result()
    assert len(stac.requests) == before


@pytest.mark.slow
def test_the_store_may_be_on_s3(prefect_server, registry_folder, stac, monkeypatch, prepared, moto):
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", moto.endpoint)
    monkeypatch.setenv("ZAGG_CATALOG_S3_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY", servers.SECRET)
    url = f"s3://{servers.new_bucket(moto.endpoint)}/zagg"
    team = Team(url, registry_folder, stac.root_url, prefect_server)
    assert team.run(regions=["greenland"]).is_completed()
    assert team.run(regions=["greenland"]).message.endswith("nothing new.")
    control, _ = prepared
    ours, theirs = team.release("greenland"), control.release("greenland")
    assert ours.record.to_bytes() == theirs.record.to_bytes()
    (row,) = json.loads(Artifact.get(HEALPIX_ARTIFACT).data)
    assert row["manifest"].startswith(url)
    assert servers.SECRET not in json.dumps(row)


def test_one_event_says_that_a_release_is_out(team, monkeypatch):
    sent = []
    monkeypatch.setattr(events, "emit_event", lambda name, **rest: sent.append((name, rest)))
    team.run(regions=["greenland"])
    team.run(regions=["greenland"])
    ((name, event),) = sent
    assert name == "zagg-catalog.release.published"
    assert event["resource"]["prefect.resource.id"].endswith("atl06-007-greenland-c22")
    assert event["payload"]["release"] == team.release("greenland").digest
    assert [grid["name"] for grid in event["payload"]["grids"]] == GREENLAND
    assert Announcement.model_validate(event["payload"]).whole


def test_a_run_that_died_before_the_event_is_made_up_for(team, monkeypatch):
    def dies(*arguments, **options):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(events, "emit_event", dies)
        assert team.run(regions=["greenland"]).is_failed()
    sent = []
    monkeypatch.setattr(events, "emit_event", lambda name, **rest: sent.append(name))
    assert team.run(regions=["greenland"]).message.endswith("nothing new.")
    assert sent == ["zagg-catalog.release.published"]


@pytest.mark.slow
def test_a_killed_run_is_continued_to_the_same_release(team, prepared, stac, builds):
    """Killed after the catalog of the first region, at whatever it was doing then."""
    process = team.start(env={"ZAGG_CATALOG_FLOW_LEASE": "2"})
    catalogs = Path(team.store_url, "catalogs")
    wait_for(lambda: list(catalogs.rglob("*.parquet")), every=0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    asked = len(stac.requests)
    state = team.run()
    assert state.is_completed(), state.message
    boxes = [request.query["bbox"].split(",") for request in stac.requests[asked:]]
    assert not [box for box in boxes if float(box[3]) < 0], "the first region was fetched again"
    control, _ = prepared
    for region in ("antarctica", "greenland"):
        ours, theirs = team.release(region), control.release(region)
        assert ours.record.to_bytes() == theirs.record.to_bytes()


@pytest.mark.slow
def test_two_runs_of_one_cycle_take_turns(team, prepared):
    both = [team.start("--regions", "greenland") for _ in range(2)]
    said = [process.communicate(timeout=900)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    last = sorted(text.splitlines()[-1] for text in said)
    assert last == [
        "ATL06_007, cycle 22: nothing new.",
        "ATL06_007, cycle 22: released greenland.",
    ]
    control, _ = prepared
    assert team.release("greenland").digest == control.release("greenland").digest


@pytest.mark.slow
def test_a_killed_dask_worker_costs_time_only(team, prepared):
    pytest.importorskip("prefect_dask")
    process = team.start("--regions", "antarctica", env=DASK)
    catalogs = Path(team.store_url, "catalogs")
    wait_for(lambda: list(catalogs.rglob("*.parquet")), every=0.02)
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    said = process.communicate(timeout=900)[0]
    assert process.returncode == 0, said
    control, _ = prepared
    assert team.release("antarctica").digest == control.release("antarctica").digest


def test_settings_of_the_flows_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_WORKERS", "7")
    assert flow_settings().workers == 7


def test_a_source_that_is_down_is_given_up_once_for_all_regions(team, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_RETRIES", "1")
    with SandboxServer([], faults=[Fault("status", 503, times=999)]) as down:
        state = team.run(stac_root=down.root_url)
        asked = len(down.requests)
    assert state.is_failed()
    assert state.message.count("HTTP 503") == 1
    assert "ATL06_007, antarctica, cycle 22: GET http" in state.message
    assert "not complete for antarctica, greenland. Mend what is named here" in state.message
    assert state.message.endswith("Not tried: greenland.")
    # Two attempts for each of the slices of one region, which are fetched side by side.
    assert asked <= 4 * 2


def test_a_release_is_its_content_however_it_was_fetched(team, prepared, tmp_path, monkeypatch):
    """One slice, four or twelve, by the flow or by the command: one release, published once."""
    control, _ = prepared
    digest = control.release("greenland").digest
    assert team.run(regions=["greenland"], slices=1).message.endswith("released greenland.")
    (before,) = list_releases(team.store)
    assert before.digest == digest
    files = team.files()
    assert team.run(regions=["greenland"], slices=12, force=True).message.endswith("nothing new.")
    publish_by_command(team, tmp_path, monkeypatch)
    written = {name for name, facts in team.files().items() if files[name] != facts}
    assert written <= {INDEX_KEY}  # the command looks at the whole store again
    key = ReleaseKey("ATL06_007", "greenland", 22)
    own, other = (read_latest(one.store, key).publication.fetch for one in (team, control))
    assert (len(own.slices), len(other.slices)) == (1, 4)


def publish_by_command(team, folder, monkeypatch):
    """Build the maps of Greenland and publish them, each by the command line."""
    monkeypatch.setenv("ZAGG_CATALOG_STORE", team.store_url)
    registry = load_registry(team.registry / "registry.yaml")
    polygon, catalog = folder / "greenland.geojson", folder / "catalog.parquet"
    polygon.write_bytes(registry.regions["greenland"].definition)
    configs = {name: team.registry / f"grids/{name}.yaml" for name in GREENLAND}
    one, other = configs.values()
    ask = ["--short-name", "ATL06", "--cycle", "22", "--stac-root", team.stac_root]
    area = ["--polygon", str(polygon), "--also-for", str(other), "--catalog-out", str(catalog)]
    first = folder / "first.parquet"
    assert command(["build", "--config", str(one), *ask, *area, "-o", str(first)]) == 0
    second = folder / "second.parquet"
    ask = ["--catalog", str(catalog), "--polygon", str(polygon), "-o", str(second)]
    assert command(["build", "--config", str(other), *ask]) == 0
    grids = [
        f"{name}={path}:{made}"
        for (name, path), made in zip(configs.items(), (first, second), strict=True)
    ]
    wanted = [part for text in grids for part in ("--grid", text)]
    ask = ["--catalog", str(catalog), "--region", "greenland", *wanted]
    assert command(["release", "publish", *ask]) == 0


def test_a_changed_cycle_asks_only_for_what_may_have_changed(team, tmp_path):
    """The release is that of a full fetch, and so are its catalog and its maps."""
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 5))
    late = np.arange(len(granules))[400:415]
    with SandboxServer(pick(granules, np.setdiff1d(np.arange(len(granules)), late))) as server:
        server_of = {"stac_root": server.root_url, "regions": ["antarctica"]}
        assert team.run(**server_of).is_completed()
        server.add(pick(granules, late))
        server.requests.clear()
        assert team.run(**server_of).message.endswith("released antarctica.")
        asked = len(server.requests)
        key = ReleaseKey("ATL06_007", "antarctica", 22)
        publication = read_latest(team.store, key).publication
        assert publication.fetch.updated
        server.requests.clear()
        # A full fetch gives the same release.
        assert team.run(force=True, **server_of).message.endswith("nothing new.")
        assert asked < len(server.requests)
        # An announced change that the counts do not show is looked for in everything.
        server.requests.clear()
        team.run(**server_of, notice="cf7d5a4e-6f0f-4c8e-9f0e-000000000001")
        assert len(server.requests) > asked
        assert read_latest(team.store, key).publication == publication
