"""What a report says: its statements, figures, granules, maps, checks and commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog import Catalog
from zagg_catalog.catalog.completeness import Completeness, explain_missing
from zagg_catalog.catalog.schema import column_values
from zagg_catalog.catalog.table import granule_entries
from zagg_catalog.diff import CatalogDiff, MapDiff
from zagg_catalog.export.features import draw_footprints
from zagg_catalog.geometry.footprints import read_footprints
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.messages import boxes_text, number_of
from zagg_catalog.report.coverage import ABSENT, IN_GAP, Coverage, coverage_of
from zagg_catalog.shardmap.columns import ENTRY_SCHEMA, MapColumns

Level = Literal["good", "note", "warn", "bad"]
# The verdict on what is complete, by its worst statement.
_VERDICTS: dict[Level, tuple[Level, str]] = {
    "bad": ("bad", "Complete, but checks failed"),
    "warn": ("warn", "Complete, with warnings"),
    "note": ("good", "Complete"),
    "good": ("good", "Complete"),
}


@dataclass(frozen=True)
class Statement:
    """A sentence at the top of a report."""

    level: Level
    text: str


@dataclass(frozen=True)
class Fact:
    """A named value; a long one has a short form on the page, and is copied whole."""

    name: str
    value: str
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check before publishing."""

    name: str
    result: Literal["error", "warn", "passed", "skipped", "off"]
    text: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class GridMap:
    """The map of a grid, or why there is none."""

    name: str
    columns: MapColumns | None = None
    """The shard map; None if it failed."""
    problem: str | None = None
    """Why there is no map, a sentence."""
    status: str = "complete"
    """``complete``, ``partial``, ``failed``, or ``unknown``."""
    change: str | None = None
    """How the map differs from that of the release before, a sentence; None without one."""
    diff: MapDiff | None = None
    """Shards that differ; None without a map before, or if its grid is another."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """All that a report shows."""

    kind: Literal["release", "catalog", "shard map"]
    title: str
    level: Level
    verdict: str
    """The state in a few words, ``Complete``."""
    statements: tuple[Statement, ...] = ()
    """What there is to know at first, the worst first."""
    figures: tuple[tuple[str, str], ...] = ()
    """Names and numbers, such as ``("granules", "2,395")``."""
    granules: pa.Table = field(default_factory=ENTRY_SCHEMA.empty_table)
    """Columns ``id``, ``s3``, ``https``, ``time_start`` and others, as the table of a map."""
    footprints: Geometries | None = None
    """Outlines in longitude and latitude, parallel to `granules`, None for one that cannot be
    drawn; None if there is no catalog."""
    maps: tuple[GridMap, ...] = ()
    coverage: Coverage | None = None
    checks: tuple[Check, ...] | None = None
    """None for what is not published, which is not checked."""
    granule_diff: CatalogDiff | None = None
    """Granules that differ from the release before; None without one."""
    before: str | None = None
    """The release before, a part of a sentence."""
    period: tuple[str, str] | None = None
    """First and last day of the query, ``2024-01-31``; None if it is not known."""
    provenance: tuple[Fact, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    """What a command does, and the command."""

    @property
    def days(self) -> dict[str, int]:
        """Numbers of granules by day, ``2024-01-31``, ascending, without days that have none."""
        times = pc.utf8_slice_codeunits(self.granules["time_start"], 0, 10).drop_null()
        return dict(sorted(Counter(times.to_pylist()).items()))


def catalog_content(catalog: Catalog, *, name: str) -> ReportContent:
    """Return the content of the report of a catalog.

    Parameters
    ----------
    catalog : Catalog
        The catalog.
    name : str
        What it is called, such as the name of its file.
    """
    coverage = coverage_of(catalog.table["id"], catalog.metadata)
    statements = [*completeness_statements(catalog.completeness, catalog.metadata, "catalog")]
    statements += coverage_statements(coverage, catalog.completeness)
    return ReportContent(
        kind="catalog",
        title=_title(catalog.metadata, name),
        **verdict_of(catalog.completeness, statements),
        figures=(("granules", f"{len(catalog):,}"), *_coverage_figures(coverage)),
        granules=granule_entries(catalog.table),
        footprints=_footprints(catalog),
        coverage=coverage,
        period=period_of(catalog.metadata),
        provenance=metadata_facts(catalog.metadata, name),
        commands=(("Describe the catalog", f"zagg-catalog show {name}"),),
    )


def map_content(columns: MapColumns, *, name: str, catalog: Catalog | None = None) -> ReportContent:
    """Return the content of the report of a shard map.

    Parameters
    ----------
    columns : MapColumns
        The map.
    name : str
        What it is called, such as the name of its file.
    catalog : Catalog, optional
        The catalog that it was built from, which has the footprints.
    """
    statements = [*completeness_statements(columns.completeness, columns.metadata, "map")]
    coverage = None
    if catalog is not None:
        coverage = coverage_of(catalog.table["id"], catalog.metadata)
        statements += coverage_statements(coverage, columns.completeness)
    if catalog is None:
        statements.append(
            Statement("note", "The report has no footprints, because it was made without a catalog")
        )
    granules, footprints = joined_granules(catalog, [columns])
    return ReportContent(
        kind="shard map",
        title=_title(columns.metadata, name),
        **verdict_of(columns.completeness, statements),
        figures=(
            ("shards", f"{len(columns.shards):,}"),
            ("pairs", f"{len(columns.rows):,}"),
            ("granules", f"{columns.table.num_rows:,}"),
            *_coverage_figures(coverage),
        ),
        granules=granules,
        footprints=footprints,
        maps=(GridMap(name=name, columns=columns, status=status_of(columns.completeness)),),
        coverage=coverage,
        period=period_of(columns.metadata),
        provenance=metadata_facts(columns.metadata, name),
        commands=(
            ("Describe the map", f"zagg-catalog show {name}"),
            ("Aggregate with it", f"python -m zagg --config CONFIG.yaml --catalog {name}"),
        ),
    )


def completeness_statements(
    known: Completeness, metadata: Mapping[str, Any], what: str
) -> list[Statement]:
    """Return whether a catalog or a map is complete, as a statement."""
    if known is True:
        return [Statement("good", f"The {what} has everything that the server declared")]
    if known is False:
        return [Statement("bad", f"The {what} is incomplete: {explain_missing(metadata)}")]
    return [Statement("warn", f"The {what} does not say whether it is complete")]


def coverage_statements(coverage: Coverage | None, known: Completeness) -> list[Statement]:
    """Return what a catalog has of the granules that the tracks give, as statements.

    A complete catalog has all that there are, so that passes without one are none to worry about.
    """
    if coverage is None:
        return []
    if not coverage.known:
        text = "It is not known which granules the tracks should give here"
        return [Statement("note", text)]
    found = []
    if absent := coverage.count(ABSENT):
        text = (
            f"{number_of(absent, 'crossing')} of the area by a track without a granule; a product"
            " of land or ice has none elsewhere"
        )
        found.append(Statement("note" if known is True else "warn", text))
    if lost := coverage.count(IN_GAP):
        days = "; ".join(coverage.gaps)
        count = number_of(lost, "crossing")
        text = f"Known gap: {count} in days without data of the instrument, {days}"
        found.append(Statement("note", text))
    return found


def verdict_of(known: Completeness, statements: Iterable[Statement]) -> dict[str, Any]:
    """Return the verdict, its level, and the statements, the worst first."""
    order: list[Level] = ["bad", "warn", "note", "good"]
    ordered = sorted(statements, key=lambda one: order.index(one.level))
    worst = ordered[0].level if ordered else "good"
    level, verdict = ("bad", "Incomplete") if known is False else _VERDICTS[worst]
    if known == "unknown" and level != "bad":
        level, verdict = "warn", "Not known to be complete"
    return {"statements": tuple(ordered), "level": level, "verdict": verdict}


def status_of(known: Completeness) -> str:
    """Return completeness as the status of a grid."""
    return "unknown" if known == "unknown" else "complete" if known else "partial"


def joined_granules(
    catalog: Catalog | None, maps: Iterable[MapColumns]
) -> tuple[pa.Table, Geometries | None]:
    """Return the granules of a catalog and those that only maps have, and their footprints."""
    tables, shapes = [], None
    if catalog is not None:
        tables.append(granule_entries(catalog.table).cast(ENTRY_SCHEMA))
        shapes = _footprints(catalog)
    for columns in maps:
        known = pa.concat_tables([ENTRY_SCHEMA.empty_table(), *tables])["id"]
        new = pc.invert(pc.is_in(columns.table["id"], value_set=known))
        tables.append(columns.table.filter(new))
    table = pa.concat_tables([ENTRY_SCHEMA.empty_table(), *tables]).combine_chunks()
    if shapes is not None:
        none = np.full(table.num_rows - len(shapes), None, dtype=object)
        shapes = np.concatenate([shapes, none])
    return table, shapes


def period_of(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the first and the last day of a query, if both are known days."""
    days = metadata.get("start_date"), metadata.get("end_date")
    try:
        first, last = (date.fromisoformat(str(day)) for day in days)
    except ValueError:
        return None
    # A chart has a bar for each day.
    usable = timedelta(0) <= last - first <= timedelta(days=3660)
    return (str(first), str(last)) if usable else None


