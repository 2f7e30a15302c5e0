"""Footprints that are no clean ring: mended where one shape can be meant, else named."""

import numpy as np
import pytest
import shapely

from tests.test_catalog import make_catalog
from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import simulate

HEALPIX = HealpixGrid(6, 12)
POLAR = RectilinearGrid("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6])
GRIDS = [HEALPIX, POLAR]
ANTARCTIC = bbox_region((-180, -90, 180, -60))
GOOD = [(0, -70), (10, -70), (10, -75), (0, -75)]


def column(*rings):
    wkb = np.empty(len(rings), dtype=object)
    wkb[:] = [shapely.Polygon(ring).wkb for ring in rings]
    return wkb


def build(grid, *rings, backend="auto"):
    whole = {"complete": True, "area": [[-180, -90, 180, -50]]}
    catalog = make_catalog(*rings, metadata=whole)
    return ShardMap.build(catalog, grid, region=ANTARCTIC, backend=backend)


def swath():
    """A ladder of real looks: up one side, down the other."""
    ring = np.array(simulate("ATL06", cycle=22, tracks=[300], regions=[10]).ring(0))
    return ring[:-1] if (ring[0] == ring[-1]).all() else ring


def twisted(ring):
    """The same with its second side running the way of the first."""
    half = len(ring) // 2
    return np.concatenate([ring[:half], ring[half:][::-1]])


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
@pytest.mark.parametrize("backend", ["mortie", "spherely"])
def test_a_swath_whose_sides_run_the_same_way_is_mended_and_named(grid, backend):
    good = build(grid, swath(), backend=backend)
    mended = build(grid, twisted(swath()), backend=backend)
    assert mended.pairs().equals(good.pairs())
    assert mended.metadata["complete"] is True
    assert mended.metadata["quarantined"] == []
    (entry,) = mended.metadata["repaired"]
    assert "sides ran the same way" in entry["reason"]
    assert entry["id"] == mended.entries[0]["id"]
    assert good.metadata["repaired"] == []


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_a_bow_tie_of_four_vertices_becomes_what_they_span(grid):
    """Both halves of the bow-tie are inside it, so that no shard is lost."""
    bow_tie = [GOOD[0], GOOD[2], GOOD[1], GOOD[3]]
    mended = build(grid, bow_tie)
    assert mended.pairs().equals(build(grid, GOOD).pairs())
    assert [entry["reason"] for entry in mended.metadata["repaired"]] == [
        "a bow-tie of four vertices became the quadrilateral that they span"
    ]


PENTAGRAM = [(10 * np.cos(a), -75 + 3 * np.sin(a)) for a in 2 * np.pi * np.arange(5) * 2 / 5]
HALF = [(lon, 0.0) for lon in (0, 90, 180, -90)]
OPPOSITE = [(0, 10), (90, 40), (180, -10)]
CASES = [
    (PENTAGRAM, "crosses itself"),
    (HALF, "half the Earth"),
    (OPPOSITE, "opposite ends"),
    ([(0, -70), (5, -95), (1, -72)], "not a finite"),
    ([(0, -70), (1, -71), (0, -70), (1, -71)], "fewer than three"),
]


@pytest.mark.parametrize(("ring", "reason"), CASES)
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.kind)
def test_what_cannot_be_mended_is_named_and_makes_the_map_incomplete(grid, ring, reason):
    both = build(grid, GOOD, ring)
    assert both.metadata["complete"] is False
    (entry,) = both.metadata["quarantined"]
    assert reason in entry["reason"]
    assert entry["id"].startswith("ATL06_20231218211600_0002")
    alone = build(grid, GOOD)
    assert both.pairs().equals(alone.pairs())


def test_the_smaller_side_is_meant_up_to_nearly_half_the_earth():
    turn = np.linspace(-180, 180, 60, endpoint=False)
    for lat, usable in ((-3.0, True), (-0.2, False)):
        footprints = read_footprints(column(list(zip(turn, np.full(60, lat), strict=True))))
        assert (len(footprints) == 1) is usable


def test_clean_rings_are_left_alone(real_data):
    from zagg_catalog import Catalog
    from zagg_catalog.catalog.schema import column_values

    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    footprints = read_footprints(column_values(catalog.table, "geometry"))
    assert footprints.problems == {}
    assert footprints.repaired == {}
