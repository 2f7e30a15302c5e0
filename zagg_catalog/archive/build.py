"""Building the maps of stored catalogs, and keeping those made from the same inputs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zagg_catalog.archive.catalogs import StoredCatalog
from zagg_catalog.catalog.completeness import (
    BEYOND_KEY,
    Completeness,
    all_complete,
    completeness,
    explain_missing,
)
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import (
    EmptyHarvest,
    EmptyShardMap,
    InvalidCatalog,
    InvalidOption,
    InvalidQuery,
    InvalidShardMap,
    MissingBackend,
    StoreError,
    ZaggCatalogError,
)
from zagg_catalog.grids import HealpixGrid, OutputGrid
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import clean_text
from zagg_catalog.progress import step
from zagg_catalog.regions import Region, region_digest
from zagg_catalog.releases.publication import version_of
from zagg_catalog.shardmap import ShardMap, merge_maps
from zagg_catalog.shardmap.cell_index import footprint_index
from zagg_catalog.shardmap.json_file import read_json_metadata
from zagg_catalog.shardmap.merge import merge_files
from zagg_catalog.shardmap.model import BuiltMap, build_checked
from zagg_catalog.shardmap.parquet_file import read_parquet_metadata
from zagg_catalog.shardmap.takeover import Earlier

Suffix = Literal[".parquet", ".json"]

# Packages that determine the pairs; another version may find other pairs.
_SOFTWARE = ("zagg-catalog", "mortie", "shapely", "spherely", "pyproj")

# Threads that write maps: from stored cells, writing a map takes longer than building it.
_WRITERS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ArchiveGrid:
    """A grid to make maps for."""

    name: str
    """Part of the names of its maps."""
    grid: OutputGrid
    """The grid."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """``backend``, ``footprint``, ``mortie_order`` and ``edge`` for `ShardMap.build`."""
    allow_empty: bool = False
    """Whether a map without a pair is made; otherwise it fails."""

    @classmethod
    def of(cls, name: str, grid: OutputGrid, options: Mapping[str, Any]) -> ArchiveGrid:
        """Return a grid with the options of a registered one, of which some may be None."""
        own = {key: value for key, value in options.items() if value is not None}
        allow_empty = bool(own.pop("allow_empty", False))
        return cls(name=name, grid=grid, options=own, allow_empty=allow_empty)

    def accepted(self, built: BuiltMap) -> ShardMap:
        """Return a map of this grid; raise `EmptyShardMap` for one without a pair, if it fails."""
        return built.shard_map if self.allow_empty else built.check_not_empty()


@dataclass(frozen=True, kw_only=True)
class ArchiveMap:
    """The map of one catalog, or of all, for one grid."""

    catalog: str
    """Label of the catalog."""
    grid: str
    """Name of the grid."""
    state: Literal["built", "kept", "failed"]
    """``kept`` if a file made from the same inputs exists already."""
    path: Path
    """The map's file."""
    granules: int = 0
    """Granules of the catalog."""
    shards: int = 0
    """Shards with granules."""
    pairs: int = 0
    """(shard, granule) pairs."""
    complete: Completeness = False
    """Whether no granule is missing or unusable; ``"unknown"`` if the catalog does not say it."""
    beyond_area: int | None = None
    """Shards of the region that reach beyond the catalog's area; None if that is not known."""
    lacks: str | None = None
    """What an incomplete map lacks, a clause."""
    seconds: float = 0.0
    """Time to build and write it; grids that are built together share it evenly."""
    error: str | None = None
    """Why it failed."""


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """The maps of one run."""

    maps: list[ArchiveMap]
    """By catalog, then by grid."""
    merged: list[ArchiveMap]
    """One map of all catalogs per grid, with ``merge``."""
    seconds: float
    """Time of the whole run."""

    @property
    def failed(self) -> list[ArchiveMap]:
        """Maps that could not be made."""
        return [one for one in (*self.maps, *self.merged) if one.state == "failed"]

    @property
    def complete(self) -> bool:
        """Whether every map was made and is known to lack no granule."""
        return self.completeness is True

    @property
    def completeness(self) -> Completeness:
        """``False`` if a map is missing or incomplete, else ``"unknown"`` if one is unknown."""
        return all_complete(one.complete for one in (*self.maps, *self.merged))


