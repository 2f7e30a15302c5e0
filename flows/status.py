"""The status of a product as an artifact, and the index of the store, which each run renews."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect import get_run_logger

from flows.artifacts import create_table, newest_is
from flows.failures import error_sentence
from zagg_catalog.cli.status_tables import maps_text, picked_up_text, summary_of
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.index import try_to_renew_index
from zagg_catalog.messages import shortened, utc_now
from zagg_catalog.registry import Registry
from zagg_catalog.releases import Release
from zagg_catalog.releases.read import MapLoader
from zagg_catalog.releases.report import try_to_write_report
from zagg_catalog.settings import get_settings
from zagg_catalog.store import Store
from zagg_catalog.watch.status import CycleStatus, read_status

Values = dict[str, Any]


def renew_status(store: Store, registry: Registry, products: Iterable[str]) -> None:
    """Renew the artifact ``status-<product>`` of each product whose newest one shows another table.

    If there is one, the index of the store is renewed as well. What cannot be read is a warning in
    the log, since the work of the run is done.
    """
    changed = False
    for product in sorted(set(products)):
        try:
            found = read_status(store, registry, utc_now(), product=product)
        except (ZaggCatalogError, OSError) as error:
            get_run_logger().warning("Status of %s: %s", product, error_sentence(error))
            continue
        key, rows = f"status-{product.lower().replace('_', '-')}", [*map(status_row, found.rows)]
        if rows and not newest_is(key, rows):
            create_table(rows, key=key, description=summary_of(found))
            changed = True
    if changed:
        renew_index(store, registry)


def renew_index(store: Store, registry: Registry | None = None) -> None:
    """Renew the index of the store; if that fails, it is a warning in the log."""
    problem = try_to_renew_index(store, registry)
    if problem:
        get_run_logger().warning("%s", problem)


def write_report(
    store: Store,
    release: Release,
    *,
    unless_stored: bool = False,
    load: MapLoader | None = None,
) -> None:
    """Write the report of a release, unless the settings switch reports off.

    With `unless_stored` only if there is none; `load` loads the maps. If that fails, it is a
    warning in the log.
    """
    if not get_settings().release_reports:
        return
    problem = try_to_write_report(store, release, unless_stored=unless_stored, load=load)
    if problem:
        get_run_logger().warning("%s", problem)


def status_row(row: CycleStatus) -> Values:
    """Return the row of a cycle in the table; it has no age, so that time does not change it."""
    known, expected = row.publication, row.expected
    return {
        "region": row.release_key.region,
        "cycle": row.release_key.cycle,
        "state": row.state,
        "held": row.held,
        "declared": row.declared,
        "expected": expected.count if expected else None,
        "in_known_gaps": expected.in_gaps if expected else None,
        "changed": row.changed.isoformat(timespec="seconds") if row.changed else None,
        "release": known.digest if known else None,
        "maps": maps_text(row),
        "picked_up": picked_up_text(row),
        "checks": "{error} error, {warn} warn".format(**row.checks) if row.checks else None,
        "lacks": shortened("; ".join(row.lacks), 500) if row.state != "open" else None,
    }
