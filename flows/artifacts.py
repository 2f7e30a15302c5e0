"""Artifacts of releases and of pick-ups in Prefect; small, and without secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import (
    Artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import ObjectNotFound

from flows.jobs import release_key_name
from zagg_catalog.aggregation.references import Reference, artifact_reference
from zagg_catalog.aggregation.run import PickupResult
from zagg_catalog.errors import PickupRefused
from zagg_catalog.messages import as_cell, as_markdown, first_few, one_line, short_digest
from zagg_catalog.releases import Acknowledgement, GridRecord, Published, ReleaseKey
from zagg_catalog.releases.batches import GranuleList, ShardCounts, ShardList, shards_text
from zagg_catalog.releases.record import manifests_of
from zagg_catalog.store import Store

NAMED = 20
# Seconds between two updates of the progress of a pick-up.
PERIOD = 5.0

Values = dict[str, Any]


class Progress:
    """A progress bar of a fetch or build in Prefect's UI; its key begins with `kind`."""

    def __init__(self, kind: str, release_key: ReleaseKey, total: int, description: str) -> None:
        self._total, self._done = max(total, 1), 0
        key = f"{kind}-{release_key_name(release_key)}"
        self._id: Any = create_progress_artifact(
            progress=0.0, key=key, description=as_cell(description)
        )

    def step(self) -> None:
        """Advance by one step."""
        self._done += 1
        update_progress_artifact(self._id, progress=min(100.0, 100.0 * self._done / self._total))


class PickupProgress:
    """The progress of a pick-up in Prefect's UI, ``aggregate-<product>-<region>-c<cycle>-<grid>``.

    It changes at most every `PERIOD` seconds, and at the end.
    """

    def __init__(self, release_key: ReleaseKey, grid: str, text: str) -> None:
        key = f"aggregate-{release_key_name(release_key)}-{grid}"
        self._id: Any = create_progress_artifact(progress=0.0, key=key, description=as_cell(text))
        self._next = 0.0

    def show(self, share: float, text: str) -> None:
        """Show which share of the work has ended, 0 to 1, and the progress in words."""
        now = time.monotonic()
        if share < 1 and now < self._next:
            return
        self._next = now + PERIOD
        update_progress_artifact(self._id, progress=100.0 * share, description=as_cell(text))


class TableProgress:
    """A table in Prefect's UI that is renewed in place while a run goes on."""

    def __init__(self, rows: Sequence[Values], *, key: str, description: str) -> None:
        self._id: Any = create_table_artifact(
            _table_cells(rows), key=key, description=as_cell(description)
        )

    def show(self, rows: Sequence[Values], description: str) -> None:
        """Renew the table and its description."""
        content = ArtifactUpdate(
            data=json.dumps(_table_cells(rows)), description=as_cell(description)
        )
        with get_client(sync_client=True) as client:
            client.update_artifact(self._id, content)


def shardmap_key(release_key: ReleaseKey, grid: str) -> str:
    """Return the key of a map's artifact, ``shardmap-<product>-<region>-c<cycle>-<grid>``."""
    return f"shardmap-{release_key_name(release_key)}-{grid}"


def create_table(rows: Sequence[Values], *, key: str, description: str) -> None:
    """Create a table artifact; Prefect shows its texts and its description as Markdown."""
    create_table_artifact(_table_cells(rows), key=key, description=as_cell(description))


