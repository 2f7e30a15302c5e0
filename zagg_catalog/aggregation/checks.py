"""Checks: what must hold before anything is started."""

from __future__ import annotations

from pathlib import Path

from zagg_catalog.errors import (
    InvalidGrid,
    InvalidRelease,
    ObjectMissing,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.grids.signature import signature_differences
from zagg_catalog.messages import SHORT
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.read import Release, map_problems
from zagg_catalog.releases.record import GridRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


def check_whole(store: Store, release: Release, *, allow_partial: bool) -> None:
    """Check that a release is complete, and that its catalog is there.

    Raises
    ------
    PickupRefused
        If it is partial and that is not allowed; names what is missing.
    ObjectMissing
        If the catalog is gone.
    """
    record = release.record
    if record.status == "partial" and not allow_partial:
        grids = [f"grid {grid.name} is {grid.status}" for grid in record.grids]
        wrong = [text for text in grids if not text.endswith("complete")]
        wrong += [] if record.catalog.complete else ["the catalog is incomplete"]
        raise PickupRefused(
            f"Release {release.digest[:SHORT]} of {release.slot} is partial: {'; '.join(wrong)}."
            " Run prepare-cycle again, or allow it with allow_partial."
        )
    if not store.exists(record.catalog.key):
        raise ObjectMissing(
            f"Store {store.url} has no object {record.catalog.key}, the catalog of release"
            f" {release.digest[:SHORT]}; publish it again."
        )


def registered_grid(registry: Registry, release: Release, entry: GridRecord) -> RegisteredGrid:
    """Return the aggregator's own grid of that name, if it is the grid of the release.

    Parameters
    ----------
    registry : Registry
        The aggregator's own, read now.
    release : Release
        The release.
    entry : GridRecord
        What it says of the grid.

    Raises
    ------
    PickupRefused
        If the grid is not registered for that product and region, or its config is broken.
    SignatureMismatch
        If the config defines another grid now than when the map was built.
    """
    slot, grid = release.slot, registry.grids.get(entry.name)
    if grid is None:
        names = ", ".join(sorted(registry.grids)) or "none"
        raise PickupRefused(
            f"{registry.source} has no grid {entry.name}; it has {names}. Register it again, or"
            " leave it out."
        )
    if grid.region != slot.region or slot.product not in grid.products:
        raise PickupRefused(
            f"{registry.source} registers grid {entry.name} for {', '.join(grid.products)} over"
            f" {grid.region}, and the release is of {slot}; prepare that cycle again."
        )
    if grid.grid is None:
        raise PickupRefused(f"The config of grid {entry.name} is broken: {grid.problem}")
    differences = signature_differences(entry.signature, grid.grid)
    if differences:
        raise SignatureMismatch(
            f"The config of grid {entry.name} defines another grid than the one its map was built"
            f" for: {' '.join(differences)} Restore the config, or prepare the cycle again."
        )
    return grid


def read_map(store: Store, entry: GridRecord, grid: RegisteredGrid, scratch: Path) -> ShardMap:
    """Return the map of a grid: of its digest, of the record's counts, and of this grid.

    Parameters
    ----------
    store : Store
        Where it is.
    entry : GridRecord
        What the release says of it.
    grid : RegisteredGrid
        The aggregator's own grid.
    scratch : Path
        Folder for the download.

    Raises
    ------
    ObjectMissing, CorruptObject
        If the manifest is gone, or a byte of it is another.
    InvalidRelease, InvalidShardMap
        If it is whole but not what the release says.
    SignatureMismatch
        If it is for another grid.
    InvalidGrid
        If it has keys that are no shards of the grid.
    PickupRefused
        If the config asks for a mask of the region and the map has none, or the other way
        round.
    """
    assert entry.manifest is not None
    assert grid.grid is not None
    key = entry.manifest.parquet.key
    path = store.download(key, scratch / "manifest.parquet")
    shard_map = ShardMap.from_parquet(path)
    shard_map.check(grid.grid)
    problems = map_problems(shard_map, entry)
    if problems:
        raise InvalidRelease(f"Manifest {key}: {problems[0]}.")
    try:
        grid.grid.check_keys(shard_map.shards)
    except InvalidGrid as error:
        raise InvalidGrid(f"Manifest {key}: {error}") from None
    _check_mask(entry.name, shard_map, grid)
    return shard_map


def _check_mask(name: str, shard_map: ShardMap, grid: RegisteredGrid) -> None:
    config = getattr(grid.grid, "config", None)
    wanted = bool(config is not None and config.aoi_mask)
    if wanted != (shard_map.mask is not None):
        raise PickupRefused(
            f"The config of grid {name} {'asks' if wanted else 'does not ask'} for output.aoi_mask,"
            f" and its map has {'one' if shard_map.mask is not None else 'none'}; prepare the cycle"
            " again."
        )
