"""The grids of the latest releases that still have to be picked up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass

from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.errors import InvalidRelease, StoreError, StoreUnavailable
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.pickups import (
    PickupHistory,
    pickup_history_keys,
    read_pickup_history,
)
from zagg_catalog.releases.publication import Publication, read_latest
from zagg_catalog.releases.read import load_latest, load_release
from zagg_catalog.store import ObjectInfo, Store

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


def pending_releases(
    store: Store,
    request: PickupRequest,
    registry: Registry,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> list[Pending]:
    """Return what still has to be picked up of each latest release, by product, region and cycle.

    Lists the releases and the pick-ups, and reads each pointer once. A record is read if something
    is pending, if its pointer does not have its facts, or if the listing does not show that it is
    stored unaltered; `verify` reads all.

    Parameters
    ----------
    store : Store
        Store of the releases.
    request : PickupRequest
        Has the options; its own release key and grid are ignored.
    registry : Registry
        The registry; grids that are not in it are left out.
    product, region, cycle : str, str, int
        Only those; each may be None.

    Returns
    -------
    list of Pending
        One for each pointer to a latest release. A grid that was refused is pending again when its
        release or its config changes. One that failed three times in a row, or whose granules
        could not be read, needs an operator until one of the two changes.
    """
    listed: dict[str, ObjectInfo] = {}
    keys = []
    for info, parts in list_keys(store, "releases", product, region, cycle):
        listed[info.key] = info
        if parts.digest is None:
            keys.append(parts.release_key)
    tried: dict[ReleaseKey, set[str]] = {}
    for release_key, grid in pickup_history_keys(store, product, region, cycle) if keys else ():
        tried.setdefault(release_key, set()).add(grid)

    def look(release_key: ReleaseKey) -> Pending:
        return _pending(
            store, release_key, request, registry, listed, tried.get(release_key, set())
        )

    return list(store.read_each(look, sorted(keys)))


def pending(
    store: Store, release_key: ReleaseKey, request: PickupRequest, registry: Registry
) -> Pending:
    """Return the registered grids of a latest release that still have to be picked up.

    See `pending_releases`.
    """
    found = pending_releases(store, request, registry, *astuple(release_key))
    return found[0] if found else Pending(release_key=release_key)


def _pending(
    store: Store,
    release_key: ReleaseKey,
    request: PickupRequest,
    registry: Registry,
    listed: Mapping[str, ObjectInfo],
    tried: Collection[str],
) -> Pending:
    """Return what is pending of one release; `tried` are the grids with a pick-up history."""
    try:
        latest = read_latest(store, release_key)
        if latest.problem or latest.publication is None:
            return Pending(release_key=release_key, problem=latest.problem)
        mapped = _mapped_grids(store, release_key, latest.publication, listed)
        histories = {
            grid: read_pickup_history(store, release_key, grid)[0] for grid in sorted(tried)
        }
        release = latest.publication.digest
        grids, attention = [], []
        for name in mapped:
            if name not in registry.grids:
                continue
            mine = request.for_grid(release_key, name)
            history = histories.get(name, PickupHistory())
            waits, why = _is_pending(history, release, mine, registry.grids[name])
            grids += [name] if waits else []
            attention += [f"{name}: {why}"] if why else []
        # A pick-up cannot begin with a record that is damaged.
        if grids and latest.publication.record is None:
            load_release(store, release_key, release)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        return Pending(release_key=release_key, problem=str(error))
    return Pending(
        release_key=release_key,
        release=release,
        grids=tuple(grids),
        needs_attention=tuple(attention),
    )


def _mapped_grids(
    store: Store,
    release_key: ReleaseKey,
    publication: Publication,
    listed: Mapping[str, ObjectInfo],
) -> list[str]:
    """Return the grids of a release that have a map, by the pointer or else by the record."""
    summary, stored = publication.summary, listed.get(publication.key)
    # A record that is missing or has another size is read, which says what is wrong with it.
    if publication.record is None and summary and stored and summary.size == stored.size:
        return [name for name, status in summary.grids.items() if status != "failed"]
    record = load_latest(store, release_key, publication, stored).record
    return [grid.name for grid in record.grids if grid.manifest is not None]


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
