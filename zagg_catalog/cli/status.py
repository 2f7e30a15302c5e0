"""The command ``status``: products, regions and cycles, and what each of them lacks."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog.cli.common import DONE, WRONG_DATA, print_error, print_result
from zagg_catalog.cli.options import AsJson, RegistryFile, ReleaseFilter, StoreUrl
from zagg_catalog.messages import utc_now

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
    # Help does without them.
    from zagg_catalog.cli.status_tables import print_status, status_facts
    from zagg_catalog.registry.load import registry_if_any
    from zagg_catalog.sources import CMRSource
    from zagg_catalog.store import open_store
    from zagg_catalog.watch.source_counts import with_source
    from zagg_catalog.watch.status import read_status

    registered = registry_if_any(registry)
    found = read_status(
        open_store(store),
        registered,
        utc_now(),
        product=which.product,
        region=which.region,
        cycle=which.cycle,
    )
    if source:
        found = with_source(found, CMRSource(), registered)
    print_result(status_facts(found), lambda: print_status(found, source=source), as_json=as_json)
    for problem in registered.problems if registered else ():
        print_error(problem)
    return DONE if found.complete and found.rows else WRONG_DATA
