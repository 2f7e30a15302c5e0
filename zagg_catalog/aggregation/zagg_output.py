"""The steps of an output that only one process at a time may do, in the process of zagg.

zagg's processes may write shards of one output side by side, and nothing else: its overviews have
one lease, Icechunk on a folder allows one writer, and the template of a rectilinear grid is
written by whoever comes first. So a batch leaves these out, and one process does them before the
first batch (`open_output`) or after the last one (`close_output`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from operator import add
from typing import Any

from zagg_catalog.aggregation.zagg_names import Names
from zagg_catalog.messages import plain_logger

# What zagg's end of a run would write to the whole output.
WHOLE = ("sweep", "icechunk", "coverage_moc")
# Seconds until zagg's lease on the overviews ends, after the process that holds it has died.
LEASE = 180
# Seconds to wait for the lease of another process; a dead plain run of zagg holds it for 900.
WAIT = 1200.0
POLL = 5.0
# Leaves in one commit of the Icechunk repository.
COMMIT = 500
WORKERS = 8
# Branch of the Icechunk repository, and the row of shards that are not split in time.
BRANCH = "main"
ALL_TIMES = "all"
# What zagg counts of overviews that lack something.
LOST = ("failed", "under_covered", "icechunk_failed")

_log = plain_logger(__name__)


class NotClosed(Exception):
    """Raised when a part of the output could not be written; the message names it."""


def leave_out_whole(config: Any) -> None:
    """Change a config so that zagg writes shards only; it defines the same cells."""
    config.output.update(dict.fromkeys(WHOLE, False))


def open_output(zagg: Names, config: Any, grid: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Write the template of a rectilinear grid, if the output does not have it."""
    root, options = _place(zagg, config, call)
    grid.emit_template(zagg.open_store(root, **options), overwrite=False)
    return {}


