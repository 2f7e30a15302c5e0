"""The commands ``grids`` and ``notify``: the registry and the events for Prefect."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from zagg_catalog.cli.common import (
    DONE,
    WRONG_CALL,
    print_error,
    print_json,
    print_line,
    print_result,
)
from zagg_catalog.cli.options import AsJson, RegistryFile
from zagg_catalog.cli.tables import print_table
from zagg_catalog.progress import track
from zagg_catalog.registry import RegisteredGrid, Registry, load_registry
from zagg_catalog.registry.model import problem_of
from zagg_catalog.watch.events import event_body, send

HEADINGS = ("grid", "product", "region", "kind", "shards", "signature")

notify_app = App(name="notify", version_flags=())


def grids(*, registry: RegistryFile = None, as_json: AsJson = False) -> int:
    """List the registered grids with their regions, shards and signatures.

    A grid that cannot be used is listed as broken, and its problem printed; the exit code is 2.
    """
    known = load_registry(registry, tolerate_broken_grids=True)
    ordered = [grid for _, grid in sorted(known.grids.items())]
    rows = [_row(known, grid) for grid in track(ordered, "grids", "grid")]
    print_result(
        rows,
        lambda: print_table(HEADINGS, map(_cells, rows), title=known.source, numbers=("shards",)),
        as_json=as_json,
    )
    # Those of a config and of a region are among the registry's.
    uncovered = [one["problem"] for one in rows if not known.grids[one["grid"]].problem]
    problems = [*known.problems, *filter(None, uncovered)]
    for problem in problems:
        print_error(problem)
    return WRONG_CALL if problems else DONE


@notify_app.default
def notify(
    *,
    product: Annotated[str, Parameter(metavar="NAME")],
    version: Annotated[str, Parameter(metavar="NNN")] = "007",
    cycle: Annotated[int, Parameter(metavar="N")],
    api_url: Annotated[str | None, Parameter(metavar="URL")] = None,
    only_print: Annotated[bool, Parameter(name="--print")] = False,
    as_json: AsJson = False,
) -> int:
    """Announce an available cycle to Prefect, as the watch does.

    Parameters
    ----------
    product
        Short name, such as ATL06.
    version
        Product version.
    cycle
        Mission cycle, 1 to 99.
    api_url
        Prefect's API, such as http://127.0.0.1:4200/api (default: PREFECT_API_URL).
    only_print
        Print the event and send nothing.
    """
    event = event_body(product, version, cycle)
    if only_print:
        print_json([event])
        return DONE
    where = send(event, api_url)
    text = f"{event['resource']['prefect.resource.name']}: announced at {where}."
    print_result({"event": event, "url": where}, lambda: print_line(text), as_json=as_json)
    return DONE


def _row(registry: Registry, grid: RegisteredGrid) -> dict[str, Any]:
    shards, problem = None, grid.problem
    if grid.grid is not None:
        try:
            shards = len(grid.grid.coverage(registry.regions[grid.region].region))
        except Exception as error:  # noqa: BLE001  (it is the problem of this grid)
            problem = f"{registry.source}: grids.{grid.name}: {problem_of(error)}"
    return {
        "grid": grid.name,
        "product": ", ".join(grid.products),
        "region": grid.region,
        "kind": grid.grid.kind if grid.grid is not None and problem is None else "broken",
        "shards": shards,
        "signature": grid.signature_digest,
        "problem": problem,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a grid, empty where its problem leaves nothing to show."""
    shown = [row[heading] for heading in HEADINGS]
    return [f"{v:,}" if isinstance(v, int) else str(v or "") for v in shown]
