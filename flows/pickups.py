"""Artifacts of pick-ups: what a person reads of them, and where a map's own artifact points to."""

from __future__ import annotations

import json
from typing import Any

from prefect.artifacts import Artifact, create_table_artifact
from prefect.exceptions import ObjectNotFound

from zagg_catalog.aggregation.references import Reference, artifact_reference
from zagg_catalog.aggregation.run import PickupResult
from zagg_catalog.errors import PickupRefused
from zagg_catalog.releases import Acknowledgement, ReleaseKey
from zagg_catalog.releases.pickups import ShardList, load_acknowledgement
from zagg_catalog.store import Store

NAMED = 20

Values = dict[str, Any]


def slot_name(slot: ReleaseKey) -> str:
    """Return a slot as part of an artifact's key, ``atl06-007-antarctica-c22``."""
    return f"{slot.product.lower().replace('_', '-')}-{slot.region}-c{slot.cycle}"


def named_reference(key: str) -> Reference:
    """Return what the artifact of a map names.

    Raises
    ------
    PickupRefused
        If there is no such artifact, or it is not that of a map.
    """
    row = _row(key)
    if row is None:
        raise PickupRefused(
            f"Prefect has no artifact {key!r} of a shard map; its key is"
            " shardmap-<product>-<region>-c<cycle>-<grid>."
        )
    return artifact_reference(key, row)


def found_reference(store: Store, slot: ReleaseKey, grid: str) -> Reference | None:
    """Return what the artifact of a grid's map names, if there is one of this store."""
    key = f"shardmap-{slot_name(slot)}-{grid}"
    row = _row(key)
    if row is None:
        return None
    found = artifact_reference(key, row, named=False)
    return found if found.is_of(store) and found.slot == slot else None


def record_pickup(store: Store, picked: PickupResult) -> str | None:
    """Create the artifact of a pick-up, unless the newest one says the same.

    Returns
    -------
    str or None
        Its key, ``pickup-<product>-<region>-c<cycle>-<grid>``; None where there is nothing new.
    """
    if picked.entry is None:
        return None
    slot, grid = picked.request.slot, picked.request.grid
    key, mark = f"pickup-{slot_name(slot)}-{grid}", f"({picked.entry.key} in {store.url})"
    newest = _newest(key)
    if newest is not None and mark in (newest.description or ""):
        return None
    said = picked.acknowledgement
    if said is None:
        said = load_acknowledgement(store.get(picked.entry.key), picked.entry.key)
    create_table_artifact(
        [pickup_content(store, said, picked.entry.key)],
        key=key,
        description=f"{said.outcome}, {_shards(said)} {mark}",
    )
    return key


def pickup_content(store: Store, said: Acknowledgement, key: str) -> Values:
    """Return the data of a pick-up's artifact: who, what, when, with what, and how it ended."""
    return {
        "product": said.product,
        "region": said.region,
        "cycle": said.cycle,
        "grid": said.grid,
        "release": said.release,
        "outcome": said.outcome,
        "reason": said.reason,
        "dry_run": said.dry_run,
        "by": said.by,
        "run": said.run,
        "began": said.began_at.isoformat(timespec="seconds"),
        "ended": said.ended_at.isoformat(timespec="seconds"),
        "signature_digest": said.signature_digest,
        "zagg": said.zagg_version,
        "backend": said.backend,
        "output": said.output,
        "shards": said.shards,
        "only_changed": said.restricted,
        "since": said.changes.base if said.changes else None,
        "added": _named(said.changes.added) if said.changes else None,
        "changed": _named(said.changes.changed) if said.changes else None,
        "dropped": _named(said.changes.dropped) if said.changes else None,
        "notes": "\n".join(said.notes),
        "summary": json.dumps(said.summary, sort_keys=True),
        "acknowledgement": store.uri(key),
    }


def _shards(said: Acknowledgement) -> str:
    """Return how many shards zagg got, in the few words that a card shows."""
    if said.shards is None:
        return "nothing was run"
    return f"{said.shards:,} {'changed ' if said.restricted else ''}shards"


def _named(shards: ShardList) -> str:
    # As text: a browser reads keys past 2**53 wrongly as numbers.
    names = ", ".join(map(str, shards.keys[:NAMED]))
    return f"{shards.count:,}" + (f": {names}" if names else "")


def _row(key: str) -> Values | None:
    """Return the one row of a table artifact, or None if there is none."""
    artifact = _newest(key)
    try:
        data = json.loads(artifact.data) if artifact is not None else None
    except (TypeError, ValueError):
        return None
    row = data[0] if isinstance(data, list) and data else None
    return row if isinstance(row, dict) else None


def _newest(key: str) -> Any:
    try:
        return Artifact.get(key)
    except ObjectNotFound:
        return None
