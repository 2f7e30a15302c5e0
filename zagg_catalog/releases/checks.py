"""Checks of a release before it is published.

A check is a function below `check`. It compares `CheckInputs` and returns what it found, an empty
list if all is well, or None if it does not apply or has nothing to compare with. Its severity is
the field of the same name in `zagg_catalog.registry.check_rules.CheckRules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.copies import share_a_name
from zagg_catalog.cycles import (
    KNOWN_GAPS,
    MISSION_START,
    ORBIT_SECONDS,
    REGIONS,
    TRACKS,
)
from zagg_catalog.granule_names import granule_keys, granule_name_columns
from zagg_catalog.messages import first_few
from zagg_catalog.reader import Slot
from zagg_catalog.registry.check_rules import CheckRules
from zagg_catalog.releases.check_inputs import SETTLED, CheckInputs
from zagg_catalog.releases.check_results import FEW, CheckFinding, CheckResults
from zagg_catalog.releases.record import GridRecord, ReleaseRecord

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a check found, without its severity."""

    text: str
    """What was expected, what was found, and what to do."""
    counts: dict[str, int] = field(default_factory=dict)
    ids: tuple[str, ...] = ()


Check = Callable[[CheckInputs, CheckRules], list[Problem] | None]
CHECKS: dict[str, Check] = {}
"""By name, in the order in which they are shown."""


def check(function: Check) -> Check:
    """Register a function as the check of its name."""
    CHECKS[function.__name__] = function
    return function


def run_checks(inputs: CheckInputs, rules: CheckRules) -> CheckResults:
    """Run the checks that are on, and return what they found."""
    findings: list[CheckFinding] = []
    by_outcome: dict[str, list[str]] = {"passed": [], "skipped": [], "off": []}
    for name, function in CHECKS.items():
        severity = getattr(rules, name)
        problems = None if severity == "off" else function(inputs, rules)
        if problems is None:
            by_outcome["off" if severity == "off" else "skipped"].append(name)
        elif not problems:
            by_outcome["passed"].append(name)
        findings += [_finding(name, severity, problem) for problem in problems or ()]
    findings.sort(key=lambda one: one.severity != "error")
    outcomes = {outcome: tuple(names) for outcome, names in by_outcome.items()}
    return CheckResults(findings=tuple(findings), **outcomes)


def _finding(name: str, severity: Any, problem: Problem) -> CheckFinding:
    return CheckFinding(
        check=name,
        severity=severity,
        text=problem.text,
        counts=problem.counts,
        ids=problem.ids[:FEW],
    )


