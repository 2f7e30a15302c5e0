"""Releases and their pick-ups as tables and as JSON-ready values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from zagg_catalog.aggregation.output_verify import VerifiedOutput
from zagg_catalog.cli.common import print_line
from zagg_catalog.cli.tables import counted, print_summary, print_table
from zagg_catalog.index import Index
from zagg_catalog.messages import number_of, short_digest, utc_now
from zagg_catalog.releases import (
    Garbage,
    GridDiff,
    GridRecord,
    PickupHistory,
    Publication,
    Published,
    ReleaseDiff,
    ReleaseKey,
    ReleaseRow,
    ReleaseSummary,
    ReleaseView,
    Verification,
)
from zagg_catalog.releases.batches import ShardCounts, shards_text
from zagg_catalog.releases.check_results import CheckResults
from zagg_catalog.releases.pickups import PickupLease

_OUTCOMES = {
    "aggregated": "aggregated",
    "checked": "dry run",
    "unchanged": "nothing to do",
    "prepared": "no zagg",
    "refused": "refused",
    "unread": "granules not read",
    "failed": "failed",
}


def print_published(published: Published) -> None:
    """Print the result of a publish."""
    record, shrunk = published.record, published.contraction
    done = "unchanged, nothing was written" if published.unchanged else None
    facts: dict[str, Any] = {
        "release": published.digest,
        "status": record.status,
        "latest": "points to it" if published.latest else "does not point to it",
        "granules": record.catalog.rows,
        "written": done or "\n".join(published.written) or "nothing",
        "checks": published.checks.summary,
    }
    if shrunk.count is None:
        facts["contraction"] = f"not known: {shrunk.problem}"
    elif shrunk.count:
        facts["contraction"] = counted(shrunk.ids, shrunk.count)
    print_summary(str(record.release_key), facts)
    _print_grids(record.grids)
    _print_findings(published.checks)


def published_facts(published: Published) -> dict[str, Any]:
    """Return the result of a publish as JSON-ready values."""
    return {
        "digest": published.digest,
        "key": published.key,
        "latest": published.latest,
        "moved": published.moved,
        "unchanged": published.unchanged,
        "written": published.written,
        "held_back": published.held_back,
        "accepted_by": published.accepted_by,
        "contraction": published.contraction.model_dump(mode="json"),
        "record": published.record.model_dump(mode="json"),
        "checks": published.checks.model_dump(mode="json"),
    }


def _print_findings(checks: CheckResults | None) -> None:
    """Print what the checks found, a line each, since that does not fit into a table."""
    for one in checks.findings if checks else ():
        print_line(f"{one.severity}: {one.check}: {one.text}")


def print_list(found: Sequence[ReleaseRow]) -> None:
    """Print one line per release."""
    heads = ("product", "region", "cycle", "release", "latest", "status", "granules", "grids")
    print_table(
        (*heads, "picked up", "stored"),
        [
            (
                one.release_key.product,
                one.release_key.region,
                str(one.release_key.cycle),
                short_digest(one.digest),
                "latest" if one.latest else "",
                one.summary.status if one.summary else "damaged",
                f"{one.summary.granules:,}" if one.summary else "",
                ", ".join(one.summary.grids) if one.summary else "",
                pickup_summary(one.standings, one.summary, one.digest) if one.summary else "",
                f"{one.stored:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
    )


def listed_facts(one: ReleaseRow) -> dict[str, Any]:
    """Return a listed release as JSON-ready values."""
    return {
        **asdict(one.release_key),
        "digest": one.digest,
        "key": one.key,
        "stored": one.stored.isoformat(),
        "latest": one.latest,
        "status": one.summary.status if one.summary else None,
        "granules": one.summary.granules if one.summary else None,
        "grids": one.summary.grids if one.summary else None,
        "pickups": _pickups(one.standings, one.summary.grids, one.digest) if one.summary else None,
        "problem": one.problem,
    }


def print_shown(shown: ReleaseView) -> None:
    """Print a release."""
    record, checks = shown.release.record, shown.checks
    harvest = record.harvest
    facts: dict[str, Any] = {
        "release": shown.release.digest,
        "status": record.status,
        "latest": shown.latest,
        "cycle convention": record.cycle_convention,
        **{key: _listed(value) for key, value in record.query},
        "granules": record.catalog.rows,
        "catalog": record.catalog.key,
    }
    if harvest is not None:
        facts["harvest"] = {
            "declared": harvest.declared_after,
            "harvested": harvest.harvested,
            "superseded": len(harvest.superseded),
            "quarantined": len(harvest.quarantined),
        }
        facts["names"] = harvest.names_note
    facts["checks"] = checks.summary if checks else "not recorded"
    print_summary(str(record.release_key), facts)
    _print_grids(record.grids, shown)
    _print_findings(checks)
    _print_reasons(shown)
    if shown.latest and shown.publication is not None:
        print_publication(shown.publication)


def shown_facts(shown: ReleaseView) -> dict[str, Any]:
    """Return a release as JSON-ready values."""
    publication = shown.publication
    return {
        "digest": shown.release.digest,
        "key": shown.release.key,
        "latest": shown.latest,
        "record": shown.release.record.model_dump(mode="json"),
        "publication": publication_facts(publication) if publication else None,
        "checks": shown.checks.model_dump(mode="json") if shown.checks else None,
        "pickups": _pickups(
            shown.standings,
            [grid.name for grid in shown.release.record.grids],
            shown.release.digest,
        ),
    }


def _pickups(
    standings: Mapping[str, PickupHistory], grids: Iterable[str], digest: str
) -> dict[str, dict[str, Any]]:
    return {name: pickup_facts(standings, name, digest) for name in grids}


def publication_facts(publication: Publication) -> dict[str, Any]:
    """Return the content of a latest pointer as JSON-ready values, without the release record."""
    return publication.model_dump(mode="json", exclude={"record"})


def print_publication(publication: Publication) -> None:
    """Print the content of the latest pointer."""
    shrunk = publication.contraction
    facts: dict[str, Any] = {
        "release": publication.digest,
        "action": publication.action,
        "published": f"{publication.published_at:%Y-%m-%d %H:%M} by {publication.published_by}",
        "supersedes": publication.supersedes,
        "contraction": counted(shrunk.ids, shrunk.count) if shrunk.count else shrunk.problem,
        "packages": ", ".join(f"{name} {v}" for name, v in publication.packages.items()),
    }
    print_summary("latest", facts)


def print_diff(found: ReleaseDiff) -> None:
    """Print how two releases differ."""
    granules = found.granules
    facts = {
        "old": found.old,
        "new": found.new,
        "granules added": counted(granules.added),
        "granules revised": counted(f"{old} → {new}" for old, new in granules.revised),
        "granules removed": counted(granules.removed),
    }
    print_summary("the same" if found.same else "different releases", facts)
    heads = ("grid", "change", "config", "added", "changed", "dropped", "to redo")
    print_table(
        heads,
        [
            (
                grid.name,
                grid.change,
                "changed" if grid.config_changed else "same",
                f"{len(grid.map.shards_added):,}",
                f"{len(grid.map.shards_changed):,}",
                f"{len(grid.map.shards_removed):,}",
                f"{len(grid.map.redo):,}",
            )
            for grid in found.grids
        ],
    )


def diff_facts(found: ReleaseDiff) -> dict[str, Any]:
    """Return a difference as JSON-ready values, with every granule and shard."""
    return {
        "old": found.old,
        "new": found.new,
        "same": found.same,
        "granules": asdict(found.granules),
        "grids": [_grid_facts(grid) for grid in found.grids],
    }


def print_verification(
    found: Verification, outputs: Sequence[VerifiedOutput] | None = None
) -> None:
    """Print the problems in a store, and those of zagg's outputs; None if none were asked for."""
    count = f"{number_of(found.releases, 'release')} and {number_of(found.files, 'file')}"
    if found.clean:
        print_line(f"{count}: all is well.")
    else:
        print_line(f"{count}: {number_of(len(found.findings), 'finding')}.")
        print_table(("file", "problem"), [(one.key, one.problem) for one in found.findings])
    if found.without_report:
        print_line(
            f"{number_of(len(found.without_report), 'release')} without a report; zagg-catalog"
            " release index --reports makes it."
        )
    if outputs is not None:
        _print_outputs(outputs)


