"""Writes the tables of the docs' benchmark page from the results.

``python benchmarks/page.py`` writes them from ``benchmarks/results.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- {name}: written by benchmarks/page.py -->", "<!-- end of {name} -->"
GIB = 2**30
MEMORY_LIMIT = 4 * GIB
LINEAR = 1.05
# Peak memory of the most granules, against the line through the smaller sizes, and its limit.
MILLION_LINE, MILLION_LIMIT = 1.1, 3 * GIB

Result = dict[str, Any]

TITLES = {
    "grids": ("One cycle on several grids", "zagg"),
    "files": ("Files", "zagg"),
    "cover": ("One grid alone", "mortie's batch cover"),
    "scaling": ("Many cycles, one map of all of them per grid", "zagg"),
    "archive": ("A new grid over stored cycles", "from rings"),
    "planar": ("Rectilinear grids", "zagg, from rings, or the limit"),
    "beams": ("Beams", "zagg, or the limit"),
    "fine": ("Fine shards", "the limit"),
    "takeover": ("A new release, of which 1 % of the granules are new", "from scratch"),
    "million": ("Three products, four grids each, and their releases", "zagg"),
    "fetch": ("Fetch", "zagg, or the limit"),
    "decode": ("A page of CMR-STAC's form, as Arrow", "`orjson.loads`"),
    "requests": ("Requests on a store of many releases on S3", "lists, and one a pointer"),
}


def write_page(path: Path, results: Result) -> None:
    """Write the tables between their markers in a page."""
    text = path.read_text(encoding="utf-8")
    for name, content in (("tables", tables(results)), ("profiles", profiles(results))):
        text = _between(text, name, content)
    path.write_text(text, encoding="utf-8")


def tables(results: Result) -> str:
    """Return one table per section, each below its run; a line tells where the machine changes.

    The first line tells which targets are missed.
    """
    parts, before, missed, targets = [], None, list[str](), 0
    for section, (title, against) in TITLES.items():
        if section in results:
            rows, machine = results[section]["rows"], results[section]["machine"]
            if _machine(machine) != before:
                before = _machine(machine)
                parts.append(before)
            head = f"### {title}\n\n{_run(machine)}\n\n"
            head += f"| work | | {against} | ours | ratio | target | |\n"
            head += "|---|---|---:|---:|---:|---:|---|\n"
            parts.append(head + "\n".join(line for row in rows for line in _lines(row)))
            for row in rows:
                for figure, found in row["figures"].items():
                    if "least" in found:
                        targets += 1
                        if found["ratio"] < found["least"]:
                            missed.append(
                                f"{row['name']}, {figure} ({_ratio(found['ratio'])} of"
                                f" {_ratio(found['least'])})"
                            )
            if section in SENTENCES:
                parts.append(SENTENCES[section](rows))
    counted = f"Of {targets} targets of ratios, {targets - len(missed)} are reached"
    overview = f"{counted}. Missed: {'; '.join(missed)}." if missed else f"{counted}."
    return "\n\n".join([overview, *parts])


def profiles(results: Result) -> str:
    """Return a table of the profile of each row; ``--profile`` records profiles."""
    parts = []
    for row in (row for section in results.values() for row in section["rows"]):
        if row.get("profile"):
            head = f"### {row['name']}\n\n| function | calls | own, s | with what it calls, s |\n"
            lines = [
                f"| `{one['what']}` | {one['calls']:,} | {one['own']:.2f} |"
                f" {one['cumulative']:.2f} |"
                for one in row["profile"][:15]
            ]
            parts.append(head + "|---|---:|---:|---:|\n" + "\n".join(lines))
    return "\n\n".join(parts) or "No profile was taken in this run (`--profile`)."


def _machine(machine: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cores']} cores ({machine['machine']}), {machine['memory'] / GIB:.0f} GiB,"
        f" Python {machine['python']}, {versions}."
    )


def _run(machine: Result) -> str:
    runs = "One run" if machine["runs"] == 1 else f"Medians of {machine['runs']} runs"
    return f"{runs} of `{machine['command']}`."


def _lines(row: Result) -> list[str]:
    lines = []
    for position, (figure, found) in enumerate(row["figures"].items()):
        name = row["name"] if not position else ""
        against = "" if found["against"] is None else _shown(figure, found["against"])
        ratio = "" if found["ratio"] is None else _ratio(found["ratio"])
        least = found.get("least")
        verdict = "" if least is None else ("reached" if found["ratio"] >= least else "**missed**")
        target = "" if least is None else _ratio(least)
        cells = (name, figure, against, _shown(figure, found["ours"]), ratio, target, verdict)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _scaling(rows: list[Result]) -> str:
    """Return a sentence: whether memory is below its limit, and time linear."""
    last = rows[-1]
    each = [row["per_granule"] for row in rows]
    worst = each[-1] / each[0]
    peak = last["figures"]["peak"]["ours"]
    memory = "reached" if peak < MEMORY_LIMIT else "**missed**"
    linear = "reached" if worst <= LINEAR else "**missed**"
    times = ", ".join(
        f"{row['name']} ({row['granules']:,} granules) {1e6 * row['per_granule']:.0f}"
        for row in rows
    )
    return (
        f"Microseconds a granule: {times}. The last against the first: {worst:.2f}, at most"
        f" {LINEAR}: {linear}. Peak memory of the last: {peak / GIB:.2f} GiB, under"
        f" {MEMORY_LIMIT / GIB:.0f} GiB: {memory}."
    )


def _million(rows: list[Result]) -> str:
    """Return a sentence: whether memory is below its limit, and grows by a line at most."""
    each = ", ".join(f"{row['granules']:,} {1e6 * row['per_granule']:.0f}" for row in rows)
    peaks = [row["figures"]["peak"]["ours"] for row in rows]
    counts = [row["granules"] for row in rows]
    memory = "reached" if peaks[-1] < MILLION_LIMIT else "**missed**"
    slope = (peaks[-2] - peaks[0]) / (counts[-2] - counts[0]) if len(rows) > 2 else 0.0
    ratio = peaks[-1] / (peaks[-2] + slope * (counts[-1] - counts[-2]))
    linear = "reached" if ratio <= MILLION_LINE else "**missed**"
    return (
        f"One run of each size. Microseconds a granule, by number of granules: {each}."
        f" Peak memory of the last: {peaks[-1] / GIB:.2f} GiB,"
        f" under {MILLION_LIMIT / GIB:.0f} GiB: {memory};"
        f" against the line through the smaller sizes: {ratio:.2f},"
        f" at most {MILLION_LINE}: {linear}."
    )


def _requests(rows: list[Result]) -> str:
    """Return a sentence: whether a command reads an object twice."""
    names = [row["name"] for row in rows if row["read_twice"]]
    return f"Commands that read an object twice: {', '.join(names) or 'none'}."


SENTENCES = {"scaling": _scaling, "million": _million, "requests": _requests}


def _shown(figure: str, value: float) -> str:
    if figure in ("peak", "bytes"):
        return f"{value / 1e6:,.1f} MB" if value < 1e7 else f"{value / 1e6:,.0f} MB"
    if figure == "requests":
        return f"{value:,.0f}"
    return f"{1000 * value:.1f} ms" if figure == "decode" else f"{value:.2f} s"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _between(text: str, name: str, content: str) -> str:
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"The page has no part between {begin} and {end}; add the two lines.")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


if __name__ == "__main__":
    HERE = Path(__file__).parent
    write_page(
        HERE.parent / "docs" / "benchmarks.md", json.loads((HERE / "results.json").read_text())
    )
