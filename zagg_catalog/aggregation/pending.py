"""What is pending: latest releases that were not picked up, whatever became of their events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.errors import InvalidRelease, StoreError, StoreUnavailable
from zagg_catalog.registry import Registry
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_histories
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release, release_keys
from zagg_catalog.store import Store

# A run that fails so often in a row needs a person.
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a slot's latest release waits for.

    Parameters
    ----------
    slot : Slot
        What the release is for.
    release : str or None
        Its digest; None where it cannot be read.
    grids : tuple of str
        Grids to pick up.
    left : tuple of str
        Why other grids are left to a person, a sentence each.
    problem : str or None
        Why the slot cannot be read.
    """

    slot: ReleaseKey
    release: str | None = None
    grids: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problem: str | None = None


def latest_slots(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[ReleaseKey]:
    """Yield the slots that have a latest release, each part of the slot may be left open."""
    for _, parts in release_keys(store, product, region, cycle):
        if parts.digest is None:
            yield ReleaseKey(parts.product, parts.region, parts.cycle)


def pending(store: Store, slot: ReleaseKey, order: PickupRequest, registry: Registry) -> Pending:
    """Return what a slot waits for.

    Parameters
    ----------
    store : Store
        Where the releases are.
    slot : Slot
        Which.
    order : Order
        How grids are to be picked up; its own slot and grid do not matter.
    registry : Registry
        Grids that are not in it are left out: they are retired.

    Returns
    -------
    Pending
        A grid that was refused waits until its release or its config is another, one that failed
        three times in a row for a person.
    """
    try:
        latest = read_latest(store, slot)
        if latest.problem or latest.digest is None:
            return Pending(slot=slot, problem=latest.problem)
        record = load_release(store, slot, latest.digest).record
        standings = read_pickup_histories(store, slot)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return Pending(slot=slot, problem=str(error))
    grids, left = [], []
    for grid in record.grids:
        if grid.name not in registry.grids or grid.manifest is None:
            continue
        standing = standings.get(grid.name, PickupHistory())
        waits, why = _waits(standing, latest.digest, slot, grid.name, order, registry)
        grids += [grid.name] if waits else []
        left += [f"{grid.name}: {why}"] if why else []
    return Pending(slot=slot, release=latest.digest, grids=tuple(grids), left=tuple(left))


def _waits(
    standing: PickupHistory,
    release: str,
    slot: ReleaseKey,
    name: str,
    order: PickupRequest,
    registry: Registry,
) -> tuple[bool, str | None]:
    """Say whether a grid is to be picked up, and why not where a person has to act."""
    grid = registry.grids[name]
    output = output_of(order.for_grid(slot, name), grid)
    if standing.is_done(release, dry_run=order.dry_run, output=output):
        return False, None
    tried = 0
    for entry in standing.entries:
        if entry.release != release or entry.dry_run != order.dry_run or entry.finished:
            break
        if entry.outcome == "refused" and entry.config_digest == grid.config_digest:
            return False, f"refused, {entry.reason}"
        tried += entry.outcome == "failed"
    if tried >= ATTEMPTS:
        return False, f"failed {tried} times, {standing.entries[0].reason}"
    return True, None
