"""Small catalogs and maps on two grids, as files, and the call that publishes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.regions import Region
from zagg_catalog.releases import MapToPublish, Published
from zagg_catalog.releases import publish as publish_release

REGION, CYCLE, PRODUCT = "antarctica", 22, "ATL06_007"
RELEASE_KEY = (PRODUCT, REGION, CYCLE)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

# For what does not depend on the store: the folder only, not S3 as well.
IN_A_FOLDER = pytest.mark.parametrize("place", ["folder"], indirect=True)

_SECTIONS = """data_source:
  reader: h5coro
  groups: [gt1l]
  coordinates: {latitude: "/{group}/latitude", longitude: "/{group}/longitude"}
  variables: {h_li: "/{group}/h_li"}
aggregation:
  coordinates: {morton: {dtype: uint64, fill_value: 0}}
  variables: {}
output:
  grid: """
CONFIGS = {
    "healpix": _SECTIONS + "{type: healpix, parent_order: 5, child_order: 8}\n",
    "plate": _SECTIONS + "{type: rectilinear, crs: EPSG:4326, resolution: 0.1,"
    " bounds: [-10, -10, 30, 10], chunk_shape: [10, 10]}\n",
}
# Granule number → revision. `next` has one granule more, one revised, and one fewer.
CATALOGS = {
    "first": dict.fromkeys(range(8), 1),
    "next": dict.fromkeys(range(1, 9), 1) | {3: 2},
    "small": dict.fromkeys(range(3), 1),
}
METADATA = {
    "stac_root": "https://stac.example/api",
    "provider": "NSIDC_CPRD",
    "cycle": CYCLE,
    "cycle_convention": "mission",
    "start_date": "2023-12-18",
    "end_date": "2024-03-18",
    "bbox": [-180.0, -90.0, 180.0, -60.0],
    "area": [[-180.0, -90.0, 180.0, 90.0]],
    "complete": True,
}


def granule(number: int, revision: int = 1) -> str:
    return f"ATL06_20231218211600_{number + 1:04d}2201_007_{revision:02d}.h5"


def make(numbers: dict[int, int], **metadata) -> Catalog:
    """A catalog of squares of one degree along the equator, three degrees apart."""
    squares = [[(x, 0), (x + 1, 0), (x + 1, 1), (x, 1)] for x in (3 * n for n in numbers)]
    made = make_catalog(*squares, metadata=METADATA | metadata)
    ids = pa.array([granule(*item) for item in numbers.items()], pa.string())
    place = made.table.schema.get_field_index("id")
    return Catalog(made.table.set_column(place, "id", ids), made.metadata)


# A box around the squares.
CORNERS = [([-1, -1, 2, 2], [-1, 28, 28, -1])]


def write(
    folder: Path, name: str, numbers: dict[int, int], region: Region = CORNERS, **metadata
) -> None:
    """Write a catalog, the configs, and a map of the region per config."""
    catalog = make(numbers, **metadata)
    catalog.to_geoparquet(folder / f"{name}.parquet")
    for grid, config in CONFIGS.items():
        (folder / f"{grid}.yaml").write_text(config)
        build = MapToPublish(grid, folder / f"{grid}.yaml")
        built = ShardMap.build(catalog, build.output_grid, region=region)
        built.to_parquet(folder / f"{name}-{grid}.parquet")


def builds(folder: Path, name: str, grids=tuple(CONFIGS)) -> list[MapToPublish]:
    return [
        MapToPublish(
            grid,
            folder / f"{grid}.yaml",
            shard_map=ShardMap.from_parquet(folder / f"{name}-{grid}.parquet"),
        )
        for grid in grids
    ]


def publish(store, folder: Path, name: str, **options) -> Published:
    given = {
        "catalog": folder / f"{name}.parquet",
        "region": REGION,
        "json_manifests": True,
        "published_by": "someone@somewhere",
        # "next" lacks a granule of "first"; test_publish.py tests that this must be allowed.
        "allow_contraction": True,
    }
    if "maps" not in options:
        given["maps"] = builds(folder, name)
    return publish_release(store, **(given | options))


def maps_of_region(name: str, region: Region) -> list[MapToPublish]:
    """Build the maps of a catalog over a region, which are not in files."""
    catalog, made = make(CATALOGS[name]), []
    for grid, config in CONFIGS.items():
        build = MapToPublish(grid, config.encode())
        built = ShardMap.build(catalog, build.output_grid, region=region)
        made.append(replace(build, shard_map=built))
    return made
