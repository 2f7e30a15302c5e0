"""Building an archive: a map of every stored catalog for every grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zagg_catalog.archive.catalogs import StoredCatalog
from zagg_catalog.archive.report import ArchiveGrid, ArchiveMap, ArchiveReport
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import InvalidCatalog, InvalidQuery, InvalidShardMap, StoreError
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.regions import Region
from zagg_catalog.releases.publication import version_of
from zagg_catalog.shardmap import ShardMap, build_maps, merge_maps
from zagg_catalog.shardmap.json_file import read_json_metadata
from zagg_catalog.shardmap.parquet_file import read_parquet_metadata

Suffix = Literal[".parquet", ".json"]
Say = Callable[[ArchiveMap], None]

# What decides about pairs beside the inputs; another version may find others.
_SOFTWARE = ("zagg-catalog", "mortie", "shapely", "spherely", "pyproj")


def build_archive(
    catalogs: Sequence[StoredCatalog],
    grids: Sequence[ArchiveGrid],
    *,
    output: str | Path,
    region: Region | None = None,
    suffix: Suffix = ".parquet",
    merge: bool = False,
    say: Say = lambda _: None,
) -> ArchiveReport:
    """Build the map of every catalog for every grid, a catalog at a time.

    Parameters
    ----------
    catalogs : sequence of StoredCatalog
        From `release_catalogs` or `catalog_files`.
    grids : sequence of ArchiveGrid
        The grids.
    output : str or Path
        Folder of the maps, ``<grid>_<series>_<label><suffix>``; made where it is not there.
    region : Region, optional
        Coverage mask, degrees. By default each catalog's own box.
    suffix : {".parquet", ".json"}
        Format of the maps.
    merge : bool
        Also write one map of all catalogs per grid, ``<grid>_<series>_<first>-<last><suffix>``;
        the maps of single catalogs are parquet then.
    say : callable
        Told of every map as soon as it is there.

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
    A map says in ``metadata["inputs"]`` what it was made from: digests of catalog, grid and
    region, the options and the versions. A file that says the same is kept, so that a run that
    was interrupted goes on. Two catalogs at most are in memory, one being built and one read.
    A catalog that cannot be read fails its own maps only.
    """
    _check_names([one.name for one in catalogs], "catalog")
    _check_names([one.name for one in grids], "grid")
    started = time.perf_counter()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(folder, grids, region, ".parquet" if merge else suffix)
    maps = []
    for made in run.all_of(catalogs):
        say(made)
        maps.append(made)
    merged = []
    for grid in grids if merge else ():
        merged.append(run.merged(grid, catalogs, maps, suffix))
        say(merged[-1])
    return ArchiveReport(maps=maps, merged=merged, seconds=time.perf_counter() - started)


def _check_names(names: Sequence[str], what: str) -> None:
    if not names:
        raise InvalidQuery(f"An archive needs at least one {what}; none was given.")
    for name in names:
        if names.count(name) > 1:
            raise InvalidQuery(f"The {what} {name} is there more than once; give each one once.")


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: where its maps go and what they are made from; see `build_archive`."""

    folder: Path
    grids: Sequence[ArchiveGrid]
    region: Region | None
    suffix: Suffix

    def all_of(self, catalogs: Sequence[StoredCatalog]) -> Iterator[ArchiveMap]:
        """Yield what came of each catalog, the next one being read meanwhile."""
        needed = [one for one in catalogs if any(self.kept(one, g) is None for g in self.grids)]
        with ThreadPoolExecutor(1, thread_name_prefix="read-catalog") as pool:
            reading = {one.name: pool.submit(one.load) for one in needed[:1]}
            for catalog in catalogs:
                future = reading.pop(catalog.name, None)
                if future is None:
                    kept = (self.kept(catalog, grid) for grid in self.grids)
                    yield from (one for one in kept if one is not None)
                    continue
                problem, loaded = None, None
                try:
                    loaded = future.result()
                except (StoreError, InvalidCatalog) as error:
                    problem = str(error)
                for one in needed[needed.index(catalog) + 1 :][:1]:
                    reading[one.name] = pool.submit(one.load)
                yield from self.maps_of(catalog, loaded, problem)

    def maps_of(
        self, catalog: StoredCatalog, loaded: Catalog | None, problem: str | None
    ) -> Iterator[ArchiveMap]:
        """Yield the maps of one catalog: those that are there, then those that are not."""
        kept = {grid.name: self.kept(catalog, grid) for grid in self.grids}
        yield from (one for one in kept.values() if one is not None)
        needed = [grid for grid in self.grids if kept[grid.name] is None]
        if loaded is None:
            for grid in needed:
                path = self.path(grid, catalog.name)
                yield _failed(catalog.label, grid, path, problem or "It could not be read.")
            return
        for grid, made, seconds in _shard_maps(loaded, needed, self.region):
            started = time.perf_counter()
            made.metadata["inputs"] = self.inputs(catalog, grid)
            path = self.path(grid, catalog.name)
            _write(made, path)
            seconds += time.perf_counter() - started
            yield _told("built", catalog.label, grid, path, made.metadata, seconds)

    def kept(self, catalog: StoredCatalog, grid: ArchiveGrid) -> ArchiveMap | None:
        """Return the map that is there already, if it was made from the same inputs."""
        path = self.path(grid, catalog.name)
        metadata = _read_metadata(path)
        if metadata is None or metadata.get("inputs") != self.inputs(catalog, grid):
            return None
        return _told("kept", catalog.label, grid, path, metadata, 0.0)

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
            error = f"The maps of {', '.join(failed)} are not there; see above."
            return _failed(label, grid, path, error)
        inputs = {"maps": canonical_digest([self.inputs(one, grid) for one in catalogs])}
        there = _read_metadata(path)
        if there is not None and there.get("inputs") == inputs:
            return _told("kept", label, grid, path, there, 0.0)
        made = merge_maps(ShardMap.from_parquet(one.path) for one in mine)
        made.metadata["inputs"] = inputs
        _write(made, path)
        return _told("built", label, grid, path, made.metadata, time.perf_counter() - started)

    def path(self, grid: ArchiveGrid, name: str, suffix: Suffix | None = None) -> Path:
        """Return where a map is."""
        return self.folder / f"{grid.name}_{name}{suffix or self.suffix}"

    def inputs(self, catalog: StoredCatalog, grid: ArchiveGrid) -> dict[str, Any]:
        """Return what a map depends on, as JSON gives it back."""
        config = getattr(grid.grid, "config", None)
        return {
            "catalog": catalog.digest,
            "signature": canonical_digest(grid.grid.spatial_signature()),
            "region": _region_digest(self.region),
            "options": {key: grid.options[key] for key in sorted(grid.options)},
            "aoi_mask": bool(config is not None and config.aoi_mask),
            "software": {name: version_of(name) for name in _SOFTWARE},
        }


