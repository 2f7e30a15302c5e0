"""fetch-catalog and build-shardmaps, each run by itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.fetch import fetch_catalog
from flows.jobs import Job
from flows.settings import cycle_or_current
from flows.shardmaps import build_shardmaps
from tests.sources.served import known_to_both
from zagg_catalog import Catalog, ShardMap, from_config
from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.registry import load_registry


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


def test_a_run_that_replaces_a_release_leaves_the_results_of_the_new_one_only(team, stac):
    def results():
        return {path.name for path in Path(team.store_url, "results").rglob("map-*")}

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
