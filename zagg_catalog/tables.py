"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from zagg_catalog.commands import BuildResult
from zagg_catalog.diff import CatalogDiff, MapDiff
from zagg_catalog.summary import Summary

# A list longer than this is cut, saying so.
SHOWN = 10
# Nothing is folded where the output goes to a file or a pipe.
WIDE = 10_000


def print_build(result: BuildResult) -> None:
    """Print what a build made and where it is."""
    shard_map, metadata = result.shard_map, result.shard_map.metadata
    rows: list[tuple[str, Any]] = [
        ("map", str(result.output)),
        ("catalog", str(result.catalog_out) if result.catalog_out else None),
        ("granules", f"{len(result.catalog):,} found, {shard_map.table.num_rows:,} assigned"),
        ("shards", f"{len(shard_map):,}"),
        ("pairs", f"{shard_map.n_pairs:,}"),
        ("backend", f"{metadata['backend']}, {metadata['build_wall_s']} s"),
    ]
    if result.report is not None:
        rows.append(("harvest", _harvest_line(result)))
    for key in ("quarantined", "repaired"):
        if metadata[key]:
            rows.append((key, _shorten(_named(metadata[key]))))
    if not metadata["complete"]:
        rows.append(("complete", "no"))
    _print_rows(None, rows)


def print_summary(title: str, summary: Summary) -> None:
    """Print a catalog's or a map's summary."""
    rows = [(key.replace("_", " "), _shown(value)) for key, value in summary.items()]
    _print_rows(title, rows)


def print_catalog_diff(diff: CatalogDiff) -> None:
    """Print how two catalogs differ."""
    _print_rows("the same granules" if diff.same else "different granules", _granule_rows(diff))


def print_map_diff(diff: MapDiff) -> None:
    """Print how two maps differ."""
    rows = [
        ("grid signature", ", ".join(diff.signature) or "equal"),
        ("pairs added", f"{diff.pairs_added:,}"),
        ("pairs removed", f"{diff.pairs_removed:,}"),
        *(
            (f"shards {what}", _counted(keys))
            for what, keys in (
                ("added", diff.shards_added),
                ("changed", diff.shards_changed),
                ("removed", diff.shards_removed),
            )
        ),
        *_granule_rows(diff.granules),
    ]
    _print_rows("the same pairs" if diff.same else "different maps", rows)


def _granule_rows(diff: CatalogDiff) -> list[tuple[str, str]]:
    return [
        ("granules added", _counted(diff.added)),
        ("granules revised", _counted(f"{old} → {new}" for old, new in diff.revised)),
        ("granules removed", _counted(diff.removed)),
    ]


def _harvest_line(result: BuildResult) -> str:
    harvest = result.catalog.metadata["harvest"]
    parts = [f"{harvest['harvested']:,} of {harvest['declared_after']:,} declared"]
    for key in ("superseded", "quarantined"):
        if harvest[key]:
            parts.append(f"{len(harvest[key])} {key}")
    return ", ".join(parts)


def _named(problems: list[dict[str, str]]) -> list[str]:
    return [f"{problem['id']}: {problem['reason']}" for problem in problems]


def _counted(values: Iterable[Any]) -> str:
    texts = [str(value) for value in values]
    return f"{len(texts):,}" + (f"\n{_shorten(texts)}" if texts else "")


def _shorten(texts: list[str]) -> str:
    more = [f"… and {len(texts) - SHOWN:,} more"] if len(texts) > SHOWN else []
    return "\n".join(texts[:SHOWN] + more)


def _shown(value: Any) -> str | None:
    if value is None or value in ({}, []):
        return None
    if isinstance(value, dict):
        value = {key.replace("_", " "): item for key, item in value.items() if key != "slices"}
        lines = [f"{key}: {_inline(item)}" for key, item in value.items()]
        return "\n".join(lines) if len(lines) <= 12 else ", ".join(lines)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _counted(" ".join(map(str, item.values())) for item in value)
    return _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        few = len(value) <= SHOWN
        return (", ".join(map(_inline, value)) or "none") if few else f"{len(value):,} of them"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_rows(title: str | None, rows: Iterable[tuple[str, str | None]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(name, value)
    if title:
        console.print(title, style="bold underline", markup=False)
    console.print(table, markup=False)
