"""The report of a release as Markdown, for Prefect's UI: readable in ten seconds, details below."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zagg_catalog.messages import as_markdown, first_few, one_line
from zagg_catalog.releases import GridRecord, Published, ReleaseKey, ReleaseRecord
from zagg_catalog.releases.record import manifests_of
from zagg_catalog.store import Store

NAMED = 20


def report(
    store: Store,
    release_key: ReleaseKey,
    published: Published,
    *,
    previous: ReleaseRecord | None = None,
    picture: str | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return a release's report.

    Parameters
    ----------
    store : Store
        Store of the release.
    release_key : ReleaseKey
        Product, region and cycle.
    published : Published
        The release.
    previous : ReleaseRecord, optional
        The latest release before it, for what has changed.
    picture : str, optional
        Markdown of its picture.
    links : mapping of str to str, optional
        Addresses that a browser can read, by what they show.

    Returns
    -------
    str
        Whether the release is good, counts, the picture, a short table of the grids, what is
        missing, findings of the checks and changes; then details, and what is to be copied.
    """
    record = published.record
    lines = [
        f"# {release_key.product}, {release_key.region}, cycle {release_key.cycle}:"
        f" {record.status}",
        "",
        verdict(published),
        *(["", *_links(links)] if links else []),
        *(["", picture] if picture else []),
        "",
        "| grid | state | shards | pairs | granules |",
        "|---|---|---:|---:|---:|",
        *map(_grid_line, record.grids),
        *_missing(published),
        *_findings(published),
        *_changes(record, previous),
        *_details("Details of the fetch", _fetch_table(published)),
        *_details("To copy: digests, addresses and commands", _to_copy(store, published)),
    ]
    return "\n".join(lines) + "\n"


def verdict(published: Published) -> str:
    """Return whether a release is good, in a line of Markdown."""
    record = published.record
    state = "Complete" if record.status == "complete" else "**Not complete**"
    place = (
        "and the latest release"
        if published.latest
        else f"and **not the latest**: {_why_not_latest(published)}"
    )
    made = sum(grid.manifest is not None for grid in record.grids)
    checks = published.checks.summary
    return (
        f"{state}, {place}. {counts_sentence(published)} {made} of {len(record.grids)} maps."
        f" Checks: {checks}."
    )


def description(published: Published) -> str:
    """Return a sentence about a release for the list of artifacts."""
    record = published.record
    latest = "" if published.latest else ", not the latest"
    return (
        f"{record.status.capitalize()}{latest}: {record.catalog.rows:,} granules,"
        f" {len(record.grids)} grids, checks: {published.checks.summary}."
    )


def counts_sentence(published: Published) -> str:
    """Return a sentence with the granules of a release, and how many the source declares.

    What the source declares twice, what newer revisions replace and what filters leave out are
    not counted.
    """
    catalog, declared = published.record.catalog, _declared(published)
    whole = "complete" if catalog.complete else "not complete"
    if declared is None or (catalog.complete and declared != catalog.rows):
        return f"{catalog.rows:,} granules, {whole}."
    return f"{catalog.rows:,} of {declared:,} declared, {whole}."


def _declared(published: Published) -> int | None:
    """Return the number of granules that the catalog would have if nothing were missing."""
    harvest, facts = published.record.harvest, _facts(published)
    if harvest is None or facts is None or facts.declared_after is None:
        return None
    left_out = facts.shared + facts.outside_cycle + sum(facts.outside.values())
    return int(facts.declared_after - left_out - len(harvest.superseded))


def _facts(published: Published) -> Any:
    """Return how the catalog was fetched; None if nothing says it."""
    harvest = published.record.harvest
    own = published.publication if published.latest else None
    if own is not None and own.fetch is not None:
        return own.fetch
    return None if harvest is None else harvest.facts


def _links(links: Mapping[str, str]) -> list[str]:
    shown = (f"[{as_markdown(text)}](<{_address(url)}>)" for text, url in links.items())
    return [" · ".join(shown)]


def _address(url: str) -> str:
    return one_line(url).replace("<", "%3C").replace(">", "%3E").replace("\\", "%5C")


def _grid_line(grid: GridRecord) -> str:
    return f"| {grid.name} | {grid.status} | {grid.shards:,} | {grid.pairs:,} | {grid.granules:,} |"


def _why_not_latest(published: Published) -> str:
    """Return why the pointer was not moved, a clause."""
    return as_markdown("; ".join(published.held_back)) or "the pointer was not moved"


def _missing(published: Published) -> list[str]:
    """Return the section of failed grids, unusable granules and an incomplete harvest."""
    record, harvest = published.record, published.record.harvest
    lines = [
        f"- grid {grid.name}: {as_markdown(grid.error)}" for grid in record.grids if grid.error
    ]
    lines += [
        f"- grid {grid.name}: {grid.quarantined:,} granules that cannot be used"
        for grid in record.grids
        if grid.quarantined
    ]
    lines += [
        f"- grid {grid.name}: {grid.shards_beyond_area:,} shards reach beyond the area"
        for grid in record.grids
        if grid.shards_beyond_area
    ]
    if not record.catalog.complete:
        known = "incomplete" if harvest is not None else "not known to be complete"
        lines.append(f"- the harvest is {known}")
    if harvest is not None and harvest.quarantined:
        names = [as_markdown(f"{one.id} ({one.reason})") for one in harvest.quarantined]
        more = f" … and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        lines.append(f"- {len(names):,} unusable items: {', '.join(names[:NAMED])}{more}")
    if published.contraction.count:
        few = first_few(published.contraction.ids, published.contraction.count)
        lines.append(f"- granules of the previous latest release, {as_markdown(few)}")
    return ["", "## Missing", "", *lines] if lines else []


