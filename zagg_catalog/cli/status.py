"""The command ``status``: products, regions and cycles, and what each of them lacks."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog.cli.common import DONE, WRONG_DATA, print_error, print_result
from zagg_catalog.cli.options import AsJson, RegistryFile, ReleaseFilter, StoreUrl
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import utc_now

# Help does without these, whose imports take longer.
counts = lazy_module("zagg_catalog.watch.source_counts")
registries = lazy_module("zagg_catalog.registry.load")
sources = lazy_module("zagg_catalog.sources")
states = lazy_module("zagg_catalog.watch.status")
stores = lazy_module("zagg_catalog.store")
tables = lazy_module("zagg_catalog.cli.status_tables")

app = App(name="status", version_flags=())


@app.default
def status(
    *,
    which: ReleaseFilter = ReleaseFilter(),
    source: Annotated[bool, Parameter(negative="")] = False,
    store: StoreUrl = None,
    registry: RegistryFile = None,
    as_json: AsJson = False,
) -> int:
    """Show the state, granules, maps and pick-ups of each product, region and cycle.

    Exit code 1 if a cycle that is over is not complete, or is not known to be.

    Parameters
    ----------
    source
        Ask the API for the counts now; without it, no request is made.
    """
    registered = registries.registry_if_any(registry)
    found = states.read_status(
        stores.open_store(store),
        registered,
        utc_now(),
        product=which.product,
        region=which.region,
        cycle=which.cycle,
    )
    if source:
        found = counts.with_source(found, sources.CMRSource(), registered)
    print_result(
        tables.status_facts(found),
        lambda: tables.print_status(found, source=source),
        as_json=as_json,
    )
    for problem in registered.problems if registered else ():
        print_error(problem)
    return DONE if found.complete and found.rows else WRONG_DATA
