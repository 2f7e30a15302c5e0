"""Results of finished tasks, kept so that a run that was killed can be continued."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.context import TaskRunContext
from prefect.settings import get_current_settings

from flows.settings import flow_settings
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.publication import package_versions
from zagg_catalog.store import LocalStore, Store

FOLDER = ".prefect"


def content_key(kind: str, facts: Mapping[str, Any]) -> str:
    """Return the name of a result: a digest of all that it depends on, software included.

    Parameters
    ----------
    kind : str
        What is made.
    facts : mapping
        JSON values.
    """
    everything = {"kind": kind, "facts": dict(facts), "packages": package_versions()}
    return f"{kind}-{canonical_digest(everything)}"


def given_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return the key that a task was called with; Prefect's ``cache_key_fn``."""
    key: str = parameters["key"]
    return key


def result_storage(store: Store) -> Path | str | None:
    """Return where results are kept, as Prefect's ``result_storage``; None for its default."""
    chosen = flow_settings().results
    if chosen is not None:
        block = chosen.count("/") == 1 and not chosen.startswith((".", "/", "~"))
        return chosen if block else Path(chosen).expanduser().absolute()
    return store.root / FOLDER if isinstance(store, LocalStore) else None


class Session:
    """A fetch that may be continued: slices are fetched once in a session.

    A session begins with the first fetch of a slot and ends when its release is published.
    Then the next run asks the server anew.

    Parameters
    ----------
    store : Store
        Where the release goes.
    slot : Slot
        What it is for.
    force : bool
        Begin a new session in any case.

    Attributes
    ----------
    continued : bool
        Whether it began in a run before this one.
    """

    def __init__(self, store: Store, slot: ReleaseKey, *, force: bool = False) -> None:
        self._folder = _local_folder(store)
        name = canonical_digest([store.url, slot.product, slot.region, slot.cycle])[:32]
        self._path = self._folder / "sessions" / f"{name}.json"
        self._keys: set[str] = set()
        token = None if force else self._read()
        self.continued = token is not None
        self._token = token or self._begin()

    def key(self, facts: Mapping[str, Any]) -> str:
        """Return the name of a slice's result in this session."""
        key = content_key("slice", {**facts, "session": self._token})
        self._keys.add(key)
        return key

    @property
    def checkpoint(self) -> Path:
        """Folder in which a slice keeps the parts of it that are fetched."""
        return self._folder / "checkpoints"

    def end(self) -> None:
        """End the session: its release is published, and its slices are in the catalog."""
        self._path.unlink(missing_ok=True)
        for key in self._keys:
            (self._folder / key).unlink(missing_ok=True)

    def _begin(self) -> str:
        token = uuid.uuid4().hex
        self._path.parent.mkdir(parents=True, exist_ok=True)
        limit = time.time() - flow_settings().session_hours * 3600
        left = [*self._folder.glob("slice-*"), *self.checkpoint.glob("*")]
        for path in left:
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)  # of a run that was never continued
        self._path.write_text(json.dumps({"token": token, "started": time.time()}))
        return token

    def _read(self) -> str | None:
        try:
            content = json.loads(self._path.read_text())
            age = time.time() - float(content["started"])
            token = str(content["token"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or torn by a kill: a new one costs a fetch only
        return token if 0 <= age < flow_settings().session_hours * 3600 else None


def _local_folder(store: Store) -> Path:
    """Return the folder of results, or where Prefect keeps them by default."""
    storage = result_storage(store)
    if isinstance(storage, Path):
        return storage
    return Path(get_current_settings().results.local_storage_path)