def metadata_facts(metadata: Mapping[str, Any], name: str) -> tuple[Fact, ...]:
    """Return where a catalog or a map comes from."""
    facts = [Fact("file", name, copied=True)]
    for key in ("collection", "cycle", "start_date", "end_date", "provider", "stac_root"):
        if metadata.get(key) is not None:
            facts.append(Fact(key.replace("_", " "), str(metadata[key])))
    if metadata.get("area"):
        facts.append(Fact("area", boxes_text(metadata["area"])))
    for key in ("footprint", "edge", "backend", "backend_version"):
        if metadata.get(key) is not None:
            facts.append(Fact(key.replace("_", " "), str(metadata[key])))
    return tuple(facts)


def _footprints(catalog: Catalog) -> Geometries:
    found = read_footprints(column_values(catalog.table, "geometry"))
    return draw_footprints(found, len(catalog))


def _coverage_figures(coverage: Coverage | None) -> tuple[tuple[str, str], ...]:
    if coverage is None or not coverage.known:
        return ()
    return (("crossings without a granule", f"{coverage.count(ABSENT):,}"),)


def _title(metadata: Mapping[str, Any], name: str) -> str:
    cycle = metadata.get("cycle")
    product = metadata.get("collection")
    return f"{product}, cycle {cycle}" if product and cycle is not None else name
