"""Boxes and polygons: holes, poles, the antimeridian, boxes wider than half the globe."""

import json
from contextlib import suppress

import mortie
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidQuery, InvalidRegion
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.regions import (
    Region,
    as_region,
    bbox_region,
    check_bbox,
    load_polygon,
    polygon_to_bbox,
    region_from_geojson,
    split_bbox,
)
from zagg_catalog.registry import read_region

ORDER = 6
GRID = HealpixGrid(ORDER, ORDER + 6)


def coverage(region):
    return set(GRID.coverage(region).tolist())


def shards_of(lats, lons):
    return set(mortie.geo2mort(np.asarray(lats), np.asarray(lons), order=ORDER).tolist())


def polygon(*rings):
    return region_from_geojson({"type": "Polygon", "coordinates": [list(r) for r in rings]})


def ring(*points):
    return [list(point) for point in (*points, points[0])]


def box_ring(west, south, east, north):
    return ring((west, south), (east, south), (east, north), (west, north))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 179),
    st.floats(1, 359),
    st.floats(-90, 88),
    st.floats(0.5, 180),
    st.integers(0, 2**32 - 1),
)
def test_the_shard_of_any_point_in_a_box_is_covered(west, width, south, height, seed):
    """Boxes up to the whole globe, over the antimeridian and both poles."""
    east = (west + width + 180) % 360 - 180
    north = min(90.0, south + height)
    if east == west:
        return
    keys = coverage(bbox_region((west, south, east, north)))
    span = (east - west) % 360
    random = np.random.default_rng(seed)
    lats = random.uniform(south, north, 300)
    lons = (west + random.random(300) * span + 180) % 360 - 180
    assert shards_of(lats, lons) <= keys


@pytest.mark.parametrize(
    "bbox",
    [(-180, -90, 180, -60), (-180, -88, 180, -87.7), (-180, -90, 180, 90), (170, -10, -170, 10)],
)
def test_a_box_covers_no_shard_that_is_wholly_outside(bbox):
    west, south, east, north = bbox
    lats, lons = GRID.shard_rings(sorted(coverage(bbox_region(bbox))), step=4)
    turned = (lons - west) % 360
    width = (east - west - 1e-9) % 360
    reaches_lat = (lats >= south - 0.01) & (lats <= north + 0.01)
    reaches_lon = (turned <= width + 0.01) | (turned > 359.99)
    assert reaches_lat.any(axis=1).all()
    assert reaches_lon.any(axis=1).all()


def test_a_box_drawn_as_a_polygon_is_that_box():
    """Even where its corners say nothing to a great circle."""
    for bbox in ((-180, -90, 180, -60), (-100, -10, 100, 10), (-180, -90, 180, 90)):
        assert coverage(polygon(box_ring(*bbox))) == coverage(bbox_region(bbox))


def test_a_box_over_the_antimeridian_may_be_drawn_three_ways():
    wanted = coverage(bbox_region((170, -10, -170, 10)))
    assert coverage(polygon(box_ring(170, -10, 190, 10))) == wanted
    assert coverage(polygon(box_ring(170, -10, -170, 10))) == wanted
    halves = region_from_geojson(
        {
            "type": "MultiPolygon",
            "coordinates": [[box_ring(170, -10, 180, 10)], [box_ring(-180, -10, -170, 10)]],
        }
    )
    assert coverage(halves) == wanted


def test_a_polygon_around_a_pole_is_the_pole_cap():
    """Drawn around the pole, or closed along the antimeridian as planar files do."""
    edge = [(lon, -70 - 3 * (lon % 40 == 0)) for lon in range(-180, 180, 10)]
    around = polygon(ring(*edge))
    closed = polygon(ring(*edge, (180, edge[0][1]), (180, -90), (-180, -90)))
    assert polygon_to_bbox(around) == (-180, -90, 180, -70)
    assert coverage(closed) == coverage(around)
    assert shards_of([-90, -89, -80], [0, 123, -179.9]) <= coverage(around)


