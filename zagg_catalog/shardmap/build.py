"""Building shard maps: cover the region, pair the footprints, merge the pairs into columns."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zagg_catalog.catalog.completeness import all_complete
from zagg_catalog.catalog.harvest_report import harvest_in
from zagg_catalog.catalog.ids import id_problems, shown_id
from zagg_catalog.catalog.schema import CELLS_ORDER, plain_metadata
from zagg_catalog.catalog.table import Catalog, granule_entries
from zagg_catalog.errors import InvalidOption
from zagg_catalog.geometry.ragged import starts, to_offsets
from zagg_catalog.geometry.sphere import Floats, Ints, Keys
from zagg_catalog.grids import HealpixGrid, OutputGrid
from zagg_catalog.grids.base import Near
from zagg_catalog.progress import step
from zagg_catalog.regions import Region, RegionLike, as_region, bbox_region, region_digest
from zagg_catalog.shardmap import beams
from zagg_catalog.shardmap.area import AreaCheck, ShardsBeyondArea, check_area, check_edge
from zagg_catalog.shardmap.backends import (
    BackendName,
    Pairs,
    PreparedJoin,
    choose_backend,
    prepare_join,
)
from zagg_catalog.shardmap.cell_index import (
    FootprintBatch,
    FootprintIndex,
    footprint_index,
    near_rings,
)
from zagg_catalog.shardmap.cells import Cells, none_known
from zagg_catalog.shardmap.columns import GEOMETRY_RULE, MapColumns
from zagg_catalog.shardmap.copies import without_copies, without_older
from zagg_catalog.shardmap.empty import EmptyMap, empty_reason
from zagg_catalog.shardmap.readable import mark_unreadable
from zagg_catalog.shardmap.takeover import Earlier, TakenOver, Takeover, take_over
from zagg_catalog.sources.revisions import older_revisions

FOOTPRINTS = ("swath", "beams")
# So many granules are not worth a test for those near the shards.
_FEW = 500
# Pairs to renumber at once.
_CHUNK = 1 << 20


class BuildOptions(TypedDict, total=False):
    """Options of a build; see `zagg_catalog.shardmap.ShardMap.build`."""

    region: RegionLike | None
    aoi: RegionLike | None
    backend: str
    mortie_order: int | None
    footprint: str
    edge: str
    previous: Sequence[Earlier | None] | None


def build_columns(
    catalog: Catalog,
    grids: Sequence[OutputGrid],
    *,
    region: RegionLike | None = None,
    aoi: RegionLike | None = None,
    backend: str = "auto",
    mortie_order: int | None = None,
    footprint: str = "swath",
    edge: str = "shards",
    previous: Sequence[Earlier | None] | None = None,
) -> list[BuiltColumns]:
    """Return the columns of a map for each grid; see `zagg_catalog.shardmap.build_maps`.

    `previous` has for each grid an earlier map of it and the catalog of that map, or None.
    """
    started = time.perf_counter()
    if footprint not in FOOTPRINTS:
        raise InvalidOption(f"footprint must be 'swath' or 'beams'; got {footprint!r}.")
    check_edge(edge)
    methods = [(choose_backend(backend, grid), _cells_order(grid, mortie_order)) for grid in grids]
    # A fetch has left out older revisions itself; a catalog of others may have several.
    fetched = harvest_in(catalog.metadata) is not None
    revised = not fetched and bool(older_revisions(catalog.table["id"]))
    mask = _mask(catalog, region)
    area, digest = mask if aoi is None else as_region(aoi), region_digest(mask)
    works = [
        _Work.start(grid, coverage_of(grid, mask), *method)
        for grid, method in zip(grids, methods, strict=True)
    ]
    odd_ids = id_problems(catalog.table["id"])
    for work, earlier in zip(works, previous or [None] * len(works), strict=True):
        work.metadata = _method(work.backend, footprint, work.order) | {"region_digest": digest}
        work.problems |= odd_ids
        if earlier is not None:
            work.take_over(earlier, catalog)
    _pair(catalog, works, strips=footprint == "beams" and beams.applies(catalog))
    for work in works:
        work.merge(len(catalog))
    used = np.logical_or.reduce([work.used for work in works])
    entries = granule_entries(
        catalog.table.take(pa.array(np.flatnonzero(used))),
        time_key=catalog.metadata.get("time_key"),
    )
    built = []
    for work in works:
        checked = check_area(work.grid, work.covered, mask, catalog.metadata, edge)
        own = entries.take(pa.array(np.flatnonzero(work.used[used])))
        columns = work.finish(catalog, own, area, checked, started)
        if revised:
            unusable = np.fromiter(work.problems, np.int64)
            usable = np.delete(np.arange(len(catalog)), unusable)
            columns = without_older(columns, catalog.table["id"].take(pa.array(usable)))
        columns = _readable(columns, work.grid)
        empty = (
            None if len(columns.rows) else empty_reason(columns, work.grid, mask, checked.shards)
        )
        built.append(
            BuiltColumns(columns=columns, area=checked, empty=empty, taken_over=work.taken_over)
        )
    return built


def _pair(catalog: Catalog, works: Sequence[_Work], *, strips: bool) -> None:
    """Pair the granules of a catalog, or their beams if `strips`, with the shards of all works."""
    whole = [work for work in works if work.taken is None]
    if whole:
        _pair_batches(footprint_index(catalog), whole, strips=strips)
    for work in works:
        if work.taken is not None:
            rest = work.of_rest(work.taken.rest)
            index = FootprintIndex.of_rows(catalog, work.taken.rest)
            _pair_batches(index, [rest], strips=strips)
            work.add_rest(rest, work.taken)


def _pair_batches(index: FootprintIndex, works: Sequence[_Work], *, strips: bool) -> None:
    joins = [] if strips else [work.join for work in works if work.join.uses_cells]
    near = None if index.table.num_rows <= _FEW else _any_near(joins)
    with step("pairs", "granule", index.table.num_rows) as counted:
        for batch in index.batches:
            cells = batch.cells(near) if joins else none_known(batch.first, batch.last)
            for work in works:
                work.add(batch, cells, strips=strips)
            counted.update(batch.last)


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltColumns:
    """The columns of a map, and what is wrong with it."""

    columns: MapColumns
    area: AreaCheck
    """How the shards compare with the area of the catalog."""
    empty: str | None
    """Why the map has no pair, a sentence; None if it has one."""
    taken_over: TakenOver | None = None
    """How much was taken over of an earlier map; None if there was no earlier one."""

    def warn(self, *, allow_empty: bool, stacklevel: int) -> None:
        """Warn if shards reach beyond the area, or the map has no pair."""
        if self.area.beyond:
            warning = ShardsBeyondArea(self.area.sentence())
            warnings.warn(warning, stacklevel=stacklevel + 1)
        if self.empty and not allow_empty:
            warnings.warn(EmptyMap(self.empty), stacklevel=stacklevel + 1)


def coverage_of(grid: OutputGrid, region: Region) -> Keys:
    """Return `OutputGrid.coverage`, cached for the last few grids and regions."""
    signature = json.dumps(grid.spatial_signature(), sort_keys=True)
    return _covered(_Coverage(signature, region_digest(region), grid, region))


@dataclass(frozen=True)
class _Coverage:
    """A grid and a region, equal to those of the same signature and digest."""

    signature: str
    digest: str
    grid: OutputGrid = field(compare=False)
    region: Region = field(compare=False)


# Enough for a team's grids over a few regions.
@lru_cache(maxsize=16)
def _covered(coverage: _Coverage) -> Keys:
    with step("shards of the region", "shard"):
        keys = coverage.grid.coverage(coverage.region)
    keys.flags.writeable = False
    return keys


def _readable(columns: MapColumns, grid: OutputGrid) -> MapColumns:
    """Return a map that lists the granules that the reader of the grid's config drops."""
    config = getattr(grid, "config", None)
    return columns if config is None else mark_unreadable(columns, config.needs)