def build_archive(
    catalogs: Sequence[StoredCatalog],
    grids: Sequence[ArchiveGrid],
    *,
    output: str | Path,
    region: Region | None = None,
    suffix: Suffix = ".parquet",
    merge: bool = False,
    on_map: Callable[[ArchiveMap], None] = lambda _: None,
) -> ArchiveReport:
    """Build the map of every catalog for every grid, a catalog at a time.

    Parameters
    ----------
    catalogs : sequence of StoredCatalog
        From `release_catalogs` or `catalog_files`.
    grids : sequence of ArchiveGrid
        The grids.
    output : str or Path
        Folder of the maps, ``<grid>_<series>_<label><suffix>``; made if it does not exist.
    region : Region, optional
        Coverage mask, degrees. By default each catalog's own box.
    suffix : {".parquet", ".json"}
        Format of the maps.
    merge : bool
        Also write one map of all catalogs per grid, ``<grid>_<series>_<first>-<last><suffix>``;
        the maps of single catalogs are parquet then.
    on_map : callable
        Called with each map, in order, when it is written or found.

    Returns
    -------
    ArchiveReport

    Raises
    ------
    InvalidQuery
        If there is no catalog or no grid, or two have one name.
    InvalidOption, InvalidRegion, MissingBackend
        If a grid's options or the region are not usable.

    Notes
    -----
    A map records its inputs in ``metadata["inputs"]``: digests of catalog, grid and region, the
    options and the versions. A map already made from identical inputs is not built again, so an
    interrupted call can be repeated. At most two catalogs are in memory, one in use and the next
    one, and the maps of the two before, which are written meanwhile. A catalog that cannot be read
    fails its own maps only, and so does a grid that the build cannot use.
    """
    _check_names([one.name for one in catalogs], "catalog")
    _check_names([one.name for one in grids], "grid")
    started = time.perf_counter()
    _keep_freed_memory()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(folder, grids, region, ".parquet" if merge else suffix)
    maps, merged = list[ArchiveMap](), list[ArchiveMap]()
    with step("maps", "map", len(grids) * (len(catalogs) + merge)) as counted:
        for made in run.all_of(catalogs):
            maps.append(made)
            counted.add()
            on_map(made)
        for grid in grids if merge else ():
            merged.append(run.merged(grid, catalogs, maps, suffix))
            counted.add()
            on_map(merged[-1])
    return ArchiveReport(maps=maps, merged=merged, seconds=time.perf_counter() - started)


def _keep_freed_memory() -> None:
    """Let the allocator keep some of the memory that a cycle frees for the next one.

    glibc gives it back to the system, which clears each page again: a tenth of the time. Once an
    array of this size was freed, it keeps up to 64 MB (M_MMAP_THRESHOLD in mallopt(3)).
    """
    np.empty(31 << 20, np.uint8)


def _check_names(names: Sequence[str], kind: str) -> None:
    if not names:
        raise InvalidQuery(f"An archive needs at least one {kind}; got none.")
    for name in names:
        if names.count(name) > 1:
            raise InvalidQuery(f"The {kind} {name} is given more than once; give each one once.")


