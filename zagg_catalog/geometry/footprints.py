"""Footprints: a WKB column as ragged rings, with the problems of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from zagg_catalog.geometry.boxes import box_sizes, draw_boxes, find_boxes
from zagg_catalog.geometry.plane import ring_edges
from zagg_catalog.geometry.plausible import LEAST_WIDTH, SwathLimits, implausible
from zagg_catalog.geometry.ragged import following, gather, join_rings, runs, starts, to_offsets
from zagg_catalog.geometry.sphere import (
    EARTH_RADIUS,
    HALF,
    OPPOSITE,
    UNSURE,
    Floats,
    Ints,
    angle_between,
    ring_areas,
    to_xyz,
    turns_left,
)
from zagg_catalog.lazy import lazy_module

mortie = lazy_module("mortie")  # loads pandas

# Vertices closer than this are one vertex: 1e-9 rad is 6 mm on the ground.
SAME_VERTEX = 1e-9
# Degrees of latitude between vertices that are certainly not one.
_APART = 20.0 * np.degrees(SAME_VERTEX)
# Rings of more vertices are tested one by one; number of edge sides to compute at once.
_MOST_VERTICES = 200
_MOST_SIDES = 100_000
# Sides along a border of base cells are moved inwards by this much, radians: 1 mm.
_INWARDS = 1e-3 / EARTH_RADIUS
# No outline is longer than twice this, m; so footprints of more than it times a width are wider.
_LONGEST = np.pi * EARTH_RADIUS
# Accuracy of a product of two triple products, each accurate to about 1e-16.
_ROUNDING = 1e-15


@dataclass(frozen=True, kw_only=True, eq=False)
class Footprints:
    """Exterior rings of many granules, ready for a geometry kernel."""

    lats: Floats
    """Degrees, WGS84, shape (vertices,). Rings are not closed; repeated vertices are removed."""
    lons: Floats
    """As ``lats``."""
    offsets: Ints
    """Ring i is ``[offsets[i]:offsets[i + 1]]``; shape (rings + 1,)."""
    granule: Ints
    """Row of each ring's granule, shape (rings,), ascending; several rings for a MultiPolygon."""
    problems: dict[int, str]
    """Rows that have no usable ring, and why."""
    repaired: dict[int, str] = field(default_factory=dict)
    """Rows whose ring was repaired, and how."""
    breadth: Floats | None = None
    """Metres, shape (rings,): no circle of a greater diameter fits in. Infinite if unknown."""

    def __len__(self) -> int:
        return len(self.granule)

    @property
    def breadths(self) -> Floats:
        """``breadth``, or infinity for every ring without it."""
        return np.full(len(self), np.inf) if self.breadth is None else self.breadth

    def rings_of(self, rows: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
        """Return the rings of some granules, and the number of rings of each."""
        first, last = (np.searchsorted(self.granule, rows, side=side) for side in ("left", "right"))
        return runs(first, last), last - first

    def take(self, rings: Ints) -> Footprints:
        """Return some of the rings, in the order of `rings`."""
        offsets, vertex = gather(self.offsets, rings)
        return Footprints(
            lats=self.lats[vertex],
            lons=self.lons[vertex],
            offsets=offsets,
            granule=self.granule[rings],
            problems=self.problems,
            repaired=self.repaired,
            breadth=None if self.breadth is None else self.breadth[rings],
        )


def ragged_rings(lats: list[Floats], lons: list[Floats]) -> tuple[Floats, Floats, Ints]:
    """Return rings as flat lats, lons and offsets, without repeated vertices."""
    lat, lon, offsets = join_rings(list(zip(lats, lons, strict=True)))
    ring = np.repeat(np.arange(len(lats)), np.diff(offsets))
    keep = _distinct(lat, lon, ring)
    return lat[keep], lon[keep], to_offsets(np.bincount(ring[keep], minlength=len(lats)))


def read_footprints(wkb: NDArray[np.object_], limits: SwathLimits | None = None) -> Footprints:
    """Read and screen a column of WKB footprints.

    Parameters
    ----------
    wkb : ndarray of object, shape (granules,)
        WKB bytes or None; longitude before latitude. Holes are ignored, so that a footprint
        is never smaller than the granule.
    limits : SwathLimits, optional
        Limits for the product of the granules, from `plausible.swath_limits`; none by default.

    Returns
    -------
    Footprints
        All usable rings; a granule with an unusable ring is in ``problems`` and has none.

    Notes
    -----
    Closing and repeated vertices are removed. Rings may have either orientation; the inside is
    the smaller side. A ring that crosses itself is repaired if its shape is certain: see `repair`.
    A ring is unusable with fewer than three distinct vertices, a vertex that is not finite, two
    neighbouring vertices that are antipodal, or an area within one per cent of a hemisphere. A
    footprint is unusable if its mean width is less than 6 mm, or if it is beyond the limits.

    A ring that is a box, as `zagg_catalog.geometry.boxes` defines it, becomes rings that follow its
    parallels to 0.5 m. Sides along a meridian of a multiple of 90°, a border of HEALPix cells of
    all orders, are moved inwards by 1 mm, so that cells that only touch them are not reached.
    """
    with np.errstate(invalid="ignore"):  # NaN coordinates are reported below
        geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    problems = _missing(wkb, geometries)
    parts, granule = shapely.get_parts(geometries, return_index=True)
    polygonal = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    parts, granule = parts[polygonal], granule[polygonal].astype(np.int64)
    coordinates, ring_of_vertex = shapely.get_coordinates(
        shapely.get_exterior_ring(parts), return_index=True
    )
    lons, lats = coordinates[:, 0].copy(), coordinates[:, 1].copy()
    offsets = to_offsets(np.bincount(ring_of_vertex, minlength=len(parts)))
    box, boxes = find_boxes(lats, lons, offsets)
    bad = _bad_vertices(lats, lons)
    keep = _distinct(lats, lons, ring_of_vertex)
    counts = np.bincount(ring_of_vertex[keep], minlength=len(parts))
    areal = _has_third_vertex(lats[keep], lons[keep], counts)
    areal[box] = True
    for ring in np.unique(ring_of_vertex[bad]):
        problems[int(granule[ring])] = "a vertex is not a finite latitude and longitude"
    for ring in np.flatnonzero(~areal):
        problems.setdefault(int(granule[ring]), "fewer than three distinct vertices")
    good = ~np.isin(granule, np.fromiter(problems, np.int64, len(problems)))
    boxes, box = boxes[good[box]], box[good[box]]
    good[box] = False
    keep &= good[ring_of_vertex]
    rings, areas = _screened(
        Footprints(
            lats=lats[keep],
            lons=lons[keep],
            offsets=to_offsets(counts[good]),
            granule=granule[good],
            problems=problems,
        )
    )
    sizes = _sizes(rings, areas, boxes, granule[box], len(wkb), limits)
    for row, why in _outside(limits, *sizes).items():
        problems.setdefault(row, why)
    return _off_borders(_with_boxes(_usable(rings), boxes, granule[box]))


def _usable(rings: Footprints) -> Footprints:
    """Leave out the rings of rows with a problem."""
    if not rings.problems:
        return rings
    bad = np.fromiter(rings.problems, np.int64, len(rings.problems))
    return rings.take(np.flatnonzero(~np.isin(rings.granule, bad)))


_Flags = NDArray[np.bool_]


def _sizes(
    rings: Footprints,
    areas: Floats,
    boxes: Floats,
    boxed: Ints,
    rows: int,
    limits: SwathLimits | None,
) -> tuple[Floats, Floats, _Flags]:
    """Return each row's area, km², half the length of its outline, km, and whether it has a box.

    NaN for a row without rings, and for the length of a row that is certainly wide enough.
    """
    more, outline = box_sizes(boxes)
    area = np.zeros(rows)
    area += np.bincount(rings.granule, areas * EARTH_RADIUS**2, minlength=rows)
    area += np.bincount(boxed, more, minlength=rows)
    is_box = np.bincount(boxed, minlength=rows) > 0
    area[(np.bincount(rings.granule, minlength=rows) == 0) & ~is_box] = np.nan
    narrow = area < _LONGEST * (SAME_VERTEX * EARTH_RADIUS if limits is None else LEAST_WIDTH)
    length = np.full(rows, np.nan)
    if narrow.any():
        some = rings.take(np.flatnonzero(narrow[rings.granule]))
        start, end, ring = ring_edges(some.lats, some.lons, some.offsets)
        half = angle_between(start, end) * EARTH_RADIUS / 2.0
        total = np.zeros(rows)
        total += np.bincount(some.granule[ring], half, minlength=rows)
        total += np.bincount(boxed, outline, minlength=rows)
        length[narrow] = total[narrow]
    return area / 1e6, length / 1e3, is_box


def _outside(
    limits: SwathLimits | None, area: Floats, length: Floats, boxed: _Flags
) -> dict[int, str]:
    """Return the rows whose footprint has no area, or one beyond the limits, and why."""
    problems = {} if limits is None else implausible(limits, area, length, boxed)
    for row in np.flatnonzero(area < length * SAME_VERTEX * EARTH_RADIUS / 1e3).tolist():
        problems[row] = f"the footprint has no area: it is a line of {length[row]:,.0f} km"
    return problems


def _with_boxes(footprints: Footprints, boxes: Floats, granule: Ints) -> Footprints:
    """Add boxes, drawn as rings, to the rings of other granules or of the same ones."""
    usable = ~np.isin(granule, np.fromiter(footprints.problems, np.int64))
    if not usable.any():
        return footprints
    drawn = draw_boxes(boxes[usable])
    ring = np.repeat(np.arange(len(drawn.box)), np.diff(drawn.offsets))
    keep = _distinct(drawn.lats, drawn.lons, ring)
    sizes = np.bincount(ring[keep], minlength=len(drawn.box))
    both = Footprints(
        lats=np.concatenate([footprints.lats, drawn.lats[keep]]),
        lons=np.concatenate([footprints.lons, drawn.lons[keep]]),
        offsets=to_offsets(np.concatenate([np.diff(footprints.offsets), sizes])),
        granule=np.concatenate([footprints.granule, granule[usable][drawn.box]]),
        problems=footprints.problems,
        repaired=footprints.repaired,
    )
    return both.take(np.argsort(both.granule, kind="stable"))


def _off_borders(footprints: Footprints) -> Footprints:
    """Move sides along a border of base cells inwards, by less than the kernels' tolerance."""
    lats, lons = footprints.lats, footprints.lons
    some = np.flatnonzero(lons == np.rint(lons))  # most longitudes are not whole degrees
    some = some[lons[some] % 90.0 == 0.0]
    if not len(some):
        return footprints
    ring = np.repeat(np.arange(len(footprints)), np.diff(footprints.offsets))
    rings = np.unique(ring[some])
    _, vertex = gather(footprints.offsets, rings)
    owner = np.unique(ring[vertex], return_inverse=True)[1]
    a, b = vertex, vertex[following(owner)]
    pole_a, pole_b = np.abs(lats[a]) == 90.0, np.abs(lats[b]) == 90.0
    lon_a, lon_b = np.where(pole_a, lons[b], lons[a]), np.where(pole_b, lons[a], lons[b])
    along = ((lon_a - lon_b) % 360.0 == 0.0) & (lon_a % 90.0 == 0.0) & ~(pole_a & pole_b)
    if not along.any():
        return footprints
    part, _ = gather(footprints.offsets, rings)
    left = turns_left(*ring_edges(lats[vertex], lons[vertex], part), len(rings))[owner]
    # The inside of a side to the north is in the west if it is on the left.
    way = np.where((lats[b] > lats[a]) == left, -1.0, 1.0)
    lats, lons = lats.copy(), lons.copy()
    for end, pole in ((a, pole_a), (b, pole_b)):
        which = np.flatnonzero(along & ~pole)
        at = end[which]
        away = np.degrees(_INWARDS / np.cos(np.radians(lats[at])))
        lons[at] = footprints.lons[at] + way[which] * away
        at = end[along & pole]
        lats[at] = np.copysign(90.0 - np.degrees(_INWARDS), lats[at])
    return replace(footprints, lats=lats, lons=lons)


def _screened(footprints: Footprints) -> tuple[Footprints, Floats]:
    """Repair rings that cross themselves, and note those whose inside is not certain.

    Returns the rings and their areas, steradians.
    """
    lats, lons = footprints.lats, footprints.lons
    problems, repaired = footprints.problems, footprints.repaired
    start, end, ring = ring_edges(lats, lons, footprints.offsets)
    opposite = np.einsum("ij,ij->i", start, end) < -np.cos(OPPOSITE)
    for row in footprints.granule[ring[opposite]].tolist():
        problems[row] = "two neighbouring vertices are at opposite ends of the Earth"
    changed = False
    for i in np.flatnonzero(~surely_simple(start, footprints.offsets)):
        part = slice(footprints.offsets[i], footprints.offsets[i + 1])
        row = int(footprints.granule[i])
        if row in problems or mortie.ring_is_simple(lats[part], lons[part]):
            continue
        order, how = repair(lats[part], lons[part])
        if order is None:
            problems[row] = how
            continue
        changed = True
        repaired[row] = how
        lats[part], lons[part] = lats[part][order], lons[part][order]
    if changed:
        start, end, ring = ring_edges(lats, lons, footprints.offsets)
    areas = ring_areas(start, end, ring, len(footprints))
    for row in footprints.granule[areas > HALF * (1.0 - UNSURE)].tolist():
        problems.setdefault(row, "the footprint is half the Earth, so that no side is the smaller")
    return footprints, areas


def surely_simple(xyz: Floats, offsets: Ints) -> NDArray[np.bool_]:
    """Return which rings certainly do not cross themselves, by a quick test.

    Parameters
    ----------
    xyz : ndarray of float64, shape (vertices, 3)
        Unit vectors.
    offsets : ndarray of int64, shape (rings + 1,)
        Start of each ring's vertices.

    Returns
    -------
    ndarray of bool, shape (rings,)
        False also for rings of many vertices.

    Notes
    -----
    If two edges cross, the ends of each are on different sides of the other's great circle. This
    must not hold, within rounding, for any two edges of a ring that are not neighbours.
    """
    counts = np.diff(offsets)
    simple = np.zeros(len(counts), dtype=bool)
    for count in np.unique(counts[(counts >= 3) & (counts <= _MOST_VERTICES)]).tolist():
        apart = np.ones((count, count), dtype=bool)
        every = np.arange(count)
        for step in (-1, 0, 1):
            apart[every, (every + step) % count] = False
        rings, closed = np.flatnonzero(counts == count), np.append(every, 0)
        for some in np.array_split(rings, len(rings) * count**2 // _MOST_SIDES + 1):
            points = xyz[offsets[some][:, None] + closed]
            sides = np.cross(points[:, :-1], points[:, 1:]) @ points.transpose(0, 2, 1)
            crossing = sides[..., 1:] * sides[..., :-1] <= _ROUNDING
            simple[some] = ~(crossing & crossing.transpose(0, 2, 1) & apart).any(axis=(1, 2))
    return simple


def repair(lats: Floats, lons: Floats) -> tuple[Ints | None, str]:
    """Return the order of vertices in which a ring does not cross itself, if it is certain.

    Parameters
    ----------
    lats, lons : ndarray of float64, shape (n,)
        A ring that crosses itself, degrees.

    Returns
    -------
    order : ndarray of int64 or None
        None if it is not certain.
    how : str
        Description of the repair, or the problem.

    Notes
    -----
    Four vertices become the quadrilateral that they span, which contains both halves of a bow-tie.
    In a longer ring whose two sides run in the same direction, the second half is reversed, if
    the result does not cross itself.
    """
    count = len(lats)
    every = np.arange(count)
    if count == 4:
        for order in (every[[0, 1, 3, 2]], every[[0, 2, 1, 3]]):
            if mortie.ring_is_simple(lats[order], lons[order]):
                return order, "a bow-tie of four vertices became the quadrilateral that they span"
    elif count % 2 == 0:
        half = count // 2
        order = np.concatenate([every[:half], every[half:][::-1]])
        if mortie.ring_is_simple(lats[order], lons[order]):
            return order, "a swath whose sides ran the same way had the second one turned"
    return None, "the ring crosses itself, and it is not certain what was meant"


def _missing(wkb: Any, geometries: Any) -> dict[int, str]:
    problems: dict[int, str] = {}
    unread = shapely.is_missing(geometries)
    for row in np.flatnonzero(unread):
        problems[int(row)] = "no geometry" if wkb[row] is None else "the geometry is not WKB"
    kinds = shapely.get_type_id(geometries)
    areal = np.isin(kinds, [shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON])
    for row in np.flatnonzero(~unread & (shapely.is_empty(geometries) | ~areal)):
        problems[int(row)] = f"a footprint is a polygon, not {geometries[row].geom_type}, or empty"
    return problems


def _bad_vertices(lats: Floats, lons: Floats) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return ~((np.abs(lats) <= 90.0) & (np.abs(lons) <= 360.0))


def _distinct(lats: Floats, lons: Floats, ring: Ints) -> NDArray[np.bool_]:
    """Return which vertices differ from the next one of their ring."""
    return _differ(lats, lons, np.arange(len(ring)), following(ring))


def _has_third_vertex(lats: Floats, lons: Floats, counts: Ints) -> NDArray[np.bool_]:
    """Return which rings have a vertex that is neither their first nor their second."""
    every, first = np.arange(len(lats)), np.repeat(starts(counts), counts)
    second = np.minimum(first + 1, len(lats) - 1)
    third = _differ(lats, lons, every, first) & _differ(lats, lons, every, second)
    return np.bincount(np.repeat(np.arange(len(counts)), counts)[third], minlength=len(counts)) > 0


def _differ(lats: Floats, lons: Floats, a: Ints, b: Ints) -> NDArray[np.bool_]:
    """Return which vertices are not those of the same place in `b`."""
    differ = np.ones(len(a), dtype=bool)
    with np.errstate(invalid="ignore"):
        # Points are at least as far apart as their latitudes, so few of them need the angle.
        near = np.flatnonzero(~(np.abs(lats[a] - lats[b]) > _APART))
        ends = (to_xyz(lats[some[near]], lons[some[near]]) for some in (a, b))
        differ[near] = ~(angle_between(*ends) < SAME_VERTEX)
    return differ
