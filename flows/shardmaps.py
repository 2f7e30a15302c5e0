"""``build-shardmaps``: one task per grid; a grid that fails does not stop the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed, Failed

from flows.artifacts import Progress
from flows.command import run_command
from flows.earlier import earlier_map, earlier_release
from flows.failures import RunFailed, error_sentence, plainly
from flows.jobs import Job, build_values
from flows.results import map_key
from flows.run_names import build_name, named_by
from flows.runtime import cancellable, task_runner, with_retries
from flows.settings import flow_settings
from flows.tasks import build_grid
from zagg_catalog.messages import clean_text
from zagg_catalog.registry import RegisteredGrid, load_registry
from zagg_catalog.releases.layout import parse_key
from zagg_catalog.settings import get_settings

Values = dict[str, Any]


@flow(
    name="build-shardmaps",
    flow_run_name=named_by(build_name),
    task_runner=task_runner(),
    log_prints=False,
)
@plainly
def build_shardmaps(
    catalog: str,
    grids: list[str] | None = None,
    force: bool = False,
    partial: bool = False,
    store: str | None = None,
    registry: str | None = None,
) -> Any:
    """Build the shard maps of a stored catalog.

    Args:
        catalog: Key of the catalog in the store, catalogs/product=…/….parquet.
        grids: Registered grids; empty for all of the catalog's product and region.
        force: Build maps again that were built before.
        partial: Let the run complete although maps lack granules; they are marked so.
        store: Folder or s3://bucket/prefix; empty for the setting ZAGG_CATALOG_STORE.
        registry: File of the registry; empty for the setting ZAGG_CATALOG_REGISTRY.

    Returns
    -------
        The result of each grid.
    """
    release_key = parse_key(catalog).release_key
    registered = load_registry(registry, tolerate_broken_grids=True)
    chosen = registered.select(release_key.product, regions=[release_key.region], grids=grids)
    job = Job(
        product=release_key.product,
        cycle=release_key.cycle,
        region=registered.regions[release_key.region],
        store=store or get_settings().store,
        force=force,
    )
    with cancellable():
        outcomes = build(job, chosen[release_key.region], {"key": catalog})
    failed = [entry for entry in outcomes if entry.get("error")]
    if failed:
        message = failure_of(job, failed)
        return Failed(message=message, data=RunFailed(message))
    lacking = [f"{one['grid']}: {one['lacks']}" for one in outcomes if one["complete"] is False]
    if lacking and not partial:
        message = f"{job.release_key}: {len(lacking)} maps are incomplete, {'; '.join(lacking)}"
        return Failed(message=message, data=RunFailed(message))
    return Completed(message=f"{len(outcomes)} maps of {job.release_key}.", data=outcomes)


def build(job: Job, grids: Sequence[RegisteredGrid], catalog: Values) -> list[Values]:
    """Build the maps of a catalog in parallel, in a flow.

    Returns
    -------
    list of dict
        For each grid, ``grid``, ``config``, and the result of `flows.tasks.build_grid` or
        ``error``. ``broken`` is true if the config is invalid, and ``restored`` if a map that was
        built before was missing in the store.
    """
    found = {grid.name: _broken(grid) for grid in grids if grid.problem is not None}
    earlier = earlier_release(job)
    futures: dict[PrefectFuture[Values], RegisteredGrid] = {}
    for grid in grids:
        if grid.name not in found:
            try:
                futures[_submit(job, grid, catalog, earlier)] = grid
            except Exception as error:  # noqa: BLE001  (it is the failure of this grid)
                found[grid.name] = _failed(grid, error)
    bar = Progress("build", job.release_key, len(futures), f"Building {job.release_key}")
    for future in as_completed(list(futures)):
        future.wait()
        bar.step()
    for future, grid in futures.items():
        found[grid.name] = _outcome(grid, future)
    for name, outcome in sorted(found.items()):
        if outcome.get("error"):
            get_run_logger().error("Grid %s: %s", name, outcome["error"])
        else:
            _log_map(job, outcome)
        if outcome.get("beyond_area"):
            get_run_logger().warning("Grid %s: %s", name, outcome["beyond_area"])
    return [found[grid.name] for grid in grids]


def _log_map(job: Job, outcome: Values) -> None:
    """Log a map, with counts and seconds; a map of an earlier run was not built now."""
    built = "taken_over" in outcome
    get_run_logger().info(
        "%s: %s %s: %s shards, %s pairs of %s granules%s.",
        job.release_key,
        "built" if built else "kept the map of",
        outcome["grid"],
        f"{outcome['shards']:,}",
        f"{outcome['pairs']:,}",
        f"{outcome['granules']:,}",
        f", in {outcome['seconds']:.1f} s" if built else ", since nothing has changed",
    )


def failure_of(job: Job, failed: Sequence[Values]) -> str:
    """Return a sentence with the grids that failed, and their errors."""
    reasons = "; ".join(f"{entry['grid']}: {entry['error']}" for entry in failed)
    return f"{job.release_key}: {len(failed)} failed, {clean_text(reasons, limit=1500)}"


def _submit(
    job: Job, grid: RegisteredGrid, catalog: Values, earlier: Values
) -> PrefectFuture[Values]:
    values = build_values(job, grid, catalog)
    key = map_key(job.release_key, grid.name, values)
    building = with_retries(build_grid, flow_settings().build_timeout)
    # The earlier map is no part of the key, since the map does not depend on it.
    found = earlier_map(earlier, grid.name)
    return building.submit(values, job.store, key, again=job.force, earlier=found)


def _outcome(grid: RegisteredGrid, future: PrefectFuture[Values]) -> Values:
    """Return the result of a grid, or its error."""
    result = future.result(raise_on_failure=False)
    if isinstance(result, dict):
        return {"grid": grid.name, "config": grid.config.decode()} | result
    return _failed(grid, result)


def _failed(grid: RegisteredGrid, error: Any) -> Values:
    config = grid.config.decode("utf-8", "replace")
    return {"grid": grid.name, "config": config, "error": error_sentence(error)}


def _broken(grid: RegisteredGrid) -> Values:
    problem = clean_text(grid.problem or "", limit=500)
    return _failed(grid, None) | {"error": problem, "broken": True}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow from a plain command."""
    return run_command(build_shardmaps, "flows.shardmaps", argv)


if __name__ == "__main__":
    sys.exit(main())
