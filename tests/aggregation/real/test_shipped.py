"""The other shipped grids, aggregated by zagg: Greenland on HEALPix, and photons on UTM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.aggregation.real.site import SHIPPED, Archive, changed
from tests.harness.judge import Verdict, judge
from zagg_catalog import CMRSource, Query, ShardMap, from_config
from zagg_catalog.aggregation.zagg import ZaggCall, run_zagg
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import SandboxServer, simulate, write_granule

CYCLE = 22


@dataclass(frozen=True)
class Part:
    """A part of a shipped grid, where simulated tracks are."""

    product: str
    grid: str
    box: tuple[float, float, float, float]
    tracks: tuple[int, ...]
    footprint: str
    margin: float = 1.0

    @property
    def config(self) -> str:
        return (SHIPPED / f"{self.grid}.yaml").read_text()

    @property
    def around(self) -> tuple[float, float, float, float]:
        west, south, east, north = self.box
        return west - self.margin, south - self.margin, east + self.margin, north + self.margin


GREENLAND = Part("ATL06", "atl06-greenland-healpix", (-34.9, 71.9, -34.3, 72.1), (2,), "swath")
# A track passes 12 km east of the grid, where it is moved to; two shards it only brushes.
PHOTONS = Part("ATL03", "atl03-serc-utm", (-76.48, 38.845, -76.37, 38.935), (568,), "beams")
EAST = "[370300, 4299600, 382300, 4311600]"

BY_SEGMENTS = """
base_level: photons
levels:
  photons:
    path: "/{group}/heights"
    coordinates: {latitude: lat_ph, longitude: lon_ph}
    link: null
  segments:
    path: "/{group}/geolocation"
    coordinates: {latitude: reference_photon_lat, longitude: reference_photon_lon}
    link:
      to: photons
      index_beg: "/{group}/geolocation/ph_index_beg"
      count: "/{group}/geolocation/segment_ph_cnt"
      index_base: 1
read_plan: {spatial_index: segments, pad: 40}
"""


@pytest.fixture
def aggregate(archive: Archive, earthdata, tmp_path) -> Callable[[Part, str], Verdict]:
    """Aggregate a part with a config, and judge the output."""

    def run(part: Part, config: str) -> Verdict:
        granules = simulate(
            part.product, cycle=CYCLE, tracks=part.tracks, suffixed=0.0, revised=0.0, gaps=False
        )
        with SandboxServer(granules) as server:
            query = Query.for_cycle(part.product, "007", CYCLE, part.around)
            catalog = CMRSource(root_url=server.root_url).fetch(query)
        files = [
            archive.folder / record["s3"].removeprefix("s3://")
            for record in catalog.granule_records()
        ]
        for file in files:
            write_granule(file, latitudes=part.around[1::2])
        (tmp_path / "config.yaml").write_text(config)
        grid = from_config(tmp_path / "config.yaml")
        shard_map = ShardMap.build(
            catalog, grid, region=bbox_region(part.box), footprint=part.footprint
        )
        shard_map.to_json(tmp_path / "map.json")
        call = ZaggCall(
            config=str(tmp_path / "config.yaml"),
            catalog=str(tmp_path / "map.json"),
            store=str(tmp_path / "output"),
            dry_run=False,
            shards=len(shard_map),
            signature=grid.spatial_signature(),
            options={"driver": "https"},
        )
        (tmp_path / "work").mkdir()
        answer = run_zagg(call, tmp_path / "work", timeout=900)
        assert {one.state for one in answer.shards} <= {"done", "empty"}
        assert {name for one in answer.shards for name in one.unread} == set()
        return judge(Path(call.store), files, config, inside(part.box))

    return run


def inside(box):
    west, south, east, north = box
    return lambda lats, lons: (lons >= west) & (lons <= east) & (lats >= south) & (lats <= north)


def test_greenland_is_aggregated_as_it_is(aggregate):
    verdict = aggregate(GREENLAND, GREENLAND.config)
    assert verdict.right, str(verdict)


def test_photons_are_aggregated_as_they_are_though_moved(aggregate):
    verdict = aggregate(PHOTONS, changed(PHOTONS.config, bounds=EAST))
    assert verdict.right, str(verdict)


def test_a_read_plan_by_segments_loses_photons_along_the_sides_of_shards(aggregate):
    """No `pad` brings back a beam that only brushes a shard: that is why none is shipped."""
    config = yaml.safe_load(changed(PHOTONS.config, bounds=EAST))
    config["data_source"] |= yaml.safe_load(BY_SEGMENTS)
    verdict = aggregate(PHOTONS, yaml.safe_dump(config))
    assert 0 < len(verdict.missing) < 20, str(verdict)
    assert verdict.extra == []
