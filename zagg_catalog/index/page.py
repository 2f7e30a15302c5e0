"""The page of an index: one HTML file without requests, which has its rows as data, too."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from html import escape
from itertools import groupby
from urllib.parse import quote

from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import InvalidRelease
from zagg_catalog.index.model import Index, Latest, Pickup, Row
from zagg_catalog.index.style import SCRIPT, STYLE
from zagg_catalog.messages import short_digest
from zagg_catalog.releases.pickups import FINISHED
from zagg_catalog.releases.stored_reports import report_key
from zagg_catalog.watch.state import MEANINGS, STATES, State

LETTERS: dict[State | None, str] = {
    "open": "O",
    "filling": "F",
    "settled": "S",
    "revised": "R",
    "overdue": "!",
    "incomplete": "X",
    None: "?",
}
"""Marks of the states on the page, for readers who do not see the colours."""

_UNSEEN = "No watch has polled the product, so it is not known what the source has now."

_DATA = re.compile(rb'<script type="application/json" id="index-data">(.*?)</script>', re.DOTALL)


def index_of(content: bytes) -> Index | None:
    """Return the index that a page has; None if it has none that this version can read."""
    found = _DATA.search(content)
    try:
        return Index.load(found[1]) if found else None
    except InvalidRelease:
        return None


def page(index: Index) -> bytes:
    """Return the page of an index, the same bytes for the same index."""
    sections = "".join(
        _product(product, list(rows), index)
        for product, rows in groupby(index.rows, lambda row: row.product)
    )
    problems = "".join(f"<li>{escape(one)}</li>" for one in index.problems)
    states = "".join(f"<li>{_badge(one)} {one}: {escape(MEANINGS[one])}</li>" for one in STATES)
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Releases</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>Releases</h1>
<p id="as-of">{index.extent}, as of {_time(index.as_of)}<span id="age"></span>.</p>
<p id="stale" class="warning" role="status" hidden></p>
</header>
<main>
{f'<ul id="problems" class="warning">{problems}</ul>' if problems else ""}
{sections or '<p id="empty">The store has no release, and no watch has looked for cycles.</p>'}
<section id="states" aria-labelledby="states-title">
<h2 id="states-title">States</h2>
<ul class="legend">{states}</ul>
</section>
</main>
<script type="application/json" id="index-data">{_data(index)}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
    return text.encode()


def _data(index: Index) -> str:
    """Return an index as JSON that no HTML can end, in ASCII."""
    text = json.dumps(index.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _product(product: str, rows: Sequence[Row], index: Index) -> str:
    """Return the table of a product, regions by cycles with the newest first, and its details."""
    cycles = sorted({row.cycle for row in rows}, reverse=True)
    heads = "".join(
        f'<th scope="col">{cycle} <small>{cycle_to_dates(cycle)[0]:%b&nbsp;%Y}</small></th>'
        for cycle in cycles
    )
    lines, details = [], []
    for region, mine in groupby(rows, lambda row: row.region):
        by_cycle = {row.cycle: row for row in mine}
        cells = "".join(
            _cell(by_cycle[cycle], index) if cycle in by_cycle else '<td class="none"></td>'
            for cycle in cycles
        )
        lines.append(f'<tr><th scope="row">{escape(region)}</th>{cells}</tr>\n')
        details += [_details(by_cycle[cycle], index) for cycle in cycles if cycle in by_cycle]
    name, title = escape(product), f"product-{escape(product)}"
    unseen = "" if product in index.watched else f" {_UNSEEN}"
    return f"""<section aria-labelledby="{title}">
