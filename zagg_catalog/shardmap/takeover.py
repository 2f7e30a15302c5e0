"""Taking over the pairs of an earlier map, so that only new and changed granules are paired."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.catalog.unchanged import earlier_rows, ids_of, places, rows_of
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import OutputGrid
from zagg_catalog.grids.base import Keys
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.shardmap import beams
from zagg_catalog.shardmap.cell_index import limits_of
from zagg_catalog.shardmap.columns import MapColumns

# What a map has of its catalog's metadata, by which the two belong together.
_CATALOG_KEYS = (
    "collection",
    "short_name",
    "version",
    "start_date",
    "end_date",
    "bbox",
    "cycle",
    "filters",
    "harvest",
)

Earlier = tuple[MapColumns, Catalog]
"""An earlier map, and the catalog that it was built from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Takeover:
    """The pairs of an earlier map's granules that have the same id and footprint now."""

    rest: Ints
    """Rows of the catalog that are to be paired, ascending."""
    pairs: Ints
    """Place of the shard times 2**32, plus the row of the catalog; ascending."""
    problems: dict[int, str]
    """Rows that are not to be paired, since their footprint cannot be used, and why."""
    repaired: dict[int, str]
    """Rows whose footprint was repaired, and how."""

    def joined(self, pairs: Ints) -> Ints:
        """Return these and other pairs, ascending."""
        return np.insert(self.pairs, np.searchsorted(self.pairs, pairs), pairs)


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """How much a build took over of an earlier map, or why it took over nothing."""

    granules: int = 0
    """Number of granules of the catalog that were not paired again, also those without a pair."""
    pairs: int = 0
    """Number of their pairs."""
    reason: str | None = None
    """Why the map was built from scratch, a clause; None if it was not."""

    def sentence(self, granules: int) -> str:
        """Return what was taken over for a catalog of this many granules."""
        if self.reason:
            return f"Built from scratch: {self.reason}."
        return (
            f"Took over {self.pairs:,} pairs of {self.granules:,} granules, and paired"
            f" {granules - self.granules:,}."
        )


def take_over(
    earlier: Earlier,
    catalog: Catalog,
    grid: OutputGrid,
    covered: Keys,
    method: Mapping[str, Any],
    *,
    again: Iterable[int] = (),
) -> Takeover | str:
    """Find what a build can take over of an earlier map.

    Parameters
    ----------
    earlier : (MapColumns, Catalog)
        The earlier map, and the catalog that it was built from.
    catalog : Catalog
        The catalog of the build.
    grid : OutputGrid
        The grid of the build.
    covered : ndarray of uint64, shape (shards,)
        Ascending keys of the region's shards.
    method : mapping
        The fields of the map's metadata that determine its pairs.
    again : iterable of int
        Further rows of the catalog to pair again.

    Returns
    -------
    Takeover or str
        A clause that says why nothing can be taken over, if so.
    """
    columns, old = earlier
    reason = (
        _other_method(columns, grid, method)
        or _damage(columns)
        or _other_catalog(columns, old)
        or _other_product(old, catalog)
    )
    if reason:
        return reason
    shards = np.searchsorted(covered, columns.shards)
    if len(shards) and (
        shards[-1] >= len(covered) or not np.array_equal(covered[shards], columns.shards)
    ):
        return "the earlier map has shards outside the region"
    same = earlier_rows(old, catalog) >= 0
    same[rows_of(_unsure_ids(columns, old), catalog)] = False
    same[np.fromiter(again, np.int64)] = False
    return Takeover(
        rest=np.flatnonzero(~same),
        pairs=_pairs(columns, shards, catalog, same),
        problems=_noted(columns.metadata.get("quarantined"), "reason", catalog, same),
        repaired=_noted(columns.metadata.get("repaired"), "reason", catalog, same),
    )


def _other_method(columns: MapColumns, grid: OutputGrid, method: Mapping[str, Any]) -> str | None:
    differences = signature_differences(columns.grid_signature, grid)
    if differences:
        return f"the earlier map is of another grid, {differences[0].rstrip('.')}"
    for name, now in method.items():
        then = columns.metadata.get(name)
        if then != now:
            return f"the earlier map's {name} is {then!r:.80}, and now it is {now!r:.80}"
    return None


def _damage(columns: MapColumns) -> str | None:
    metadata, ids = columns.metadata, columns.table["id"]
    if "selected_from" in metadata:
        return "the earlier map is a selection of shards"
    counts = {
        "total_shards": len(columns.shards),
        "total_pairs": len(columns.rows),
        "granules_assigned": columns.table.num_rows,
    }
    for name, count in counts.items():
        if metadata.get(name) != count:
            return f"the earlier map's {name} is {metadata.get(name)!r:.80}, and it has {count:,}"
    if pc.count_distinct(ids).as_py() < len(ids):
        return "the earlier map has a granule twice"
    return None


def _other_catalog(columns: MapColumns, old: Catalog) -> str | None:
    granules = columns.metadata.get("total_granules")
    lacks = places(columns.table["id"], ids_of(old)) < 0
    differ = [
        key
        for key in _CATALOG_KEYS
        if _text(columns.metadata.get(key)) != _text(old.metadata.get(key))
    ]
    if granules == len(old) and not lacks.any() and not differ:
        return None
    return "the earlier map was not built from the earlier catalog"


def _other_product(old: Catalog, catalog: Catalog) -> str | None:
    """Return that footprints have other limits or beams, which depend on the product."""
    if limits_of(old) == limits_of(catalog) and beams.applies(old) == beams.applies(catalog):
        return None
    return "the earlier catalog is of another product"


def _unsure_ids(columns: MapColumns, old: Catalog) -> list[str]:
    """Return the ids of granules whose pairs the earlier map may not have.

    These are copies and older revisions, which it left out, and those that the catalog itself says
    cannot be used.
    """
    superseded = columns.metadata.get("superseded") or []
    return [str(entry.get("id")) for entry in [*superseded, *old.quarantined]]


def _pairs(
    columns: MapColumns, shards: NDArray[np.intp], catalog: Catalog, same: NDArray[np.bool_]
) -> Ints:
    target = places(columns.table["id"], ids_of(catalog))
    target[(target >= 0) & ~same[target]] = -1
    rows = target[columns.rows]
    pairs: Ints = np.repeat(shards.astype(np.int64) << 32, np.diff(columns.offsets))
    pairs |= rows
    if (target < 0).any():
        pairs = pairs[rows >= 0]
    # Catalogs are mostly in the order of the ids, and then so are the pairs.
    if not (pairs[1:] > pairs[:-1]).all():
        pairs.sort()
    return pairs


def _noted(entries: Any, field: str, catalog: Catalog, same: NDArray[np.bool_]) -> dict[int, str]:
    texts = {str(entry["id"]): str(entry[field]) for entry in entries or []}
    rows = places(pa.array(texts, pa.string()), ids_of(catalog))
    pairs = zip(rows.tolist(), texts.values(), strict=True)
    return {row: text for row, text in pairs if row >= 0 and same[row]}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
