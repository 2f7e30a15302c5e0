"""What zagg read of each granule for each shard; standard library only."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

# Characters of a reason that are kept.
REASON = 500
# Seconds between the files that are written while beams are read.
EVERY = 1.0


def granule_name(address: str) -> str:
    """Return the file name in an address, or in the ``bucket/key`` that h5coro calls it."""
    return PurePosixPath(urlsplit(address).path).name


def short_reason(error: BaseException) -> str:
    """Return an error as text of bounded length, with its type unless it is `OSError`."""
    text = str(error).strip() or "no reason given"
    kind = "" if type(error) is OSError else f"{type(error).__name__}: "
    return f"{kind}{text}"[:REASON]


@dataclass
class GranuleRead:
    """What was read of one granule for one shard."""

    beams: set[str] = field(default_factory=set)
    """Beams that were read, or that the granule does not have."""
    absent: set[str] = field(default_factory=set)
    """Beams that the granule does not have."""
    values: bool = False
    """Whether it gave a value of the shard."""
    reason: str | None = None
    """Why a beam could not be read; None if none failed."""


class GranuleReads:
    """Record of the reads of one zagg process; threads may share it.

    Parameters
    ----------
    file : Path
        JSON file that names the granules being read, replaced whenever one is opened or closed,
        and about every second while beams are read, so that another process knows them, and sees
        that reads end.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._written = 0.0
        self._open: Counter[str] = Counter()
        self._reads: defaultdict[int, dict[str, GranuleRead]] = defaultdict(dict)
        self.not_opened: dict[str, str] = {}
        """Why a granule could not be opened, by its name; the newest reason."""

    def begin(self, address: str) -> None:
        """Note that a granule is being opened."""
        with self._lock:
            self._open[granule_name(address)] += 1
            self._write()

    def end(self, address: str, error: BaseException | None = None) -> None:
        """Note that a granule was closed, or that it could not be opened."""
        name = granule_name(address)
        with self._lock:
            self._open[name] -= 1
            if error is not None:
                self.not_opened[name] = short_reason(error)
            self._write()

    def beam(self, shard: int, address: str, beam: str, *, values: bool = False) -> None:
        """Note that a beam was read."""
        with self._lock:
            read = self._read(shard, address)
            read.beams.add(beam)
            read.values |= values
            self._write_again()

    def absent(self, shard: int, address: str, beam: str) -> None:
        """Note that a granule does not have a beam."""
        with self._lock:
            read = self._read(shard, address)
            read.beams.add(beam)
            read.absent.add(beam)
            self._write_again()

    def failed(self, shard: int, address: str, beam: str, error: BaseException) -> None:
        """Note that a beam could not be read."""
        with self._lock:
            read = self._read(shard, address)
            read.reason = read.reason or f"{beam}: {short_reason(error)}"[:REASON]
            self._write_again()

    def of_shard(self, shard: int) -> dict[str, GranuleRead]:
        """Return what was read for a shard, by name of the granule."""
        return self._reads.get(shard, {})

    def absent_beams(self) -> dict[str, list[str]]:
        """Return the beams that granules do not have, by name of the granule."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for granules in self._reads.values():
            for name, read in granules.items():
                found[name] |= read.absent
        return {name: sorted(beams) for name, beams in sorted(found.items()) if beams}

    def _read(self, shard: int, address: str) -> GranuleRead:
        return self._reads[shard].setdefault(granule_name(address), GranuleRead())

    def _write_again(self) -> None:
        if time.monotonic() > self._written + EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        names = sorted(name for name, count in self._open.items() if count > 0)
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"granules": names}), encoding="utf-8")
        temporary.replace(self._file)