def _findings(published: Published) -> list[str]:
    """Return the section of what the checks found."""
    lines = [
        f"- {one.severity}: {one.check}: {as_markdown(one.text)}"
        for one in published.checks.findings
    ]
    return ["", "## Checks", "", *lines] if lines else []


def _changes(record: ReleaseRecord, previous: ReleaseRecord | None) -> list[str]:
    """Return the section of what has changed since the previous release."""
    if previous is None:
        return ["", "## Changes", "", "This is the first release of the cycle."]
    before = {grid.name: grid for grid in previous.grids}
    rows = [_change("granules", previous.catalog.rows, record.catalog.rows)]
    for grid in record.grids:
        old = before.pop(grid.name, None)
        rows.append(_change(f"pairs of {grid.name}", old.pairs if old else None, grid.pairs))
    rows += [_change(f"pairs of {name}", old.pairs, None) for name, old in before.items()]
    table = ["| | before | now | change |", "|---|---:|---:|---:|"]
    return ["", "## Changes", "", *table, *rows]


def _change(what: str, before: int | None, now: int | None) -> str:
    old, new = ("none" if count is None else f"{count:,}" for count in (before, now))
    change = (now or 0) - (before or 0)
    return f"| {what} | {old} | {new} | {f'{change:+,}' if change else 'none'} |"


def _fetch_table(published: Published) -> list[str]:
    """Return a table of what was asked for, and how the counts add up."""
    record = published.record
    return [
        "| | |",
        "|---|---|",
        f"| granules | {record.catalog.rows:,} |",
        f"| days | {record.query.start_date} to {record.query.end_date} |",
        *_filters(record.query.filters),
        f"| box | {_box(record.query.bbox)} |",
        f"| complete for the area | {_area(record.query.area)} |",
        *(f"| {what} | {text} |" for what, text in _harvest(published)),
        f"| removed since the previous release | {_removed(published)} |",
    ]


def _harvest(published: Published) -> Iterable[tuple[str, str]]:
    harvest, facts = published.record.harvest, _facts(published)
    if harvest is None or facts is None:
        return [("fetch", "no report")]
    declared = facts.declared_after
    counts: list[tuple[str, int | None]] = [
        ("declared by the source, all slices", declared),
        ("received in two slices", facts.shared),
        ("slices", len(facts.slices)),
        ("replaced by newer revisions", len(harvest.superseded)),
        ("of other cycles", facts.outside_cycle),
        ("left out by filters", sum(facts.outside.values())),
        ("unusable", len(harvest.quarantined)),
    ]
    rows = [(what, "not known" if count is None else f"{count:,}") for what, count in counts]
    return [*rows, *([("names", as_markdown(harvest.names_note))] if harvest.names_note else [])]


def _to_copy(store: Store, published: Published) -> list[str]:
    """Return a block of what is copied from here; a line has no mark that could end the block."""
    record, key = published.record, published.record.release_key
    facts = {
        "release": published.digest,
        "record": store.uri(published.key),
        "catalog": store.uri(record.catalog.key),
    }
    for grid in record.grids:
        facts[f"signature of {grid.name}"] = grid.signature_digest
        files = manifests_of(grid)
        facts[f"map of {grid.name}"] = store.uri(files[0].key) if files else "none"
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {_plain(value)}" for name, value in facts.items()]
    where = f"--product {key.product} --region {key.region} --cycle {key.cycle}"
    command = f"zagg-catalog release show {where} --store {shlex.quote(_plain(store.url))}"
    return ["```text", *lines, "", command, "```"]


def _details(summary: str, lines: Sequence[str]) -> list[str]:
    """Return lines that are shown when their summary is clicked."""
    return ["", "<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>"]


def _plain(text: str) -> str:
    return one_line(text).replace("`", "'")


def _box(box: tuple[float, ...] | None) -> str:
    return ", ".join(f"{side:g}°" for side in box) if box else "not known"


def _area(boxes: tuple[tuple[float, ...], ...] | None) -> str:
    return "; ".join(map(_box, boxes)) if boxes else "not known"


def _filters(filters: dict[str, Any] | None) -> list[str]:
    """Return a row for each filter of the query."""
    known = {key.replace("_", " "): value for key, value in (filters or {}).items()}
    if "granules" in known:
        known["granules"] = f"{len(known['granules']):,} names"
    shown = {as_markdown(name): as_markdown(str(value)) for name, value in known.items()}
    return [f"| {name} | {value} |" for name, value in shown.items()]


def _removed(published: Published) -> str:
    count = published.contraction.count
    return "not known" if count is None else f"{count:,}"
