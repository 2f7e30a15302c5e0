"""What a grid is, in words: sizes, numbers, and what its config may not have meant."""

from __future__ import annotations

import math
from typing import Any

from zagg_catalog.config import RectilinearSection
from zagg_catalog.geometry.sphere import EARTH_RADIUS
from zagg_catalog.grids.healpix import HealpixGrid
from zagg_catalog.grids.rectilinear import RectilinearGrid
from zagg_catalog.lazy import lazy_module

odc_geo = lazy_module("odc.geo")

# Side of a HEALPix cell of order 0, metres: that of a square of its area.
SIDE = math.sqrt(math.pi / 3.0) * EARTH_RADIUS
# From this number of cells on a shard gets a note: 80 MB for each variable of 8 bytes.
MANY_CELLS = 10_000_000
# A grid whose padding is this part of its cells or more gets a note.
_PADDING = 0.1


def describe_grid(grid: HealpixGrid | RectilinearGrid) -> dict[str, str]:
    """Return what to know about a grid: kind, sides of cells and shards, and their numbers."""
    if isinstance(grid, HealpixGrid):
        return {
            "kind": "healpix",
            "cell": f"order {grid.child_order}, sides of about {side_text(grid.child_order)}",
            "shard": f"order {grid.parent_order}, sides of about {side_text(grid.parent_order)},"
            f" {4 ** (grid.child_order - grid.parent_order):,} cells",
            "shards": f"{12 * 4**grid.parent_order:,} on the Earth",
        }
    parsed = odc_geo.CRS(grid.crs).proj
    unit = f"{parsed.axis_info[0].unit_name}s"
    rows, columns = grid.chunk_shape
    return {
        "kind": "rectilinear",
        "crs": f"{grid.crs}, {parsed.name}",
        "cell": f"{grid.res_x:.15g} x {grid.res_y:.15g} {unit}",
        "shard": f"{columns * grid.res_x:.15g} x {rows * grid.res_y:.15g} {unit},"
        f" {rows * columns:,} cells",
        "shards": f"{grid.n_row_blocks * grid.n_col_blocks:,} in {grid.n_row_blocks} rows and"
        f" {grid.n_col_blocks} columns",
    }


def grid_notes(grid: HealpixGrid | RectilinearGrid) -> list[str]:
    """Return sentences about a grid that is valid and may not be what its config meant."""
    section: Any = grid.config.grid if grid.config else None
    notes = []
    cells = (
        4 ** (grid.child_order - grid.parent_order)
        if isinstance(grid, HealpixGrid)
        else math.prod(grid.chunk_shape)
    )
    if cells >= MANY_CELLS:
        notes.append(
            f"A shard has {cells:,} cells, which one job of zagg holds in memory; smaller shards"
            " need less."
        )
    if not isinstance(grid, RectilinearGrid) or not isinstance(section, RectilinearSection):
        return notes
    west, south, east, north = section.bounds
    height, width = (north - south) / grid.res_y, (east - west) / grid.res_x
    rows, columns = grid.chunk_shape
    one = grid.n_row_blocks * grid.n_col_blocks == 1
    if one and "chunk_shape" not in section.model_fields_set:
        notes.append(
            f"There is no chunk_shape, so a shard has {rows} x {columns} cells, and the grid is one"
            " shard: zagg processes it in one job."
        )
    elif one and (rows > math.ceil(height) or columns > math.ceil(width)):
        notes.append(
            f"chunk_shape [{rows}, {columns}] is larger than the {math.ceil(height):,} x"
            f" {math.ceil(width):,} cells of the bounds, so the grid is one shard."
        )
    whole = grid.shape[0] * grid.shape[1]
    if whole * (1.0 - _PADDING) > height * width:
        notes.append(
            f"The bounds have {height:.6g} x {width:.6g} cells, and whole shards have"
            f" {grid.shape[0]:,} x {grid.shape[1]:,}: the south and east are padded."
        )
    return notes


def side_text(order: int) -> str:
    """Return the side of a HEALPix cell of an order, with its unit."""
    metres = SIDE / 2**order
    return f"{metres / 1000:.3g} km" if metres >= 1000 else f"{metres:.3g} m"