@check
def cycle(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that all granules whose names have a cycle are of the release's."""
    number, names = inputs.record.cycle, inputs.names
    if inputs.record.cycle_convention == "nominal" or _count_known(names) == 0:
        return None
    others = pc.or_(pc.greater(names["cycle"], number), pc.less(names["last_cycle"], number))
    ids = _ids(inputs, others)
    if not ids:
        return []
    text = (
        f"All granules should be of cycle {number}, by their names, and {len(ids):,} of"
        f" {len(names):,} are not: {first_few(ids)}. Fetch the cycle again."
    )
    return [Problem(text=text, counts={"other_cycles": len(ids)}, ids=tuple(ids[:FEW]))]


@check
def declared(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that a complete catalog has as many granules as the server declared.

    One that is not complete makes the release partial, and is not compared.
    """
    harvest, rows = inputs.catalog.harvest, inputs.catalog.rows
    if harvest is None or not inputs.catalog.complete:
        return None
    expected = harvest.kept
    if harvest.declared_after is not None:
        out = harvest.left_out + len(harvest.superseded) + harvest.shared
        expected = harvest.declared_after - out
    if rows == harvest.kept == expected:
        return []
    text = (
        f"The server declared {expected:,} granules of the catalog, without those left out, the"
        f" harvest kept {harvest.kept:,}, and the catalog has {rows:,}; the three should be equal."
        " Fetch it again, and publish the file as it was fetched."
    )
    counts = {"declared": max(expected, 0), "harvested": harvest.kept, "granules": rows}
    return [Problem(text=text, counts=counts)]


@check
def tracks(inputs: CheckInputs, rules: CheckRules) -> list[Problem] | None:
    """Check that the tracks and along-track regions of the last settled cycle are there.

    Those in a known gap of the data, and those whose granules are not due yet, may be missing.
    """
    earlier, own = inputs.earlier, _track_codes(inputs.names)
    if earlier is None or not len(own) or not _same_selection(inputs.record, earlier.record):
        return None
    expected = _track_codes(earlier.names)
    missing = np.setdiff1d(expected, own)
    gap, due = _explained(missing, inputs.record.cycle, inputs.now)
    left = missing[~gap & due]
    if len(left) <= rules.tracks_share * len(expected):
        return []
    ids = tuple(_track_text(code, inputs.record.cycle) for code in left[:FEW].tolist())
    text = (
        f"The release should have the {len(expected):,} tracks and along-track regions of cycle"
        f" {earlier.record.cycle}, and lacks {first_few(ids, len(left))}"
        f" ({gap.sum():,} more are in a known gap of the data, {(~gap & ~due).sum():,} are not due"
        " yet). Prepare the cycle again when they exist, or allow a share of them by tracks_share."
    )
    counts = {
        "expected": len(expected),
        "missing": len(left),
        "in_gaps": int(gap.sum()),
        "not_due": int((~gap & ~due).sum()),
    }
    return [Problem(text=text, counts=counts, ids=ids)]


@check
def duplicates(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that no granule has several revisions, editions or files."""
    if not len(inputs.names):
        return None
    twice = set(share_a_name(granule_keys(inputs.names)).tolist())
    for addresses in inputs.addresses.values():
        rows = share_a_name(addresses.files)
        if len(rows):
            # Files of other products may share a name, such as granule.h5.
            known = granule_name_columns(addresses.files.take(pa.array(rows)))["product"]
            twice.update(rows[np.asarray(pc.is_valid(known))].tolist())
    if not twice:
        return []
    ids = sorted(inputs.ids.take(pa.array(sorted(twice))).to_pylist())
    text = (
        f"Each granule should occur once, and {len(ids):,} rows are revisions or files of others,"
        f" {first_few(ids)}. Fetch the catalog again, which takes the newest of each."
    )
    return [Problem(text=text, counts={"rows": len(ids)}, ids=tuple(ids[:FEW]))]


@check
def revisions(inputs: CheckInputs, rules: CheckRules) -> list[Problem] | None:
    """Check that granules are of the product's data release, and most of one revision."""
    names, known = inputs.names, _count_known(inputs.names)
    if known == 0:
        return None
    return [*_other_releases(inputs), *_other_revisions(names, known, rules)]


def _other_releases(inputs: CheckInputs) -> Iterable[Problem]:
    version = inputs.record.product.rpartition("_")[2]
    if len(version) != 3 or not version.isdigit():
        return
    ids = _ids(inputs, pc.not_equal(inputs.names["release"], version))
    if ids:
        text = (
            f"Granules of {inputs.record.product} should be of data release {version}, and"
            f" {len(ids):,} are of another one: {first_few(ids)}. Fetch the product again."
        )
        yield Problem(text=text, counts={"other_releases": len(ids)}, ids=tuple(ids[:FEW]))


def _other_revisions(names: pa.Table, known: int, rules: CheckRules) -> Iterable[Problem]:
    counted = pc.value_counts(names["revision"].combine_chunks().drop_null()).to_pylist()
    counted.sort(key=lambda one: (-one["counts"], one["values"]))
    others = known - counted[0]["counts"]
    if others <= rules.revisions_share * known:
        return
    texts = [f"{one['counts']:,} revision {one['values']:02d}" for one in counted[:FEW]]
    text = (
        f"Nearly all granules should have one revision, and {others:,} of {known:,} differ from"
        f" most: {', '.join(texts)}. A reprocessing may be under way; prepare the cycle again"
        " after it, or allow a larger share by revisions_share."
    )
    yield Problem(text=text, counts={"granules": known, "other_revisions": others})


@check
def hrefs(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that granules have the addresses that the readers of the grids' configs use."""
    grids: dict[Slot, list[str]] = {}
    for name, needs in inputs.needs.items():
        if needs.slot is not None:
            grids.setdefault(needs.slot, []).append(name)
    if not grids:
        return None
    found = []
    for slot, readers in sorted(grids.items()):
        if slot not in inputs.addresses:
            continue
        ids = _ids(inputs, pc.invert(inputs.addresses[slot].usable))
        if ids:
            text = (
                f"Every granule should have an address {slot}://…, which the driver of grid"
                f" {', '.join(readers[:FEW])} reads, and {len(ids):,} have none: {first_few(ids)}."
                " Fetch them from a source that has it, or set data_source.driver in the config."
            )
            found.append(
                Problem(text=text, counts={f"without_{slot}": len(ids)}, ids=tuple(ids[:FEW]))
            )
    return found


@check
def footprints(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that footprints can be swaths of their along-track regions."""
    regions = inputs.names["region"].combine_chunks()
    if inputs.sizes is None or regions.null_count == len(regions):
        return None
    region = np.asarray(pc.coalesce(regions, pa.scalar(0, pa.int16())))
    outside, large = inputs.sizes.outside(region), inputs.sizes.too_large(region)
    ids = _ids(inputs, pa.array(outside | large))
    if not ids:
        return []
    text = (
        "A footprint should be the swath of its along-track region, and"
        f" {outside.sum():,} reach beyond the latitudes of theirs, and {large.sum():,} are longer"
        f" or larger: {first_few(ids)}. Look at them with zagg-catalog export, and report them to"
        " the source."
    )
    counts = {"beyond_region": int(outside.sum()), "too_large": int(large.sum())}
    return [Problem(text=text, counts=counts, ids=tuple(ids[:FEW]))]


@check
def signatures(inputs: CheckInputs, _: CheckRules) -> list[Problem] | None:
    """Check that maps have the spatial signatures that the registry's configs give now."""
    known = [grid for grid in _mapped(inputs.record) if grid.name in inputs.signatures]
    if not known:
        return None
    names = [one.name for one in known if one.signature_digest != inputs.signatures[one.name]]
    if not names:
        return []
    text = (
        f"Maps should have the spatial signatures of the registry's grids, and {len(names):,} of"
        f" {len(known):,} differ: {first_few(names)}. Build them with the registry's configs, or"
        " correct the registry."
    )
    return [Problem(text=text, counts={"grids": len(names)}, ids=tuple(names[:FEW]))]


@check
def drift(inputs: CheckInputs, rules: CheckRules) -> list[Problem] | None:
    """Check that a grid's shards and pairs changed as the granules since the last release did."""
    before, record = inputs.before, inputs.record
    if before is None or not before.catalog.rows:
        return None
    pairs = [(old, new) for new in _mapped(record) if (old := _same_grid(before, new))]
    if not pairs:
        return None
    then, now = before.catalog.rows, record.catalog.rows
    # Granules differ in their number of pairs, which matters if there are few.
    share = rules.drift_share + max(then, now) ** -0.5
    low, high = min(1.0, now / then) * (1.0 - share), max(1.0, now / then) * (1.0 + share)
    odd = [
        (new.name, f"{new.name} has {b:,} {what} and had {a:,}")
        for old, new in pairs
        for what, a, b in (("shards", old.shards, new.shards), ("pairs", old.pairs, new.pairs))
        if a and not low <= b / a <= high
    ]
    if not odd:
        return []
    names = tuple(dict.fromkeys(name for name, _ in odd))
    text = (
        f"Shards and pairs should change by {low - 1:+.0%} to {high - 1:+.0%}, since the granules"
        f" went from {then:,} to {now:,}:"
        f" {first_few([words for _, words in odd])}. Compare the releases with release diff."
    )
    return [Problem(text=text, counts={"grids": len(names)}, ids=names[:FEW])]


def _ids(inputs: CheckInputs, wanted: pa.Array | pa.ChunkedArray) -> list[str]:
    """Return the ids of the granules where `wanted` is true; null is false."""
    found: list[str] = inputs.ids.filter(wanted).to_pylist()
    return found


def _count_known(names: pa.Table) -> int:
    """Return the number of names that are ICESat-2's."""
    return int(pc.count(names["product"]).as_py())


def _mapped(record: ReleaseRecord) -> list[GridRecord]:
    return [grid for grid in record.grids if grid.manifest is not None]


def _same_grid(before: ReleaseRecord, new: GridRecord) -> GridRecord | None:
    """Return a grid of an earlier release, if it had a map with the same signature."""
    old = before.grid(new.name)
    if old is None or old.manifest is None or old.signature_digest != new.signature_digest:
        return None
    return old


def _same_selection(one: ReleaseRecord, other: ReleaseRecord) -> bool:
    """Return whether two releases select granules alike, by box, area and filters."""
    return all(
        getattr(one.query, name) == getattr(other.query, name)
        for name in ("bbox", "area", "filters")
    )


def _track_codes(names: pa.Table) -> Ints:
    """Return a number for each track, along-track region and part, ascending and distinct."""
    some = names.filter(pc.and_(pc.is_valid(names["rgt"]), pc.is_valid(names["region"])))
    part = pc.cast(pc.if_else(pc.equal(some["part"], ""), "0", some["part"]), pa.int64())
    rgt, region = (np.asarray(some[name], dtype=np.int64) for name in ("rgt", "region"))
    codes: Ints = np.unique((rgt * 100 + region) * 100 + np.asarray(part))
    return codes


def _track_text(code: int, cycle: int) -> str:
    """Return a track, cycle and region as a granule's name has them, ``00012204``."""
    text = f"{code // 10_000:04d}{cycle:02d}{code // 100 % 100:02d}"
    return f"{text}, part {code % 100:02d}" if code % 100 else text


def _explained(codes: Ints, cycle: int, now: datetime) -> tuple[NDArray[np.bool_], ...]:
    """Return which tracks of a cycle are in a known gap, and which are due by now."""
    rgt, region = codes // 10_000, codes // 100 % 100
    orbits = (cycle - 1) * TRACKS + rgt - 1 + (region - 1) / REGIONS
    start = (MISSION_START - datetime(1970, 1, 1)).total_seconds()
    seconds = start + orbits * ORBIT_SECONDS
    gap = np.zeros(len(codes), dtype=bool)
    for first, last in KNOWN_GAPS:
        gap |= (seconds >= _midnight(first)) & (seconds < _midnight(last + timedelta(days=1)))
    return gap, seconds + SETTLED.total_seconds() <= now.timestamp()


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
