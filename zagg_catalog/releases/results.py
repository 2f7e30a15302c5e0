"""Results of finished tasks, from which a run that was killed continues."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from zagg_catalog.errors import CorruptObject
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.store import ObjectInfo, Store
from zagg_catalog.store.keys import check_key

RESULTS = "results"
MAP = "map-"
# What the last full fetch received, from which the next one begins.
RECEIVED = "received"
# What the checks found in releases of a cycle without a latest one; see `held`.
CHECKS = "checks.json"


def results_key(release_key: ReleaseKey, *parts: str) -> str:
    """Return the key of a result of a task, or the folder of all results for a release key."""
    folder = RESULTS + release_key.folder("releases").removeprefix("releases")
    return check_key("/".join([folder, *parts]))


def expired_results(store: Store, limit: datetime, gone: Collection[str]) -> list[ObjectInfo]:
    """Return the results that were stored before a time and that no run continues from.

    The result of a map stays as long as the store has its manifest; `gone` are keys of objects that
    are about to be removed. What checks found stays, too, and what the last fetch received.
    """

    def is_used(info: ObjectInfo) -> bool:
        name = info.key.rpartition("/")[2]
        if f"/{RECEIVED}" in info.key:
            return True
        if not name.startswith(MAP):
            return name == CHECKS
        manifest = _manifest_of(store, info.key)
        return manifest is not None and manifest not in gone and store.exists(manifest)

    old = [info for info in store.list(RESULTS) if info.modified <= limit]
    used = store.read_each(is_used, old)
    return [info for info, needed in zip(old, used, strict=True) if not needed]


def _manifest_of(store: Store, key: str) -> str | None:
    """Return the key of the map that a result names; None if it cannot be read."""
    pointer = store.read_pointer(key)
    try:
        return None if pointer is None else check_key(str(pointer.json()["manifest"]))
    except (CorruptObject, KeyError, TypeError, ValueError):
        return None
