"""``zagg-catalog grids``: which regions and grids are registered."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from zagg_catalog.registry import RegisteredGrid, Registry, load_registry
from zagg_catalog.tables import WIDE

DONE = 0

_HEADINGS = ("grid", "product", "region", "kind", "shards", "signature")


def add_grids(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add the command ``grids``."""
    grids = parts.add_parser("grids", parents=[common], help="registered grids and signatures")
    grids.add_argument(
        "--registry",
        metavar="FILE",
        help="a path or s3://bucket/key (default: the setting ZAGG_CATALOG_REGISTRY)",
    )
    grids.add_argument("--json", action="store_true", help="print JSON instead of a table")
    grids.set_defaults(run=_grids)


def _grids(options: argparse.Namespace) -> int:
    registry = load_registry(options.registry)
    rows = [_row(registry, grid) for _, grid in sorted(registry.grids.items())]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(registry.source, rows)
    return DONE


def _row(registry: Registry, grid: RegisteredGrid) -> dict[str, Any]:
    assert grid.grid is not None  # a broken one has stopped the loading
    covered = grid.grid.coverage(registry.regions[grid.region].region)
    return {
        "grid": grid.name,
        "product": ", ".join(grid.products),
        "region": grid.region,
        "kind": grid.grid.kind,
        "shards": len(covered),
        "signature": grid.signature_digest,
    }


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    table = Table(title=title, title_justify="left")
    for heading in _HEADINGS:
        right = heading == "shards"
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()))
    console.print(table)