def _any_near(joins: Sequence[PreparedJoin]) -> Near:
    """Return a test for points near the shards of any of the grids."""

    def test(xyz: Floats, metres: float) -> NDArray[np.bool_]:
        near = np.zeros(len(xyz), dtype=bool)
        for join in joins:
            rest = np.flatnonzero(~near)
            near[rest] = join.near(xyz[rest], metres)
        return near

    return test


@dataclass(eq=False)
class _Work:
    """State of the build of one grid's map."""

    grid: OutputGrid
    covered: Keys
    backend: BackendName
    order: int | None
    join: PreparedJoin
    metadata: dict[str, Any] = field(default_factory=dict)
    """The options that determine the pairs."""
    parts: list[_Part] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    repaired: dict[int, str] = field(default_factory=dict)
    taken: Takeover | None = None
    taken_over: TakenOver | None = None

    @classmethod
    def start(
        cls, grid: OutputGrid, covered: Keys, backend: BackendName, order: int | None
    ) -> _Work:
        """Prepare the join with the shards of the region."""
        return cls(grid, covered, backend, order, prepare_join(backend, grid, covered, order))

    def take_over(self, earlier: Earlier, catalog: Catalog) -> None:
        """Take the pairs of an earlier map over, if that is possible."""
        found = take_over(
            earlier, catalog, self.grid, self.covered, self.metadata, again=self.problems
        )
        if isinstance(found, str):
            self.taken_over = TakenOver(reason=found)
            return
        self.taken = found
        self.taken_over = TakenOver(granules=len(catalog) - len(found.rest), pairs=len(found.pairs))

    def of_rest(self, rest: Ints) -> _Work:
        """Return the same work for some rows, ascending, which are numbered from 0 on."""
        known = np.fromiter(self.problems, np.int64)
        places = np.searchsorted(rest, known).tolist()
        problems = dict(zip(places, self.problems.values(), strict=True))
        return replace(self, parts=[], problems=problems, repaired={}, taken=None)

    def add_rest(self, work: _Work, taken: Takeover) -> None:
        """Add the pairs of the rows that `of_rest` returned, and those that were taken over."""
        rest = taken.rest.tolist()
        self.problems |= taken.problems | {rest[i]: why for i, why in work.problems.items()}
        self.repaired |= taken.repaired | {rest[i]: how for i, how in work.repaired.items()}
        parts = [part.pairs(taken.rest) for part in work.parts]
        found = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
        both = taken.joined(found)
        self.parts = [_Part.of((both >> 32).astype(np.int32), both.astype(np.int32))]

    def add(self, batch: FootprintBatch, cells: Cells, *, strips: bool) -> None:
        """Add the pairs of a batch: of its footprints, or of its beams if ``strips``."""
        self.problems |= batch.problems
        self.repaired |= batch.repaired
        for found in self._of_beams(batch) if strips else self.join.of_footprints(batch, cells):
            self.problems |= found.problems
            self.parts.append(_Part.of(*found.sorted(self.problems)))

    def _of_beams(self, batch: FootprintBatch) -> Iterator[Pairs]:
        swaths, near = batch.rings(), self.join.near
        swaths = swaths.take(np.flatnonzero(near_rings(swaths, near, beams.BULGE)))
        rings = beams.corridors(swaths, near)
        order = np.argsort(rings.granule, kind="stable")
        return self.join.of_rings(batch, rings.take(order))

    def merge(self, granules: int) -> None:
        """Merge the pairs of all batches of a catalog of some granules."""
        del self.join  # its lookups may be large
        self.shards, self.offsets, self.rows = _merged(self.parts, len(self.covered))
        self.taken = None
        self.used = np.zeros(granules, dtype=bool)
        self.used[self.rows] = True

    def finish(
        self,
        catalog: Catalog,
        entries: pa.Table,
        area: Region,
        checked: AreaCheck,
        started: float,
    ) -> MapColumns:
        """Return the columns of the map; `entries` are those of the rows that are used."""
        place = np.cumsum(self.used, dtype=np.int32) - 1
        for first in range(0, len(self.rows), _CHUNK):  # without a second copy of all pairs
            some = self.rows[first : first + _CHUNK]
            some[:] = place[some]
        keys = self.covered[self.shards]
        aoi = _aoi(self.grid, area)
        metadata = (
            plain_metadata(catalog.metadata)
            | self.metadata
            | checked.metadata()
            | self._counts(catalog, entries.num_rows, len(keys), len(self.rows), checked)
            | ({} if aoi is None else {"aoi_mask": True})
            | {"build_wall_s": round(time.perf_counter() - started, 3)}
        )
        found = MapColumns(
            grid_signature=self.grid.spatial_signature(),
            shards=keys,
            offsets=self.offsets,
            rows=self.rows,
            table=entries,
            metadata=metadata,
            mask=None if aoi is None else self.grid.aoi_mask(aoi, keys),
        )
        return without_copies(found)

    def _counts(
        self, catalog: Catalog, granules: int, shards: int, pairs: int, checked: AreaCheck
    ) -> dict[str, Any]:
        ids = catalog.table["id"]
        usable = {row: how for row, how in self.repaired.items() if row not in self.problems}
        unusable, repaired = (
            [{"id": shown_id(ids[row].as_py()), "reason": rows[row]} for row in sorted(rows)]
            for rows in (self.problems, usable)
        )
        # A map cannot have what its catalog lacks.
        quarantined = catalog.quarantined + unusable
        return {
            "total_granules": len(catalog),
            "granules_assigned": granules,
            "total_shards": shards,
            "total_pairs": pairs,
            "quarantined": quarantined,
            "repaired": repaired,
            "complete": all_complete([catalog.completeness, not quarantined, checked.whole]),
        }