def circle(*steps: float, closed: bool = True) -> list[list[float]]:
    """A ring at 70° S through these longitudes."""
    points = [[lon, -70.0] for lon in steps]
    return [*points, points[0]] if closed else points


EAST = range(-180, 180, 10)


@pytest.mark.parametrize(
    "points",
    [
        circle(*EAST),
        circle(*EAST, 180),
        circle(*EAST, 180, closed=False),
        circle(*EAST, 180)[::-1],
        circle(*range(0, 361, 10)),
        circle(*range(0, -361, -10)),
        circle(-179.9, *EAST[1:], 179.9),
        [*circle(*EAST, 180, closed=False), [180, -90], [-180, -90], [-180, -70]],
        ring((-180, -70), (180, -70), (180, -90), (-180, -90)),
    ],
    ids=[
        "open",
        "closed",
        "unclosed",
        "clockwise",
        "0-360",
        "0--360",
        "179.9",
        "along-the-cut",
        "box",
    ],
)
def test_a_ring_around_a_pole_is_the_cap_however_it_is_drawn(points):
    """An edge of 360° leads nowhere in a ring that goes around by itself."""
    cap, drawn = polygon(circle(*EAST)), polygon(points)
    assert polygon_to_bbox(drawn) == (-180, -90, 180, -70)
    assert coverage(drawn) == coverage(cap)
    lons, lats = np.transpose(points)
    if len(points) > 5:  # as arrays, edges are great circles
        assert polygon_to_bbox([(lats, lons)])[:3] == (-180, -90, 180)
        assert len(coverage(as_region([(lats, lons)]))) > 0.9 * len(coverage(cap))


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([(lon, 10 * (-1) ** (lon // 10)) for lon in EAST], "crosses the equator"),
        ([(lon % 360 - 180, -70 - lon / 100) for lon in range(0, 720, 10)], "around the Earth 2"),
        ([(lon, 0) for lon in EAST], "half the Earth"),
        ([(-90, 0), (0, 89.9), (90, 0), (0, -89.9)], "half the Earth"),
        ([(0, 10), (180, -10), (90, -80)], "opposite ends of the Earth, from longitude 0"),
        ([(0, -70), (20, -80), (20, -70), (0, -80)], "no area: .* loops cancel"),
    ],
)
def test_a_ring_with_two_insides_is_refused(points, says):
    with pytest.raises(InvalidRegion, match=f"Ring 0 .*{says}"):
        polygon(ring(*points))


@pytest.mark.parametrize(
    "hole",
    [box_ring(60, -80, 80, -70), box_ring(-10, -85, 50, -65), box_ring(30, -78, 50, -72)],
    ids=["outside", "around", "across"],
)
@pytest.mark.parametrize("turn", [0, 160])
def test_a_hole_that_is_not_inside_its_polygon_is_refused(hole, turn):
    """In a file, and in a region that a program made."""
    island = box_ring(100, 10, 101, 11)
    rings = [[[lon + turn, lat] for lon, lat in one] for one in (box_ring(0, -80, 40, -70), hole)]
    with pytest.raises(InvalidRegion, match=r"Ring 2 is a hole .* not inside its polygon, ring 1"):
        region_from_geojson({"type": "MultiPolygon", "coordinates": [[island], rings]})
    shell, inner = (np.transpose(one)[::-1] for one in rings)
    with pytest.raises(InvalidRegion, match=r"Ring 1 is a hole"):
        as_region(Region([shell], [[inner]]))


def test_a_hole_may_touch_its_polygon():
    outer = ring((0, -80), (40, -79), (40, -70), (0, -71))
    inner = ring((0, -80), (40, -70), (20, -72))
    assert coverage(polygon(outer, inner)) <= coverage(polygon(outer))


@pytest.mark.parametrize(
    "name",
    ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", "urn:ogc:def:crs:EPSG::4326", "OGC:CRS84"],
)
def test_the_crs_of_a_file_is_wgs84(name):
    outer = [ring((0, 0), (4, 0.5), (0, 4))]
    named = {"type": "name", "properties": {"name": name}}
    document = {"type": "Polygon", "coordinates": outer, "crs": named}
    assert len(region_from_geojson(document)) == 1
    for other in ("EPSG:303199", None, "urn:ogc:def:crs:EPSG::5773"):
        named["properties"] = {"name": other}
        with pytest.raises(InvalidRegion, match=r"its crs, .*(303199|null|EGM96)"):
            region_from_geojson({"type": "FeatureCollection", "features": [document]})


SOUND = [
    json.dumps({"type": "Polygon", "coordinates": [ring((0, 0), (4, 1), (0, 4))]}).encode(),
    json.dumps({"type": "MultiPolygon", "coordinates": [[circle(*EAST[::6])]]}).encode(),
    b"[-10, 60, 20, 70]",
]
SPOILS = [
    b"",
    b"[",
    b"]",
    b"[" * 3000,
    b"9" * 5000,
    b"e308",
    b"-",
    b"Infinity",
    b"\xff",
    b"null",
    b",",
]
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([[], {}, [[]], [[[[0]]]], 5, 10**400, -1e308, float("inf"), float("nan")]),
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_with_anything_in_it_is_read_or_gets_a_sentence(data):
    """Any part of a document is replaced by anything."""
    geometry = {"type": "Polygon", "coordinates": [ring((0, 0), (4, 0.5), (0, 4))]}
    parts = {"type": "MultiPolygon", "coordinates": [geometry["coordinates"]]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    collection = {"type": "GeometryCollection", "geometries": [parts]}
    document = json.loads(
        json.dumps({"type": "FeatureCollection", "features": [feature, collection]})
    )
    root = [document]
    node, place = root, 0
    while node[place] and isinstance(node[place], dict | list) and data.draw(st.integers(0, 9)):
        node = node[place]
        places = sorted(node) if isinstance(node, dict) else range(len(node))
        place = data.draw(st.sampled_from(places))
    node[place] = data.draw(HOSTILE)
    with suppress(InvalidRegion):
        region_from_geojson(root[0])


def test_a_hole_stays_a_hole():
    outer, inner = box_ring(-10, 40, 10, 55), box_ring(-5, 45, 5, 50)[::-1]
    keys = coverage(polygon(outer, inner))
    full = coverage(polygon(outer))
    in_hole = shards_of([47.5], [0.0])
    assert keys < full
    assert not keys & in_hole
    # What the hole's edge runs through stays.
    assert shards_of([45.0, 50.0, 47.0], [0.0, 0.0, 5.0]) <= keys


def test_a_region_is_a_list_of_closed_exteriors_with_holes_beside_them():
    outer, inner = ring((0, 0), (4, 0.5), (0, 4)), ring((0.5, 1), (1, 1.5), (0.5, 2))
    island = ring((1, 1), (1.5, 1.2), (1, 1.4))
    region = region_from_geojson(
        {"type": "MultiPolygon", "coordinates": [[outer, inner], [island]]}
    )
    drawn = [np.column_stack([lons, lats]).tolist() for lats, lons in region]
    assert drawn == [outer, island]
    assert [len(holes) for holes in region.holes] == [1, 0]
    ((lats, lons),) = region.holes[0]
    assert np.column_stack([lons, lats]).tolist() == inner
    # Tidying it again changes nothing; kernels get rings that are not closed.
    again = as_region(region)
    assert [[len(lats) for lats, _ in polygon] for polygon in again.polygons()] == [[3, 3], [3]]
    assert str(again) == str(region)
    assert str(again.holes) == str(region.holes)


def test_overlapping_parts_unite():
    first, second = bbox_region((0, 40, 2, 42)), bbox_region((1, 40, 3, 42))
    both = coverage(Region([*first, *second]))
    assert both == coverage(first) | coverage(second)
    assert coverage(Region([*first, *first])) == coverage(first)


def test_a_plain_list_of_rings_is_a_region_of_parts():
    parts = [([40, 40, 42, 42], [0, 2, 2, 0]), ([40, 40, 42, 42], [1, 3, 3, 1])]
    assert [len(rings) for rings in as_region(parts).polygons()] == [1, 1]
    with pytest.raises(InvalidRegion, match="at least one ring"):
        as_region([])


def test_the_file_is_read_in_every_geojson_form(tmp_path):
    geometry = {"type": "Polygon", "coordinates": [ring((0, 0), (1, 0.5), (0, 1))]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    forms = [
        geometry,
        feature,
        {"type": "FeatureCollection", "features": [feature, {**feature, "geometry": None}]},
        {"type": "GeometryCollection", "geometries": [geometry]},
        {"type": "MultiPolygon", "coordinates": [geometry["coordinates"]]},
    ]
    for form in forms:
        path = tmp_path / "region.geojson"
        path.write_text(json.dumps(form))
        ((lats, lons),) = load_polygon(path)
        assert lats.tolist() == [0, 0.5, 1, 0]
        assert lons.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nonsense", "is not JSON"),
        ("[1, 2]", "expected a GeoJSON object"),
        ('{"type": "Point", "coordinates": [0, 0]}', "no Polygon"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}', "four positions"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1,1],[0,0],[0,0]]]}', "three distinct"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1,NaN],[2,0],[0,0]]]}', "not finite"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1,95],[2,0],[0,0]]]}', "leaves latitudes"),
        ('{"type": "Polygon", "coordinates": [["a", "b", "c", "d"]]}', "positions"),
        ('{"type": "Polygon", "coordinates": {"a": 1}}', "positions"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1e400,1],[2,0],[0,0]]]}', "not finite"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1,1],[2,2],[1,1],[0,0]]]}', "no area"),
        ('{"type": "FeatureCollection", "features": 5}', "features of a .* must be a list; got 5"),
        ('{"type": "GeometryCollection", "geometries": "x"}', "must be a list"),
        ('{"type": "MultiPolygon", "coordinates": 1}', "must be a list"),
        ('{"type": ["Polygon"]}', "expected a GeoJSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"type": "GeometryCollection", "geometries": [' * 900 + "]}" * 900, "nested too deeply"),
        ('{"type": "GeometryCollection", "geometries": [' * 10**6, "nested too deeply"),
        ('{"type": "Polygon", "coordinates": ' + "[" * 900 + "]" * 900 + "}", "positions"),
        ('{"type": "FeatureCollection", "features": ' + "1" * 5000 + "}", "too many digits"),
        ('{"type": "Polygon", "coordinates": [[[0],[1],[2],[0]]]}', "positions"),
        ('{"type": "Polygon", "coordinates": [[["0","0"],["4","1"],["0","4"],["0","0"]]]}', "pos"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1,true],[2,0],[0,0]]]}', "positions"),
        ('{"type": "Polygon", "coordinates": [[[0,0],[1e9,0],[1,1],[2,1],[0,0]]]}', "not degrees"),
        ('{"type": "Polygon", "coordinates": [], "crs": 5}', "four positions"),
        ('{"type": "Point", "crs": {"type": "link", "properties": {"href": "x"}}}', "no Polygon"),
        ("\x00", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_a_bad_region_file_gets_one_sentence_that_names_it(tmp_path, content, says):
    path = tmp_path / "region.geojson"
    path.write_text(content)
    with pytest.raises(InvalidRegion, match=says) as caught:
        load_polygon(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 250
    with pytest.raises(InvalidRegion):
        read_region(content.encode())


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_spoilt_file_is_read_or_gets_a_sentence(data):
    """Bytes of GeoJSON or of a box are removed, replaced or repeated; see also the registry."""
    text = data.draw(st.sampled_from(SOUND))
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 5))
        put = data.draw(st.sampled_from(SPOILS) | st.binary(max_size=3))
        text = text[:at] + put + text[at + length :]
    with suppress(InvalidRegion):
        read_region(text)


