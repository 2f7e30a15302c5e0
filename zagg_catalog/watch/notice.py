"""Notices: what is said of a cycle, as Prefect events carry it; nothing here needs Prefect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from zagg_catalog.cycles import check_cycle
from zagg_catalog.errors import InvalidQuery

AVAILABLE = "zagg-catalog.cycle.available"
OVERDUE = "zagg-catalog.cycle.overdue"
PREPARED = "zagg-catalog.cycle.prepared"
POLLED = "zagg-catalog.watch.polled"
RESOURCE = "zagg-catalog.cycle"
WATCH = "zagg-catalog.watch"

Why = Literal["new", "changed", "again", "recheck", "by-hand"]

_PRODUCT = re.compile(r"([A-Z0-9]+)_([0-9]{3})")
_RESOURCE = re.compile(rf"{re.escape(RESOURCE)}\.([a-z0-9]+)-([0-9]{{3}})-c([0-9]{{1,2}})")


def cycle_name(product: str, cycle: int) -> str:
    """Return a cycle's short name, ``atl06-007-c22``."""
    return f"{product.lower().replace('_', '-')}-c{cycle}"


def cycle_resource(product: str, cycle: int) -> dict[str, str]:
    """Return the resource of a cycle's events."""
    return {
        "prefect.resource.id": f"{RESOURCE}.{cycle_name(product, cycle)}",
        "prefect.resource.name": f"{product}, cycle {cycle}",
    }


def watch_resource(product: str) -> dict[str, str]:
    """Return the resource of the events that say that a product was looked at."""
    return {
        "prefect.resource.id": f"{WATCH}.{product.lower().replace('_', '-')}",
        "prefect.resource.name": f"watch of {product}",
    }


def read_resource(resource: str) -> tuple[str, int] | None:
    """Return product and cycle of a resource's id; None where it is no cycle's."""
    found = _RESOURCE.fullmatch(resource)
    return (f"{found[1].upper()}_{found[2]}", int(found[3])) if found else None


def split_product(product: str) -> tuple[str, str]:
    """Return short name and version of ``ATL06_007``.

    Raises
    ------
    InvalidQuery
        If it is something else.
    """
    found = _PRODUCT.fullmatch(product)
    if found is None:
        raise InvalidQuery(f"A product is short name and version, as ATL06_007, not {product!r}.")
    return found[1], found[2]


def notice_id(product: str, cycle: int, generation: str, number: int) -> str:
    """Return the id of a watch's notice, ``atl06-007-c22-1f0c9a-3``."""
    return f"{cycle_name(product, cycle)}-{generation}-{number}"


def read_notice_id(notice: str, product: str, cycle: int) -> tuple[str, int] | None:
    """Return generation and number of a watch's notice of this cycle; None for any other id."""
    prefix = re.escape(cycle_name(product, cycle))
    found = re.fullmatch(rf"{prefix}-([0-9a-f]+)-([0-9]+)", notice)
    return (found[1], int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True)
class CycleAvailable:
    """A cycle is available.

    Parameters
    ----------
    product : str
        ``ATL06_007``.
    cycle : int
        Mission cycle.
    why : {"new", "changed", "again", "recheck", "by-hand"}
        Granules of a new cycle; another state than was told; a notice that nobody answered;
        nothing heard for long; somebody asked for it.
    notice : str or None
        Id that a run answers; None for the event's own.
    before, now : int or None
        Granules that were told of last, and granules now; None where nobody counted.
    expected : float or None
        Granules of a whole cycle.
    """

    product: str
    cycle: int
    why: Why
    notice: str | None = None
    before: int | None = None
    now: int | None = None
    expected: float | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What the event carries.

        Raises
        ------
        InvalidQuery
            If the product or cycle is none.
        """
        name, version = split_product(self.product)
        return {
            "product": name,
            "version": version,
            "cycle": check_cycle(self.cycle),
            "why": self.why,
            "notice": self.notice,
            "granules": {
                "before": self.before,
                "now": self.now,
                "expected": None if self.expected is None else round(self.expected),
            },
        }

    def __str__(self) -> str:
        counts = [f"{self.now:,} granules"] if self.now is not None else []
        counts += [f"{self.before:,} before"] if self.before else []
        counts += [f"about {self.expected:,.0f} expected"] if self.expected else []
        said = f" ({', '.join(counts)})" if counts else ""
        return f"{self.product}, cycle {self.cycle}: {self.why}{said}"


@dataclass(frozen=True, kw_only=True)
class CycleOverdue:
    """A cycle is late.

    Parameters
    ----------
    product : str
        ``ATL06_007``.
    cycle : int
        Mission cycle.
    due : datetime
        When it should have been prepared, UTC.
    granules : int
        How many there are.
    expected : float or None
        How many a whole cycle has.
    problem : {"missing", "few", "unanswered"}
        No granules; too few to be announced; announced, and no run has ended well.
    """

    product: str
    cycle: int
    due: datetime
    granules: int
    expected: float | None
    problem: Literal["missing", "few", "unanswered"]

    @property
    def payload(self) -> dict[str, Any]:
        """What the event carries."""
        name, version = split_product(self.product)
        expected = None if self.expected is None else round(self.expected)
        return {
            "product": name,
            "version": version,
            "cycle": self.cycle,
            "due": self.due.isoformat(),
            "problem": self.problem,
            "granules": {"now": self.granules, "expected": expected},
            "message": str(self),
        }

    def __str__(self) -> str:
        whole = f" of about {self.expected:,.0f} expected" if self.expected else ""
        said = {
            "missing": "the source has no granule of it",
            "few": f"the source has {self.granules:,} granules{whole}, too few to announce it",
            "unanswered": "it was announced, and no run of prepare-cycle has ended well",
        }[self.problem]
        return f"{self.product}, cycle {self.cycle} was due on {self.due:%Y-%m-%d}: {said}."