_Pending = Callable[[], ArchiveMap]  # waits until the map is written


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: the folder of its maps, and their inputs; see `build_archive`."""

    folder: Path
    grids: Sequence[ArchiveGrid]
    region: Region | None
    suffix: Suffix

    def all_of(self, catalogs: Sequence[StoredCatalog]) -> Iterator[ArchiveMap]:
        """Yield the maps of each catalog, while the next one is read and paired."""
        needed = [one for one in catalogs if any(self.existing(one, g) is None for g in self.grids)]
        # Neither beams nor the tiles of rectilinear grids are found by cells.
        cells = any(
            isinstance(one.grid, HealpixGrid) and one.options.get("footprint") != "beams"
            for one in self.grids
        )
        loaded = _read_ahead(needed, cells=cells)
        pending: deque[list[_Pending]] = deque()
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="write-map") as writer:
            for catalog in catalogs:
                found = next(loaded) if catalog in needed else None
                pending.append([*self.maps_of(catalog, found, writer)])
                del found
                if len(pending) > _WRITERS:
                    yield from (map_of() for map_of in pending.popleft())
            yield from (map_of() for some in pending for map_of in some)

    def maps_of(
        self,
        catalog: StoredCatalog,
        loaded: Catalog | Exception | None,
        writer: ThreadPoolExecutor,
    ) -> Iterator[_Pending]:
        """Yield the maps of one catalog: first the existing ones, then the new ones."""
        existing = {grid.name: self.existing(catalog, grid) for grid in self.grids}
        yield from (partial(_same, one) for one in existing.values() if one is not None)
        needed = [grid for grid in self.grids if existing[grid.name] is None]
        if not isinstance(loaded, Catalog):
            for grid in needed:
                path = self.path(grid, catalog.name)
                why = str(loaded or "The catalog was not read.")
                yield partial(_failed, catalog.label, grid, path, why)
            return
        for grid, made, seconds in _shard_maps(loaded, needed, self.region):
            path = self.path(grid, catalog.name)
            if isinstance(made, str):
                yield partial(_failed, catalog.label, grid, path, made)
                continue
            made.metadata["inputs"] = self.inputs(catalog, grid)
            yield writer.submit(_written, made, path, catalog.label, grid, seconds).result

    def existing(self, catalog: StoredCatalog, grid: ArchiveGrid) -> ArchiveMap | None:
        """Return the existing map if it was made from the same inputs."""
        path = self.path(grid, catalog.name)
        metadata = _read_metadata(path)
        if metadata is None or metadata.get("inputs") != self.inputs(catalog, grid):
            return None
        if not (metadata["total_pairs"] or grid.allow_empty):
            return None
        return _made("kept", catalog.label, grid, path, metadata, 0.0)

    def merged(
        self,
        grid: ArchiveGrid,
        catalogs: Sequence[StoredCatalog],
        maps: Sequence[ArchiveMap],
        suffix: Suffix,
    ) -> ArchiveMap:
        """Write the map of all catalogs of a grid, from their own maps."""
        started = time.perf_counter()
        label = f"{catalogs[0].label}-{catalogs[-1].label}"
        path = self.path(grid, f"{catalogs[0].name}-{catalogs[-1].label}", suffix)
        mine = [one for one in maps if one.grid == grid.name]
        failed = [one.catalog for one in mine if one.state == "failed"]
        if failed:
            error = f"The maps of {', '.join(failed)} are missing; see above."
            return _failed(label, grid, path, error)
        inputs = {"maps": canonical_digest([self.inputs(one, grid) for one in catalogs])}
        found = _read_metadata(path)
        if found is not None and found.get("inputs") == inputs:
            return _made("kept", label, grid, path, found, 0.0)
        metadata = _merge([one.path for one in mine], path, {"inputs": inputs})
        return _made("built", label, grid, path, metadata, time.perf_counter() - started)

    def path(self, grid: ArchiveGrid, name: str, suffix: Suffix | None = None) -> Path:
        """Return the path of a map."""
        return self.folder / f"{grid.name}_{name}{suffix or self.suffix}"

    def inputs(self, catalog: StoredCatalog, grid: ArchiveGrid) -> dict[str, Any]:
        """Return everything that a map depends on, as JSON."""
        config = getattr(grid.grid, "config", None)
        return {
            "catalog": catalog.digest,
            "signature": canonical_digest(grid.grid.spatial_signature()),
            "region": self._region_digest,
            "options": {key: grid.options[key] for key in sorted(grid.options)},
            "edge": grid.options.get("edge", "shards"),
            "aoi_mask": bool(config is not None and config.aoi_mask),
            "software": self._software,
        }

    @cached_property
    def _region_digest(self) -> str | None:
        return None if self.region is None else region_digest(self.region)

    @cached_property
    def _software(self) -> dict[str, str | None]:
        return {name: version_of(name) for name in _SOFTWARE}


def _read_ahead(catalogs: Sequence[StoredCatalog], *, cells: bool) -> Iterator[Catalog | Exception]:
    """Yield each catalog, or the error of its reading, while the next one is read.

    With its stored cells if `cells`.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-catalog") as pool:
        reading = [pool.submit(_read, one, cells=cells) for one in catalogs[:1]]
        for number in range(len(catalogs)):
            try:
                loaded: Catalog | Exception = reading.pop().result()
            except (StoreError, InvalidCatalog, InvalidQuery, EmptyHarvest) as error:
                loaded = error
            reading += [
                pool.submit(_read, one, cells=cells) for one in catalogs[number + 1 : number + 2]
            ]
            yield loaded
            del loaded


