"""ATL03: photons on the shipped grid of 10 m, moved to where two simulated tracks cross."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.aggregation.real.site import SHIPPED, Area, Site, changed
from zagg_catalog import Catalog, CMRSource, Query
from zagg_catalog.sandbox import EarthdataServer, Granules, SandboxServer, simulate, write_granule
from zagg_catalog.sandbox.granules import pick

PRODUCT, CYCLE = "ATL03_007", 22
# An ascending and a descending track.
PASSES = ("056822" + "02", "098722" + "06")
LATITUDES = (38.7, 39.1)
GRID = changed(
    (SHIPPED / "atl03-serc-utm.yaml").read_text(), bounds="[372300, 4302600, 378300, 4308600]"
)
SERC = Area((-76.47, 38.87, -76.41, 38.91), {"utm": GRID})


class PhotonArchive:
    """Two granules of photons, cut to the latitudes of the grid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracks = [int(one[:4]) for one in PASSES]
        made = simulate("ATL03", cycle=CYCLE, regions=[2, 6], tracks=tracks, gaps=False)
        names = made.table["data_s3"].to_pylist()
        rows = [n for n, name in enumerate(names) if any(f"_{one}_" in name for one in PASSES)]
        self.granules: Granules = pick(made, np.array(rows))
        for path in self.files():
            write_granule(path, latitudes=LATITUDES)

    def files(self, name: str = "first", cycle: int = CYCLE) -> list[Path]:
        names = self.granules.table["data_s3"].to_pylist()
        return [self.folder / name.removeprefix("s3://") for name in names]

    def catalog(self, name: str, cycle: int = CYCLE) -> Catalog:
        with SandboxServer(self.granules) as server:
            query = Query.for_cycle("ATL03", "007", cycle, (-80.0, 36.0, -73.0, 42.0))
            return CMRSource(root_url=server.root_url).fetch(query)


@pytest.fixture(scope="module")
def photons(tmp_path_factory) -> PhotonArchive:
    pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
    pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
    return PhotonArchive(tmp_path_factory.mktemp("photons"))


@pytest.fixture
def earthdata(photons, monkeypatch) -> Iterator[EarthdataServer]:
    with EarthdataServer(photons.folder) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize("footprint", ["swath", "beams"])
def test_no_photon_is_lost(photons, earthdata, tmp_path, footprint) -> None:
    """A track along the border of a shard loses none, either."""
    site = Site(photons, SERC, tmp_path, footprint=footprint, product=PRODUCT)
    site.publish()
    result = site.aggregate("utm")
    assert result.error is None
    verdict = site.judge("utm")
    assert verdict.right, str(verdict)
    assert verdict.points > 1_000
