"""Footprints drawn from orbits, compared with the polygons of real granules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.oracle.sphere import Rings, vectors
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.orbit import ICESAT2
from zagg_catalog.geometry.sphere import EARTH_RADIUS, angle_between, to_xyz, wrap_longitude
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox.orbit import REGION_STARTS, SHIFT_PER_ORBIT, TRACK_1_NODE
from zagg_catalog.sources.orbit import (
    ICESAT2_SWATH,
    BadOrbit,
    Swath,
    draw_swaths,
    read_extent,
    swath_of,
)

STATED = {
    "SwathWidth": 36.0,
    "SwathWidthUnit": "Kilometer",
    "OrbitPeriod": 94.29,
    "OrbitPeriodUnit": "Decimal Minute",
    "InclinationAngle": 92.0,
    "InclinationAngleUnit": "Degree",
}


def collection(**stated: Any) -> dict[str, Any]:
    return {"SpatialExtent": {"OrbitParameters": STATED | stated}}


def extent(
    node: float, start: float, climbs: bool, end: float, climbs_then: bool
) -> dict[str, Any]:
    return {
        "AscendingCrossing": node,
        "StartLatitude": start,
        "StartDirection": "A" if climbs else "D",
        "EndLatitude": end,
        "EndDirection": "A" if climbs_then else "D",
    }


def node_of(rgt: int) -> float:
    return float(wrap_longitude(TRACK_1_NODE + SHIFT_PER_ORBIT * (rgt - 1)))


def extent_of(name: str) -> dict[str, Any]:
    """The extent that a granule's reference track and region have."""
    parts = parse_granule_name(name)
    assert parts is not None
    start, end = REGION_STARTS[parts.region - 1], REGION_STARTS[parts.region % 14]
    return extent(node_of(parts.rgt), *start, *end)


def draw(*extents: dict[str, Any], swath: Swath = ICESAT2_SWATH) -> list[list[Any]]:
    return draw_swaths([read_extent(part, swath) for part in extents], swath)


def recorded_orbits(folder: Path) -> dict[str, dict[str, Any]]:
    """The extents of real granules by file name."""
    found = {}
    for path in sorted((folder / "recorded").glob("umm_*_orbit*.json")):
        for item in json.loads(path.read_text())["items"]:
            name = item["umm"]["RelatedUrls"][0]["URL"].rpartition("/")[2]
            found[name] = item["umm"]["SpatialExtent"]["HorizontalSpatialDomain"]["Orbit"]
    return found


@pytest.mark.realdata
def test_real_crossings_are_those_of_the_reference_tracks_to_a_kilometre(real_data: Path) -> None:
    orbits = recorded_orbits(real_data)
    assert len(orbits) == 5
    for name, orbit in orbits.items():
        parts = parse_granule_name(name)
        assert parts is not None
        off = wrap_longitude(orbit["AscendingCrossing"] - node_of(parts.rgt))
        assert abs(np.radians(off)) * EARTH_RADIUS < 1000.0


def distances_km(ring: Any, part: tuple[float, float, float]) -> Any:
    """Distance of a ring's vertices from the orbit."""
    node, first, last = part
    track = to_xyz(*ICESAT2.ground_track(node, np.arange(first - 1.0, last + 1.0, 0.01)))
    points = to_xyz(ring[:, 1], ring[:, 0])
    nearest = (points @ track.T).argmax(axis=1)
    return angle_between(points, track[nearest]) * EARTH_RADIUS / 1000.0


@pytest.mark.realdata
def test_the_next_version_has_polygons_inside_the_swath_of_this_one(real_data: Path) -> None:
    """ATL06 of 2019-02-21: an orbit in version 005, a polygon in version 006."""
    orbit = recorded_orbits(real_data)["ATL06_20190221121851_08410203_005_01.h5"]
    rings = json.loads((real_data / "recorded/real_icesat2_footprints.json").read_text())
    (ring,) = [
        np.array(entry["ring_lon_lat"])
        for entry in rings
        if entry["id"].startswith("ATL06_20190221121851_") and entry["provider"] == "NSIDC_CPRD"
    ]
    assert inside(draw(orbit)[0][0], ring)
    assert distances_km(ring, read_extent(orbit, ICESAT2_SWATH)).max() < 9.0


@pytest.mark.realdata
def test_real_rings_elsewhere_are_within_14_km_of_their_orbits(real_data: Path) -> None:
    rings = json.loads((real_data / "recorded/real_icesat2_footprints.json").read_text())
    for entry in rings:
        ring, drawn = np.array(entry["ring_lon_lat"]), extent_of(entry["id"])
        assert inside(draw(drawn)[0][0], ring), entry["id"]
        assert distances_km(ring, read_extent(drawn, ICESAT2_SWATH)).max() < 14.0


@pytest.mark.realdata
def test_every_real_ring_is_inside_its_drawn_swath(real_data: Path) -> None:
    """All 2,089, of which 141 reach 18 to 77 km from their orbits: the beams were pointed there."""
    real = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    swaths = draw(*(extent_of(name) for name in real.table["id"].to_pylist()))
    for swath, footprint in zip(swaths, real.table["geometry"].to_pylist(), strict=True):
        assert inside(swath[0], shapely.get_coordinates(shapely.from_wkb(footprint)))


