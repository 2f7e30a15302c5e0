"""The oracle: which cells a footprint shares area with for sure, how near others come."""

from __future__ import annotations

import numpy as np

from tests.oracle.sphere import RADIUS, unit

# Closer than this to a cell's edge the oracle takes no side: 13 mm on the ground.
MARGIN = 2e-9
# Samples of an edge stand this part of a cell apart; nearer where they jump over a cell.
_STEP = 1 / 6
_DEEPEST = 40


def sure_pairs(space, rings, cells, centre, radius):
    """Return pairs (ring, cell) that share area, among the given cells.

    Parameters
    ----------
    space : Healpix or Tiles
    rings : Rings
    cells : ndarray of int, the cells asked about
    centre, radius : a cap, unit vector and radians, that holds those cells
    """
    ring, cell = _along_edges(space, rings, centre, radius)
    inside_ring, inside_cell = _around_centres(space, rings, cells)
    ring, cell = np.concatenate([ring, inside_ring]), np.concatenate([cell, inside_cell])
    known = np.isin(cell, cells)
    return set(zip(ring[known].tolist(), cell[known].tolist(), strict=True))


def gaps(space, rings, pairs):
    """Metres between footprint and cell for pairs that the oracle is not sure of."""
    return {pair: gap(space, rings, *pair) * RADIUS for pair in sorted(pairs)}


def gap(space, rings, ring, cell):
    """Least angle between a cell and a ring that shares no sure point with it, radians."""
    # Each side by itself: one at a pole is a point, and would hide nearer ones of its neighbours.
    t, step = np.arange(4)[:, None] + np.linspace(0, 1, 65)[:-1], 1 / 64
    for _ in range(8):
        distance = rings.distance(ring, _rim(space, cell, t.ravel())).reshape(t.shape)
        distance[np.isnan(distance)] = np.inf  # off the Earth
        best = np.take_along_axis(t, np.argmin(distance, axis=1)[:, None], axis=1)
        t, step = best + step * np.linspace(-1, 1, 17), step / 8
    return float(distance.min())


def _rim(space, cell, t):
    """Points along a cell's outline for t from 0 to 4, inside by a hair; NaN off the Earth."""
    side, along = np.divmod(t % 4, 1)
    hair = 1e-12
    along = np.clip(along, hair, 1 - hair)
    u = np.choose(side.astype(int), [along, 1 - hair, 1 - along, hair])
    v = np.choose(side.astype(int), [hair, along, 1 - hair, 1 - along])
    return space.inside(np.full(len(t), cell), u, v)


def _around_centres(space, rings, cells):
    points = space.centres(cells)
    on_earth = np.isfinite(points[:, 0])
    cells, points = cells[on_earth], points[on_earth]
    # A centre that a ring runs through to the last digit says nothing: look a little aside.
    ring, cell = [], []
    for i in range(len(rings)):
        near = np.flatnonzero(points @ rings.cap[i] >= rings.cap_cosine[i])
        inside = near[rings.contain(np.full(len(near), i), points[near])]
        ring.append(np.full(len(inside), i))
        cell.append(cells[inside])
    return np.concatenate([*ring, np.empty(0, int)]), np.concatenate([*cell, np.empty(0, int)])


def _along_edges(space, rings, centre, radius):
    """Cells that a ring's edges run through, found on ever closer points."""
    ring, a, b, level = rings.ring, rings.start, rings.end, rings.level
    keep = _reaches(a, b, centre, radius)
    ring, a, b, level = ring[keep], a[keep], b[keep], level[keep]
    found_ring, found_cell = [], []
    step = _STEP * space.size
    for depth in range(_DEEPEST):
        if not len(ring):
            break
        cell_a, depth_a = space.locate(a)
        cell_b, depth_b = space.locate(b)
        for cell, into in ((cell_a, depth_a), (cell_b, depth_b)):
            good = into > MARGIN
            found_ring.append(ring[good])
            found_cell.append(cell[good])
        length = np.linalg.norm(a - b, axis=1)
        jumps = ~space.adjacent(cell_a, cell_b) & (length > 1e-10) & (depth < _DEEPEST - 1)
        split = (length > step) | jumps
        ring, a, b, level = ring[split], a[split], b[split], level[split]
        middle = _middle(a, b, level)
        ring, a, b, level = (
            np.concatenate([ring, ring]),
            np.concatenate([a, middle]),
            np.concatenate([middle, b]),
            np.concatenate([level, level]),
        )
        keep = _reaches(a, b, centre, radius)
        ring, a, b, level = ring[keep], a[keep], b[keep], level[keep]
        # One of each pair is enough: keeps the lists short.
        if sum(map(len, found_ring)) > 3_000_000:
            found_ring, found_cell = _distinct(found_ring, found_cell)
    found_ring, found_cell = _distinct(found_ring, found_cell)
    return found_ring[0], found_cell[0]


def _middle(a, b, level):
    """Middle of each edge: of the great circle, or of the parallel where the edge is one."""
    middle = unit(a + b)
    z = a[level, 2]
    flat = np.hypot(middle[level, 0], middle[level, 1])
    scale = np.sqrt(1 - z**2) / np.where(flat > 0, flat, 1)
    middle[level, 0] *= scale
    middle[level, 1] *= scale
    middle[level, 2] = z
    return middle


def _distinct(rings, cells):
    both = np.column_stack(
        [np.concatenate([*rings, np.empty(0, int)]), np.concatenate([*cells, np.empty(0, int)])]
    ).astype(np.int64)
    both = np.unique(both, axis=0)
    return [both[:, 0]], [both[:, 1]]


def _reaches(a, b, centre, radius):
    length = np.linalg.norm(a - b, axis=1) * 1.6
    nearest = np.minimum(np.linalg.norm(a - centre, axis=1), np.linalg.norm(b - centre, axis=1))
    return 2 * np.arcsin(np.clip(nearest / 2, 0, 1)) <= radius + length
