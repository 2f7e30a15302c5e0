"""fetch-catalog and build-shardmaps, each run by itself."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows.fetch import fetch_catalog
from flows.jobs import Job
from flows.results import Session, collect_maps, content_key, read_slice, write_slice
from flows.settings import cycle_or_current
from flows.shardmaps import build_shardmaps
from tests.sources.served import known_to_both
from zagg_catalog import Catalog, ShardMap, from_config
from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.registry import load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.store import open_store


def test_a_catalog_is_fetched_and_its_maps_are_built(team):
    options = team.parameters()
    catalog = fetch_catalog(region="greenland", **options)
    path = team.store.download(catalog["key"], f"{team.store_url}-c.parquet")
    assert len(Catalog.from_geoparquet(path)) == catalog["rows"] > 0
    assert catalog["harvest"]["slices"] == 4
    registry = options["registry"]
    outcomes = build_shardmaps(catalog["key"], store=team.store_url, registry=registry)
    assert [outcome["grid"] for outcome in outcomes] == [
        "atl06-greenland-healpix",
        "atl06-greenland-polar",
    ]
    assert all(team.store.exists(outcome["manifest"]) for outcome in outcomes)


def test_the_setting_lets_cmr_itself_be_asked(team, stac, monkeypatch):
    one = fetch_catalog(region="greenland", **team.parameters())
    monkeypatch.setenv("ZAGG_CATALOG_API", "cmr")
    monkeypatch.setenv("ZAGG_CATALOG_CMR_ROOT", stac.cmr_url)
    stac.requests.clear()
    other = fetch_catalog(region="greenland", **team.parameters())
    assert {request.path for request in stac.requests} == {
        "/search/granules.umm_json",
        "/search/collections.umm_json",
    }
    catalogs = [
        Catalog.from_geoparquet(team.store.download(c["key"], f"{team.store_url}-{n}.parquet"))
        for n, c in enumerate((one, other))
    ]
    assert [catalog.metadata["source"] for catalog in catalogs] == ["CMR-STAC", "CMR"]
    tables = [known_to_both(catalog) for catalog in catalogs]
    assert tables[0].equals(tables[1])


def test_a_slice_of_one_api_is_not_taken_for_that_of_the_other(tmp_path):
    session = Session(open_store(str(tmp_path)), RELEASE_KEY)
    keys = {session.key({"query": {}, "root": "x", "api": api}) for api in ("stac", "cmr")}
    assert len(keys) == 2


def test_build_shardmaps_names_the_grid_that_failed(team):
    options = team.parameters()
    catalog = fetch_catalog(region="greenland", **options)
    (team.registry / "grids/atl06-greenland-polar.yaml").write_text("output: 1")
    state = build_shardmaps(
        catalog["key"], store=team.store_url, registry=options["registry"], return_state=True
    )
    assert state.is_failed()
    assert "1 failed, atl06-greenland-polar:" in state.message


def test_grids_of_one_tiling_are_built_side_by_side(team):
    """Both maps equal that of the library alone."""
    config = team.registry / "grids/atl06-greenland-polar.yaml"
    shutil.copy(config, config.with_name("twin.yaml"))
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    content["grids"]["twin"] = content["grids"]["atl06-greenland-polar"] | {
        "config": "grids/twin.yaml"
    }
    path.write_text(yaml.safe_dump(content))
    catalog = fetch_catalog(region="greenland", **team.parameters())
    names = ["atl06-greenland-polar", "twin"]
    outcomes = build_shardmaps(
        catalog["key"], grids=names, store=team.store_url, registry=str(path)
    )
    region = load_registry(path).regions["greenland"].region
    stored = team.store.download(catalog["key"], f"{team.store_url}-c.parquet")
    alone = ShardMap.build(Catalog.from_geoparquet(stored), from_config(config), region=region)
    for outcome in outcomes:
        file = team.store.download(outcome["manifest"], f"{team.store_url}-m.parquet")
        assert ShardMap.from_parquet(file).pairs().equals(alone.pairs())
    assert len(outcomes) == 2


def test_a_region_with_filters_gets_the_granules_that_they_select(team):
    """A catalog that was stored before the filters is selected from."""
    whole = fetch_catalog(region="greenland", **team.parameters())
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    content["regions"]["greenland"] |= {"tracks": "1-700", "direction": "ascending"}
    path.write_text(yaml.safe_dump(content))
    part = fetch_catalog(region="greenland", **team.parameters())
    assert 0 < part["rows"] < whole["rows"]
    stored = team.store.download(part["key"], f"{team.store_url}-c.parquet")
    catalog = Catalog.from_geoparquet(stored)
    assert catalog.metadata["filters"] == {"tracks": "1-700", "direction": "ascending"}
    assert {name[27:29] for name in catalog.table["id"].to_pylist()} <= {"01", "02", "03", "04"}
    tables = []
    for key in (part["key"], whole["key"]):
        outcome = build_shardmaps(
            key, ["atl06-greenland-healpix"], store=team.store_url, registry=str(path)
        )[0]
        file = team.store.download(outcome["manifest"], f"{team.store_url}-m.parquet")
        tables.append(ShardMap.from_parquet(file).pairs())
    assert tables[0].num_rows > 0
    assert tables[0].equals(tables[1])


def test_an_unknown_region_is_refused(team):
    with pytest.raises(InvalidQuery, match="it has antarctica, greenland, serc"):
        fetch_catalog(region="mars", **team.parameters())


def test_a_cycle_without_granules_is_an_error(team):
    with pytest.raises(EmptyHarvest, match="check the product"):
        fetch_catalog(region="greenland", **team.parameters(cycle=3))


def test_a_small_region_is_fetched_at_once(team):
    registry = load_registry(team.registry / "registry.yaml")
    counts = {
        name: Job(product="ATL06_007", cycle=22, region=region).slice_count
        for name, region in registry.regions.items()
    }
    assert counts == {"antarctica": 4, "greenland": 4, "serc": 1}


def test_without_a_number_the_cycle_is_that_of_45_days_ago():
    assert cycle_or_current(7) == 7
    start, end = cycle_to_dates(22)
    assert cycle_or_current(None, end) == 22
    assert cycle_or_current(None, start) == 21


RELEASE_KEY = ReleaseKey("ATL06_007", "greenland", 22)


def test_a_session_is_continued_until_it_ends(tmp_path):
    store = open_store(str(tmp_path))
    first = Session(store, RELEASE_KEY)
    second = Session(store, RELEASE_KEY)
    assert (first.continued, second.continued) == (False, True)
    assert first.key({"a": 1}) == second.key({"a": 1}) != first.key({"a": 2})
    key = second.key({"a": 1})
    write_slice(first.folder, key, {"state": "fetched", "catalog": b"PAR1"})
    second.checkpoint(key).mkdir(parents=True)
    second.end()
    assert not second.checkpoint(key).exists()
    third = Session(store, RELEASE_KEY)
    assert not third.continued
    assert third.key({"a": 1}) != first.key({"a": 1})
    assert not list((tmp_path / ".prefect").glob("slice-*"))


def test_a_session_is_not_continued_when_it_is_old_torn_or_unwanted(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    Session(store, RELEASE_KEY)
    assert not Session(store, RELEASE_KEY, force=True).continued
    (path,) = (tmp_path / ".prefect/sessions").iterdir()
    path.write_text('{"token": "a')
    assert not Session(store, RELEASE_KEY).continued
    left = tmp_path / ".prefect/slice-old"
    left.write_text("{}")
    part = tmp_path / ".prefect/checkpoints/slice-old"
    part.mkdir(parents=True)
    for path in (left, part):
        os.utime(path, (0, time.time() - 7 * 3600))
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_SESSION_HOURS", "0")
    assert not Session(store, RELEASE_KEY).continued
    assert not left.exists()
    assert not part.exists()


@pytest.mark.parametrize(
    "slice_", [{"state": "fetched", "catalog": b"PAR1", "granules": 3}, {"state": "empty"}]
)
def test_a_slice_is_read_as_it_was_written(tmp_path, slice_):
    assert read_slice(tmp_path, "a") is None
    write_slice(tmp_path / "new", "a", slice_)
    assert read_slice(tmp_path / "new", "a") == slice_


@pytest.mark.parametrize("damage", ["a.parquet", "a.json"])
@pytest.mark.parametrize("content", [None, b"", b"PAR", b'{"state": "fetched"'])
def test_a_slice_that_is_not_whole_is_fetched_again(tmp_path, damage, content):
    write_slice(tmp_path, "a", {"state": "fetched", "catalog": b"PAR1"})
    if content is None:
        (tmp_path / damage).unlink()
    else:
        (tmp_path / damage).write_bytes(content)
    assert read_slice(tmp_path, "a") is None


def test_results_are_named_by_all_that_they_depend_on(monkeypatch):
    key = content_key("map", {"a": 1})
    assert key == content_key("map", {"a": 1})
    assert key != content_key("map", {"a": 2})
    monkeypatch.setattr("flows.results.package_versions", lambda: {"mortie": "2"})
    assert key != content_key("map", {"a": 1})


def test_results_of_replaced_maps_are_collected(tmp_path):
    """Those of the release, of other cycles, and of anything else stay."""
    key, later = ReleaseKey("ATL06_007", "greenland", 22), ReleaseKey("ATL06_007", "greenland", 23)

    def result(name, release_key, digit):
        manifest = release_key.key("shardmaps", digit * 64, grid="polar")
        content = json.dumps({"result": json.dumps({"grid": "polar", "manifest": manifest})})
        (tmp_path / f"map-{name}").write_text(content)
        return manifest

    result("old", key, "a")
    new = result("new", key, "b")
    result("later", later, "a")
    (tmp_path / "map-odd").write_bytes(b"\xff shardmaps/a=b/c.parquet")
    assert collect_maps(tmp_path, key, [new]) == [tmp_path / "map-old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map-later", "map-new", "map-odd"]


def test_a_run_that_replaces_a_release_leaves_the_results_of_the_new_one_only(team, stac):
    def results():
        return {path.name for path in Path(team.store_url, ".prefect").glob("map-*")}

    assert team.run(regions=["greenland"]).is_completed()
    first = results()
    registry = team.registry / "registry.yaml"
    content = yaml.safe_load(registry.read_text())
    content["regions"]["greenland"] = {"bbox": [-70, 60, -20, 80]}
    registry.write_text(yaml.safe_dump(content))
    assert not team.run(regions=["greenland"], allow_contraction=True).is_crashed()
    assert len(first) == len(results()) == 2
    assert not first & results()


def test_flows_use_the_allocator_that_gives_memory_of_ended_threads_back():
    code = "import flows, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "system\n"
