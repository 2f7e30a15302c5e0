"""Grids that a mistaken unit makes."""

from __future__ import annotations

import numpy as np

from zagg_catalog.config import RectilinearSection
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.grids.rectilinear import RectilinearGrid
from zagg_catalog.lazy import lazy_module

odc_geo, pyproj = lazy_module("odc.geo"), lazy_module("pyproj")

# Beams of a granule are 3 km apart; shards of this size, metres, are of a wrong unit if there are
# so many.
_SMALL, _MANY = 100.0, 1_000_000
_COARSEST = 90.0  # degrees
_DEGREE = 111_000.0  # metres of latitude


def check_units(grid: RectilinearGrid) -> None:
    """Raise `InvalidGrid` for a grid whose bounds or resolution are of another unit than its CRS.

    Parameters
    ----------
    grid : RectilinearGrid
        With ``config``, or without.
    """
    crs = odc_geo.CRS(grid.crs).proj
    height, width = grid.chunk_shape
    shard = np.array([width * grid.res_x, height * grid.res_y])
    count = grid.n_row_blocks * grid.n_col_blocks
    if crs.is_geographic:
        degrees = _pair(grid.res_x / _DEGREE, grid.res_y / _DEGREE)
        if min(grid.res_x, grid.res_y) > _COARSEST:
            raise InvalidGrid(
                f"output.grid.resolution {_pair(grid.res_x, grid.res_y)} is in degrees, the unit of"
                f" {grid.crs}; did you mean {degrees} degrees, or a CRS"
                " in metres?"
            )
        return
    section = grid.config.grid if grid.config else None
    metre = crs.axis_info[0].unit_conversion_factor
    if isinstance(section, RectilinearSection):
        west, south, east, north = section.bounds
        inside = np.abs(section.bounds).max() <= 360.0 and abs(south) <= 90.0 >= abs(north)
        if inside and (np.array([east - west, north - south]) < (grid.res_x, grid.res_y)).all():
            raise InvalidGrid(
                f"output.grid.bounds {list(section.bounds)} are less than one cell, and look like"
                f" degrees; {grid.crs} has metres{_meant(section.bounds, grid.crs)}."
            )
    if count > _MANY and (shard * metre <= _SMALL).all():
        better = _pair(grid.res_x * 1000, grid.res_y * 1000)
        raise InvalidGrid(
            f"output.grid.resolution {_pair(grid.res_x, grid.res_y)} makes {count:,} shards of"
            f" {_pair(*shard.tolist())} m; did you mean {better}?"
        )


def _pair(x: float, y: float) -> str:
    return f"{x:.6g}" if x == y else f"[{x:.6g}, {y:.6g}]"


def _meant(bounds: tuple[float, ...], crs: str) -> str:
    """Return the bounds of a box in degrees in a CRS, as the end of a sentence."""
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    try:
        box = transformer.transform_bounds(*bounds, densify_pts=101)
    except pyproj.exceptions.ProjError:
        return ""
    if not np.isfinite(box).all():
        return ""
    return f"; did you mean [{', '.join(f'{side:.0f}' for side in box)}]"
