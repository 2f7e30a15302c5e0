"""What a reader of the pages has: files of the names that they use, a source, and a store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.harness.pages import ROOT
from zagg_catalog import CMRSource, Query, ShardMap, area_of, from_config, load_polygon
from zagg_catalog.releases import MapToPublish, publish
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.shardmap import index_footprints
from zagg_catalog.store import open_store

GRIDS = ROOT / "deployments" / "grids"
ANTARCTICA = ROOT / "deployments" / "regions" / "antarctica.geojson"
GLACIER = """{"type": "Polygon", "coordinates":
 [[[-50.5, 68.9], [-47, 68.9], [-47, 69.6], [-50.5, 69.6], [-50.5, 68.9]]]}"""


@pytest.fixture(scope="session")
def source():
    """A STAC API with a twentieth of the tracks of three cycles."""
    tracks = range(1, 1388, 20)
    with SandboxServer(simulate("ATL06", cycle=[21, 22, 23], tracks=tracks)) as server:
        yield server


@pytest.fixture(scope="session")
def shelf(source, tmp_path_factory) -> Path:
    """A folder with the files that pages name, and a store with two releases."""
    import geopandas

    folder = tmp_path_factory.mktemp("shelf")
    shutil.copytree(ROOT / "deployments", folder / "deployments")
    shutil.copy(ANTARCTICA, folder)
    configs = {
        "atl06.yaml": "atl06-antarctica-healpix",
        "atl06_polar.yaml": "atl06-antarctica-polar",
        "new.yaml": "atl06-antarctica-polar",
        "greenland.yaml": "atl06-greenland-healpix",
    }
    for name, grid in configs.items():
        shutil.copy(GRIDS / f"{grid}.yaml", folder / name)
    (folder / "jakobshavn.geojson").write_text(GLACIER)
    basins = geopandas.read_file(folder / "jakobshavn.geojson").assign(NAME="Jakobshavn")
    for name in ("jakobshavn.gpkg", "basins.gpkg"):
        basins.to_file(folder / name)
    _fetch(source, folder)
    return folder


def _fetch(source: SandboxServer, folder: Path) -> None:
    """Fetch and map three cycles of Antarctica, and one of a glacier; publish two releases."""
    region = load_polygon(folder / "antarctica.geojson")
    grids = {name: from_config(GRIDS / f"{name}.yaml") for name in _REGISTERED}
    area = area_of(list(grids.values()), region)
    fetcher = CMRSource(root_url=source.root_url)
    store = open_store(str(folder / "bucket" / "zagg"))
    (folder / "zagg-store").symlink_to("bucket/zagg")
    (folder / "catalogs").mkdir()
    for cycle in (21, 22, 23):
        query = Query.for_cycle("ATL06", "007", cycle, folder / "antarctica.geojson", area=area)
        catalog = index_footprints(fetcher.fetch(query))
        path = folder / "catalogs" / f"c{cycle}.parquet"
        catalog.to_geoparquet(path)
        if cycle < 23:
            maps = [
                MapToPublish(name, GRIDS / f"{name}.yaml", shard_map=built)
                for name, grid in grids.items()
                for built in [ShardMap.build(catalog, grid, region=region)]
            ]
            publish(store, catalog=path, maps=maps, region="antarctica")
    maps[0].shard_map.to_json(folder / "map.json")
    maps[0].shard_map.to_json(folder / "c22.json")
    maps[1].shard_map.to_parquet(folder / "polar.parquet")
    for name, cycle in {"cycle22": 22, "c22": 22, "newer": 23}.items():
        shutil.copy(folder / "catalogs" / f"c{cycle}.parquet", folder / f"{name}.parquet")
    query = Query.for_cycle("ATL06", "007", 22, folder / "jakobshavn.geojson", margin=1)
    fetcher.fetch(query).to_geoparquet(folder / "catalog.parquet")
    grid = from_config(folder / "greenland.yaml")
    glacier = load_polygon(folder / "jakobshavn.geojson")
    ShardMap.build(folder / "catalog.parquet", grid, region=glacier).to_parquet(
        folder / "map.parquet"
    )


_REGISTERED = ("atl06-antarctica-healpix", "atl06-antarctica-polar")