def test_a_missing_region_file_is_named(tmp_path):
    with pytest.raises(InvalidRegion, match=r"There is no region file .*nowhere"):
        load_polygon(tmp_path / "nowhere.geojson")


@pytest.mark.parametrize(
    "bbox",
    [
        (0, 0, 1),
        "0,0,1,x",
        (0, 1, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 91),
        (-190, 0, 1, 1),
        (0, 0, 200, 1),
        (0, float("nan"), 1, 1),
        (0, 0, 10**400, 1),
        None,
    ],
)
def test_a_bad_box_is_refused(bbox):
    with pytest.raises(InvalidQuery, match=r"box"):
        check_bbox(bbox)


def test_a_box_over_the_antimeridian_is_split():
    assert split_bbox((170, -10, -170, 10)) == [(170, -10, 180, 10), (-180, -10, -170, 10)]
    assert split_bbox((170, -10, -180, 10)) == [(170, -10, 180, 10)]
    assert split_bbox((0, 0, 1, 1)) == [(0, 0, 1, 1)]


def test_the_box_of_a_polygon():
    assert polygon_to_bbox([([38, 38, 39, 39], [-77, -76, -76, -77])]) == (-77, 38, -76, 39)
    assert polygon_to_bbox([([0, 5, 0], [170, 175, -170])]) == (170, 0, -170, 5)
    two = [([0, 1, 0], [10, 11, 12]), ([0, 1, 0], [-170, -171, -169])]
    assert polygon_to_bbox(two) == (10, 0, -169, 1)
    assert polygon_to_bbox(bbox_region((170, -10, -170, 10))) == (170, -10, -170, 10)


