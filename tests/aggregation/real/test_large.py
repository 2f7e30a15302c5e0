"""Many granules over a larger region, fetched for its shards: on demand, by ``make test-large``."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pytest
import yaml

from tests.aggregation.real.site import COARSE, CYCLE, Area, Site
from zagg_catalog import Catalog, CMRSource, Query, area_of, from_config
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import EarthdataServer, Granules, SandboxServer, simulate, write_granule

pytestmark = pytest.mark.large
BOX = (94.0, -78.0, 106.0, -75.0)
# Far beyond every shard that the box touches.
AROUND = (70.0, -84.0, 130.0, -70.0)
# Every ninth track; of every fourth of these granules a beam is missing.
TRACKS = range(3, 1388, 9)


class WideArchive:
    """Granules in and around a region; the catalog has those of the region's shards."""

    def __init__(self, folder: Path, area: Area) -> None:
        self.folder, self.area = folder, area
        for path in self.files():
            write_granule(path, latitudes=AROUND[1::2])

    @cached_property
    def granules(self) -> Granules:
        return simulate(
            cycle=CYCLE, regions=[10, 11, 12], tracks=TRACKS, suffixed=0.0, revised=0.0, gaps=False
        )

    def fetch(self, query: Query) -> Catalog:
        with SandboxServer(self.granules) as server:
            return CMRSource(root_url=server.root_url).fetch(query)

    def catalog(self, name: str = "first", cycle: int = CYCLE) -> Catalog:
        grids = [from_config(yaml.safe_load(text)) for text in self.area.configs.values()]
        (box,) = area_of(grids, bbox_region(self.area.box))
        return self.fetch(Query.for_cycle("ATL06", "007", cycle, box))

    @cached_property
    def around(self) -> list[Path]:
        found = self.fetch(Query.for_cycle("ATL06", "007", CYCLE, AROUND)).granule_records()
        return [self.folder / record["s3"].removeprefix("s3://") for record in found]

    def files(self, name: str = "first", cycle: int = CYCLE) -> list[Path]:
        """The files of all granules, also of those that the catalog does not have."""
        return self.around


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> WideArchive:
    pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
    pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
    return WideArchive(tmp_path_factory.mktemp("wide"), Area(BOX, COARSE.configs))


@pytest.mark.parametrize("footprint", ["swath", "beams"])
@pytest.mark.parametrize("grid", ["healpix", "polar"])
def test_every_shard_is_complete_also_beyond_the_region(
    wide, tmp_path, monkeypatch, grid, footprint
) -> None:
    with EarthdataServer(wide.folder) as earthdata:
        for name, value in earthdata.environment.items():
            monkeypatch.setenv(name, value)
        site = Site(wide, wide.area, tmp_path, footprint)
        site.publish()
        result = site.aggregate(grid, batch=6)
    assert result.error is None
    verdict = site.judge(grid)
    assert verdict.right, str(verdict)
    assert len(wide.around) > len(wide.catalog()) > 30