@pytest.mark.realdata
def test_maps_of_drawn_swaths_have_every_pair_of_the_real_polygons(real_data: Path) -> None:
    table = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet").table[::8]
    swaths = draw(*(extent_of(name) for name in table["id"].to_pylist()))
    wkb = shapely.to_wkb([shapely.Polygon(rings[0]) for rings in swaths])
    place = table.schema.get_field_index("geometry")
    drawn = table.set_column(place, "geometry", pa.array(wkb.tolist(), pa.binary()))
    world = bbox_region((-180.0, -90.0, 180.0, 90.0))
    one, other = (
        pairs(ShardMap.build(Catalog(rows), HealpixGrid(8, 12), region=world))
        for rows in (table, drawn)
    )
    assert len(one) > 10_000
    assert not one - other


def pairs(shard_map: ShardMap) -> set[tuple[int, str]]:
    return {
        (key, granule["id"])
        for key, found in zip(shard_map.shard_keys, shard_map.granules, strict=True)
        for granule in found
    }


def inside(swath: Any, ring: Any) -> bool:
    """Whether all vertices of a ring are inside a swath, by other code than the library's."""
    rings = Rings([(swath[:-1, 1], swath[:-1, 0])])
    return bool(rings.contain(np.zeros(len(ring), int), vectors(ring[:, 1], ring[:, 0])).all())


def test_a_swath_is_one_counter_clockwise_ring_of_its_width() -> None:
    ((ring,),) = draw(extent(10.0, 63.0, True, 80.0, True))
    assert (ring[0] == ring[-1]).all()
    assert shapely.LinearRing(ring).is_ccw
    km = distances_km(ring[:-1], read_extent(extent(10.0, 63.0, True, 80.0, True), ICESAT2_SWATH))
    np.testing.assert_allclose(km, 18.0, atol=0.01)


def test_below_60_degrees_a_swath_reaches_as_far_as_the_beams_are_pointed() -> None:
    ((ring,),) = draw(extent(10.0, 27.0, True, 59.5, True))
    km = distances_km(ring[:-1], read_extent(extent(10.0, 27.0, True, 59.5, True), ICESAT2_SWATH))
    np.testing.assert_allclose(km, 80.0, atol=0.05)


def test_a_swath_may_turn_at_a_pole_and_cross_the_antimeridian() -> None:
    part = extent(81.6295895841921, 27.0, True, 27.0, False)
    ((ring,),) = draw(part)
    assert ring[:, 1].max() == pytest.approx(88.0, abs=0.2)
    footprints = read_footprints(np.array([shapely.to_wkb(shapely.Polygon(ring))], dtype=object))
    assert (footprints.problems, footprints.repaired) == ({}, {})
    track = np.stack(ICESAT2.ground_track(81.6295895841921, np.arange(27.0, 153.0, 0.5))[::-1], -1)
    assert inside(ring, track)


def test_a_part_that_ends_where_it_begins_is_a_whole_orbit_in_pieces() -> None:
    (rings,) = draw(extent(170.0, 0.0, True, 0.0, True))
    assert len(rings) == 3
    wkb = shapely.to_wkb(shapely.MultiPolygon([shapely.Polygon(ring) for ring in rings]))
    assert read_footprints(np.array([wkb], dtype=object)).problems == {}
    assert draw() == []


def test_a_part_may_begin_before_the_next_crossing() -> None:
    _, first, last = read_extent(extent(10.0, -27.0, True, 27.0, True), ICESAT2_SWATH)
    assert (round(first), round(last)) == (333, 387)


@pytest.mark.parametrize(
    "change",
    [
        {"AscendingCrossing": None},
        {"StartLatitude": 91},
        {"EndLatitude": "far"},
        {"StartDirection": "up"},
        {"AscendingCrossing": float("nan")},
    ],
    ids=str,
)
def test_an_orbit_that_cannot_be_read_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadOrbit, match="its Orbit"):
        read_extent(extent(0.0, 0.0, True, 10.0, True) | change, ICESAT2_SWATH)
    with pytest.raises(BadOrbit):
        read_extent("somewhere", ICESAT2_SWATH)


def test_the_swath_of_another_mission_is_the_one_its_collection_states() -> None:
    swath = swath_of("SWOT_L2", collection(SwathWidth=120_000, SwathWidthUnit="Meter"))
    assert swath is not None
    assert (swath.width, swath.orbit.inclination) == (120.0, 92.0)
    assert swath.half_width(np.array([0.0, 80.0])).tolist() == [60.0, 60.0]


@pytest.mark.parametrize("name", ["SwathWidth", "OrbitPeriod", "InclinationAngle"])
def test_a_collection_must_state_width_period_and_inclination(name: str) -> None:
    assert swath_of("SWOT_L2", collection(**{name: None})) is None
    assert swath_of("SWOT_L2", collection(**{f"{name}Unit": "Furlong"})) is None
    assert swath_of("SWOT_L2", {}) is None


def test_the_orbit_of_icesat_2_is_known_and_its_width_may_be_stated() -> None:
    assert swath_of("ATL07", {}) == ICESAT2_SWATH
    stated = swath_of("ATL07", collection(SwathWidth=40.0, OrbitPeriod=96.8))
    assert stated is not None
    assert (stated.width, stated.orbit) == (40.0, ICESAT2)
