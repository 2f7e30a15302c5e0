"""Verify the outputs of the pick-ups in a store, later and from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zagg_catalog.aggregation.output import OutputMarker, read_marker
from zagg_catalog.aggregation.output_check import SHARDS_READ, Reported, check_output
from zagg_catalog.aggregation.output_place import open_output, read_config
from zagg_catalog.aggregation.semantics import aggregation_core
from zagg_catalog.errors import (
    InvalidRelease,
    OutputUnavailable,
    PickupRefused,
    StoreError,
    StoreUnavailable,
)
from zagg_catalog.messages import Clock, short_digest, utc_now
from zagg_catalog.progress import track
from zagg_catalog.registry import Registry
from zagg_catalog.releases.batches import OutputCheck
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import (
    Acknowledgement,
    PickupHistory,
    PickupSummary,
    pickup_history_keys,
    read_batches,
    read_pickup_history,
)
from zagg_catalog.releases.read import load_release
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class VerifiedOutput:
    """An output of a grid, compared with the records of its pick-ups."""

    release_key: ReleaseKey
    grid: str
    output: str
    """Folder or ``s3://bucket/prefix``."""
    release: str
    """Digest of the release that it holds."""
    check: OutputCheck | None = None
    """What was found; None if it could not be compared."""
    problem: str | None = None
    """Why it could not be compared, or is not whole, a sentence."""

    @property
    def clean(self) -> bool:
        """Whether the output holds what the records say."""
        return self.problem is None and self.check is not None and self.check.clean

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a sentence each."""
        found = self.check.problems if self.check is not None else ()
        return (self.problem, *found) if self.problem is not None else found


def verify_outputs(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
    *,
    registry: Registry | None = None,
) -> Iterator[VerifiedOutput]:
    """Compare each output with the records of the pick-ups that made it; every shard is read.

    Parameters
    ----------
    store : Store
        Store of releases and pick-ups.
    product, region, cycle : str, str, int
        Only those; each may be None.
    registry : Registry or None
        Registry whose configs say at which endpoint an output lies.

    Yields
    ------
    VerifiedOutput
        One for each output of each grid. Problems are listed, not raised.

    Raises
    ------
    StoreUnavailable
        If the store cannot be read.
    MissingPackage
        If the packages that come with zagg are not installed.
    """
    keys = sorted(pickup_history_keys(store, product, region, cycle))
    for release_key, grid in track(keys, "verify outputs", "output"):
        registered = registry.grids.get(grid) if registry is not None else None
        config = read_config(registered.config) if registered is not None else {}
        history, _ = read_pickup_history(store, release_key, grid)
        for output in _outputs(history):
            yield _verify(store, release_key, grid, output, history, config)


def _outputs(history: PickupHistory) -> list[str]:
    """Return the outputs that pick-ups wrote to, the newest first."""
    return list(
        dict.fromkeys(
            entry.output for entry in history.entries if entry.output and entry.used_output
        )
    )


def _verify(
    store: Store,
    release_key: ReleaseKey,
    grid: str,
    output: str,
    history: PickupHistory,
    config: dict[str, Any],
) -> VerifiedOutput:
    finished, incomplete = history.holds(output)
    newest = next(entry for entry in history.entries if entry.output == output)
    facts: dict[str, Any] = {"release_key": release_key, "grid": grid, "output": output}
    facts["release"] = (finished or newest).release
    if finished is None or incomplete:
        return VerifiedOutput(**facts, problem=_unfinished(newest, history, output))
    try:
        return VerifiedOutput(**facts, check=_compare(store, release_key, grid, finished, config))
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease, OutputUnavailable, PickupRefused) as error:
        return VerifiedOutput(**facts, problem=str(error))


def _unfinished(newest: PickupSummary, history: PickupHistory, output: str) -> str:
    if history.claim is not None and history.claim.output == output:
        return f"A run of {history.claim.by} is writing it; verify it again later."
    reason = f" ({newest.reason.rstrip('.')})" if newest.reason else ""
    return (
        f"The last pick-up, of release {short_digest(newest.release)}, ended as {newest.outcome}"
        f"{reason}; run aggregate again."
    )


def _compare(
    store: Store,
    release_key: ReleaseKey,
    grid: str,
    entry: PickupSummary,
    config: dict[str, Any],
) -> OutputCheck:
    """Check an output; raises `InvalidRelease` if there is nothing to compare it with."""
    assert entry.output is not None
    record = Acknowledgement.load(store.get(entry.key), f"Object {entry.key}")
    if not record.batches:
        raise InvalidRelease(
            "Its pick-up has no record of its shards, as those of earlier versions; run aggregate"
            " with force."
        )
    recorded = load_release(store, release_key, entry.release).record.grid(grid)
    if recorded is None:
        raise InvalidRelease(f"Its release {short_digest(entry.release)} has no grid {grid}.")
    return compare_output(
        store,
        release_key,
        grid,
        record.batches,
        output=entry.output,
        config=config,
        signature=recorded.signature,
        limit=None,
        seed=entry.release,
    )


def compare_output(
    store: Store,
    release_key: ReleaseKey,
    grid: str,
    batches: Sequence[str],
    *,
    output: str,
    config: Mapping[str, Any],
    signature: Mapping[str, Any],
    limit: int | None = SHARDS_READ,
    seed: str,
    region: str | None = None,
    clock: Clock = utc_now,
) -> OutputCheck:
    """Compare an output with the records of batches, the oldest first; see `check_output`.

    `config` is the current pipeline config, for the endpoint; it may be empty.

    Raises
    ------
    OutputUnavailable
        If the output does not exist, cannot be read, or holds something else.
    ObjectMissing, CorruptObject, InvalidRelease
        If a record cannot be read.
    """
    records = read_batches(store, release_key, grid, batches)
    place = open_output(output, _with_grid(config, signature), region=region)
    if place is None:
        raise OutputUnavailable("The folder does not exist here.")
    marker = read_marker(place)
    if marker is not None:
        _check_slot(marker, release_key, grid)
    elif not config:
        raise OutputUnavailable(
            "It has no marker, and the registry has no such grid, so its variables are not known;"
            " name the registry."
        )
    core = marker.aggregation if marker is not None else aggregation_core(config)
    reported = Reported.of_records(records)
    return check_output(place, signature, core, reported, limit=limit, seed=seed, clock=clock)


def _check_slot(marker: OutputMarker, release_key: ReleaseKey, grid: str) -> None:
    wanted = (release_key.product, release_key.region, release_key.cycle, grid)
    if marker.slot != wanted:
        raise OutputUnavailable(f"It holds {marker.where}, by its marker.")


def _with_grid(config: Mapping[str, Any], signature: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose grid is that of a signature, for an output of a former config."""
    output = dict(config.get("output") or {})
    return {**config, "output": {**output, "grid": {**(output.get("grid") or {}), **signature}}}
