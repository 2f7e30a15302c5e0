"""What an archive is made for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zagg_catalog.grids import OutputGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class ArchiveGrid:
    """A grid to make maps for.

    Parameters
    ----------
    name : str
        Part of the names of its maps.
    grid : OutputGrid
        The grid.
    options : dict
        ``backend``, ``footprint`` and ``mortie_order`` for `ShardMap.build`.
    """

    name: str
    grid: OutputGrid
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArchiveMap:
    """What came of one catalog and one grid.

    Parameters
    ----------
    catalog, grid : str
        Label of the catalog, and name of the grid.
    state : {"built", "kept", "failed"}
        ``kept`` where the file was there, of the same inputs.
    path : Path
        The map's file.
    granules, shards, pairs : int
        Granules considered, shards with granules, and pairs.
    complete : bool
        Whether no granule is missing or unusable.
    seconds : float
        What the build took, with writing; grids that were built together share it evenly.
    error : str or None
        Why it failed.
    """

    catalog: str
    grid: str
    state: Literal["built", "kept", "failed"]
    path: Path
    granules: int = 0
    shards: int = 0
    pairs: int = 0
    complete: bool = False
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """What a run made.

    Parameters
    ----------
    maps : list of ArchiveMap
        By catalog, then by grid.
    merged : list of ArchiveMap
        The maps of all catalogs, one a grid, where they were asked for.
    seconds : float
        The whole run.
    """

    maps: list[ArchiveMap]
    merged: list[ArchiveMap]
    seconds: float

    @property
    def failed(self) -> list[ArchiveMap]:
        """Maps that were not made."""
        return [one for one in (*self.maps, *self.merged) if one.state == "failed"]

    @property
    def complete(self) -> bool:
        """Whether every map was made and none lacks a granule."""
        return all(one.complete for one in (*self.maps, *self.merged))
