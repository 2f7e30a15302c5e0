"""Results of finished tasks in the store, so that a run that was killed continues on any machine.

Keys are::

    results/product=…/region=…/cycle=22/session.json                  the fetch under way
    results/product=…/region=…/cycle=22/slices/slice-<digest>.json    a fetched slice
    results/product=…/region=…/cycle=22/slices/<digest>.parquet       its granules
    results/product=…/region=…/cycle=22/slices/slice-<digest>/…       parts of one that is fetched
    results/product=…/region=…/cycle=22/grid=<name>/map-<digest>.json a built map
    results/product=…/region=…/cycle=22/received.json                 the last fetch, and in
    results/product=…/region=…/cycle=22/received/<digest>.parquet     what its catalog left out

They are named by the digest of what they depend on.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from flows.settings import flow_settings
from zagg_catalog.errors import CorruptObject, ObjectMissing, PointerConflict
from zagg_catalog.files import scratch
from zagg_catalog.jsonio import canonical_digest, canonical_json
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.publication import package_versions
from zagg_catalog.releases.results import MAP, RECEIVED, results_key
from zagg_catalog.sources.received import Received
from zagg_catalog.store import ObjectRef, Store

Values = dict[str, Any]


def content_key(kind: str, facts: Mapping[str, Any]) -> str:
    """Return the name of a result: `kind`, and a digest of its inputs and of the software."""
    everything = {"kind": kind, "facts": dict(facts), "packages": package_versions()}
    return f"{kind}-{canonical_digest(everything)}"


def map_key(release_key: ReleaseKey, grid: str, facts: Mapping[str, Any]) -> str:
    """Return the key of the result of a map that is built from `facts`."""
    return results_key(release_key, f"grid={grid}", f"{content_key('map', facts)}.json")


class Session:
    """A fetch that can be continued: in a session each slice is fetched once.

    A session begins with the first fetch of a release, and ends when that release is published; the
    next run queries the source again. `force` begins a new session.
    """

    def __init__(self, store: Store, release_key: ReleaseKey, *, force: bool = False) -> None:
        self._store, self._release_key = store, release_key
        self._key = results_key(release_key, "session.json")
        token, version = self._read()
        if token is None or force:
            token = self._begin(version)
        self._token = token
        self._stored = {info.key for info in store.list(results_key(release_key, "slices"))}

    def key(self, facts: Mapping[str, Any]) -> str:
        """Return the key of a slice in this session."""
        name = content_key("slice", {**facts, "session": self._token})
        return results_key(self._release_key, "slices", f"{name}.json")

    def is_begun(self, key: str) -> bool:
        """Return whether an earlier run of the session has stored a slice, or parts of it."""
        parts = f"{key.removesuffix('.json')}/"
        return any(one == key or one.startswith(parts) for one in self._stored)

    @property
    def begun(self) -> bool:
        """Whether an earlier run of the session has stored something."""
        return bool(self._stored)

    def end(self) -> None:
        """End the session after its release is published, and remove its slices."""
        self._store.delete(self._key)
        self._clear()

    def _begin(self, version: str | None) -> str:
        token = uuid.uuid4().hex
        content = canonical_json({"token": token, "started": time.time()})
        try:
            self._store.swap_pointer(self._key, content, version)
        except PointerConflict:
            # Another run began one at the same time.
            return self._read()[0] or token
        self._clear()
        return token

    def _clear(self) -> None:
        for info in list(self._store.list(results_key(self._release_key, "slices"))):
            self._store.delete(info.key)

    def _read(self) -> tuple[str | None, str | None]:
        """Return the token of the session that can be continued, and the pointer's version."""
        pointer = self._store.read_pointer(self._key)
        if pointer is None:
            return None, None
        try:
            content = pointer.json()
            age = time.time() - float(content["started"])
            token = str(content["token"])
        except (CorruptObject, ValueError, KeyError, TypeError):
            return None, pointer.token  # begin a new session
        live = 0 <= age < flow_settings().session_hours * 3600
        return token if live else None, pointer.token


def read_result(store: Store, key: str) -> Values | None:
    """Return a result, or None if it is missing or damaged."""
    pointer = store.read_pointer(key)
    if pointer is None:
        return None
    with contextlib.suppress(CorruptObject):
        found = pointer.json()
        return found if isinstance(found, dict) else None
    return None


def write_result(store: Store, key: str, values: Mapping[str, Any]) -> None:
    """Store a result; another run may have stored the same one."""
    found = store.read_pointer(key)
    with contextlib.suppress(PointerConflict):
        store.swap_pointer(key, canonical_json(dict(values)), found.token if found else None)


def read_slice(store: Store, key: str) -> Values | None:
    """Return a fetched slice; None if it is not stored, or its granules are lost or damaged."""
    found = read_result(store, key)
    if found is None or found.get("state") is None:
        return None
    if found.get("catalog") is not None:
        if found.get("fetch") is None:
            return None  # an earlier version of the program stored it
        try:
            store.get(found["catalog"])
        except (ObjectMissing, CorruptObject):
            return None
    return found


def read_received(store: Store, release_key: ReleaseKey) -> Values | None:
    """Return the keys of the last fetched catalog and of what was received beside it.

    With ``catalog``, ``received``, ``full_at``, the time of the last full fetch in seconds since
    1970, and ``digest`` of the catalog; None if there is no such fetch.
    """
    found = read_result(store, results_key(release_key, f"{RECEIVED}.json"))
    names = {"catalog", "received", "full_at", "digest"}
    return found if found is not None and names <= set(found) else None


def write_received(
    store: Store, release_key: ReleaseKey, received: Received, catalog: ObjectRef
) -> None:
    """Store what a fetch received beside its catalog, for the next one, in place of the last."""
    folder = results_key(release_key, RECEIVED)
    with scratch() as place:
        path = Path(place, "received.parquet")
        received.to_parquet(path)
        ref = store.put(folder, path, ".parquet")
    values: Values = {"catalog": catalog.key, "digest": catalog.digest, "received": ref.key}
    values["full_at"] = received.facts.full_at.timestamp()
    write_result(store, results_key(release_key, f"{RECEIVED}.json"), values)
    for info in list(store.list(folder)):
        if info.key != ref.key:
            store.delete(info.key)


def collect_maps(store: Store, release_key: ReleaseKey, keys: Collection[str]) -> list[str]:
    """Remove the results of maps that a new release has replaced; return their keys.

    `keys` are those of the maps of the release, whose results stay, so that the next run builds
    nothing again. Results of other releases stay, too.
    """
    removed = []
    for info in list(store.list(results_key(release_key))):
        if f"/{MAP}" in info.key and info.key not in keys:
            store.delete(info.key)
            removed.append(info.key)
    return removed
