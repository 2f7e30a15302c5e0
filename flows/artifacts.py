"""Artifacts of releases and of pick-ups; small, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import (
    Artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import ObjectNotFound

from flows.jobs import Job
from zagg_catalog.aggregation.references import Reference, artifact_reference
from zagg_catalog.aggregation.run import PickupResult
from zagg_catalog.errors import PickupRefused
from zagg_catalog.messages import SHORT
from zagg_catalog.releases import Acknowledgement, GridRecord, Published, ReleaseKey
from zagg_catalog.releases.pickups import ShardList, load_acknowledgement
from zagg_catalog.releases.record import manifests_of
from zagg_catalog.store import Store

NAMED = 20

Values = dict[str, Any]


class Progress:
    """A bar in the Prefect UI.

    Parameters
    ----------
    key : str
        Key of the artifact.
    total : int
        Steps to come.
    what : str
        What is done, for people.
    """

    def __init__(self, key: str, total: int, what: str) -> None:
        self._total, self._done = max(total, 1), 0
        self._id: Any = create_progress_artifact(progress=0.0, key=key, description=what)

    def step(self) -> None:
        """Say that one more is done."""
        self._done += 1
        update_progress_artifact(self._id, progress=min(100.0, 100.0 * self._done / self._total))


@contextmanager
def progress(kind: str, job: Job, total: int, what: str) -> Iterator[Progress]:
    """Show how far a region's fetch or build is."""
    yield Progress(f"{kind}-{job.name}", total, what)


def shardmap_key(job: Job, grid: str) -> str:
    """Return the key of a map's artifact, ``shardmap-<product>-<region>-c<cycle>-<grid>``."""
    return f"shardmap-{job.name}-{grid}"


def release_key(job: Job) -> str:
    """Return the key of a release's report; the table of its grids ends with ``-grids``."""
    return f"release-{job.name}"


def record_release(store: Store, job: Job, published: Published) -> list[str]:
    """Create the artifacts of a release.

    Parameters
    ----------
    store : Store
        Where it is.
    job : Job
        What it is for.
    published : Published
        The release.

    Returns
    -------
    list of str
        Keys of the artifacts created; none where the newest ones say the same already.
    """
    if not is_news(store, job, published):
        return []
    created = []
    for grid in published.record.grids:
        if grid.manifest is None:
            continue
        key = shardmap_key(job, grid.name)
        mark = _mark(store, grid.manifest.parquet.digest)
        if not _newest_has(key, mark):
            content = map_content(store, job, published, grid)
            what = f"{grid.shards:,} shards, {grid.pairs:,} pairs {mark}"
            create_table_artifact([content], key=key, description=what)
            created.append(key)
    record = published.record
    create_markdown_artifact(
        report(store, job, published),
        key=release_key(job),
        description=f"{record.status}: {record.catalog.rows:,} granules, {len(record.grids)} grids",
    )
    create_table_artifact(
        [_grid_row(store, grid) for grid in published.record.grids],
        key=f"{release_key(job)}-grids",
        description=f"grids of {job.slot} {_mark(store, published.digest)}",
    )
    return [*created, release_key(job), f"{release_key(job)}-grids"]


def is_news(store: Store, job: Job, published: Published) -> bool:
    """Say whether the newest artifact of a slot is not of this release, or there is none."""
    return not _newest_has(f"{release_key(job)}-grids", _mark(store, published.digest))


def _mark(store: Store, digest: str) -> str:
    """Return what the description of an artifact ends with, to know it again."""
    return f"({digest} in {store.url})"


def _newest_has(key: str, mark: str) -> bool:
    try:
        newest: Any = Artifact.get(key)
    except ObjectNotFound:
        newest = None
    return newest is not None and mark in (newest.description or "")


def map_content(store: Store, job: Job, published: Published, grid: GridRecord) -> Values:
    """Return the data of a map's artifact.

    Returns
    -------
    dict
        Signature, manifest URI, digest, counts and provenance: all that is needed to find the
        map, to check it against a config, and to know where it came from.
    """
    assert grid.manifest is not None
    record = published.record
    return {
        "product": job.product,
        "region": job.region.name,
        "cycle": job.cycle,
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
        "signature": grid.signature_digest[:SHORT],
        "manifest": store.uri(files[0].key) if files else "",
        "error": grid.error or "",
    }


def report(store: Store, job: Job, published: Published) -> str:
    """Return a release's report in Markdown: what, where, how many, what is missing, links."""
    record = published.record
    lines = [
        f"# {job.product}, {job.region.name}, cycle {job.cycle}: {record.status}",
        "",
        f"Release `{published.digest}`"
        + (", the latest." if published.latest else ", **not the latest**: the pointer stays."),
        "",
        "| | |",
        "|---|---|",
        f"| granules | {record.catalog.rows:,} |",
        f"| days | {record.query.start_date} to {record.query.end_date} |",
        f"| box | {_box(record.query.bbox)} |",
        f"| harvest | {_harvest(published)} |",
        f"| granules gone since the release before | {_gone(published)} |",
        f"| record | `{store.uri(published.key)}` |",
        f"| catalog | `{store.uri(record.catalog.key)}` |",
        "",
        "| grid | status | signature | shards | pairs | granules | map |",
        "|---|---|---|---:|---:|---:|---|",
        *(_grid_line(store, grid) for grid in record.grids),
        *_missing(published),
    ]
    return "\n".join(lines) + "\n"


