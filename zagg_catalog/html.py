"""HTML of objects in notebooks: their facts, and a small map of shapes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")
# Only maps need it; it loads shapely.
svg_maps = lazy_module("zagg_catalog.cartography.svg")

# Characters of a map that is inlined as an address: base64 takes four for three.
INLINED = 29_000
_STYLE = "font:12px sans-serif;display:flex;gap:1em;flex-wrap:wrap;align-items:flex-start"


def facts_html(title: str, facts: Mapping[str, Any], drawing: str = "") -> str:
    """Return a title, a table of facts without those that are None, and a drawing, as HTML."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(_text(value))}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    table = f"<div><b>{escape(title)}</b><table>{rows}</table></div>"
    return f'<div style="{_STYLE}">{table}{drawing}</div>'


def svg_map(
    shapes: ArrayLike,
    counts: ArrayLike | None = None,
    *,
    label: str,
    notes: Sequence[str] = (),
    unit: str = "granules",
) -> str:
    """Return a small map of shapes for a notebook; see `zagg_catalog.cartography.svg.map_svg`.

    Parameters
    ----------
    shapes, counts, notes, unit
        As for `map_svg`.
    label : str
        Text for readers who do not see the map.

    Returns
    -------
    str
        A ``figure`` element of less than 60 kB; empty if there is no shape.
    """
    given = np.atleast_1d(np.asarray(shapes, dtype=object))
    if (shapely.is_missing(given) | shapely.is_empty(given)).all():
        return ""
    drawn = svg_maps.map_svg(given, counts, title=label, notes=notes, unit=unit, heading=False)
    return svg_maps.figure(drawn)  # type: ignore[no-any-return]


def picture_address(svg: str) -> str:
    """Return an SVG document as an address, ``data:image/svg+xml;base64,…``.

    It stands where an address of a picture does: ``![text](address)`` in Markdown, ``src`` in
    HTML. A map for this is made with ``largest=INLINED``, so that the address has less than 40 kB.
    """
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