def _shard_maps(
    catalog: Catalog, grids: Sequence[ArchiveGrid], region: Region | None
) -> Iterator[tuple[ArchiveGrid, ShardMap, float]]:
    """Yield the map of each grid and its share of the time; grids of equal options go together."""
    together: dict[str, list[ArchiveGrid]] = {}
    for grid in grids:
        together.setdefault(repr(sorted(grid.options.items())), []).append(grid)
    for some in together.values():
        started = time.perf_counter()
        outputs = [one.grid for one in some]
        maps = build_maps(catalog, outputs, region=region, **some[0].options)
        share = (time.perf_counter() - started) / len(some)
        for grid in some:
            yield grid, maps.pop(0), share


def _region_digest(region: Region | None) -> str | None:
    if region is None:
        return None
    rings = [[lats.tolist(), lons.tolist()] for lats, lons in region]
    return canonical_digest([rings, list(region.shells)])


def _write(shard_map: ShardMap, path: Path) -> None:
    write = shard_map.to_parquet if path.suffix == ".parquet" else shard_map.to_json
    write(path)


def _read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a map that may be there, or be another file."""
    read = read_parquet_metadata if path.suffix == ".parquet" else read_json_metadata
    try:
        return read(path) if path.is_file() else None
    except InvalidShardMap:
        return None


def _told(
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
        complete=metadata["complete"],
        seconds=seconds,
    )


def _failed(label: str, grid: ArchiveGrid, path: Path, error: str) -> ArchiveMap:
    return ArchiveMap(catalog=label, grid=grid.name, state="failed", path=path, error=error)
