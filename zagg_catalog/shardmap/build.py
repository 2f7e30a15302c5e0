"""Building shard maps: cover the region, pair the footprints, merge the pairs into columns."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zagg_catalog.catalog.completeness import all_complete
from zagg_catalog.catalog.ids import id_problems, shown_id
from zagg_catalog.catalog.schema import CELLS_ORDER, plain_metadata
from zagg_catalog.catalog.table import Catalog, granule_entries
from zagg_catalog.errors import InvalidOption
from zagg_catalog.geometry.healpix_trace import in_threads
from zagg_catalog.geometry.sphere import Floats, Ints, Keys
from zagg_catalog.grids import HealpixGrid, OutputGrid
from zagg_catalog.grids.base import Near
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
from zagg_catalog.shardmap.cell_index import FootprintBatch, footprint_index
from zagg_catalog.shardmap.cells import Cells
from zagg_catalog.shardmap.columns import GEOMETRY_RULE, MapColumns
from zagg_catalog.shardmap.copies import without_copies, without_older
from zagg_catalog.shardmap.empty import EmptyMap, empty_reason
from zagg_catalog.shardmap.readable import mark_unreadable
from zagg_catalog.sources.report import harvest_in
from zagg_catalog.sources.revisions import older_revisions

FOOTPRINTS = ("swath", "beams")
Area = RegionLike


class BuildOptions(TypedDict, total=False):
    """Options of a build; see `zagg_catalog.shardmap.ShardMap.build`."""

    region: Area | None
    aoi: Area | None
    backend: str
    mortie_order: int | None
    footprint: str
    edge: str


def build_columns(
    catalog: Catalog,
    grids: Sequence[OutputGrid],
    *,
    region: Area | None = None,
    aoi: Area | None = None,
    backend: str = "auto",
    mortie_order: int | None = None,
    footprint: str = "swath",
    edge: str = "shards",
) -> list[BuiltColumns]:
    """Return the columns of a map for each grid; see `zagg_catalog.shardmap.build_maps`."""
    started = time.perf_counter()
    if footprint not in FOOTPRINTS:
        raise InvalidOption(f"footprint must be 'swath' or 'beams'; got {footprint!r}.")
    check_edge(edge)
    methods = [(choose_backend(backend, grid), _cells_order(grid, mortie_order)) for grid in grids]
    # A fetch has left out older revisions itself; a catalog of others may have several.
    fetched = harvest_in(catalog.metadata) is not None
    revised = not fetched and bool(older_revisions(catalog.table["id"]))
    mask = _mask(catalog, region)
    index = footprint_index(catalog)
    works = [
        _Work.start(grid, coverage_of(grid, mask), *method)
        for grid, method in zip(grids, methods, strict=True)
    ]
    strips = footprint == "beams" and beams.applies(catalog)
    near = _any_near([work.join for work in works])
    odd_ids = id_problems(catalog.table["id"])
    for work in works:
        work.problems |= odd_ids
    for batch in index.batches:
        cells = None if strips else batch.cells(near)
        in_threads(partial(_Work.add, batch=batch, cells=cells), works)
    area, digest = mask if aoi is None else as_region(aoi), region_digest(mask)
    entries = granule_entries(catalog.table, time_key=catalog.metadata.get("time_key"))
    built = []
    for work in works:
        checked = check_area(work.grid, work.covered, mask, catalog.metadata, edge)
        columns = work.finish(catalog, entries, footprint, area, checked, digest, started)
        if revised:
            unusable = np.fromiter(work.problems, np.int64)
            usable = np.delete(np.arange(len(catalog)), unusable)
            columns = without_older(columns, catalog.table["id"].take(pa.array(usable)))
        columns = _readable(columns, work.grid)
        empty = (
            None if len(columns.rows) else empty_reason(columns, work.grid, mask, checked.shards)
        )
        built.append(BuiltColumns(columns=columns, area=checked, empty=empty))
    return built


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltColumns:
    """The columns of a map, and what is wrong with it."""

    columns: MapColumns
    area: AreaCheck
    """How the shards compare with the area of the catalog."""
    empty: str | None
    """Why the map has no pair, a sentence; None if it has one."""

    def warn(self, *, allow_empty: bool, stacklevel: int) -> None:
        """Warn if shards reach beyond the area, or the map has no pair."""
        if self.area.beyond:
            warning = ShardsBeyondArea(self.area.sentence())
            warnings.warn(warning, stacklevel=stacklevel + 1)
        if self.empty and not allow_empty:
            warnings.warn(EmptyMap(self.empty), stacklevel=stacklevel + 1)


def coverage_of(grid: OutputGrid, region: Region) -> Keys:
    """Return `OutputGrid.coverage`, cached for the last few grids and regions."""
    digest = hashlib.blake2b(json.dumps(grid.spatial_signature(), sort_keys=True).encode())
    for polygon in region.polygons():
        digest.update(np.array([len(polygon), *(len(lats) for lats, _ in polygon)]).tobytes())
        for ring in polygon:
            digest.update(np.stack(ring).tobytes())
    return _covered(_Coverage(digest.digest(), grid, region))


@dataclass(frozen=True)
class _Coverage:
    """A grid and a region, equal to those of the same digest."""

    digest: bytes
    grid: OutputGrid = field(compare=False)
    region: Region = field(compare=False)


# Enough for a team's grids over a few regions.
@lru_cache(maxsize=16)
def _covered(coverage: _Coverage) -> Keys:
    keys = coverage.grid.coverage(coverage.region)
    keys.flags.writeable = False
    return keys


def _readable(columns: MapColumns, grid: OutputGrid) -> MapColumns:
    """Return a map that lists the granules that the reader of the grid's config drops."""
    config = getattr(grid, "config", None)
    return columns if config is None else mark_unreadable(columns, config.needs)


