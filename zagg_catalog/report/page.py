"""The page of a report: one HTML file that has all it needs and asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from zagg_catalog.messages import number_of, one_line, short_digest, shortened
from zagg_catalog.report.charts import days_chart, histogram
from zagg_catalog.report.content import GridMap, ReportContent
from zagg_catalog.report.coverage import ABSENT, HELD, IN_GAP, UNKNOWN
from zagg_catalog.report.payload import ROOM, Payload, make_payload

# Most characters of a text of others.
_LONGEST = 2000
# Names of granules in a list of changes; the others are counted.
_MOST_NAMES = 500
_LEVELS = {"good": "Good:", "note": "Note:", "warn": "Look:", "bad": "Missing:"}
_RESULTS = {
    "error": ("bad", "error"),
    "warn": ("warn", "warning"),
    "passed": ("good", "passed"),
    "skipped": ("soft", "skipped"),
    "off": ("soft", "off"),
}
_CELLS = {
    "held": "granule",
    "absent": "no granule, though the track crosses the area",
    "gap": "no granule: known gap, days without data",
    "unknown": "no granule, and it is not known whether one is expected",
    "outside": "the track does not cross the area",
}


def report_html(content: ReportContent, *, room: int = ROOM) -> str:
    """Return a report as one HTML page.

    Parameters
    ----------
    content : ReportContent
        What the report shows; every text in it may be of others.
    room : int
        Most characters of the packed maps and footprints. What does not fit is left out, and the
        page says so.

    Returns
    -------
    str
        A page for UTF-8. Its Content-Security-Policy allows its own script and style and no
        request. Equal content gives equal pages.
    """
    payload = make_payload(content, room=room)
    style = _asset("report.css")
    script = _asset("report.js")
    return (
        _environment()
        .from_string(_asset("page.html"))
        .render(
            content=content,
            style=Markup(style),
            style_hash=_csp_hash(style),
            script=Markup(script),
            script_hash=_csp_hash(script),
            facts=Markup(_json(payload.facts)),
            packs=[(name, Markup(pack)) for name, pack in payload.packs.items()],
            **_words(content, payload),
        )
    )


def _words(content: ReportContent, payload: Payload) -> dict[str, Any]:
    """Return what the template shows beside the content itself."""
    drawn = [(one["place"], content.maps[one["place"]]) for one in payload.facts["grids"]]
    diff, coverage = content.granule_diff, content.coverage
    return {
        "levels": _LEVELS,
        "results": _RESULTS,
        "cells": _cells(content),
        "most": _MOST_NAMES,
        "sections": _sections(content),
        "problems": payload.problems,
        "has_map": "width" in payload.facts,
        "drawn": drawn,
        "compared": any(one.diff is not None for _, one in drawn),
        "map_label": _map_label(content, drawn),
        "projection": f"Projection: {payload.facts.get('projection')}.",
        "changed_granules": []
        if diff is None
        else [
            ("added", diff.added),
            ("revised", [new for _, new in diff.revised]),
            ("removed", diff.removed),
        ],
        "coverage": coverage,
        "coverage_label": "" if coverage is None else _coverage_label(content),
        "gaps": coverage is not None and bool(coverage.gaps),
        "histograms": [_histogram(place, one) for place, one in enumerate(content.maps)],
        "days": days_chart(content.days, content.period),
        "no_checks": "Not recorded for this release."
        if content.kind == "release"
        else f"A {content.kind} is not checked; releases are, when they are published.",
    }


def _cells(content: ReportContent) -> list[tuple[str, str]]:
    if content.coverage is None:
        return []
    found = set(np.unique(content.coverage.states).tolist())
    names = ("outside", "held", "absent", "gap", "unknown")
    return [(name, text) for name, text in _CELLS.items() if names.index(name) in found]


def _coverage_label(content: ReportContent) -> str:
    assert content.coverage is not None
    count = content.coverage.count
    return (
        f"Tracks from left to right, regions from top to bottom: {count(HELD):,} granules,"
        f" {count(ABSENT):,} crossings without a granule, {count(IN_GAP):,} in known gaps,"
        f" {count(UNKNOWN):,} unknown. The table below has the numbers of each region."
    )


def _map_label(content: ReportContent, drawn: list[tuple[int, GridMap]]) -> str:
    if not drawn:
        return f"Map of the footprints of {content.granules.num_rows:,} granules"
    shards = [
        f"{len(one.columns.shards):,} shards of {one.name}" for _, one in drawn if one.columns
    ]
    return f"Map of {', '.join(shards)}"


def _sections(content: ReportContent) -> list[tuple[str, str]]:
    every = [
        ("map", "Map"),
        ("changes", "Changes"),
        ("coverage", "Completeness"),
        ("numbers", "Granules"),
        ("checks", "Checks"),
        ("provenance", "Provenance"),
        ("commands", "Commands"),
    ]
    return [one for one in every if one[0] != "changes" or content.before]


def _histogram(place: int, one: GridMap) -> tuple[int, str, Markup, str]:
    if one.columns is None or not len(one.columns.shards):
        return place, one.name, Markup(""), "There is no map, or it has no shard."
    counts = np.diff(one.columns.offsets)
    text = (
        f"{len(counts):,} shards: from {int(counts.min()):,} to {int(counts.max()):,} granules,"
        f" median {float(np.median(counts)):g}."
    )
    return place, one.name, histogram(counts), text


def _json(value: Any) -> str:
    """Return JSON for an element ``script``, which no text in it can end."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return files("zagg_catalog.report").joinpath("assets", name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """Return what the template writes: texts of others on one line, and of bounded length."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return shortened(one_line(value), _LONGEST)


def _short(value: str) -> str:
    """Return a digest, or a text that ends with one, with its first 12 digits."""
    head, mark, tail = value.rpartition(":")
    return f"{head}{mark}{short_digest(tail)}…" if _is_digest(tail) else value


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "short": _short,
        "counted": number_of,
    }
    return environment
