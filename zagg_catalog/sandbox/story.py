"""A cycle in simulated time: its granules arrive, are replaced and deleted, as at NSIDC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc

from zagg_catalog.cycles import LATENCY, cycle_of
from zagg_catalog.geometry.sphere import wrap_longitude
from zagg_catalog.messages import utc_now
from zagg_catalog.sandbox.granules import Granules, concat, pick
from zagg_catalog.sandbox.simulation import simulate
from zagg_catalog.sandbox.timeline import Step, Timeline

# Days from the start of a story.
FIRST, WEEKS = 1, 6
OUTAGE, LATE, REPROCESSED, CORRECTED, DELETED = (17, 18), 49, 63, 70, 77
SUCCEEDED, RETIRED = 84, 112
# Degrees by which new footprints lie further east.
SHIFT = 0.02


def story(
    product: str = "ATL06",
    *,
    version: str = "006",
    successor: str = "007",
    cycle: int | None = None,
    regions: Sequence[int] | None = None,
    tracks: Sequence[int] | None = None,
    share: float = 0.01,
    seed: int = 0,
    start: datetime | None = None,
) -> Timeline:
    """Simulate the weeks in which a cycle is published, corrected, and replaced by a new release.

    Parameters
    ----------
    product, version, regions, tracks, seed
        See `simulate`.
    successor : str
        Release that replaces `version`.
    cycle : int, optional
        The cycle, by default that of 45 days before the start. The two before it are whole.
    share : float
        Share of the granules that are late, reprocessed, corrected or deleted each.
    start : datetime, optional
        Time at the start, UTC; by default the current time.

    Returns
    -------
    Timeline
        Its days are in ``docs/reference/sandbox.md``.

    Raises
    ------
    InvalidQuery
        As `simulate` does.
    """
    start = utc_now() if start is None else start
    cycle = cycle_of(start - LATENCY) if cycle is None else cycle

    def granules(release: str, number: int) -> Granules:
        return simulate(
            product,
            version=release,
            cycle=number,
            regions=regions,
            tracks=tracks,
            seed=seed,
            revised=0.0,
        )

    before = range(max(1, cycle - 2), cycle)
    old = concat([granules(version, number) for number in before])
    new = concat([granules(successor, number) for number in (*before, cycle)])
    return Timeline(old, _steps(granules(version, cycle), old, new, start, share, seed), start)


def next_revision(granules: Granules) -> Granules:
    """Return granules as they are after reprocessing: names of the next revision, new footprints.

    ``ATL06_…_006_01.h5`` becomes ``ATL06_…_006_02.h5``.
    """
    table = granules.table
    for name in ("id", "data", "data_s3", "metadata"):
        renamed = pc.replace_substring_regex(table[name], r"_01(\.h5|\.iso)", r"_02\1")
        table = table.set_column(table.schema.get_field_index(name), name, renamed)
    return shifted(Granules(table, granules.lats, granules.lons, granules.offsets))


def shifted(granules: Granules, degrees: float = SHIFT) -> Granules:
    """Return granules whose footprints lie further east, under the same names."""
    lons = np.round(wrap_longitude(granules.lons + degrees), 5)
    return Granules(granules.table, granules.lats, lons, granules.offsets)


def _steps(
    whole: Granules, old: Granules, new: Granules, start: datetime, share: float, seed: int
) -> Iterator[Step]:
    """Yield the changes of a cycle, of the cycles before it, and of the next release."""

    def step(days: float, what: str, **change: Any) -> Step:
        return Step(when=start + timedelta(days=days), what=what, **change)

    name, successor = (part.table["collection"][0].as_py() for part in (whole, new))
    count = max(1, round(share * len(whole)))
    drawn = np.random.default_rng(seed).choice(len(whole), 4 * count, replace=False)
    late, again, moved, gone = (pick(whole, np.sort(rows)) for rows in drawn.reshape(4, -1))
    rest = np.setdiff1d(np.arange(len(whole)), drawn[:count])
    for week, rows in enumerate(np.array_split(rest, WEEKS)):
        what = f"{len(rows)} granules of {name} arrive"
        yield step(FIRST + 7 * week, what, add=pick(whole, rows))
    yield step(OUTAGE[0], "an outage begins", down=True)
    yield step(OUTAGE[1], "the outage ends", down=False)
    yield step(LATE, f"{count} late granules of {name} arrive", add=late)
    later = next_revision(again)
    what = f"{count} granules of {name} are replaced by their next revision"
    yield step(REPROCESSED, what, add=later, remove=names(again))
    yield step(CORRECTED, f"{count} footprints of {name} are corrected", add=shifted(moved))
    yield step(DELETED, f"{count} granules of {name} are deleted", remove=names(gone))
    yield step(SUCCEEDED, f"{len(new)} granules of {successor} arrive", add=new)
    every = names(concat([old, whole, later]))
    yield step(RETIRED, f"all granules of {name} are deleted", remove=every)


def names(granules: Granules) -> tuple[str, ...]:
    """Return the names of granules."""
    return tuple(granules.table["id"].to_pylist())
