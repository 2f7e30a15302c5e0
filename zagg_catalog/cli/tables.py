"""Tables on the terminal, and tables of catalogs and shard maps."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from zagg_catalog.messages import as_line, boxes_text, names_note

if TYPE_CHECKING:
    from zagg_catalog.catalog import Catalog
    from zagg_catalog.diff import CatalogDiff, MapDiff
    from zagg_catalog.shardmap.model import BuiltMap

# A longer list is cut; the number of the other items is printed.
SHOWN = 10
# Width of tables in a file or a pipe, where lines are not folded.
WIDE = 10_000


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print a table with headings; columns in ``numbers`` are aligned to the right.

    On a narrow terminal the cells of columns in ``whole`` are not folded, if others can be.
    """
    from rich.console import Console  # loads slowly
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading,
            overflow="fold",
            justify="right" if heading in numbers else "left",
            no_wrap=heading in whole,
        )
    for row in rows:
        table.add_row(*map(as_line, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    if title:
        console.print(as_line(title), style="bold", markup=False)
    console.print(table, markup=False)


def print_fields(title: str | None, fields: Iterable[tuple[str, str | None]]) -> None:
    """Print names and values; a value that is None is left out.

    Does not use rich: its import takes longer than ``show`` needs to read a file.
    """
    terminal = sys.stdout.isatty()
    bold, plain = ("\x1b[1m", "\x1b[0m") if terminal else ("", "")
    known = [(name, value) for name, value in fields if value is not None]
    margin = max((len(name) for name, _ in known), default=0) + 2
    width = max(shutil.get_terminal_size().columns - margin, 20)
    if title:
        print(f"{bold}{as_line(title)}{plain}")
    for name, value in known:
        lines = [as_line(line) for line in value.split("\n")]
        if terminal:
            lines = [part for line in lines for part in wrap(line, width) or [""]]
        print(f"{bold}{name:<{margin}}{plain}{lines[0]}")
        for line in lines[1:]:
            print(" " * margin + line)


def print_build(
    catalog: Catalog,
    built: BuiltMap,
    output: Path,
    catalog_out: Path | None,
    *,
    fetched: bool,
) -> None:
    """Print the files and counts of a build."""
    shard_map, area = built.shard_map, built.area
    metadata = shard_map.metadata
    fields: list[tuple[str, str | None]] = [
        ("map", str(output)),
        ("catalog", str(catalog_out) if catalog_out else None),
        ("granules", f"{len(catalog):,} found, {shard_map.table.num_rows:,} assigned"),
        ("shards", f"{len(shard_map):,}"),
        ("pairs", f"{shard_map.n_pairs:,}"),
        ("backend", f"{metadata['backend']}, {metadata['build_wall_s']} s"),
        ("area", boxes_text(area.area) if area.area else "not known"),
        ("edge", "region" if area.edge == "region" else None),
        ("beyond area", area.sentence() if area.beyond else None),
    ]
    if fetched:
        fields.append(("harvest", _harvest_line(catalog.metadata["harvest"])))
    for key in ("quarantined", "repaired"):
        if metadata[key]:
            fields.append(
                (key, shorten([f"{one['id']}: {one['reason']}" for one in metadata[key]]))
            )
    if unread := metadata.get("unreadable"):
        fields.append(("unreadable", shorten([f"{one['id']}: {one['reason']}" for one in unread])))
    if copies := metadata.get("superseded"):
        texts = [f"{one['id']}: {one['by']} counts instead" for one in copies]
        fields.append(("copies", shorten(texts)))
    if missing := catalog.metadata.get("harvest", {}).get("missing"):
        fields.append(("not found", shorten(missing)))
    if shard_map.completeness is not True:
        fields.append(("complete", "no" if shard_map.completeness is False else "unknown"))
    print_fields(None, fields)


def print_summary(title: str, summary: dict[str, Any]) -> None:
    """Print facts of any kind; numbers, lists and dicts become text, empty ones are left out."""
    print_fields(title, ((key.replace("_", " "), _shown(value)) for key, value in summary.items()))


def print_catalog_diff(diff: CatalogDiff) -> None:
    """Print how two catalogs differ."""
    print_fields("the same granules" if diff.same else "different granules", _granule_rows(diff))


def print_map_diff(diff: MapDiff) -> None:
    """Print how two maps differ."""
    rows = [
        ("grid signature", ", ".join(diff.signature) or "equal"),
        ("pairs added", f"{diff.pairs_added:,}"),
        ("pairs removed", f"{diff.pairs_removed:,}"),
        *(
            (f"shards {change}", counted(keys))
            for change, keys in (
                ("added", diff.shards_added),
                ("changed", diff.shards_changed),
                ("removed", diff.shards_removed),
            )
        ),
        *_granule_rows(diff.granules),
    ]
    print_fields("the same pairs" if diff.same else "different maps", rows)


def _granule_rows(diff: CatalogDiff) -> list[tuple[str, str]]:
    return [
        ("granules added", counted(diff.added)),
        ("granules revised", counted(f"{old} → {new}" for old, new in diff.revised)),
        ("granules removed", counted(diff.removed)),
    ]


def _harvest_line(harvest: dict[str, Any]) -> str:
    declared = harvest["declared_after"]
    of = "no count declared" if declared is None else f"of {declared:,} declared"
    parts = [f"{harvest['harvested']:,} {of}"]
    for key in ("superseded", "quarantined"):
        if harvest[key]:
            parts.append(f"{len(harvest[key])} {key}")
    if note := names_note(harvest.get("irregular_names", 0)):
        parts.append(note)
    return ", ".join(parts)


def counted(values: Iterable[Any], count: int | None = None) -> str:
    """Return a count and the first of the values, one a line.

    ``count`` is the number of all values if ``values`` has only the first ones.
    """
    texts = [str(value) for value in values]
    total = len(texts) if count is None else count
    return f"{total:,}" + (f"\n{shorten(texts, total)}" if texts else "")


def shorten(texts: list[str], count: int | None = None) -> str:
    """Return the first of the texts, one a line, and how many more there are."""
    more = (len(texts) if count is None else count) - len(texts[:SHOWN])
    return "\n".join(texts[:SHOWN] + ([f"… and {more:,} more"] if more else []))


def _shown(value: Any) -> str | None:
    if value is None or value in ({}, []):
        return None
    if isinstance(value, dict):
        value = {key.replace("_", " "): item for key, item in value.items() if key != "slices"}
        lines = [f"{key}: {_inline(item)}" for key, item in value.items()]
        return "\n".join(lines) if len(lines) <= 12 else ", ".join(lines)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return counted(" ".join(map(str, item.values())) for item in value)
    return _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        few = len(value) <= SHOWN
        return (", ".join(map(_inline, value)) or "none") if few else f"{len(value):,} of them"
    return f"{value:,}" if isinstance(value, int) else str(value)
