"""The grids of the latest releases that still have to be picked up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.errors import InvalidRelease, StoreError, StoreUnavailable
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_histories
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release
from zagg_catalog.store import Store

# The catch-up does not repeat a grid after so many failures in a row.
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Grids of a latest release that still have to be picked up."""

    release_key: ReleaseKey
    release: str | None = None
    """Digest of the release; None if it cannot be read."""
    grids: tuple[str, ...] = ()
    """Grids to pick up."""
    needs_attention: tuple[str, ...] = ()
    """Grids that an operator has to look at, with the reason, a sentence each."""
    problem: str | None = None
    """Why the release cannot be read."""


def latest_release_keys(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[ReleaseKey]:
    """Yield the keys of the latest releases, of all or of one product, region or cycle."""
    for _, parts in list_keys(store, "releases", product, region, cycle):
        if parts.digest is None:
            yield parts.release_key


def pending(
    store: Store, release_key: ReleaseKey, request: PickupRequest, registry: Registry
) -> Pending:
    """Return the registered grids of a latest release that still have to be picked up.

    `request` has the options; its own release key and grid are ignored. A grid that was refused is
    pending again when its release or its config changes. One that failed three times in a row,
    or whose granules could not be read, needs an operator until one of the two changes.
    """
    try:
        latest = read_latest(store, release_key)
        if latest.problem or latest.digest is None:
            return Pending(release_key=release_key, problem=latest.problem)
        record = load_release(store, release_key, latest.digest).record
        histories = read_pickup_histories(store, release_key)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return Pending(release_key=release_key, problem=str(error))
    grids, attention = [], []
    for name in (grid.name for grid in record.grids if grid.manifest is not None):
        if name not in registry.grids:
            continue
        mine = request.for_grid(release_key, name)
        history = histories.get(name, PickupHistory())
        waits, why = _is_pending(history, latest.digest, mine, registry.grids[name])
        grids += [name] if waits else []
        attention += [f"{name}: {why}"] if why else []
    return Pending(
        release_key=release_key,
        release=latest.digest,
        grids=tuple(grids),
        needs_attention=tuple(attention),
    )


def _is_pending(
    history: PickupHistory, release: str, request: PickupRequest, grid: RegisteredGrid
) -> tuple[bool, str | None]:
    """Return whether a grid is pending, and the reason if an operator has to act first."""
    output = output_of(request, grid)
    if history.is_done(release, dry_run=request.dry_run, output=output):
        return False, None
    tried = 0
    for entry in history.entries:
        if entry.release != release or entry.dry_run != request.dry_run or entry.finished:
            break
        if entry.outcome == "refused" and entry.config_digest == grid.config_digest:
            return False, f"refused, {entry.reason}"
        if entry.config_digest not in (None, grid.config_digest):
            break
        tried += entry.outcome in ("failed", "unread")
    if tried >= ATTEMPTS:
        return False, f"failed {tried} times, {history.entries[0].reason}"
    return True, None