def verification_facts(
    found: Verification, outputs: Sequence[VerifiedOutput] | None = None
) -> dict[str, Any]:
    """Return a verification as JSON-ready values; `outputs` is None if none were asked for."""
    facts = asdict(found) | {"clean": found.clean}
    return (
        facts if outputs is None else facts | {"outputs": [_output_facts(one) for one in outputs]}
    )


def _print_outputs(outputs: Sequence[VerifiedOutput]) -> None:
    """Print what zagg's outputs hold, and their problems."""
    if not outputs:
        print_line("No pick-up wrote an output.")
        return
    for one in outputs:
        print_line(f"{one.output} ({one.release_key}, grid {one.grid}): {_output_text(one)}")
        if one.problems:
            print_table(("problem",), [(text,) for text in one.problems])
    if any(one.check is not None and not one.check.clean for one in outputs):
        print_line("Make damaged outputs again by aggregate with force.")


def _output_text(one: VerifiedOutput) -> str:
    check = one.check
    if check is None:
        return "not compared."
    text = f"{check.read:,} of {check.shards:,} shards compared, {check.overviews:,} overviews"
    text += (
        f", {number_of(check.problem_count, 'problem')}."
        if check.problem_count
        else ": all is well."
    )
    return " ".join([text, *check.notes])