def _table_cells(rows: Sequence[Values]) -> list[Values]:
    return [
        {name: as_cell(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows
    ]


def record_release(store: Store, release_key: ReleaseKey, published: Published) -> None:
    """Create the artifacts of a release: its report, its table of grids, and one for each map.

    An artifact is created only if the newest one of its key describes another release or map, or
    if the release has become the latest.
    """
    if not (published.moved or is_news(store, release_key, published)):
        return
    record, key = published.record, f"release-{release_key_name(release_key)}"
    for grid in record.grids:
        if grid.manifest is None:
            continue
        mark = mark_of(store, grid.manifest.parquet.digest)
        if not newest_has(shardmap_key(release_key, grid.name), mark):
            create_table(
                [map_content(store, release_key, published, grid)],
                key=shardmap_key(release_key, grid.name),
                description=f"{grid.shards:,} shards, {grid.pairs:,} pairs {mark}",
            )
    create_markdown_artifact(
        report(store, release_key, published),
        key=key,
        description=f"{record.status}: {record.catalog.rows:,} granules, {len(record.grids)} grids",
    )
    create_table(
        [_grid_row(store, grid) for grid in record.grids],
        key=f"{key}-grids",
        description=f"grids of {release_key} {mark_of(store, published.digest)}",
    )


def is_news(store: Store, release_key: ReleaseKey, published: Published) -> bool:
    """Return whether the newest artifact of the product, region and cycle is of another release."""
    return not newest_has(
        f"release-{release_key_name(release_key)}-grids", mark_of(store, published.digest)
    )


def mark_of(store: Store, name: str) -> str:
    """Return the end of an artifact's description, which `newest_has` looks for."""
    return f"({name} in {store.url})"


def newest_has(key: str, mark: str) -> bool:
    """Return whether the description of the newest artifact of a key has a mark."""
    newest = _newest(key)
    return newest is not None and as_cell(mark) in (newest.description or "")


def map_content(
    store: Store, release_key: ReleaseKey, published: Published, grid: GridRecord
) -> Values:
    """Return the row of a map's artifact: signature, manifest, digest, counts, provenance."""
    assert grid.manifest is not None
    record = published.record
    return {
        "product": release_key.product,
        "region": release_key.region,
        "cycle": release_key.cycle,
        "grid": grid.name,
        "status": grid.status,
        "signature": json.dumps(grid.signature, sort_keys=True),
        "signature_digest": grid.signature_digest,
        "config_digest": grid.config_digest,
        "manifest": store.uri(grid.manifest.parquet.key),
        "digest": grid.manifest.parquet.digest,
        "shards": grid.shards,
        "pairs": grid.pairs,
        "granules": grid.granules,
        "quarantined": grid.quarantined,
        "shards_beyond_area": grid.shards_beyond_area,
        "backend": " ".join(filter(None, [grid.backend, grid.backend_version])),
        "footprint": grid.footprint,
        "release": published.digest,
        "record": store.uri(published.key),
        "catalog": store.uri(record.catalog.key),
        "catalog_granules": record.catalog.rows,
        "source": record.query.stac_root or record.query.cmr_root,
        "first_day": record.query.start_date,
        "last_day": record.query.end_date,
    }


def _grid_row(store: Store, grid: GridRecord) -> Values:
    files = manifests_of(grid)
    return {
        "grid": grid.name,
        "status": grid.status,
        "shards": grid.shards,
        "pairs": grid.pairs,
        "granules": grid.granules,
        "shards_beyond_area": grid.shards_beyond_area,
        "signature": short_digest(grid.signature_digest),
        "manifest": store.uri(files[0].key) if files else "",
        "error": grid.error or "",
    }


def report(store: Store, release_key: ReleaseKey, published: Published) -> str:
    """Return a release's report in Markdown."""
    record = published.record
    lines = [
        f"# {release_key.product}, {release_key.region}, cycle {release_key.cycle}:"
        f" {record.status}",
        "",
        f"Release `{published.digest}`"
        + (
            ", the latest."
            if published.latest
            else f", **not the latest**: {_why_not_latest(published)}."
        ),
        "",
        "| | |",
        "|---|---|",
        f"| granules | {record.catalog.rows:,} |",
        f"| days | {record.query.start_date} to {record.query.end_date} |",
        *_filters(record.query.filters),
        f"| box | {_box(record.query.bbox)} |",
        f"| complete for the area | {_area(record.query.area)} |",
        f"| harvest | {_harvest(published)} |",
        f"| checks | {published.checks.summary} |",
        f"| granules removed since the previous release | {_removed(published)} |",
        f"| record | {_code(store.uri(published.key))} |",
        f"| catalog | {_code(store.uri(record.catalog.key))} |",
        "",
        "| grid | status | signature | shards | pairs | granules | map |",
        "|---|---|---|---:|---:|---:|---|",
        *(_grid_line(store, grid) for grid in record.grids),
        *_missing(published),
        *_findings(published),
    ]
    return "\n".join(lines) + "\n"


def _grid_line(store: Store, grid: GridRecord) -> str:
    files = manifests_of(grid)
    link = _code(store.uri(files[0].key)) if files else "none"
    return (
        f"| {grid.name} | {grid.status} | `{short_digest(grid.signature_digest)}` |"
        f" {grid.shards:,} | {grid.pairs:,} | {grid.granules:,} | {link} |"
    )


def _code(text: str) -> str:
    """Return text as code in a cell of a table."""
    return f"`{one_line(text).replace('`', "'").replace('|', '%7C')}`"


def _why_not_latest(published: Published) -> str:
    """Return why the pointer was not moved, a clause."""
    return as_markdown("; ".join(published.held_back)) or "the pointer was not moved"


def _missing(published: Published) -> list[str]:
    """Return the section of failed grids, unusable granules and an incomplete harvest."""
    record, harvest = published.record, published.record.harvest
    lines = [
        f"- grid {grid.name}: {as_markdown(grid.error)}" for grid in record.grids if grid.error
    ]
    lines += [
        f"- grid {grid.name}: {grid.quarantined:,} granules that cannot be used"
        for grid in record.grids
        if grid.quarantined
    ]
    lines += [
        f"- grid {grid.name}: {grid.shards_beyond_area:,} shards reach beyond the area"
        for grid in record.grids
        if grid.shards_beyond_area
    ]
    if not record.catalog.complete:
        known = "incomplete" if harvest is not None else "not known to be complete"
        lines.append(f"- the harvest is {known}")
    if harvest is not None and harvest.quarantined:
        names = [as_markdown(f"{one.id} ({one.reason})") for one in harvest.quarantined]
        more = f" … and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        lines.append(f"- {len(names):,} unusable items: {', '.join(names[:NAMED])}{more}")
    if published.contraction.count:
        few = first_few(published.contraction.ids, published.contraction.count)
        lines.append(f"- granules of the previous latest release, {as_markdown(few)}")
    return ["", "## Missing", "", *lines] if lines else []


def _findings(published: Published) -> list[str]:
    """Return the section of what the checks found."""
    lines = [
        f"- {one.severity}: {one.check}: {as_markdown(one.text)}"
        for one in published.checks.findings
    ]
    return ["", "## Checks", "", *lines] if lines else []


def _box(box: tuple[float, ...] | None) -> str:
    return ", ".join(f"{side:g}°" for side in box) if box else "not known"


def _area(boxes: tuple[tuple[float, ...], ...] | None) -> str:
    return "; ".join(map(_box, boxes)) if boxes else "not known"


def _filters(filters: dict[str, Any] | None) -> list[str]:
    """Return a row for each filter of the query."""
    known = {key.replace("_", " "): value for key, value in (filters or {}).items()}
    if "granules" in known:
        known["granules"] = f"{len(known['granules']):,} names"
    shown = {as_markdown(name): as_markdown(str(value)) for name, value in known.items()}
    return [f"| {name} | {value} |" for name, value in shown.items()]


def _harvest(published: Published) -> str:
    harvest = published.record.harvest
    if harvest is None:
        return "no report"
    own = published.publication if published.latest else None
    facts = own.fetch if own is not None and own.fetch is not None else harvest.facts
    return (
        f"{facts.harvested:,} harvested, {facts.shared:,} of them in two of"
        f" {len(facts.slices)} slices, {facts.declared_after or 0:,} declared in all;"
        f" {len(harvest.superseded):,} superseded,"
        f" {facts.outside_cycle:,} of other cycles,"
        f" {sum(facts.outside.values()):,} left out by filters,"
        f" {len(harvest.quarantined):,} unusable"
        + (f"; {as_markdown(harvest.names_note)}" if harvest.names_note else "")
    )


def _removed(published: Published) -> str:
    count = published.contraction.count
    return "not known" if count is None else f"{count:,}"


def artifact_reference_by_key(key: str) -> Reference:
    """Return the reference in an artifact; raise `PickupRefused` if it is not that of a map."""
    row = _row(key)
    if row is None:
        raise PickupRefused(
            f"Prefect has no artifact {key!r} of a shard map; give a key such as"
            " shardmap-<product>-<region>-c<cycle>-<grid>."
        )
    return artifact_reference(key, row)


def artifact_reference_of_grid(
    store: Store, release_key: ReleaseKey, grid: str
) -> Reference | None:
    """Return the reference in the artifact of a grid's map, if there is one for this store."""
    key = shardmap_key(release_key, grid)
    row = _row(key)
    if row is None:
        return None
    found = artifact_reference(key, row, named=False)
    return found if found.is_of(store) and found.release_key == release_key else None


def record_pickup(store: Store, result: PickupResult) -> None:
    """Create the artifact of a pick-up, unless the newest one is of the same pick-up."""
    if result.entry is None:
        return
    release_key, grid = result.request.release_key, result.request.grid
    key, mark = f"pickup-{release_key_name(release_key)}-{grid}", mark_of(store, result.entry.key)
    if newest_has(key, mark):
        return
    record = result.acknowledgement
    if record is None:
        record = Acknowledgement.load(store.get(result.entry.key), result.entry.key)
    create_table(
        [pickup_content(store, record, result.entry.key)],
        key=key,
        description=f"{record.outcome}, {_shards(record)} {mark}",
    )


def pickup_content(store: Store, record: Acknowledgement, key: str) -> Values:
    """Return the row of a pick-up's artifact."""
    return {
        "product": record.product,
        "region": record.region,
        "cycle": record.cycle,
        "grid": record.grid,
        "release": record.release,
        "outcome": record.outcome,
        "reason": record.reason,
        "dry_run": record.dry_run,
        "by": record.by,
        "run": record.run,
        "began": record.began_at.isoformat(timespec="seconds"),
        "ended": record.ended_at.isoformat(timespec="seconds"),
        "signature_digest": record.signature_digest,
        "zagg": record.zagg_version,
        "backend": record.backend,
        "output": record.output,
        "shards": record.shards,
        **_states(record),
        "observations": record.observations,
        "cells": record.cells,
        "not_complete": _named(record.affected) if record.affected.count else None,
        "granules_not_read": _few(record.unread),
        "only_changed": record.restricted,
        "since": record.changes.base if record.changes else None,
        "added": _named(record.changes.added) if record.changes else None,
        "changed": _named(record.changes.changed) if record.changes else None,
        "dropped": _named(record.changes.dropped) if record.changes else None,
        "notes": "; ".join(record.notes),
        "summary": json.dumps(record.summary, sort_keys=True),
        "acknowledgement": store.uri(key),
    }


def _shards(record: Acknowledgement) -> str:
    """Return the number of shards passed to zagg, short enough for a card in the UI."""
    if record.shards is None:
        return "nothing was run"
    if record.states is not None:
        return shards_text(record.states, record.shards)
    return f"{record.shards:,} {'changed ' if record.restricted else ''}shards"


def _states(record: Acknowledgement) -> Values:
    """Return the number of shards in each state."""
    names = ShardCounts.model_fields
    return {f"shards_{name}": getattr(record.states, name, None) for name in names}


def _few(granules: GranuleList) -> str | None:
    return first_few(granules.names, granules.count) if granules.count else None


def _named(shards: ShardList) -> str:
    # As text, since browsers round numbers above 2**53.
    names = ", ".join(map(str, shards.keys[:NAMED]))
    return f"{shards.count:,}" + (f": {names}" if names else "")


def _row(key: str) -> Values | None:
    """Return the first row of a table artifact, or None if it does not exist."""
    artifact = _newest(key)
    try:
        data = json.loads(artifact.data) if artifact is not None else None
    except (TypeError, ValueError):
        return None
    row = data[0] if isinstance(data, list) and data else None
    return row if isinstance(row, dict) else None


def _newest(key: str) -> Any:
    try:
        return Artifact.get(key)
    except ObjectNotFound:
        return None