@pytest.mark.parametrize(
    "sides",
    [
        (-76.7, 38.1, -76.3, 38.9),
        (179.3, -60.7, -179.9, -60.1),
        (-180.0, 0.1, -179.7, 0.7),
        (179.3, 0.1, 180.0, 0.7),
    ],
)
def test_the_box_of_a_polygon_is_exactly_that_of_its_vertices(sides):
    west, south, east, north = sides
    middle = (west + 0.1, (south + north) / 2)
    for points in (
        [(west, south), (east, south), (east, north), (west, north)],
        [(west, south), (east, north), middle],
    ):
        assert polygon_to_bbox(polygon(ring(*points))) == sides
        lons, lats = zip(*points, strict=True)
        assert polygon_to_bbox([(lats, lons)]) == sides
        assert polygon_to_bbox([(lats[::-1], lons[::-1]), (lats, lons)]) == sides


def test_vertices_are_those_of_the_file():
    (lats, lons), *_ = polygon(ring((-76.7, 38.1), (-76.69, 38.9), (-76.3, 38.2)))
    assert (lats[0], lons[0]) == (38.1, -76.7)


def test_the_box_of_long_edges_holds_their_bulge():
    north = polygon_to_bbox([([50, 50.001, 40], [-40, 40, 0])])[3]
    assert north == pytest.approx(57.26, abs=0.01)


@pytest.mark.zagg
def test_the_box_of_a_real_region_is_zaggs(real_data):
    zagg = pytest.importorskip("zagg.catalog")
    path = str(real_data / "aop_neon.geojson")
    assert polygon_to_bbox(load_polygon(path)) == zagg.polygon_to_bbox(zagg.load_polygon(path))


@pytest.mark.zagg
def test_the_parts_of_a_real_region_are_zaggs(real_data):
    zagg = pytest.importorskip("zagg.catalog")
    path = str(real_data / "aop_neon.geojson")
    for ours, theirs in zip(load_polygon(path), zagg.load_polygon(path), strict=True):
        assert np.array_equal(ours, theirs)