def _output_facts(one: VerifiedOutput) -> dict[str, Any]:
    return {
        "slot": str(one.release_key),
        "grid": one.grid,
        "output": one.output,
        "release": one.release,
        "clean": one.clean,
        "problem": one.problem,
        "check": one.check.model_dump(mode="json") if one.check is not None else None,
    }


def garbage_facts(garbage: Garbage) -> dict[str, Any]:
    """Return garbage as JSON-ready values."""
    return {
        "files": [asdict(one) for one in garbage.files],
        "count": len(garbage.files),
        "size": garbage.size,
        "deleted": garbage.deleted,
        "young": garbage.young,
        "left": garbage.left,
    }


def print_garbage(garbage: Garbage) -> None:
    """Print garbage that was found, or how much of it was removed."""
    found = garbage.files
    count = f"{number_of(len(found), 'file')}, {number_of(garbage.size, 'byte')}"
    if garbage.deleted:
        print_line(f"{count}, removed.")
        return
    print_table(
        ("file", "bytes", "stored"),
        [(one.key, f"{one.size:,}", f"{one.modified:%Y-%m-%d %H:%M}") for one in found],
    )
    verb = "is" if garbage.young == 1 else "are"
    young = f"; {garbage.young:,} {verb} too young" if garbage.young else ""
    print_line(f"{count}, to remove with --delete{young}.")


def print_index(place: str, index: Index | None) -> None:
    """Print where the index of a store is, and what it says; nothing if it cannot be read."""
    if index is None:
        return
    counts = Counter(row.state or "not known" for row in index.rows)
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    print_line(
        f"{place}: {index.extent}, as of {index.as_of:%Y-%m-%d %H:%M} UTC"
        f"{f': {states}' if states else ''}."
    )
    for problem in index.problems:
        print_line(problem)


def index_facts(
    place: str, index: Index | None, differing: Sequence[ReleaseKey], problem: str | None
) -> dict[str, Any]:
    """Return the index of a store as JSON-ready values."""
    return {
        "index": place,
        "current": not (problem or differing),
        "problem": problem,
        "differing": [asdict(one) for one in differing],
        "as_of": index.as_of if index else None,
        "rows": index.model_dump(mode="json")["rows"] if index else [],
    }


def _grid_facts(grid: GridDiff) -> dict[str, Any]:
    return {
        "name": grid.name,
        "change": grid.change,
        "config_changed": grid.config_changed,
        "shards_added": grid.map.shards_added,
        "shards_changed": grid.map.shards_changed,
        "shards_dropped": grid.map.shards_removed,
        "pairs_added": grid.map.pairs_added,
        "pairs_removed": grid.map.pairs_removed,
        "redo": grid.map.redo,
    }


def _print_grids(grids: Iterable[GridRecord], shown: ReleaseView | None = None) -> None:
    counts = ("shards", "pairs", "granules", "quarantined", "beyond area")
    heads = ("grid", "status", *counts, "backend", "error")
    picked = ("picked up",) if shown else ()
    rows = [
        (
            grid.name,
            grid.status,
            *(f"{n:,}" for n in (grid.shards, grid.pairs, grid.granules, grid.quarantined)),
            "" if grid.shards_beyond_area is None else f"{grid.shards_beyond_area:,}",
            " ".join(filter(None, (grid.backend, grid.backend_version))),
            grid.error or "",
            *(
                [pickup_text(shown.standings, grid.name, shown.release.digest, grid.shards)]
                if shown is not None
                else []
            ),
        )
        for grid in grids
    ]
    if rows:
        print_table((*heads, *picked), rows)


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def pickup_text(standings: Mapping[str, PickupHistory], grid: str, digest: str, shards: int) -> str:
    """Return whether a grid of a release with so many shards was picked up, and how it ended."""
    facts = pickup_facts(standings, grid, digest)
    if facts["under_way"]:
        progress = facts["under_way"]["progress"]
        return f"under way, by {facts['under_way']['by']}" + (f": {progress}" if progress else "")
    if facts["outcome"] is None:
        return "no"
    text = f"{_OUTCOMES[facts['outcome']]} {facts['ended_at'][:16].replace('T', ' ')}"
    if facts["states"] is not None:
        return f"{text}: {_shards(facts, shards)}"
    return f"{text}: {facts['reason']}" if facts["reason"] else text


