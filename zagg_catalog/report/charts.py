"""Bar charts as SVG, which need no script and print well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from zagg_catalog.cycles import KNOWN_GAPS

# Units of the drawing: its sides, and the free space on the left and below.
_WIDTH, _HEIGHT, _LEFT, _BELOW = 560, 200, 56, 22
# Bars at most of a histogram.
_BARS = 40


def histogram(counts: ArrayLike) -> Markup:
    """Return a histogram of the numbers of granules per shard; empty without a shard."""
    values = np.asarray(counts, dtype=np.int64)
    if not len(values):
        return Markup("")
    low, high = int(values.min()), int(values.max())
    width = max(1, -(-(high - low + 1) // _BARS))
    sizes = np.bincount((values - low) // width).tolist()
    ranges = [(low + i * width, min(low + (i + 1) * width - 1, high)) for i in range(len(sizes))]
    names = [f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in ranges]
    titles = [f"{name} granules: {size:,} shards" for name, size in zip(names, sizes, strict=True)]
    label = (
        f"Histogram of granules per shard: from {low:,} to {high:,}, half of the shards have at"
        f" most {int(np.median(values)):,}."
    )
    return _bars(sizes, titles, (f"{low:,}", f"{high:,} granules"), label)


def days_chart(days: Mapping[str, int], period: tuple[str, str] | None) -> Markup:
    """Return a chart of numbers of granules by day, ``2024-01-31``; empty without a day.

    It has all days of the period, and those with granules outside of it.
    """
    if not days:
        return Markup("")
    first, last = (date.fromisoformat(end([*days, *(period or ())])) for end in (min, max))
    every = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    sizes = [days.get(str(day), 0) for day in every]
    titles = [f"{day}: {size:,} granules" for day, size in zip(every, sizes, strict=True)]
    shaded = [i for i, day in enumerate(every) if any(a <= day <= b for a, b in KNOWN_GAPS)]
    none = len(sizes) - len(days)
    label = f"Granules per day from {first} to {last}; {none:,} days have none."
    return _bars(sizes, titles, (str(first), str(last)), label, shaded)


def _bars(
    sizes: list[int],
    titles: list[str],
    ends: tuple[str, str],
    label: str,
    shaded: list[int] | None = None,
) -> Markup:
    across, down = _WIDTH - _LEFT, _HEIGHT - _BELOW - 14
    step, most = across / len(sizes), max(max(sizes), 1)
    gap = 1 if step > 4 else 0
    parts = [
        Markup('<rect class="gap-days" x="{}" y="14" width="{}" height="{}"/>').format(
            round(_LEFT + i * step, 2), round(step, 2), down
        )
        for i in shaded or ()
    ]
    for i, (size, title) in enumerate(zip(sizes, titles, strict=True)):
        high = round(down * size / most, 2)
        parts.append(
            Markup('<rect x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                round(_LEFT + i * step, 2),
                round(14 + down - high, 2),
                round(step - gap, 2),
                high,
                title,
            )
        )
    base = 14 + down
    axis = Markup(
        '<line x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>'
        '<text x="{3}" y="24" text-anchor="end">{4}</text>'
        '<text x="{3}" y="{1}" text-anchor="end">0</text>'
        '<text x="{0}" y="{5}">{6}</text><text x="{2}" y="{5}" text-anchor="end">{7}</text>'
    ).format(_LEFT, base, _WIDTH, _LEFT - 6, f"{most:,}", _HEIGHT - 4, *ends)
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">{}{}</svg>'
    ).format(label, _WIDTH, _HEIGHT, Markup("").join(parts), axis)
