"""A store with the catalogs of three cycles, each of four squares along the equator."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.releases import inputs
from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, HealpixGrid, from_config
from zagg_catalog.archive import ArchiveGrid
from zagg_catalog.regions import bbox_region
from zagg_catalog.releases import publish
from zagg_catalog.store import open_store

CYCLES = (1, 2, 4)
REGION = bbox_region((-1, -1, 13, 2))


def catalog_of(cycle: int, **metadata) -> Catalog:
    squares = [[(x, 0), (x + 1, 0), (x + 1, 1), (x, 1)] for x in (0, 3, 6, cycle)]
    days = {"start_date": f"2019-0{cycle}-01", "end_date": f"2019-0{cycle}-28"}
    said = inputs.METADATA | {"cycle": cycle, "bbox": [-1.0, -1.0, 13.0, 2.0]} | days | metadata
    made = make_catalog(*squares, metadata=said)
    names = [f"ATL06_20190{cycle}01000000_{n + 1:04d}{cycle:02d}01_007_01.h5" for n in range(4)]
    place = made.table.schema.get_field_index("id")
    return Catalog(made.table.set_column(place, "id", pa.array(names)), made.metadata)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The catalogs as files, ``c01.parquet`` and so on, and the configs of two grids."""
    folder = tmp_path_factory.mktemp("catalogs")
    for cycle in CYCLES:
        catalog_of(cycle).to_geoparquet(folder / f"c{cycle:02d}.parquet")
    for name, config in inputs.CONFIGS.items():
        (folder / f"{name}.yaml").write_text(config)
    return folder


@pytest.fixture
def store(files, tmp_path):
    """A store with a release of each catalog; cycle 3 has none."""
    opened = open_store(str(tmp_path / "store"))
    for cycle in CYCLES:
        publish(opened, catalog=files / f"c{cycle:02d}.parquet", maps=[], region=inputs.REGION)
    return opened


@pytest.fixture
def grids(files):
    """A HEALPix and a rectilinear grid."""
    plate = from_config(files / "plate.yaml")
    return [
        ArchiveGrid(name="healpix", grid=HealpixGrid(5, 8)),
        ArchiveGrid(name="plate", grid=plate),
    ]
