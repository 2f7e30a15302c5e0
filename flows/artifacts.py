"""Artifacts of releases and of pick-ups in Prefect; small, and without secrets."""

from __future__ import annotations

import json
import time
from collections import Counter
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
from flows.pictures import release_picture
from flows.release_report import NAMED, description, report
from flows.settings import flow_settings
from zagg_catalog.aggregation.references import Reference, artifact_reference
from zagg_catalog.aggregation.run import PickupResult
from zagg_catalog.errors import PickupRefused
from zagg_catalog.index import INDEX_KEY
from zagg_catalog.messages import as_cell, first_few
from zagg_catalog.releases import (
    Acknowledgement,
    GridRecord,
    Published,
    ReleaseKey,
    ReleaseRecord,
)
from zagg_catalog.releases.batches import GranuleList, ShardCounts, ShardList, shards_text
from zagg_catalog.releases.read import MapLoader, map_loader
from zagg_catalog.releases.record import manifests_of
from zagg_catalog.releases.stored_reports import report_key
from zagg_catalog.settings import get_settings
from zagg_catalog.store import Store, open_store

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


def record_release(
    store: Store,
    release_key: ReleaseKey,
    published: Published,
    previous: ReleaseRecord | None = None,
    *,
    load: MapLoader | None = None,
) -> None:
    """Create the artifacts of a release: its report, its table of grids, and one for each map.

    An artifact is created only if the newest one of its key describes another release or map, or
    if the release has become the latest. `previous` is the latest release before it; `load` loads
    its maps.
    """
    if not (published.moved or is_news(store, release_key, published)):
        return
    record, key = published.record, f"release-{release_key_name(release_key)}"
    for grid in record.grids:
        if grid.manifest is None:
            continue
        manifest = store.uri(grid.manifest.parquet.key)
        if not newest_has(shardmap_key(release_key, grid.name), manifest=manifest):
            create_table(
                [map_content(store, release_key, published, grid)],
                key=shardmap_key(release_key, grid.name),
                description=f"Map of {grid.name}: {grid.shards:,} shards, {grid.pairs:,} pairs.",
            )
    create_markdown_artifact(
        report(
            store,
            release_key,
            published,
            previous=previous,
            picture=release_picture(record, load or map_loader(store, published.release)),
            links=links_of(store, published),
        ),
        key=key,
        description=as_cell(description(published)),
    )
    create_table(
        [_grid_row(store, published, grid) for grid in record.grids],
        key=f"{key}-grids",
        description=f"The grids of {release_key}: {_states_of(record.grids)}.",
    )


def links_of(store: Store, published: Published) -> dict[str, str]:
    """Return the addresses of report, index and record in the store of the settings.

    They are empty for another store, or if no browser can read it.
    """
    address = flow_settings().store_url
    if address is None or open_store(get_settings().store).url != store.url:
        return {}
    report = report_key(published.record.release_key, published.digest)
    keys = {"Report with an interactive map": report} if store.exists(report) else {}
    keys |= {"Index of all releases": INDEX_KEY, "Record of this release": published.key}
    return {text: f"{address.rstrip('/')}/{key}" for text, key in keys.items()}


def _states_of(grids: Sequence[GridRecord]) -> str:
    """Return how many grids have which state, ``2 complete, 1 failed``."""
    counts = Counter(grid.status for grid in grids)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"


def is_news(store: Store, release_key: ReleaseKey, published: Published) -> bool:
    """Return whether the newest artifact of the product, region and cycle is of another release."""
    key = f"release-{release_key_name(release_key)}-grids"
    return not newest_has(key, release=store.uri(published.key))


def newest_has(key: str, **facts: str) -> bool:
    """Return whether the first row of the newest table of a key has these values."""
    row = _row(key)
    return row is not None and all(row.get(k) == as_cell(v) for k, v in facts.items())


def newest_is(key: str, rows: Sequence[Values]) -> bool:
    """Return whether the newest table of a key has exactly these rows."""
    wanted: list[Any] = json.loads(json.dumps(_table_cells(rows)))
    return _rows(key) == wanted


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


def _grid_row(store: Store, published: Published, grid: GridRecord) -> Values:
    files = manifests_of(grid)
    return {
        "grid": grid.name,
        "status": grid.status,
        "shards": grid.shards,
        "pairs": grid.pairs,
        "granules": grid.granules,
        "shards_beyond_area": grid.shards_beyond_area,
        "error": grid.error or "",
        "signature": grid.signature_digest,
        "manifest": store.uri(files[0].key) if files else "",
        "release": store.uri(published.key),
    }


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
    key = f"pickup-{release_key_name(release_key)}-{grid}"
    if newest_has(key, acknowledgement=store.uri(result.entry.key)):
        return
    record = result.acknowledgement
    if record is None:
        record = Acknowledgement.load(store.get(result.entry.key), result.entry.key)
    create_table(
        [pickup_content(store, record, result.entry.key)],
        key=key,
        description=f"{record.outcome.capitalize()}: {_shards(record)}.",
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
    rows = _rows(key)
    row = rows[0] if rows else None
    return row if isinstance(row, dict) else None


def _rows(key: str) -> list[Any] | None:
    """Return the rows of the newest table of a key, or None if it does not exist."""
    artifact = _newest(key)
    try:
        data = json.loads(artifact.data) if artifact is not None else None
    except (TypeError, ValueError):
        return None
    return data if isinstance(data, list) else None


def _newest(key: str) -> Any:
    try:
        return Artifact.get(key)
    except ObjectNotFound:
        return None
