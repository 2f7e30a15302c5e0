"""HarvestReport: what a server declared, what came, and what was set aside."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zagg_catalog.sources.items import Quarantined


@dataclass(frozen=True, kw_only=True)
class SliceCount:
    """The counts of one box of a query.

    Parameters
    ----------
    bbox : tuple of float
        ``(west, south, east, north)``, degrees.
    declared_before, declared_after : int or None
        Count that the server declared on the first page, and again after the last one.
    harvested : int
        Unique granules received, quarantined ones included.
    """

    bbox: tuple[float, float, float, float]
    declared_before: int | None
    declared_after: int | None
    harvested: int

    @property
    def complete(self) -> bool:
        """Whether the server declared a count, twice the same, and that many came."""
        counts = {self.declared_before, self.declared_after}
        return counts == {self.harvested}


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """A granule that gave way to a newer revision of itself.

    Parameters
    ----------
    id, by : str
        Its id, and the id of the one that was kept.
    """

    id: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How the harvest went; differs from run to run.

    Parameters
    ----------
    requests, retries : int
        Requests sent, repetitions included, and how many of them were repetitions.
    pages : int
        Pages read.
    duplicates : int
        Items that came again within a box.
    seconds : float
        Wall time.
    """

    requests: int = 0
    retries: int = 0
    pages: int = 0
    duplicates: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HarvestReport:
    """What a server declared, what came, and what was set aside.

    Parameters
    ----------
    slices : tuple of SliceCount
        One per box; two where the region crosses the antimeridian.
    harvested : int
        Unique granules over all slices, quarantined ones included.
    shared : int
        Granules that came in both slices.
    kept : int
        Rows of the catalog.
    outside_cycle : int
        Granules left out because their names carry another cycle.
    superseded : tuple of Superseded
        Granules left out for a newer revision, by id.
    quarantined : tuple of Quarantined
        Items that cannot be used, by id.
    transfer : Transfer
        How the harvest went.
    """

    slices: tuple[SliceCount, ...]
    harvested: int
    shared: int = 0
    kept: int
    outside_cycle: int = 0
    superseded: tuple[Superseded, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    transfer: Transfer = Transfer()

    @property
    def complete(self) -> bool:
        """Whether every slice is proven complete."""
        return all(part.complete for part in self.slices)

    @property
    def declared_before(self) -> int | None:
        """Sum of what the slices' first pages declared; None where one declared nothing."""
        return _total([part.declared_before for part in self.slices])

    @property
    def declared_after(self) -> int | None:
        """Sum of what the server declared afterwards; None where it declared nothing."""
        return _total([part.declared_after for part in self.slices])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            All but ``transfer``: equal for equal content of the server, whatever the page
            size, the order of the pages and the weather.
        """
        return {
            "complete": self.complete,
            "declared_before": self.declared_before,
            "declared_after": self.declared_after,
            "harvested": self.harvested,
            "shared": self.shared,
            "kept": self.kept,
            "outside_cycle": self.outside_cycle,
            "superseded": [asdict(entry) for entry in self.superseded],
            "quarantined": [{"id": q.id, "reason": q.reason} for q in self.quarantined],
            "slices": [asdict(part) | {"bbox": list(part.bbox)} for part in self.slices],
        }


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