@dataclass(frozen=True, eq=False)
class _Part:
    """Pairs of a batch of granules, by shard."""

    shards: NDArray[np.int32]  # distinct, ascending
    counts: NDArray[np.unsignedinteger[Any]]  # number of rows of each shard, as small as it fits
    rows: NDArray[np.int32]  # shard after shard

    @classmethod
    def of(cls, shards: NDArray[np.int32], rows: NDArray[np.int32]) -> _Part:
        first = np.flatnonzero(np.append(True, shards[1:] != shards[:-1])[: len(shards)])
        counts = np.diff(np.append(first, len(shards)))
        fits = np.min_scalar_type(counts.max(initial=0))
        return cls(shards[first], counts.astype(fits), rows)

    def pairs(self, rows: Ints) -> Ints:
        """Return the pairs as `Takeover` has them, given the catalog's row of each row."""
        pairs: Ints = np.repeat(self.shards.astype(np.int64) << 32, self.counts)
        return pairs | rows[self.rows]


def _merged(parts: list[_Part], count: int) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Merge the pairs of runs of rows, each by shard, into one list by shard; empties `parts`.

    Returns the places of the shards that have rows, the offsets of their rows, and the rows.
    """
    if len(parts) == 1:
        one = parts.pop()
        return one.shards.astype(np.int64), to_offsets(one.counts), one.rows
    sizes = np.zeros(count, dtype=np.int64)
    for part in parts:
        sizes[part.shards] += part.counts
    used = np.flatnonzero(sizes)
    following = np.cumsum(sizes)
    rows = np.empty(int(following[-1]) if count else 0, dtype=np.int32)
    following -= sizes
    del sizes
    parts.reverse()
    while parts:
        part = parts.pop()  # its memory is free again
        # A run's rows of one shard are adjacent, and follow those of the runs before.
        shift = following[part.shards] - starts(part.counts)
        rows[np.arange(len(part.rows)) + np.repeat(shift, part.counts)] = part.rows
        following[part.shards] += part.counts
    # What would follow now is the end of each shard.
    return used, np.append(0, following[used]), rows


def _mask(catalog: Catalog, region: RegionLike | None) -> Region:
    if region is not None:
        return as_region(region)
    box = catalog.metadata.get("bbox")
    if box is None:
        raise InvalidOption(
            "A map needs a region, and the catalog's metadata has no bbox; pass region=."
        )
    return bbox_region(box)


def _aoi(grid: OutputGrid, area: Region) -> Region | None:
    """Return the area of the strict mask if the grid's config enables one."""
    config = getattr(grid, "config", None)
    return area if config is not None and config.aoi_mask else None


def _cells_order(grid: OutputGrid, order: int | None) -> int | None:
    if not isinstance(grid, HealpixGrid):
        return None
    if order is None:
        return max(grid.parent_order, CELLS_ORDER)
    if not grid.parent_order <= order <= 29:
        raise InvalidOption(
            f"mortie_order must be from the grid's parent_order, {grid.parent_order}, to 29; "
            f"got {order}."
        )
    return max(order, CELLS_ORDER)


# Reading it parses the metadata of the package.
_version = lru_cache(version)


def _method(backend: BackendName, footprint: str, order: int | None) -> dict[str, Any]:
    """Return the options that determine the pairs."""
    method: dict[str, Any] = {
        "backend": backend,
        "backend_version": _version(backend),
        "footprint": footprint,
        "geometry_rule": GEOMETRY_RULE,
    }
    return method if order is None else method | {"mortie_order": order}