def _shards(facts: Mapping[str, Any], total: int) -> str:
    text = shards_text(ShardCounts(**facts["states"]), facts["shards"])
    if facts["cells"] is not None:
        text += f"; {facts['cells']:,} cells"
    if (before := total - facts["shards"]) > 0:
        text += f"; {before:,} shards were done before"
    return text


def _print_reasons(shown: ReleaseView) -> None:
    """Print why shards of grids are not complete, since that does not fit into a table."""
    for grid in shown.release.record.grids:
        facts = pickup_facts(shown.standings, grid.name, shown.release.digest)
        if facts["states"] is not None and facts["reason"] and not facts["under_way"]:
            print_summary(
                f"{grid.name}: {_OUTCOMES[facts['outcome']]}",
                {
                    "reason": facts["reason"],
                    "granules not read": counted(facts["unread"], facts["unread_count"])
                    if facts["unread_count"]
                    else None,
                    "record": facts["acknowledgement"],
                },
            )


def pickup_facts(standings: Mapping[str, PickupHistory], grid: str, digest: str) -> dict[str, Any]:
    """Return how a grid of a release was picked up, as JSON-ready values.

    ``picked_up`` is whether zagg aggregated it; ``outcome`` and the next fields are of the newest
    finished entry, or else of the newest one; ``under_way`` describes a run in progress.
    """
    standing = standings.get(grid, PickupHistory())
    entry, claim = standing.of_release(digest), standing.claim
    now = utc_now()
    busy = (
        claim is not None
        and claim.release == digest
        and claim.alive(now)
        and not claim.in_future(now)
    )
    return {
        "picked_up": entry is not None and entry.finished and not entry.dry_run,
        "outcome": entry.outcome if entry else None,
        "reason": entry.reason if entry else None,
        "dry_run": entry.dry_run if entry else None,
        "output": entry.output if entry else None,
        "by": entry.by if entry else None,
        "run": entry.run if entry else None,
        "began_at": _text(entry.began_at) if entry else None,
        "ended_at": _text(entry.ended_at) if entry else None,
        "acknowledgement": entry.key if entry else None,
        "shards": entry.shards if entry else None,
        "states": entry.states.model_dump() if entry and entry.states else None,
        "observations": entry.observations if entry else None,
        "cells": entry.cells if entry else None,
        "unread": list(entry.unread.names) if entry else [],
        "unread_count": entry.unread.count if entry else 0,
        "under_way": (
            {
                "by": claim.by,
                "began_at": _text(claim.began_at),
                "dry_run": claim.dry_run,
                "shards": claim.shards,
                "states": claim.states.model_dump() if claim.states else None,
                "progress": _progress(claim),
            }
            if busy and claim is not None
            else None
        ),
    }


def _progress(claim: PickupLease) -> str | None:
    """Return the progress of a running pick-up, of the batches that ended."""
    if claim.shards is None:
        return None
    return shards_text(claim.states or ShardCounts(), claim.shards)


def pickup_summary(
    standings: Mapping[str, PickupHistory], summary: ReleaseSummary, digest: str
) -> str:
    """Return how many grids of a release were picked up, ``4 of 4`` or ``dry run 4 of 4``."""
    names = [name for name, status in summary.grids.items() if status != "failed"]
    facts = [pickup_facts(standings, name, digest) for name in names]
    real = sum(one["picked_up"] for one in facts)
    dry = sum(one["outcome"] in ("checked", "unchanged") and one["dry_run"] for one in facts)
    bad = sum(one["outcome"] in ("refused", "unread", "failed", "prepared") for one in facts)
    parts = [f"{real} of {len(names)}"] if real or not (dry or bad) else []
    parts += [f"dry run {dry} of {len(names)}"] if dry else []
    left = sum(_left(one) for one in facts)
    parts += [f"{bad} not" + (f", {left:,} shards left" if left else "")] if bad else []
    return ", ".join(parts)


def _left(facts: Mapping[str, Any]) -> int:
    """Return the number of shards that are not complete."""
    if facts["states"] is None:
        return 0
    states = ShardCounts(**facts["states"])
    return states.total - states.complete


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