def _read(stored: StoredCatalog, *, cells: bool) -> Catalog:
    catalog = stored.load()
    if cells:
        footprint_index(catalog).read_stored()
    return catalog


def build_stored(
    catalog: Catalog,
    grids: Sequence[ArchiveGrid],
    region: Region | None,
    *,
    previous: Sequence[Earlier | None] | None = None,
) -> list[BuiltMap]:
    """Build the map of a stored catalog for each grid; the options of the grids are equal.

    ``zagg-catalog map`` and the flows build their maps by it. `previous` has for each grid an
    earlier map and its catalog, or None.
    """
    outputs = [one.grid for one in grids]
    options = dict(grids[0].options)
    return build_checked(catalog, outputs, region=region, previous=previous, **options)


def _shard_maps(
    catalog: Catalog, grids: Sequence[ArchiveGrid], region: Region | None
) -> Iterator[tuple[ArchiveGrid, ShardMap | str, float]]:
    """Yield each grid's map, or its problem, and its share of the time.

    Grids with equal options share a build.
    """
    together: dict[str, list[ArchiveGrid]] = {}
    for grid in grids:
        together.setdefault(repr(sorted(grid.options.items())), []).append(grid)
    for some in together.values():
        started = time.perf_counter()
        maps = _built(catalog, some, region)
        share = (time.perf_counter() - started) / len(some)
        for grid in some:
            yield grid, maps.pop(0), share


def _built(
    catalog: Catalog, grids: Sequence[ArchiveGrid], region: Region | None
) -> list[ShardMap | str]:
    """Return the map or the problem of each grid; a grid that fails costs the others time only."""
    try:
        built = build_stored(catalog, grids, region)
    except (InvalidOption, InvalidQuery, MissingBackend):
        raise  # faults of the call, not of a grid
    except Exception as error:  # noqa: BLE001 - whatever a grid raises fails its own maps
        if len(grids) > 1:
            return [built for one in grids for built in _built(catalog, [one], region)]
        known = isinstance(error, ZaggCatalogError)
        return [str(error) if known else f"{type(error).__name__}: {clean_text(str(error))}."]
    return [_accepted(grid, one) for grid, one in zip(grids, built, strict=True)]


def _accepted(grid: ArchiveGrid, built: BuiltMap) -> ShardMap | str:
    try:
        return grid.accepted(built)
    except EmptyShardMap as error:
        return str(error)


def _same(one: ArchiveMap) -> ArchiveMap:
    return one


def _written(
    shard_map: ShardMap, path: Path, label: str, grid: ArchiveGrid, seconds: float
) -> ArchiveMap:
    started = time.perf_counter()
    _write(shard_map, path)
    seconds += time.perf_counter() - started
    return _made("built", label, grid, path, shard_map.metadata, seconds)


def _write(shard_map: ShardMap, path: Path) -> None:
    write = shard_map.to_parquet if path.suffix == ".parquet" else shard_map.to_json
    write(path)


def _merge(paths: Sequence[Path], path: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Write the map of several maps, and return its metadata."""
    if path.suffix == ".parquet":
        return merge_files(paths, path, more)
    made = merge_maps(map(ShardMap.from_parquet, paths))
    made.metadata |= more
    _write(made, path)
    return made.metadata


def _read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a map; None if the file does not exist or is not a map."""
    read = read_parquet_metadata if path.suffix == ".parquet" else read_json_metadata
    try:
        return read(path) if path.is_file() else None
    except InvalidShardMap:
        return None


def _made(
    state: Literal["built", "kept"],
    label: str,
    grid: ArchiveGrid,
    path: Path,
    metadata: dict[str, Any],
    seconds: float,
) -> ArchiveMap:
    return ArchiveMap(
        catalog=label,
        grid=grid.name,
        state=state,
        path=path,
        granules=metadata["total_granules"],
        shards=metadata["total_shards"],
        pairs=metadata["total_pairs"],
        complete=completeness(metadata),
        lacks=explain_missing(metadata) if completeness(metadata) is False else None,
        beyond_area=None if metadata.get(BEYOND_KEY) is None else len(metadata[BEYOND_KEY]),
        seconds=seconds,
    )


def _failed(label: str, grid: ArchiveGrid, path: Path, error: str) -> ArchiveMap:
    return ArchiveMap(catalog=label, grid=grid.name, state="failed", path=path, error=error)