<h2 id="{title}">{name}</h2>
<p class="note">Granules of the latest release, by region and cycle.{unseen}</p>
<div class="scroll" tabindex="0" role="region" aria-label="{name}, regions by cycles">
<table>
<thead><tr><th scope="col">region</th>{heads}</tr></thead>
<tbody>
{"".join(lines)}</tbody>
</table>
</div>
<h3>Cycles of {name}</h3>
{"".join(details)}</section>
"""


def _cell(row: Row, index: Index) -> str:
    notes = "".join(f"<small>{escape(one)}</small>" for one in _notes(row))
    return (
        f'<td class="{_class(row.state)}"><a href="#{escape(row.anchor)}">{_badge(row.state)}'
        f'<span class="hidden">cycle {row.cycle}, {escape(row.region)}: </span>'
        f"{_granules(row)}</a><small>{escape(_state_text(row, index))}</small>{notes}</td>"
    )


def _notes(row: Row) -> list[str]:
    """Return what the cell of a cycle says beside its granules, a few words each."""
    known = row.latest
    notes = ["latest is damaged"] if row.problem else []
    if known is None:
        return [*notes, f"{len(row.releases)} held back"] if row.releases else notes
    if not known.readable:
        notes.append("its record is damaged")
    elif not row.complete:
        notes.append("partial")
    if _held_back(row):
        notes.append("a newer one is held back")
    if known.checks and known.checks.get("error"):
        notes.append(f"checks: {known.checks['error']:,} error")
    made = [one for one in known.maps if one.parquet]
    if known.readable:
        notes.append(f"{len(made)}/{len(known.maps)} maps")
    done = _picked_up(row)
    if row.pickups:
        notes.append(f"{done}/{len(made)} picked up")
    return notes


def _picked_up(row: Row) -> int:
    """Return how many maps of the latest release zagg has aggregated."""
    return sum(one.outcome in FINISHED and not one.dry_run for one in row.pickups)


def _held_back(row: Row) -> bool:
    """Return whether a release was stored after the latest one, and is not the latest."""
    known = row.latest
    if known is None or known.action == "rollback":
        return False
    own = [one.stored for one in row.releases if one.digest == known.digest]
    return any(one.stored > time for one in row.releases for time in own)


def _details(row: Row, index: Index) -> str:
    """Return all that the index has of a cycle in a region, closed at first."""
    known = row.latest
    granules = " granules" if known and known.granules is not None else ""
    state = escape(_state_text(row, index))
    since = f" since {_time(row.since)}" if row.since else ""
    facts: list[tuple[str, str]] = [("state", f"{state}{since}")]
    if row.problem:
        facts.append(("problem", escape(row.problem)))
    if known is None:
        facts.append(("latest release", "none"))
    else:
        facts += _latest_facts(row, known)
    if row.releases:
        facts.append((f"releases ({len(row.releases):,})", _releases(row)))
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return (
        f'<details id="{escape(row.anchor)}"><summary>{_badge(row.state)} {escape(row.region)},'
        f" cycle {row.cycle}: {state}, {_granules(row)}{granules}</summary>\n"
        f"<dl>{listed}</dl>\n{_maps(row, known) if known else ''}</details>\n"
    )


def _latest_facts(row: Row, known: Latest) -> list[tuple[str, str]]:
    record = row.key.key("releases", known.digest)
    moved = "rolled back to" if known.action == "rollback" else "published"
    facts = [
        ("latest release", _link(record, known.digest, code=True)),
        ("report", _report(row, known.digest) or "none"),
        (moved, f"{_time(known.published_at)} by {escape(known.published_by)}"),
    ]
    if known.granules is not None:
        count = _count(known.granules, "granule")
        catalog = f", {_link(known.catalog, 'catalog.parquet')}" if known.catalog else ""
        facts.append(("granules", f"{count}{catalog}"))
    if known.lacks:
        facts.append(("lacks", escape("; ".join(known.lacks))))
    facts.append(("checks", _checks(known.checks) or "not recorded"))
    return facts


def _report(row: Row, digest: str) -> str:
    """Return a link to the report of a release; empty if the store has none."""
    if not any(one.report for one in row.releases if one.digest == digest):
        return ""
    return _link(report_key(row.key, digest), "report")


def _checks(counts: dict[str, int] | None) -> str:
    return escape(
        ", ".join(f"{number:,} {name}" for name, number in sorted((counts or {}).items()))
    )


def _maps(row: Row, known: Latest) -> str:
    """Return the table of the maps of the latest release, and how they were picked up."""
    pickups = {one.grid: one for one in row.pickups}
    lines = []
    for one in known.maps:
        links = [
            _link(key, name)
            for key, name in ((one.parquet, "parquet"), (one.document, "JSON"))
            if key
        ]
        files = ", ".join(links) or "none"
        lines.append(
            f'<tr><th scope="row">{escape(one.grid)}</th><td>{escape(one.status)}</td>'
            f'<td class="number">{one.shards:,}</td><td class="number">{one.pairs:,}</td>'
            f"<td>{files}</td><td>{_pickup(pickups.get(one.grid))}</td></tr>"
        )
    if not lines:
        return ""
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("grid", "status", "shards", "pairs", "map", "picked up")
    )
    label = f"Maps of {row.region}, cycle {row.cycle}"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _pickup(one: Pickup | None) -> str:
    if one is None:
        return "no"
    if one.problem:
        return "its history cannot be read"
    parts = []
    if one.outcome and one.ended_at:
        text = f"dry run {one.outcome}" if one.dry_run else one.outcome
        parts.append(
            (_link(one.key, text) if one.key else escape(text)) + f" {_time(one.ended_at)}"
        )
    if one.under_way:
        parts.append(f"under way since {_time(one.under_way)}")
    return ", ".join(parts) or "an earlier release only"


def _releases(row: Row) -> str:
    """Return the list of the releases of a cycle, the newest first."""
    lines = []
    for one in row.releases:
        key = row.key.key("releases", one.digest)
        facts = [_time(one.stored), one.status or "status not known"]
        if one.granules is not None:
            facts.append(_count(one.granules, "granule"))
        if one.checks and any(one.checks.values()):
            facts.append(f"checks: {_checks(one.checks)}")
        if one.report:
            facts.append(_report(row, one.digest))
        if row.latest and row.latest.digest == one.digest:
            facts.append("<b>latest</b>")
        lines.append(
            f"<li>{_link(key, short_digest(one.digest), code=True)} {', '.join(facts)}</li>"
        )
    return f"<ul>{''.join(lines)}</ul>"


def _state_text(row: Row, index: Index) -> str:
    if row.state is not None:
        return row.state
    found = index.registered.get(row.product)
    unregistered = index.registered and (found is None or row.region not in found.regions)
    return "not registered" if unregistered else "state not known"


def _granules(row: Row) -> str:
    if row.latest is None:
        return "no latest release" if row.releases else "no release"
    if row.latest.granules is None:
        return "not readable"
    return f"{row.latest.granules:,}"


def _badge(state: State | None) -> str:
    return f'<span class="badge {_class(state)}" aria-hidden="true">{LETTERS[state]}</span>'


def _class(state: State | None) -> str:
    return f"state-{state or 'unknown'}"


def _time(time: datetime) -> str:
    return f'<time datetime="{time.isoformat()}">{time:%Y-%m-%d %H:%M} UTC</time>'


def _link(key: str, text: str, *, code: bool = False) -> str:
    shown = f"<code>{escape(text)}</code>" if code else escape(text)
    return f'<a href="{escape(quote(key, safe="/=._-"))}">{shown}</a>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
