"""Tables and JSON of releases, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from zagg_catalog.pickup_tables import pickup_facts, pickup_summary, pickup_text
from zagg_catalog.releases import (
    Garbage,
    GridDiff,
    GridRecord,
    PickupHistory,
    Publication,
    Published,
    ReleaseDiff,
    ReleaseRecord,
    ReleaseRow,
    ReleaseView,
    Verification,
)
from zagg_catalog.tables import SHOWN, WIDE, print_summary

SHORT = 12


def print_published(published: Published) -> None:
    """Print what a publish did."""
    record, shrunk = published.record, published.contraction
    done = "unchanged, nothing was written" if published.unchanged else None
    facts: dict[str, Any] = {
        "release": published.digest,
        "status": record.status,
        "latest": "points to it" if published.latest else "does not point to it",
        "granules": record.catalog.rows,
        "written": done or "\n".join(published.written) or "nothing",
    }
    if shrunk.count is None:
        facts["contraction"] = f"not known: {shrunk.problem}"
    elif shrunk.count:
        facts["contraction"] = _named(shrunk.count, shrunk.ids)
    print_summary(str(record.slot), facts)
    _print_grids(record.grids)


def print_list(found: Sequence[ReleaseRow]) -> None:
    """Print releases, one a line."""
    heads = ("product", "region", "cycle", "release", "latest", "status", "granules", "grids")
    _print_table(
        (*heads, "picked up", "stored"),
        [
            (
                one.slot.product,
                one.slot.region,
                str(one.slot.cycle),
                one.digest[:SHORT],
                "latest" if one.latest else "",
                one.record.status if one.record else "damaged",
                f"{one.record.catalog.rows:,}" if one.record else "",
                ", ".join(grid.name for grid in one.record.grids) if one.record else "",
                pickup_summary(one.standings, one.record, one.digest) if one.record else "",
                f"{one.stored:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
    )


def listed_facts(one: ReleaseRow) -> dict[str, Any]:
    """Return a listed release as JSON-ready values."""
    return {
        **asdict(one.slot),
        "digest": one.digest,
        "key": one.key,
        "stored": one.stored.isoformat(),
        "latest": one.latest,
        "status": one.record.status if one.record else None,
        "granules": one.record.catalog.rows if one.record else None,
        "grids": {grid.name: grid.status for grid in one.record.grids} if one.record else None,
        "pickups": _pickups(one.standings, one.record, one.digest) if one.record else None,
        "problem": one.problem,
    }


def print_shown(shown: ReleaseView) -> None:
    """Print a release."""
    record = shown.release.record
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
    print_summary(str(record.slot), facts)
    _print_grids(record.grids, shown)
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
        "publication": publication.model_dump(mode="json") if publication else None,
        "pickups": _pickups(shown.standings, shown.release.record, shown.release.digest),
    }


def _pickups(
    standings: Mapping[str, PickupHistory], record: ReleaseRecord, digest: str
) -> dict[str, dict[str, Any]]:
    return {grid.name: pickup_facts(standings, grid.name, digest) for grid in record.grids}


def print_publication(publication: Publication) -> None:
    """Print what a pointer says."""
    shrunk = publication.contraction
    facts: dict[str, Any] = {
        "release": publication.digest,
        "action": publication.action,
        "published": f"{publication.published_at:%Y-%m-%d %H:%M} by {publication.published_by}",
        "supersedes": publication.supersedes,
        "contraction": _named(shrunk.count, shrunk.ids) if shrunk.count else shrunk.problem,
        "packages": ", ".join(f"{name} {v}" for name, v in publication.packages.items()),
    }
    print_summary("latest", facts)


def print_diff(found: ReleaseDiff) -> None:
    """Print how two releases differ."""
    granules = found.granules
    facts = {
        "old": found.old,
        "new": found.new,
        "granules added": _named(len(granules.added), granules.added),
        "granules revised": _named(
            len(granules.revised), [f"{old} → {new}" for old, new in granules.revised]
        ),
        "granules removed": _named(len(granules.removed), granules.removed),
    }
    print_summary("the same" if found.same else "different releases", facts)
    heads = ("grid", "change", "config", "added", "changed", "dropped", "to redo")
    _print_table(
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
    """Return a difference as JSON-ready values: every granule and shard, uncut."""
    return {
        "old": found.old,
        "new": found.new,
        "same": found.same,
        "granules": asdict(found.granules),
        "grids": [_grid_facts(grid) for grid in found.grids],
    }


def print_verification(found: Verification) -> None:
    """Print what is wrong in a store."""
    count = f"{found.releases:,} release(s) and {found.files:,} file(s)"
    if found.clean:
        print(f"{count}: all is well.")
        return
    print(f"{count}: {len(found.findings):,} findings.")
    _print_table(("file", "problem"), [(one.key, one.problem) for one in found.findings])


def verification_facts(found: Verification) -> dict[str, Any]:
    """Return a verification as JSON-ready values."""
    return asdict(found) | {"clean": found.clean}


def print_garbage(garbage: Garbage) -> None:
    """Print what a garbage collection found."""
    found = [*garbage.releases, *garbage.objects]
    _print_table(
        ("file", "bytes", "stored"),
        [(one.key, f"{one.size:,}", f"{one.modified:%Y-%m-%d %H:%M}") for one in found],
    )
    verb = "removed" if garbage.deleted else "to remove (--delete removes them)"
    young = f"; {garbage.young:,} are too young" if garbage.young else ""
    print(f"{len(found):,} files, {garbage.size:,} bytes, {verb}{young}.")


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
    heads = ("grid", "status", "shards", "pairs", "granules", "quarantined", "backend", "error")
    picked = ("picked up",) if shown else ()
    rows = [
        (
            grid.name,
            grid.status,
            *(f"{n:,}" for n in (grid.shards, grid.pairs, grid.granules, grid.quarantined)),
            " ".join(filter(None, (grid.backend, grid.backend_version))),
            grid.error or "",
            *(
                [pickup_text(shown.standings, grid.name, shown.release.digest)]
                if shown is not None
                else []
            ),
        )
        for grid in grids
    ]
    if rows:
        _print_table((*heads, *picked), rows)


def _named(count: int, names: Sequence[str]) -> str:
    shown = list(names[:SHOWN])
    more = [f"… and {count - len(shown):,} more"] if count > len(shown) else []
    return "\n".join([f"{count:,}", *shown, *more])


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
