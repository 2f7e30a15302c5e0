"""The finished slices of a fetch in a store, so that a fetch on another machine continues it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zagg_catalog.errors import CorruptObject, ObjectMissing
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.sources.batches import Batch
from zagg_catalog.store import Store


class StoredSlices:
    """A checkpoint in a store, as `zagg_catalog.CMRSource.fetch` takes it in place of a folder.

    It has an object for each file of rows, and one for the record of each finished slice, which is
    written last. They stay when the fetch succeeds, until the caller has stored its catalog and
    removes the folder.

    Parameters
    ----------
    store : Store
        The store.
    folder : str
        Key of a folder for this fetch only.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, folder
        self._keys: dict[str, str] = {}

    def load(self, folder: Path) -> None:
        """Copy the finished slices to a local folder; leave out those that are damaged."""
        keys = [info.key for info in self._store.list(self._folder) if info.key.endswith(".json")]
        self._store.read_each(lambda key: self._load(key, folder), keys)

    def save(self, record: Path, batches: Sequence[Batch]) -> None:
        """Store a finished slice: its files, and then its record."""
        self._store.read_each(
            lambda batch: self._store.put(self._folder, batch.path, ".arrow"), batches
        )
        content = {"name": record.name, "record": json.loads(record.read_bytes())}
        ref = self._store.put(self._folder, canonical_json(content), ".json")
        self._keys[record.name] = ref.key

    def forget(self, record: Path) -> None:
        """Delete the record of a slice."""
        if key := self._keys.pop(record.name, None):
            self._store.delete(key)

    def _load(self, key: str, folder: Path) -> None:
        try:
            content: dict[str, Any] = json.loads(self._store.get(key))
            record, name = content["record"], Path(content["name"]).name
            for file in record["files"]:
                part = f"{self._folder}/{file['digest']}.arrow"
                self._store.download(part, folder / Path(file["name"]).name)
        except (ObjectMissing, CorruptObject, ValueError, KeyError, TypeError):
            return  # the slice is fetched again
        self._keys[name] = key
        (folder / name).write_text(json.dumps(record))
