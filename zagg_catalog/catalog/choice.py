"""The granules that filters select, in a harvest or in a stored catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zagg_catalog.catalog.filters import KEPT, KINDS, UNREADABLE, NameFilters
from zagg_catalog.catalog.harvest_report import UNNAMED, Quarantined

# An item without an id, which no filter can judge.
_PLACE = re.compile(rf".*page \d+ item \d+|{UNNAMED} \w+")
_WHY = {
    "cycle": "are not of cycle {cycle}",
    "track": "are of other tracks",
    "granule_region": "are of other along-track regions",
    "direction": "are not {direction}",
    "name": "have other names",
    "date": "are of other days",
    "region": "do not touch the region",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The granules that filters select."""

    keep: NDArray[np.bool_]
    """Which ids to keep, shape (n,)."""
    quarantined: list[Quarantined]
    """Items that cannot be used or judged."""
    outside: dict[str, int]
    """Granules left out, quarantined ones included, by filter; only filters that are given."""


def choose(
    ids: pa.Array, names: pa.Table, quarantined: Iterable[Quarantined], filters: NameFilters
) -> Chosen:
    """Apply filters to granules, and to the items that cannot be used.

    `names` is the result of `granule_name_columns` for the ids. A granule whose name cannot be
    judged is quarantined.
    """
    aside = {entry.id: entry for entry in quarantined}
    verdict = filters.judge(ids, names)
    aside_ids = pa.array(list(aside), pa.string())
    aside_verdict = filters.judge(aside_ids)
    aside_verdict[np.array([_is_place(entry) for entry in aside.values()], bool)] = UNREADABLE
    left = aside_ids.filter(pa.array(aside_verdict <= KEPT)).to_pylist()
    reason = filters.unreadable_reason
    unreadable = ids.filter(pa.array(verdict == UNREADABLE)).to_pylist()
    entries = {name: aside[name] for name in left}
    entries |= {name: Quarantined(id=name, reason=reason) for name in unreadable}
    outside = {}
    for number, kind in enumerate(KINDS, 1):
        if kind in filters.kinds:
            found = ids.filter(pa.array(verdict == number)).to_pylist()
            others = aside_ids.filter(pa.array(aside_verdict == number)).to_pylist()
            outside[kind] = len({*found, *others})
    return Chosen(keep=verdict == KEPT, quarantined=list(entries.values()), outside=outside)


def reasons(outside: Mapping[str, int], filters: NameFilters) -> list[str]:
    """Return why granules were left out, as parts of a sentence with their counts."""
    facts = {"cycle": filters.cycle, "direction": filters.direction}
    return [f"{count:,} {_WHY[kind].format(**facts)}" for kind, count in outside.items() if count]


def _is_place(entry: Quarantined) -> bool:
    return not entry.named or _PLACE.fullmatch(entry.id) is not None
