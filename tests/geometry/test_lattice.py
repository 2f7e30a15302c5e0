"""Rings over a lattice of cells, held against shapely in the lattice's plane."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.geometry.footprints import Footprints
from zagg_catalog.geometry.lattice import Lattice, trace_rings
from zagg_catalog.geometry.plane import Plane, unit_vectors
from zagg_catalog.geometry.ragged import join_rings

PLANE = Plane(np.array([0.0, 0.0, -1.0]), np.radians(30))
METRES = 100_000.0
# How far a ring may be from a cell that it touches, cells.
REACH = 0.001


def lattice(columns=40, rows=30):
    """Cells of 100 km in a plane around the south pole, rows from the top."""

    def project(lats, lons):
        x, y = PLANE.project(unit_vectors(lats, lons)).T
        return x / METRES + columns / 2, rows / 2 - y / METRES

    def reach(u, v):
        return np.full(len(u), REACH), np.full(len(v), REACH)

    return Lattice(columns, rows, project, reach)


def footprints(*rings):
    lats, lons, offsets = join_rings([tuple(np.array(ring, float).T) for ring in rings])
    return Footprints(
        lats=lats, lons=lons, offsets=offsets, granule=np.arange(len(rings)), problems={}
    )


def found(rings, cells):
    traced = trace_rings(rings, cells)
    pairs = list(
        zip(traced.ring.tolist(), traced.column.tolist(), traced.row.tolist(), strict=True)
    )
    assert len(set(pairs)) == len(pairs)
    return (
        {pair for pair, sure in zip(pairs, traced.sure, strict=True) if sure},
        {pair for pair, sure in zip(pairs, traced.sure, strict=True) if not sure},
        traced.untraced.tolist(),
    )


def depths(rings, cells):
    """The distance of each ring and cell, cells; negative by the width of what they share."""
    shapes = PLANE.project_rings(rings.lats, rings.lons, rings.offsets)
    tuned = shapely.transform(
        shapes,
        lambda xy: np.column_stack(
            [xy[:, 0] / METRES + cells.columns / 2, cells.rows / 2 - xy[:, 1] / METRES]
        ),
    )
    column, row = np.meshgrid(np.arange(cells.columns), np.arange(cells.rows))
    boxes = shapely.box(column, row, column + 1.0, row + 1.0)
    return shapely.distance(tuned[:, None, None], boxes[None])


SWATH = [(-60, 10), (-60, 10.5), (-75, 40), (-86, 80), (-86, 79), (-75, 39)]
AROUND = [(-75, lon) for lon in range(0, 360, 20)]
BEYOND = [(-30, lon) for lon in range(0, 360, 20)]


@pytest.mark.parametrize("ring", [SWATH, SWATH[::-1], AROUND, BEYOND, BEYOND[::-1]])
def test_finds_what_shapely_finds(ring):
    rings, cells = footprints(ring), lattice()
    sure, close, untraced = found(rings, cells)
    distance = depths(rings, cells)
    touching = {(0, int(c), int(r)) for r, c in np.argwhere(distance[0] == 0.0)}
    assert not untraced
    assert touching <= sure | close
    assert all(distance[0, r, c] < 1e-4 for _, c, r in sure)
    assert all(distance[0, r, c] < 0.02 for _, c, r in close)
    assert len(close) < 0.1 * len(touching)


def test_a_ring_around_the_lattice_holds_all_of_it():
    sure, close, _ = found(footprints(BEYOND), lattice())
    assert len(sure) == 40 * 30
    assert not close


def test_a_ring_beside_the_lattice_has_no_cell():
    assert found(footprints([(-60, 90), (-60, 91), (-61, 90)]), lattice(10, 10)) == (
        set(),
        set(),
        [],
    )


def test_rings_whose_inside_is_not_that_of_the_plane_are_left_to_others():
    """The smaller side of this ring holds the point where the plane ends."""
    north = [(30, lon) for lon in range(0, 360, 20)]
    assert found(footprints(SWATH, north), lattice())[2] == [1]


def test_a_ring_over_a_seam_is_left_to_others():
    cells = lattice()

    def project(lats, lons):
        u, v = cells.project(lats, lons)
        return np.where(u > 20, u + 5, u), v

    seam = Lattice(cells.columns, cells.rows, project, cells.reach)
    assert found(footprints(AROUND, SWATH), seam)[2] == [0]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-89, -62),
    st.floats(-180, 180),
    st.lists(st.floats(0.05, 8.0), min_size=3, max_size=8),
)
def test_no_cell_is_missed_and_none_is_sure_by_mistake(lat, lon, radii):
    turn = 2 * np.pi * np.arange(len(radii)) / len(radii)
    north = np.clip(lat + np.array(radii) * np.sin(turn), -89.9, -50)
    east = lon + np.array(radii) * np.cos(turn) / np.cos(np.radians(lat))
    if np.ptp(east) > 90:
        return
    rings, cells = footprints(list(zip(north, east, strict=True))), lattice()
    sure, close, untraced = found(rings, cells)
    if untraced:
        return
    distance = depths(rings, cells)[0]
    # Both are drawn with chords, 5 m from the curve at most.
    drawn = 10.0 / METRES
    assert all(distance[r, c] <= drawn for _, c, r in sure)
    inside = {(0, int(c), int(r)) for r, c in np.argwhere(distance <= REACH - drawn)}
    assert inside <= sure | close