def close_output(zagg: Names, config: Any, grid: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Fold shards into the overviews of a HEALPix output, and record them in Icechunk.

    It does for the keys of the call what zagg does at the end of a run, with zagg's functions, and
    raises where zagg only logs.

    Raises
    ------
    NotClosed
        If a shard has no data in the output, or if anything could not be written.
    """
    root, options = _place(zagg, config, call)
    keys, run = [int(key) for key in call["keys"]], uuid.uuid4().hex
    versions = _versions(zagg, root, keys, options)
    if zagg.get_coverage_moc(config):
        envelope = zagg.build_root_coverage(keys, int(grid.parent_order))
        zagg.write_root_coverage(root, envelope, **options)
    repository = zagg.init_icechunk(config, grid, root, run, options)
    refs = 0
    if repository is not None:
        _check("its Icechunk repository", repository.get("error"))
        reopened = not repository.get("created")
        refs = _record(zagg, config, grid, root, versions, options, reopened=reopened)
    folded = _fold(zagg, config, grid, root, keys, options, run)
    closed = zagg.finalize_icechunk(
        config, root, run, repository, zagg.semantic_hash(config), options
    )
    _check("the tag of its Icechunk repository", (closed or {}).get("error"))
    return {"closed_shards": len(keys), "icechunk_refs": refs} | folded


def _place(zagg: Names, config: Any, call: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the root of the output and the options of its store, as `zagg.agg` has them."""
    region = call["options"].get("region") or zagg.get_output_region(config) or "us-west-2"
    endpoint = zagg.get_output_endpoint_url(config)
    options = {"region": region, "credentials": None, "endpoint_url": endpoint}
    return zagg.effective_store_root(call["store"], config), options


def _versions(
    zagg: Names, root: str, keys: Sequence[int], options: dict[str, Any]
) -> dict[int, str | None]:
    """Return the current version of the data of each shard."""

    def version(key: int) -> Any:
        return zagg.resolve_leaf(zagg.shard_leaf_path(root, key), **options)[1]

    with ThreadPoolExecutor(WORKERS) as pool:
        stamps = dict(zip(keys, pool.map(version, keys), strict=True))
    lacking = [key for key, stamp in stamps.items() if stamp is None]
    if lacking:
        raise NotClosed(
            f"The output has no data of {len(lacking):,} shards that were aggregated, such as"
            f" {lacking[0]}; run this again with force."
        )
    return {key: stamp.get("current") for key, stamp in stamps.items()}


def _record(
    zagg: Names,
    config: Any,
    grid: Any,
    root: str,
    versions: dict[int, str | None],
    options: dict[str, Any],
    *,
    reopened: bool,
) -> int:
    """Record the data of shards in the Icechunk repository, and return the number of chunks.

    A repository that was there before may have chunks that the shards have lost.
    """
    spec = zagg.read_manifest(root, **options)["spec"]
    ladder = zagg.resolve_options(config, grid.parent_order, grid=grid)["commit"] == "ladder"

    def units(key: int) -> list[dict[str, Any]]:
        column, declared = zagg.leaf_column_expectation(root, key, grid, config, None)
        name = str(column).rstrip("/").rpartition("/")[2] if declared and column else None
        found: list[dict[str, Any]] = zagg.leaf_units(
            grid, config, key, root, column=name, store_kwargs=options, version=versions[key]
        )
        if ladder:
            leaf = zagg.shard_leaf_path(root, key)
            zagg.write_leaf_refs(root, leaf, grid, found, spec=spec, store_kwargs=options)
        return found

    count = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for keys in _groups(list(versions), COMMIT):
            leaves = list(pool.map(units, keys))
            if reopened:
                _forget(zagg, grid, root, dict(zip(keys, leaves, strict=True)), options)
            found = [unit for leaf in leaves for unit in leaf]
            count += sum(entry["refs"] for unit in found for entry in unit["entries"])
            if not ladder:
                zagg.commit_units(root, found, f"{len(keys)} leaves", store_kwargs=options)
    return count


def _forget(
    zagg: Names,
    grid: Any,
    root: str,
    leaves: dict[int, list[dict[str, Any]]],
    options: dict[str, Any],
) -> None:
    """Delete the chunks that shards no longer have from the Icechunk repository.

    zagg adds and replaces references, so a chunk whose last value is gone would keep its old one.
    """
    from icechunk import ConflictDetector
    from zarr.core.sync import sync

    repo, block = zagg.open_vetted(root, store_kwargs=options)
    session = repo.writable_session(BRANCH)
    row = list(block.get("rows") or [ALL_TIMES]).index(ALL_TIMES)
    shards = 12 * 4 ** int(grid.parent_order)
    grids = _chunk_grids(
        session, {int(unit["level"]) for units in leaves.values() for unit in units}
    )
    gone = [
        chunk
        for key, units in leaves.items()
        for chunk in _gone(session, units, grids, row, int(grid.block_index(key)[0]), shards)
    ]
    for chunk in gone:
        sync(session.store.delete(chunk))
    if gone:
        session.commit(f"{len(gone)} chunks without data", rebase_with=ConflictDetector())


def _chunk_grids(session: Any, levels: Iterable[int]) -> dict[int, dict[str, tuple[int, ...]]]:
    """Return the numbers of chunks along the axes of each array, by level and name."""
    import zarr

    groups = {level: zarr.open_group(session.store, path=str(level), mode="r") for level in levels}
    return {
        level: {name: array.cdata_shape for name, array in group.arrays()}
        for level, group in groups.items()
    }


def _gone(
    session: Any,
    units: Iterable[dict[str, Any]],
    grids: dict[int, dict[str, tuple[int, ...]]],
    row: int,
    rank: int,
    shards: int,
) -> Iterator[str]:
    """Yield the keys of chunks that the repository has of a shard, and the shard has not.

    The shard is number `rank` of the `shards` along the axis of the cells of each array.
    """
    from icechunk import ChunkType

    for unit in units:
        level = int(unit["level"])
        entries = {entry["path"]: entry for entry in unit["entries"]}
        for name, (_, cells, *rest) in grids[level].items():
            width = cells // shards
            place = range(rank * width, (rank + 1) * width)
            has = _chunks(entries[name]) if name in entries else set()
            for chunk in product(place, *map(range, rest)):
                at = [row, *chunk]
                if chunk in has or session.chunk_type(f"/{level}/{name}", at) != ChunkType.virtual:
                    continue
                yield f"{level}/{name}/c/{'/'.join(map(str, at))}"


def _chunks(entry: dict[str, Any]) -> set[tuple[int, ...]]:
    """Return the indices of the chunks of an array that a shard has, without the row."""
    if not entry["sharded"]:
        return {tuple(map(int, key.split("/c/")[1].split("/"))) for key, *_ in entry["chunks"]}
    start = entry["arr_offset"]
    inside = product(*map(range, entry["chunk_grid"]))
    return {
        tuple(map(add, start, chunk))
        for chunk, location in zip(inside, entry["locations"], strict=True)
        if location
    }


def _fold(
    zagg: Names,
    config: Any,
    grid: Any,
    root: str,
    keys: Sequence[int],
    options: dict[str, Any],
    run: str,
) -> dict[str, int]:
    """Fold shards into overviews and rollups, and return the numbers of both.

    zagg's rollups are caches that no reader of heights needs, so one that fails is only counted.
    """
    leaves = [(key, None) for key in keys]
    riding = zagg.cascade_families(config, grid)
    rollups: dict[str, Any] = {}
    if zagg.get_sweep(config) and not riding:
        rollups = zagg.run_sweep(root, leaves, store_kwargs=options)["families"]
    if not zagg.chains_stages(config, grid):
        return {"overviews": 0, "rollups_failed": _failed_rollups(rollups)}
    summary = _when_free(
        zagg,
        lambda: zagg.run_stage_sweep(
            root,
            leaves,
            store_kwargs=options,
            lease_ttl_s=LEASE,
            touch_policy=zagg.get_touch_policy(config),
            pipeline_run_id=run,
            families=riding,
        ),
    )
    for row in summary["stages"]:
        lost = [f"{row[key]} {key}" for key in LOST if row.get(key)]
        _check(f"the overviews of order {row['dispatch_order']} and above", ", ".join(lost))
    return {
        "overviews": sum(row["written"] + row["current"] for row in summary["stages"]),
        "rollups_failed": _failed_rollups(rollups | (summary.get("families") or {})),
    }


def _when_free(zagg: Names, sweep: Any) -> Any:
    """Run a sweep as soon as no other process holds zagg's lease on the output."""
    give_up = time.monotonic() + WAIT
    while True:
        try:
            return sweep()
        except zagg.SweepRefusedError as error:
            if time.monotonic() > give_up:
                raise
            _log.info("waiting for another sweep of this output: %s", error)
            time.sleep(POLL)


def _failed_rollups(families: dict[str, Any]) -> int:
    return sum(row.get("failed") or 0 for row in families.values() if isinstance(row, dict))


def _check(name: str, error: str | None) -> None:
    if error:
        raise NotClosed(f"zagg could not write {name}: {error}")


def _groups(keys: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (keys[at : at + size] for at in range(0, len(keys), size))
