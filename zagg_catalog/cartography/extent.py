"""The part of the plane that a map shows, and its scale bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.cartography.projection import MapProjection
from zagg_catalog.geometry.sphere import Floats
from zagg_catalog.lazy import lazy_module

pyproj, shapely = lazy_module("pyproj"), lazy_module("shapely")

# Sides of a map are this long at least, metres.
_LEAST = 200.0
# Points along each side of an extent that are looked at, to find its latitudes and longitudes.
_SAMPLES = 25
# A scale bar is about this part of the map's width, at most this long.
_BAR = 0.25
_ROUND = (1, 2, 5)


@dataclass(frozen=True)
class Extent:
    """A rectangle of the plane, metres."""

    west: float
    south: float
    east: float
    north: float

    @property
    def width(self) -> float:
        """Length of the lower side, metres."""
        return self.east - self.west

    @property
    def height(self) -> float:
        """Length of the left side, metres."""
        return self.north - self.south

    @property
    def centre(self) -> tuple[float, float]:
        """Middle x and y, metres."""
        return (self.west + self.east) / 2.0, (self.south + self.north) / 2.0

    @property
    def box(self) -> Any:
        """The rectangle as a shapely polygon."""
        return shapely.box(self.west, self.south, self.east, self.north)

    def widened(self, margin: float = 0.0, aspect: float | None = None) -> Extent:
        """Return an extent with a margin, and of a ratio of width to height, around this one.

        Parameters
        ----------
        margin : float
            Part of the longer side that is added on each side.
        aspect : float, optional
            Width divided by height; by default that of this extent.
        """
        more = margin * max(self.width, self.height)
        width, height = (max(side + 2.0 * more, _LEAST) for side in (self.width, self.height))
        if aspect is not None:
            width, height = max(width, height * aspect), max(height, width / aspect)
        x, y = self.centre
        return Extent(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)

    def samples(self) -> Floats:
        """Return points of the rectangle, evenly in rows, x and y, shape (n, 2)."""
        x = np.linspace(self.west, self.east, _SAMPLES)
        y = np.linspace(self.south, self.north, _SAMPLES)
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def extent_of(
    projection: MapProjection,
    shapes: ArrayLike,
    *,
    margin: float = 0.05,
    aspect: float | None = None,
) -> Extent:
    """Return what a map of projected shapes shows.

    Parameters
    ----------
    projection : MapProjection
        The map's projection.
    shapes : array_like of shapely geometry, shape (n,)
        As `MapProjection.shapes` returns them; None is left out. Without one the extent is that
        of the globe.
    margin, aspect
        As for `Extent.widened`.
    """
    given = np.atleast_1d(np.asarray(shapes, dtype=object))
    bounds = shapely.total_bounds(given) if len(given) else np.full(4, np.nan)
    if projection.globe or not np.isfinite(bounds).all():
        corners = projection.points([-180.0, 180.0, 0.0, 0.0], [0.0, 0.0, -90.0, 90.0])
        corners = corners[np.isfinite(corners).all(axis=1)]
        bounds = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Extent(*bounds.tolist()).widened(margin, aspect)


@dataclass(frozen=True)
class ScaleBar:
    """A bar of a round length, which is true at the map's centre, from left to right."""

    metres: float
    """Length on the ground, metres."""
    length: float
    """Length in the plane, metres of x."""
    label: str
    """The length as text, ``500 km`` for instance."""


def scale_bar(projection: MapProjection, extent: Extent) -> ScaleBar | None:
    """Return the scale bar of a map; None if the centre of the map is not on the Earth."""
    x, y = extent.centre
    step = extent.width * 0.005
    ends = projection.lonlat([x - step, x + step], [y, y])
    if not np.isfinite(ends).all():
        return None
    (west, south), (east, north) = ends.tolist()
    _, _, distance = pyproj.Geod(ellps="WGS84").inv(west, south, east, north)
    if not distance > 0.0:
        return None
    longest = extent.width * _BAR * distance / (2.0 * step)
    power = 10.0 ** np.floor(np.log10(longest))
    metres = float(max(one * power for one in _ROUND if one * power <= longest * (1.0 + 1e-9)))
    label = f"{metres / 1000.0:,g} km" if metres >= 1000.0 else f"{metres:g} m"
    return ScaleBar(metres, metres * 2.0 * step / distance, label)
