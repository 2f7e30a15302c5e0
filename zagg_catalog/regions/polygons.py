"""Regions: polygons on the sphere, with holes.

Edges are great circles, as in every geometry backend, with one exception: an edge of a box or
of a polygon in degrees along a parallel follows that parallel, as it is drawn on a map.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import ArrayLike

from zagg_catalog.errors import InvalidRegion
from zagg_catalog.geometry.rings import check_holes, tidy_ring
from zagg_catalog.geometry.sphere import Ring
from zagg_catalog.html import facts_html, svg_map
from zagg_catalog.regions.extent import box_around

Bbox = tuple[float, float, float, float]


class Region(list[Ring]):
    """Polygons on the Earth: a list of their exteriors, with their holes in ``holes``.

    Items are ``(lats, lons)``, one pair of float64 arrays per polygon, degrees, WGS84, closed:
    the last vertex is the first. Polygons unite, also where they overlap.

    Parameters
    ----------
    exteriors : iterable of (lats, lons)
        Closed or not.
    holes : sequence of sequence of (lats, lons), optional
        The holes of each polygon; none by default.
    bbox : tuple of float, optional
        Box that the region was made from, ``(west, south, east, north)``; west > east where
        it crosses the antimeridian.
    """

    def __init__(
        self,
        exteriors: Iterable[Ring] = (),
        holes: Sequence[Sequence[Ring]] | None = None,
        bbox: Bbox | None = None,
    ) -> None:
        super().__init__(map(_closed, exteriors))
        self.holes = [[_closed(hole) for hole in some] for some in holes or [()] * len(self)]
        self.bbox = bbox

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        mine, theirs = self.polygons(), other.polygons()
        return [*map(len, mine)] == [*map(len, theirs)] and all(
            np.array_equal(values, others)
            for ring, twin in zip(chain(*mine), chain(*theirs), strict=True)
            for values, others in zip(ring, twin, strict=True)
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        holes = sum(map(len, self.holes))
        what = "one polygon" if len(self) == 1 else f"{len(self):,} polygons"
        return f"<Region: {what}{f', {holes:,} holes' if holes else ''}>"

    def _repr_html_(self) -> str:
        facts = {
            "polygons": len(self),
            "holes": sum(map(len, self.holes)) or None,
            "box": self.bounds if len(self) else None,
        }
        return facts_html("Region", facts, svg_map(self._shapes(), label="Map of the region"))

    @property
    def bounds(self) -> Bbox:
        """The smallest box, ``(west, south, east, north)``, degrees; see `polygon_to_bbox`."""
        return box_around(self.polygons()) if self.bbox is None else self.bbox

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        """GeoJSON of the polygons, longitude before latitude; they are not cut anywhere."""
        found: dict[str, Any] = shapely.geometry.mapping(shapely.MultiPolygon(self._shapes()))
        return found

    def _shapes(self) -> list[shapely.Polygon]:
        rings = [[np.column_stack(ring[::-1]) for ring in rings] for rings in self.polygons()]
        return [shapely.Polygon(shell, holes) for shell, *holes in rings]

    def polygons(self) -> list[list[Ring]]:
        """Return one list of rings per polygon, its exterior, then its holes; none is closed."""
        return [
            [_opened(ring) for ring in (exterior, *holes)]
            for exterior, holes in zip(self, self.holes, strict=True)
        ]


def tidy_region(parts: Region | Iterable[tuple[ArrayLike, ArrayLike]]) -> Region:
    """Return checked, tidied polygons; in a plain list every ring is a polygon of its own.

    Raises as `zagg_catalog.regions.as_region`.
    """
    number = itertools.count()
    if isinstance(parts, Region):
        rings = [[tidy_ring(*ring, next(number)) for ring in rings] for rings in parts.polygons()]
        tidy = region_of_polygons(rings, parts.bbox)
    else:
        tidy = Region(tidy_ring(lats, lons, next(number)) for lats, lons in parts)
    if not tidy:
        raise InvalidRegion("A region needs at least one ring of (lats, lons); got none.")
    return tidy


def region_of_polygons(polygons: list[list[Ring]], bbox: Bbox | None = None) -> Region:
    """Return the region of tidied rings; raise `InvalidRegion` if a hole is not inside."""
    first = 0
    for rings in polygons:
        check_holes(rings, first)
        first += len(rings)
    return Region([rings[0] for rings in polygons], [rings[1:] for rings in polygons], bbox)


def _closed(ring: Ring) -> Ring:
    lats, lons = ring
    if len(lats) and lats[0] == lats[-1] and lons[0] == lons[-1]:
        return lats, lons
    return np.append(lats, lats[:1]), np.append(lons, lons[:1])


def _opened(ring: Ring) -> Ring:
    lats, lons = ring
    return lats[:-1], lons[:-1]
