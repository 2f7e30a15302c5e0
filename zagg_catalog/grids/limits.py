"""Limits of grids, checked before work: numbers of shards and of cells."""

from __future__ import annotations

from collections.abc import Iterable

from zagg_catalog.errors import InvalidGrid
from zagg_catalog.settings import LimitSettings, read_settings

# Shards of a coarser grid that make an estimate exact enough.
ENOUGH = 10_000
# Larger numbers are shown by their magnitude.
_SPELT = 10**15


def check_shards(whole: int, coarser: Iterable[tuple[int, int]]) -> None:
    """Refuse a region with more shards than ``ZAGG_CATALOG_MAX_SHARDS``.

    Parameters
    ----------
    whole : int
        Number of shards of the grid.
    coarser : iterable of (int, int)
        Coarser grids, the coarsest first: the shards of each that the region touches, and how
        many shards of the grid are in one of them. Consumed if the whole grid has too many.

    Raises
    ------
    InvalidGrid
        With both numbers.
    """
    limit, count = read_settings(LimitSettings).max_shards, whole
    if whole <= limit:
        return
    for touched, parts in coarser:
        count = min(whole, touched * parts)  # never too low
        if count <= limit:
            return
        if touched > ENOUGH:
            break
    raise InvalidGrid(
        f"The region has about {_number(count)} shards of the grid, and at most {limit:,} are"
        " allowed; choose coarser shards, or raise ZAGG_CATALOG_MAX_SHARDS."
    )


def check_cells(count: int, where: str) -> None:
    """Refuse more cells in memory than ``ZAGG_CATALOG_MAX_CELLS``, as `check_shards`."""
    limit = read_settings(LimitSettings).max_cells
    if count > limit:
        raise InvalidGrid(
            f"{where} {_number(count)} cells, and at most {limit:,} are allowed; choose coarser"
            " cells or smaller shards, or raise ZAGG_CATALOG_MAX_CELLS."
        )


def _number(count: int) -> str:
    return f"{count:,}" if count < _SPELT else f"more than 10**{len(str(count)) - 1}"
