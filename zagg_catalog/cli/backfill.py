"""The command ``backfill``: its plan, and the process that runs the flow."""

from __future__ import annotations

import os
import sys
from itertools import groupby
from operator import itemgetter
from typing import Annotated

from cyclopts import App, Group, Parameter

from zagg_catalog.archive.backfill import (
    Only,
    PlannedRelease,
    Scope,
    declared_counts,
    plan_backfill,
    totals,
)
from zagg_catalog.catalog.filters import number_text
from zagg_catalog.cli.common import DONE, WRONG_DATA, print_line, print_result
from zagg_catalog.cli.options import HOW, OUTPUT, AsJson, RegistryFile, StoreUrl
from zagg_catalog.cli.tables import print_table
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.registry import load_registry
from zagg_catalog.settings import get_settings
from zagg_catalog.sources import CMRSource
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import open_store

EXAMPLES = """Examples:
  # what a backfill of the whole mission would do, and why
  zagg-catalog backfill --dry-run

  # the maps of a grid that was registered later, from the stored catalogs
  zagg-catalog backfill --cycles 1-30 --grids new-grid --only missing
"""
SCOPE = Group("What to look at", sort_key=1)
PLACES = Group("Places", sort_key=2)
HEADINGS = ("cycle", "action", "granules", "requests", "grids")
NUMBERS = ("cycle", "granules", "requests")

Names = Annotated[
    list[str] | None, Parameter(group=SCOPE, metavar="NAME...", consume_multiple=True)
]

app = App(name="backfill", help_epilogue=EXAMPLES)


@app.default
def backfill(
    *,
    cycles: Annotated[str, Parameter(group=SCOPE, metavar="1-30")] = "all",
    products: Names = None,
    regions: Names = None,
    grids: Names = None,
    only: Annotated[Only, Parameter(group=SCOPE)] = Only.ALL,
    dry_run: Annotated[bool, Parameter(group=OUTPUT)] = False,
    parallel: Annotated[int, Parameter(group=HOW, metavar="N")] = 2,
    slices: Annotated[int | None, Parameter(group=HOW, metavar="N")] = None,
    aggregate: Annotated[bool, Parameter(group=HOW)] = False,
    force: Annotated[bool, Parameter(group=HOW)] = False,
    publish_partial: Annotated[bool, Parameter(group=HOW)] = False,
    allow_contraction: Annotated[bool, Parameter(group=HOW)] = False,
    allow_failed_checks: Annotated[bool, Parameter(group=HOW)] = False,
    store: Annotated[StoreUrl, Parameter(group=PLACES)] = None,
    registry: Annotated[RegistryFile, Parameter(group=PLACES)] = None,
    stac_root: Annotated[str | None, Parameter(group=PLACES, metavar="URL")] = None,
    provider: Annotated[str, Parameter(group=PLACES, metavar="NAME")] = PROVIDER,
    as_json: Annotated[AsJson, Parameter(group=OUTPUT)] = False,
) -> int:
    """Make the maps that releases lack: missing, stale and failed ones, of many cycles.

    A release is made from its stored catalog where that is enough, else its granules are fetched.
    It runs the flow backfill, on the Prefect server of the settings or on a temporary one.

    Parameters
    ----------
    cycles
        Such as 1-30 or 18-24,30; all are those up to the one of 45 days ago.
    products
        Such as ATL06_007 (default: all registered ones).
    regions
        Registered regions (default: all).
    grids
        Registered grids (default: all). The other grids of a release stay in it.
    only
        Maps to make; all are those that are not current.
    dry_run
        Only print the plan, with the counts of the source.
    parallel
        Cycles at the same time.
    slices
        Time slices fetched at the same time (default: 4, or 1 for a small region).
    aggregate
        Start the aggregation of each release; otherwise the hourly catch-up does it.
    force
        Fetch and build every selected map again, also those that are current.
    publish_partial
        Let a partial release become the latest.
    allow_contraction
        Let a release become the latest that lacks granules of the latest one.
    allow_failed_checks
        Let a release become the latest although a check of it failed.
    stac_root
        Root of the STAC API (default: the setting).
    provider
        Sub-catalog of the API; empty for an API without sub-catalogs.
    """
    scope = Scope(
        cycles=cycles, products=products, regions=regions, grids=grids, only=only, force=force
    )
    if dry_run:
        plans = _plan(scope, store, registry, stac_root, provider, slices)
        facts = {"releases": [one.row for one in plans], "summary": totals(plans)}
        print_result(facts, lambda: _print_plan(plans), as_json=as_json)
        return WRONG_DATA if any(one.action == "lacks" for one in plans) else DONE
    if as_json:
        raise InvalidQuery("--json prints the plan; give it with --dry-run.")
    # A server takes long to start for a registry that is wrong.
    load_registry(registry, tolerate_broken_grids=True)
    switches = {
        "--aggregate": aggregate,
        "--force": force,
        "--publish-partial": publish_partial,
        "--allow-contraction": allow_contraction,
        "--allow-failed-checks": allow_failed_checks,
    }
    values = {
        "--cycles": [cycles],
        "--only": [only.value],
        "--parallel": [str(parallel)],
        "--products": products,
        "--regions": regions,
        "--grids": grids,
        "--slices": [str(slices)] if slices is not None else None,
        "--store": [store] if store else None,
        "--registry": [registry] if registry else None,
        "--stac-root": [stac_root] if stac_root else None,
        "--provider": [provider] if provider != PROVIDER else None,
    }
    arguments = [part for flag, given in values.items() if given for part in (flag, *given)]
    return _run([*arguments, *(flag for flag, given in switches.items() if given)])


def _plan(
    scope: Scope,
    store: str | None,
    registry: str | None,
    stac_root: str | None,
    provider: str,
    slices: int | None,
) -> list[PlannedRelease]:
    registered = load_registry(registry, tolerate_broken_grids=True)
    root = stac_root if get_settings().api == "stac" else None
    count = declared_counts(CMRSource(root_url=root), registered, slices=slices, provider=provider)
    return plan_backfill(open_store(store), registered, scope, count)


def _print_plan(plans: list[PlannedRelease]) -> None:
    """Print a table for each product and region, and below it why, by cycles."""
    print_line(totals(plans))
    # The first line counts the releases that need nothing.
    wanted = [one.row for one in plans if one.action != "none"]
    wanted.sort(key=itemgetter("product", "region", "cycle"))
    for place, group in groupby(wanted, itemgetter("product", "region")):
        rows = list(group)
        cells = [[_cell(row[heading]) for heading in HEADINGS] for row in rows]
        print_line("")
        print_table(HEADINGS, cells, title=", ".join(place), numbers=NUMBERS, whole=NUMBERS)
        reasons: dict[str, list[int]] = {}
        for row in rows:
            reasons.setdefault(row["why"], []).append(row["cycle"])
        for why, cycles in reasons.items():
            print_line(f"  cycle{'s' if len(cycles) > 1 else ''} {number_text(cycles)}: {why}")


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _run(arguments: list[str]) -> int:
    """Become the process of the flow, which a kill then ends; this package imports no Prefect."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "flows.backfill", *arguments])
