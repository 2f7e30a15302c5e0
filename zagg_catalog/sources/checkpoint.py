"""Checkpoint: finished slices of a fetch as files, so that a killed one continues."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.regions import Bbox
from zagg_catalog.sources.haul import Haul
from zagg_catalog.sources.http import PACKAGE_VERSION
from zagg_catalog.sources.items import Quarantined
from zagg_catalog.sources.search import BoxSearch
from zagg_catalog.sources.spool import Part, write_arrow

FORMAT = 1
# What a server said longer ago is asked for again.
MOST_HOURS = 6.0


class Checkpoint:
    """Keeps the finished slices of one fetch in a folder.

    Parameters
    ----------
    folder : Path
        Made with the first slice. Different fetches may share it; of one fetch only one may
        run at a time.
    facts : mapping
        All that the answer depends on but the box and the time, as JSON values.

    Attributes
    ----------
    used : bool
        Whether slices of an earlier fetch were taken for the box that was asked for last.

    Raises
    ------
    InvalidQuery
        If it is not a folder.

    Notes
    -----
    A slice is a record ``slice-<fetch>-<slice>.json``, named by digests of what it depends on,
    that names its Arrow files by digests of their content. The record is written last, under
    another name first. A slice counts only if record and files are whole and younger than six
    hours; others are deleted and fetched again.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        self.used = False
        self._fetch = _digest({"format": FORMAT, "version": PACKAGE_VERSION, **facts})
        if folder.exists() and not folder.is_dir():
            raise InvalidQuery(f"The checkpoint {folder} is not a folder.")

    def finished(self, box: BoxSearch) -> list[Haul]:
        """Return the slices of a box that an earlier fetch finished."""
        found = []
        for path in sorted(self._folder.glob(f"slice-{self._fetch}-*.json")):
            record = self._read(path)
            if record is None:
                self._drop(path)
            elif record["bbox"] == list(box.bbox):
                found.append(self._haul(box, record))
        self.used = bool(found)
        return found

    def save(self, box: BoxSearch, haul: Haul) -> Haul:
        """Keep a slice; return it with its rows in the files."""
        assert haul.box.interval is not None
        key = {"bbox": list(box.bbox), "interval": [t.isoformat() for t in haul.box.interval]}
        self._folder.mkdir(parents=True, exist_ok=True)
        files = [self._write(part) for part in haul.parts]
        record = {
            **key,
            "when": time.time(),
            "files": files,
            "quarantined": [asdict(entry) for entry in haul.quarantined.values()],
            "counts": {name: getattr(haul, name) for name in _COUNTS},
        }
        path = self._folder / f"slice-{self._fetch}-{_digest(key)}.json"
        temporary = self._folder / f".{self._fetch}-{uuid.uuid4().hex}"
        temporary.write_text(json.dumps(record))
        temporary.replace(path)
        return self._haul(box, record)

    def forget(self, bbox: Bbox | None = None) -> None:
        """Delete the slices of this fetch, or of one box of it."""
        for path in self._folder.glob(f"slice-{self._fetch}-*.json"):
            record = self._read(path)
            if record is None or bbox is None or record["bbox"] == list(bbox):
                self._drop(path)
        if bbox is None:
            self._sweep()

    def _haul(self, box: BoxSearch, record: dict[str, Any]) -> Haul:
        first, last = (datetime.fromisoformat(text) for text in record["interval"])
        assert box.between is not None
        return Haul(
            box.between((first, last)),
            parts=[Part(f["rows"], path=self._folder / f["name"]) for f in record["files"]],
            quarantined={q["id"]: Quarantined(**q) for q in record["quarantined"]},
            **record["counts"],
        )

    def _write(self, part: Part) -> dict[str, Any]:
        temporary = self._folder / f".{self._fetch}-{uuid.uuid4().hex}"
        try:
            write_arrow(temporary, part.read())
            digest = _file_digest(temporary)
            path = self._folder / f"part-{self._fetch}-{digest[:32]}.arrow"
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return {"name": path.name, "digest": digest, "rows": part.rows}

    def _read(self, path: Path) -> dict[str, Any] | None:
        """Return a record whose files are as it says; None for another."""
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            age = time.time() - record["when"]
            files = record["files"]
            good = 0 <= age < MOST_HOURS * 3600 and all(
                _file_digest(self._folder / file["name"]) == file["digest"] for file in files
            )
            # Named by what it depends on: a record under another name is not what it says.
            key = {"bbox": record["bbox"], "interval": record["interval"]}
            good = good and path.name == f"slice-{self._fetch}-{_digest(key)}.json"
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return None
        return record if good else None

    def _drop(self, path: Path) -> None:
        try:
            names = [file["name"] for file in json.loads(path.read_bytes())["files"]]
        except (OSError, ValueError, KeyError, TypeError):
            names = []
        path.unlink(missing_ok=True)
        for name in names:
            (self._folder / Path(name).name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Delete what else is left of this fetch, and the folder if it is empty then."""
        for pattern in (f"part-{self._fetch}-*.arrow", f".{self._fetch}-*"):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


_COUNTS = (
    "unnamed",
    "declared_before",
    "declared_last",
    "pages",
    "received",
    "total",
)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
