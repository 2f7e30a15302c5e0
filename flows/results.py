"""Results of finished tasks, stored so that a run that was killed continues."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from prefect.context import TaskRunContext
from prefect.settings import get_current_settings

from flows.settings import flow_settings
from zagg_catalog.errors import InvalidName
from zagg_catalog.files import write_atomic
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.layout import parse_key
from zagg_catalog.releases.publication import package_versions
from zagg_catalog.store import LocalStore, Store

FOLDER = ".prefect"
CHECKPOINTS = "checkpoints"
# Prefect's result is JSON text in JSON.
_MANIFEST = re.compile(r"shardmaps/[A-Za-z0-9=/._-]+\.parquet")


def content_key(kind: str, facts: Mapping[str, Any]) -> str:
    """Return the name of a result: `kind`, and a digest of its inputs and of the software."""
    everything = {"kind": kind, "facts": dict(facts), "packages": package_versions()}
    return f"{kind}-{canonical_digest(everything)}"


def key_argument(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return the argument ``key`` of a task; for Prefect's ``cache_key_fn``."""
    key: str = parameters["key"]
    return key


def result_storage(store: Store) -> Path | str | None:
    """Return the storage of results, for Prefect's ``result_storage``; None for its default."""
    chosen = flow_settings().results
    if chosen is not None:
        block = chosen.count("/") == 1 and not chosen.startswith((".", "/", "~"))
        return chosen if block else Path(chosen).expanduser().absolute()
    return store.root / FOLDER if isinstance(store, LocalStore) else None


class Session:
    """A fetch that can be continued: in a session each slice is fetched once.

    A session begins with the first fetch of a release, and ends when that release is published; the
    next run queries the source again. `force` begins a new session.
    """

    def __init__(self, store: Store, release_key: ReleaseKey, *, force: bool = False) -> None:
        self.folder = _local_folder(store)
        """Folder of the fetched slices, see `read_slice`."""
        name = canonical_digest(
            [store.url, release_key.product, release_key.region, release_key.cycle]
        )[:32]
        self._path = self.folder / "sessions" / f"{name}.json"
        self._keys: set[str] = set()
        token = None if force else self._read()
        self.continued = token is not None
        """Whether an earlier run began the session."""
        self._token = token or self._begin()

    def key(self, facts: Mapping[str, Any]) -> str:
        """Return the name of a slice in this session."""
        key = content_key("slice", {**facts, "session": self._token})
        self._keys.add(key)
        return key

    def checkpoint(self, key: str) -> Path:
        """Return the folder for the parts of a slice that is not finished."""
        return self.folder / CHECKPOINTS / key

    def end(self) -> None:
        """End the session after its release is published, and remove its slices."""
        self._path.unlink(missing_ok=True)
        for key in self._keys:
            for path in (*_slice_files(self.folder, key), self.checkpoint(key)):
                _remove(path)

    def _begin(self) -> str:
        token = uuid.uuid4().hex
        limit = time.time() - flow_settings().session_hours * 3600
        left = ("slice-*", f"{CHECKPOINTS}/*", "sessions/*.json")
        for path in (path for pattern in left for path in self.folder.glob(pattern)):
            if path.stat().st_mtime < limit:
                _remove(path)  # of a run that was never continued
        content = json.dumps({"token": token, "started": time.time()}).encode()
        write_atomic(self._path, [content])
        return token

    def _read(self) -> str | None:
        try:
            content = json.loads(self._path.read_text())
            age = time.time() - float(content["started"])
            token = str(content["token"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # begin a new session
        return token if 0 <= age < flow_settings().session_hours * 3600 else None


def collect_maps(folder: Path, release_key: ReleaseKey, manifests: Collection[str]) -> list[Path]:
    """Remove the results of maps that a new release has replaced; return their paths.

    `manifests` are the keys of the maps of the release, whose results stay, so that the next run
    builds nothing again. Results of other releases stay, too.
    """
    removed = []
    for path in folder.glob("map-*"):
        with contextlib.suppress(FileNotFoundError):  # another run has removed it
            found = _MANIFEST.search(path.read_text(encoding="utf-8", errors="replace"))
            key = found[0] if found else None
            if key and key not in manifests and _release_key_of(key) == release_key:
                path.unlink()
                removed.append(path)
    return removed


def _release_key_of(key: str) -> ReleaseKey | None:
    try:
        return parse_key(key).release_key
    except InvalidName:
        return None  # the file is not a result of this program


def read_slice(folder: Path, key: str) -> dict[str, Any] | None:
    """Return a slice that `write_slice` stored; None if a file is missing or damaged."""
    record, parquet = _slice_files(folder, key)
    try:
        found: dict[str, Any] = json.loads(record.read_text())
        digest = found.pop("digest")
        if digest is None:
            return found
        content = parquet.read_bytes()
    except (OSError, ValueError, KeyError):
        return None
    if hashlib.sha256(content).hexdigest() != digest:
        return None
    return found | {"catalog": content}


def write_slice(folder: Path, key: str, values: Mapping[str, Any]) -> None:
    """Store a slice: its catalog, if it has one, as a parquet file, then a record of the rest."""
    record, parquet = _slice_files(folder, key)
    facts = dict(values)
    content: bytes | None = facts.pop("catalog", None)
    if content is not None:
        write_atomic(parquet, [content])
    digest = hashlib.sha256(content).hexdigest() if content is not None else None
    write_atomic(record, [json.dumps(facts | {"digest": digest}).encode()])


def _slice_files(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.json", folder / f"{key}.parquet"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _local_folder(store: Store) -> Path:
    """Return the folder of results, or Prefect's folder if they are not in one."""
    storage = result_storage(store)
    if isinstance(storage, Path):
        return storage
    return Path(get_current_settings().results.local_storage_path)