def _any_near(joins: list[PreparedJoin]) -> Near:
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
    parts: list[_Part] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    repaired: dict[int, str] = field(default_factory=dict)

    @classmethod
    def start(
        cls, grid: OutputGrid, covered: Keys, backend: BackendName, order: int | None
    ) -> _Work:
        """Prepare the join with the shards of the region."""
        return cls(grid, covered, backend, order, prepare_join(backend, grid, covered, order))

    def add(self, batch: FootprintBatch, cells: Cells | None) -> None:
        """Add the pairs of a batch: of its footprints, or of its beams if ``cells`` is None."""
        found = self._of_beams(batch) if cells is None else self.join.of_footprints(batch, cells)
        self.problems |= batch.problems | found.problems
        self.repaired |= batch.repaired
        self.parts.append(_Part.of(*found.sorted(self.problems)))

    def _of_beams(self, batch: FootprintBatch) -> Pairs:
        rings = beams.corridors(batch.rings(), self.grid.near(self.covered))
        order = np.argsort(rings.granule, kind="stable")
        return self.join.of_rings(batch, rings.take(order))

    def finish(
        self,
        catalog: Catalog,
        entries: pa.Table,
        footprint: str,
        area: Region,
        checked: AreaCheck,
        digest: str,
        started: float,
    ) -> MapColumns:
        """Return the columns of the map."""
        shards, offsets, rows = _merged(self.parts, len(self.covered))
        self.parts.clear()
        used = np.zeros(len(catalog), dtype=bool)
        used[rows] = True
        place = np.cumsum(used, dtype=np.int32) - 1
        keys = self.covered[shards]
        aoi = _aoi(self.grid, area)
        metadata = (
            plain_metadata(catalog.metadata)
            | _method(self.backend, footprint, self.order)
            | checked.metadata()
            | {"region_digest": digest}
            | self._counts(catalog, int(used.sum()), len(keys), len(rows), checked)
            | ({} if aoi is None else {"aoi_mask": True})
            | {"build_wall_s": round(time.perf_counter() - started, 3)}
        )
        found = MapColumns(
            grid_signature=self.grid.spatial_signature(),
            shards=keys,
            offsets=offsets,
            rows=place[rows],
            table=entries.take(np.flatnonzero(used)),
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
    counts: NDArray[np.int32]  # number of rows of each shard
    rows: NDArray[np.int32]  # shard after shard

    @classmethod
    def of(cls, shards: NDArray[np.int32], rows: NDArray[np.int32]) -> _Part:
        first = np.flatnonzero(np.append(True, shards[1:] != shards[:-1])[: len(shards)])
        counts = np.diff(np.append(first, len(shards))).astype(np.int32)
        return cls(shards[first], counts, rows)


def _merged(parts: list[_Part], count: int) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Merge the pairs of runs of rows, each by shard, into one list by shard.

    Returns the places of the shards that have rows, the offsets of their rows, and the rows.
    """
    sizes = np.zeros(count, dtype=np.int64)
    for part in parts:
        sizes[part.shards] += part.counts
    ends = np.cumsum(sizes)
    rows = np.empty(int(sizes.sum()), dtype=np.int32)
    following = ends - sizes
    for part in parts:
        # A run's rows of one shard are adjacent, and follow those of the runs before.
        shift = following[part.shards] - (np.cumsum(part.counts) - part.counts)
        rows[np.arange(len(part.rows)) + np.repeat(shift, part.counts)] = part.rows
        following[part.shards] += part.counts
    used = np.flatnonzero(sizes)
    return used, np.append(0, ends[used]), rows


def _mask(catalog: Catalog, region: Area | None) -> Region:
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


def _method(backend: BackendName, footprint: str, order: int | None) -> dict[str, Any]:
    """Return the options that determine the pairs."""
    method = {
        "backend": backend,
        "backend_version": version(backend),
        "footprint": footprint,
        "geometry_rule": GEOMETRY_RULE,
    }
    return method | ({"mortie_order": order} if backend == "mortie" else {})