def _grid_line(store: Store, grid: GridRecord) -> str:
    files = manifests_of(grid)
    link = f"`{store.uri(files[0].key)}`" if files else "none"
    return (
        f"| {grid.name} | {grid.status} | `{grid.signature_digest[:SHORT]}` | {grid.shards:,} |"
        f" {grid.pairs:,} | {grid.granules:,} | {link} |"
    )


def _missing(published: Published) -> list[str]:
    """Return the section that says what is missing; none where nothing is."""
    record, harvest = published.record, published.record.harvest
    lines = [f"- grid {grid.name}: {grid.error}" for grid in record.grids if grid.error]
    lines += [
        f"- grid {grid.name}: {grid.quarantined:,} granules with unusable footprints"
        for grid in record.grids
        if grid.quarantined
    ]
    if not record.catalog.complete:
        lines.append("- the harvest is incomplete")
    if harvest is not None and harvest.quarantined:
        names = [entry.id for entry in harvest.quarantined]
        more = f" … and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        lines.append(f"- unusable items: {', '.join(names[:NAMED])}{more}")
    return ["", "## Missing", "", *lines] if lines else []


def _box(box: tuple[float, ...] | None) -> str:
    return ", ".join(f"{side:g}°" for side in box) if box else "not known"


def _harvest(published: Published) -> str:
    harvest = published.record.harvest
    if harvest is None:
        return "no report"
    return (
        f"{harvest.harvested:,} harvested, {harvest.shared:,} of them in two of"
        f" {len(harvest.slices)} slices, {harvest.declared_after or 0:,} declared in all;"
        f" {len(harvest.superseded):,} superseded,"
        f" {harvest.outside_cycle:,} of other cycles, {len(harvest.quarantined):,} unusable"
    )


def _gone(published: Published) -> str:
    count = published.contraction.count
    return "not known" if count is None else f"{count:,}"


def slot_name(slot: ReleaseKey) -> str:
    """Return a slot as part of an artifact's key, ``atl06-007-antarctica-c22``."""
    return f"{slot.product.lower().replace('_', '-')}-{slot.region}-c{slot.cycle}"


def named_reference(key: str) -> Reference:
    """Return what the artifact of a map names.

    Raises
    ------
    PickupRefused
        If there is no such artifact, or it is not that of a map.
    """
    row = _row(key)
    if row is None:
        raise PickupRefused(
            f"Prefect has no artifact {key!r} of a shard map; its key is"
            " shardmap-<product>-<region>-c<cycle>-<grid>."
        )
    return artifact_reference(key, row)


def found_reference(store: Store, slot: ReleaseKey, grid: str) -> Reference | None:
    """Return what the artifact of a grid's map names, if there is one of this store."""
    key = f"shardmap-{slot_name(slot)}-{grid}"
    row = _row(key)
    if row is None:
        return None
    found = artifact_reference(key, row, named=False)
    return found if found.is_of(store) and found.slot == slot else None


def record_pickup(store: Store, picked: PickupResult) -> str | None:
    """Create the artifact of a pick-up, unless the newest one says the same.

    Returns
    -------
    str or None
        Its key, ``pickup-<product>-<region>-c<cycle>-<grid>``; None where there is nothing new.
    """
    if picked.entry is None:
        return None
    slot, grid = picked.order.slot, picked.order.grid
    key, mark = f"pickup-{slot_name(slot)}-{grid}", f"({picked.entry.key} in {store.url})"
    newest = _newest(key)
    if newest is not None and mark in (newest.description or ""):
        return None
    said = picked.acknowledgement
    if said is None:
        said = load_acknowledgement(store.get(picked.entry.key), picked.entry.key)
    create_table_artifact(
        [pickup_content(store, said, picked.entry.key)],
        key=key,
        description=f"{said.outcome}, {_shards(said)} {mark}",
    )
    return key


def pickup_content(store: Store, said: Acknowledgement, key: str) -> Values:
    """Return the data of a pick-up's artifact: who, what, when, with what, and how it ended."""
    return {
        "product": said.product,
        "region": said.region,
        "cycle": said.cycle,
        "grid": said.grid,
        "release": said.release,
        "outcome": said.outcome,
        "reason": said.reason,
        "dry_run": said.dry_run,
        "by": said.by,
        "run": said.run,
        "began": said.began_at.isoformat(timespec="seconds"),
        "ended": said.ended_at.isoformat(timespec="seconds"),
        "signature_digest": said.signature_digest,
        "zagg": said.zagg_version,
        "backend": said.backend,
        "output": said.output,
        "shards": said.shards,
        "only_changed": said.restricted,
        "since": said.changes.base if said.changes else None,
        "added": _named(said.changes.added) if said.changes else None,
        "changed": _named(said.changes.changed) if said.changes else None,
        "dropped": _named(said.changes.dropped) if said.changes else None,
        "notes": "\n".join(said.notes),
        "summary": json.dumps(said.summary, sort_keys=True),
        "acknowledgement": store.uri(key),
    }


def _shards(said: Acknowledgement) -> str:
    """Return how many shards zagg got, in the few words that a card shows."""
    if said.shards is None:
        return "nothing was run"
    return f"{said.shards:,} {'changed ' if said.restricted else ''}shards"


def _named(shards: ShardList) -> str:
    # As text: a browser reads keys past 2**53 wrongly as numbers.
    names = ", ".join(map(str, shards.keys[:NAMED]))
    return f"{shards.count:,}" + (f": {names}" if names else "")


def _row(key: str) -> Values | None:
    """Return the one row of a table artifact, or None if there is none."""
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
