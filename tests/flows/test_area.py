"""What the flows fetch: the box of the shards of every registered grid of a region."""

import json

import pytest
import yaml
from prefect.artifacts import Artifact

from flows.fetch import fetch_catalog
from flows.jobs import Job, query_values
from flows.shardmaps import build_shardmaps
from tests.flows.conftest import Team
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.registry import load_registry

HEALPIX = "atl06-greenland-healpix"


def add_grid(team: Team, name: str, **changes) -> None:
    """Register a grid of Greenland like the one of HEALPix, with other values of its grid."""
    config = yaml.safe_load((team.registry / f"grids/{HEALPIX}.yaml").read_text())
    config["output"]["grid"] |= changes.pop("grid")
    (team.registry / f"grids/{name}.yaml").write_text(yaml.safe_dump(config))
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    entry = {"config": f"grids/{name}.yaml", "products": ["ATL06_007"], "region": "greenland"}
    content["grids"][name] = entry | changes
    path.write_text(yaml.safe_dump(content))


def registry_of(team: Team):
    return load_registry(team.registry / "registry.yaml")


def stored(team: Team, key: str, suffix: str = ".parquet") -> str:
    return team.store.download(key, f"{team.store_url}-file{suffix}")


def test_the_catalog_is_fetched_for_the_shards_of_all_grids(team, stac):
    before = len(stac.requests)
    catalog = fetch_catalog(region="greenland", **team.parameters())
    (box,) = registry_of(team).area_of("ATL06_007", "greenland")
    asked = {request.query["bbox"] for request in stac.requests[before:]}
    assert [float(side) for side in asked.pop().split(",")] == list(box)
    metadata = Catalog.from_geoparquet(stored(team, catalog["key"])).metadata
    assert metadata["area"] == [list(box)]
    region = registry_of(team).regions["greenland"]
    assert metadata["bbox"] == list(region.bbox)
    assert box[0] < region.bbox[0] < region.bbox[2] < box[2]


def test_the_area_is_a_part_of_the_values_of_a_query(team):
    registry = registry_of(team)
    area = tuple(registry.area_of("ATL06_007", "greenland"))
    job = Job(product="ATL06_007", cycle=22, region=registry.regions["greenland"], area=area)
    assert json.loads(json.dumps(query_values(job.query)))["area"] == [list(box) for box in area]


def test_grids_with_the_edge_of_the_region_need_no_more_than_its_box(team):
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    for name in (HEALPIX, "atl06-greenland-polar"):
        content["grids"][name]["edge"] = "region"
    path.write_text(yaml.safe_dump(content))
    registry = registry_of(team)
    assert registry.area_of("ATL06_007", "greenland") == [registry.regions["greenland"].bbox]


def test_a_grid_that_is_registered_later_is_named_with_the_box_that_it_needs(team, caplog):
    """A build of the stored catalog is partial; the next whole run fetches the wider box."""
    catalog = fetch_catalog(region="greenland", **team.parameters())
    add_grid(team, "coarse", grid={"parent_order": 2, "chunk_inner": 11})
    registry = str(team.registry / "registry.yaml")
    options = {"grids": ["coarse"], "store": team.store_url, "registry": registry}
    state = build_shardmaps(catalog["key"], **options, return_state=True)
    assert state.is_failed()
    assert "coarse: 4 shards of the region reach beyond the area" in state.message
    (outcome,) = build_shardmaps(catalog["key"], **options, partial=True)
    assert outcome["complete"] is False
    assert "shards of the region reach beyond the area of the catalog" in outcome["beyond_area"]
    made = ShardMap.from_parquet(stored(team, outcome["manifest"]))
    assert made.metadata["complete"] is False
    assert made.metadata["shards_beyond_area"]
    assert "Grid coarse" in caplog.text


@pytest.mark.slow
def test_a_whole_run_fetches_the_wider_box_of_a_new_grid(team):
    assert team.run(regions=["greenland"]).is_completed()
    add_grid(team, "coarse", grid={"parent_order": 2, "chunk_inner": 11})
    state = team.run(regions=["greenland"])
    assert state.is_completed(), state.message
    record = team.release("greenland").record
    assert record.status == "complete"
    assert {grid.name: grid.shards_beyond_area for grid in record.grids} == {
        "coarse": 0,
        HEALPIX: 0,
        "atl06-greenland-polar": 0,
    }
    (box,) = registry_of(team).area_of("ATL06_007", "greenland")
    assert record.query.area == (box,)
    text = Artifact.get("release-atl06-007-greenland-c22").data
    assert "| complete for the area |" in text


def test_a_map_without_a_pair_fails_its_grid(team):
    catalog = fetch_catalog(region="greenland", **team.parameters())
    away = {"type": "rectilinear", "crs": "EPSG:3413", "resolution": 5000}
    away |= {"bounds": [2_000_000, 2_000_000, 2_100_000, 2_100_000], "chunk_shape": [5, 5]}
    add_grid(team, "degrees", grid={})
    path = team.registry / "grids/degrees.yaml"
    config = yaml.safe_load(path.read_text())
    config["output"]["grid"] = away
    path.write_text(yaml.safe_dump(config))
    registry = str(team.registry / "registry.yaml")
    options = {"grids": ["degrees"], "store": team.store_url, "registry": registry}
    state = build_shardmaps(catalog["key"], **options, return_state=True)
    assert state.is_failed()
    assert "degrees: The map has no shard" in state.message
    content = yaml.safe_load((team.registry / "registry.yaml").read_text())
    content["grids"]["degrees"]["allow_empty"] = True
    (team.registry / "registry.yaml").write_text(yaml.safe_dump(content))
    (outcome,) = build_shardmaps(catalog["key"], **options)
    assert outcome["pairs"] == 0
