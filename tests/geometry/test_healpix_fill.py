"""Filling rings finds the cells that edges pass, and those of mortie's cover that lie inside."""

from itertools import pairwise

import mortie
import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.geometry.healpix_cells import nested_of
from zagg_catalog.geometry.healpix_trace import trace, trace_rings
from zagg_catalog.geometry.healpix_walk import halve_all
from zagg_catalog.geometry.plane import ring_edges, unit_vectors
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import to_latlon, to_xyz
from zagg_catalog.shardmap.cells import coarse_numbers

# Base cells meet at 45° of longitude, and near ±41.81° of latitude; corners and poles are awkward.
PLACES = [(-75, 0), (-75, 44), (-88, 91), (10, 45), (41.8, 10), (60, 180), (-41.8, 90), (0, 0)]


@st.composite
def ladders(draw):
    """Strips along great circles, 1 to 300 km wide: left side up, right side back."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    place = to_xyz(*draw(st.sampled_from(PLACES)))
    lats, lons, sizes = [], [], []
    for _ in range(draw(st.integers(1, 6))):
        start = unit(place + draw(st.sampled_from([0.001, 0.05])) * seed.normal(size=3))
        heading = unit(np.cross(start, seed.normal(size=3)))
        along = np.linspace(0, draw(st.sampled_from([0.02, 0.2, 0.6])), draw(st.integers(2, 9)))
        middle = np.outer(np.cos(along), start) + np.outer(np.sin(along), heading)
        side = np.cross(start, heading) * draw(st.floats(1, 300)) / 2 / 6371
        ring = np.concatenate([unit(middle + side), unit(middle - side)[::-1]])
        lat, lon = to_latlon(ring)
        lats.append(lat)
        lons.append(lon)
        sizes.append(len(lat))
    return np.concatenate(lats), np.concatenate(lons), to_offsets(sizes)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def covered(rings, edges, order):
    """Ring and nested number of each cell, ascending.

    mortie's cover has a few cells beside a ring, too: one that no edge passes counts if its centre
    is inside.
    """
    whose, cells = halve_all(*edges, order)
    shift = 2 * order + 4
    passed = (whose << shift) | nested_of(cells, order)
    words, offsets = mortie.polygons_to_morton_mocs(*rings, order=order)
    keys, offsets = mortie.moc_to_order(words, order, max_cells=None, offsets=offsets)
    centres = unit_vectors(*mortie.mort2geo(keys))
    inside = [passed]
    for ring, (first, last) in enumerate(pairwise(offsets.tolist())):
        place = slice(*rings[2][ring : ring + 2])
        within = contains(unit_vectors(rings[0][place], rings[1][place]), centres[first:last])
        inside.append((ring << shift) | coarse_numbers(keys[first:last][within], order))
    return np.unique(np.concatenate(inside))


def contains(ring, points):
    """Which points are in a ring, in a plane where great circles are straight."""
    middle = unit(ring.sum(axis=0))
    east = unit(np.cross(middle, [0.3, 0.4, 0.5]))
    axes = np.stack([east, np.cross(middle, east)], axis=1)
    flat = [xyz @ axes / (xyz @ middle)[:, None] for xyz in (ring, points)]
    return shapely.contains_xy(shapely.Polygon(flat[0]), flat[1])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(ladders(), st.sampled_from([7, 9, 10]))
def test_rings_are_filled(rings, order):
    edges = ring_edges(*rings)
    found, unsure = trace_rings(*edges, order)
    expected = covered(rings, edges, order)
    sure = ~np.isin(expected >> (2 * order + 4), unsure)
    assert len(found) == len(np.unique(found))
    some = found[~np.isin(found >> (2 * order + 4), unsure)]
    assert np.array_equal(np.sort(some), expected[sure])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ladders())
def test_the_edges_of_every_ring_are_found_also_where_its_inside_is_unsure(rings):
    edges = ring_edges(*rings)
    found, _ = trace_rings(*edges, 9)
    assert np.isin(trace(*edges, 9), found).all()


def test_only_rings_beside_a_pole_or_a_corner_are_unsure():
    """Strips of ten tracks that reach 88° south, as those of ICESat-2 do, are all filled."""
    lons = np.arange(0, 360, 36.0)
    rings = [strip(lon) for lon in lons] + [pole_strip()]
    lats, lons = (np.concatenate(part) for part in zip(*rings, strict=True))
    edges = ring_edges(lats, lons, to_offsets([len(ring[0]) for ring in rings]))
    _, unsure = trace_rings(*edges, 10)
    assert unsure.tolist() == [len(rings) - 1]


def strip(lon):
    lat = np.linspace(-70, -88, 10)
    swing = lon + np.linspace(0, 60, 10)
    return np.concatenate([lat, lat[::-1]]), wrap(np.concatenate([swing, swing[::-1] + 1]))


def pole_strip():
    lat = np.array([-80.0, -90.0, -80.0, -80.0, -89.9, -80.0])
    return lat, wrap(np.array([0.0, 0.0, 180.0, 181.0, 270.0, 359.0]))


def wrap(lon):
    return (lon + 180) % 360 - 180


def test_no_rings_have_no_cells():
    none = np.empty((0, 3))
    cells, unsure = trace_rings(none, none, np.empty(0, np.int64), 9)
    assert len(cells) == len(unsure) == 0
