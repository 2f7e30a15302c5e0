"""Eight real ATL06 granules of West Greenland, cut by NSIDC's subsetter, aggregated and judged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer

from tests.aggregation.real.site import BUCKET, SHIPPED, Area, Site, changed
from zagg_catalog import Catalog, CMRSource, Query
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.sandbox import EarthdataServer, Granules, SandboxServer, concat
from zagg_catalog.sandbox.earthdata import DATA_HOST
from zagg_catalog.sandbox.granules import SCHEMA
from zagg_catalog.sandbox.hdf5 import BEAMS

CYCLE, BOX = 3, (-50.9, 69.9, -49.2, 72.1)
FETCHED = (-75.0, 60.0, -25.0, 80.0)
POLAR = """
  grid:
    type: rectilinear
    crs: EPSG:3413
    resolution: 1000
    bounds: [-640000, -3400000, 856000, -600000]
    chunk_shape: [128, 128]
"""
HEALPIX = changed(
    (SHIPPED / "atl06-greenland-healpix.yaml").read_text(),
    parent_order="6",
    chunk_inner="8",
    child_order="12",
)
WEST_GREENLAND = Area(BOX, {"healpix": HEALPIX, "polar": HEALPIX.partition("  grid:")[0] + POLAR})
_NORTH = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)


class RealArchive:
    """The files in a bucket, and a catalog with footprints around their own points."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        self._place = folder / BUCKET / "ATLAS/ATL06/002"
        shutil.copytree(source, self._place)
        self._catalog: Catalog | None = None

    def files(self, name: str, cycle: int = CYCLE) -> list[Path]:
        return sorted(self._place.glob("*.h5"))

    def catalog(self, name: str, cycle: int = CYCLE) -> Catalog:
        if self._catalog is None:
            granules = concat([self._granule(path) for path in self.files(name)])
            query = Query("ATL06", "002", "2019-04-01", "2019-07-01", FETCHED, cycle=CYCLE)
            with SandboxServer(granules) as server:
                self._catalog = CMRSource(root_url=server.root_url).fetch(query)
        return self._catalog

    def _granule(self, path: Path) -> Granules:
        parsed = parse_granule_name(path.name)
        key = path.relative_to(self.folder)
        values = {
            "id": path.name,
            "collection": "ATL06_002",
            "start": parsed.start,
            "end": parsed.start,
            "data": f"https://{DATA_HOST}/{key}",
            "data_s3": f"s3://{key}",
            "metadata": None,
        }
        lons, lats = footprint(path)
        table = pa.Table.from_pylist([values], schema=SCHEMA)
        return Granules(table, lats, lons, to_offsets(np.array([len(lats)])))


def footprint(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A ring 2 km around the points of a granule, as the archive's are."""
    import h5py

    with h5py.File(path) as file:
        groups = [file[f"{beam}/land_ice_segments"] for beam in BEAMS if beam in file]
        lats = np.concatenate([group["latitude"][()] for group in groups])
        lons = np.concatenate([group["longitude"][()] for group in groups])
    points = shapely.points(*_NORTH.transform(lons, lats))
    hull = shapely.multipoints(points).convex_hull.buffer(2000.0, quad_segs=2)
    x, y = shapely.get_coordinates(shapely.orient_polygons(hull)).T
    return _NORTH.transform(x, y, direction="INVERSE")


@pytest.fixture(scope="module")
def real_archive(real_data, tmp_path_factory) -> RealArchive:
    pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
    source = real_data / "h5"
    if not source.is_dir():
        pytest.skip(f"no real ATL06 granules in {source}")
    return RealArchive(source, tmp_path_factory.mktemp("real"))


@pytest.fixture
def greenland(real_archive, tmp_path, monkeypatch) -> Iterator[Site]:
    with EarthdataServer(real_archive.folder) as earthdata:
        for name, value in earthdata.environment.items():
            monkeypatch.setenv(name, value)
        yield Site(real_archive, WEST_GREENLAND, tmp_path, product="ATL06_002")


@pytest.mark.realdata
@pytest.mark.parametrize("grid", ["healpix", "polar"])
def test_west_greenland(greenland, grid) -> None:
    greenland.publish(cycle=CYCLE)
    result = greenland.aggregate(grid, cycle=CYCLE)
    assert result.error is None
    verdict = greenland.judge(grid, cycle=CYCLE)
    assert verdict.right, str(verdict)
    assert verdict.points > 20_000
