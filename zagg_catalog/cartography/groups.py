"""A small map of shapes in named groups, as SVG: added, changed and removed, for instance."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.cartography.coastline import land
from zagg_catalog.cartography.extent import extent_of
from zagg_catalog.cartography.paths import View, path_data
from zagg_catalog.cartography.projection import projection_for
from zagg_catalog.cartography.svg import LAND, evenly, figure
from zagg_catalog.lazy import lazy_module

shapely = lazy_module("shapely")

# Pixels of a map's width, and units of the view box to a pixel.
_WIDTH, _UNITS = 360, 3
_ASPECT = 1.5
# Green and orange of Okabe and Ito, and a magenta, which colour-blind readers tell apart; dashes
# tell the last one in print.
GROUP_COLOURS = ("#009e73", "#e69f00", "#cc3377")
_DASHES = ("none", "none", "6 4")


def groups_svg(
    shapes: ArrayLike, groups: ArrayLike, names: Sequence[str], *, label: str, most: int = 1500
) -> str:
    """Return a map of shapes in up to three groups as an SVG figure for HTML.

    Parameters
    ----------
    shapes : array_like of shapely geometry, shape (n,)
        Polygons in longitude and latitude, WGS84; None is left out.
    groups : array_like of int, shape (n,)
        The place of each shape's group in ``names``.
    names : sequence of str
        Up to three names, for the legend, which has the number of shapes of each.
    label : str
        Text for readers who do not see the map.
    most : int
        So many shapes are drawn at most, evenly chosen; the legend says so.

    Returns
    -------
    str
        A ``figure`` element; empty if there is no shape.
    """
    given, group = np.atleast_1d(np.asarray(shapes, dtype=object)), np.asarray(groups)
    known = np.flatnonzero(~(shapely.is_missing(given) | shapely.is_empty(given)))
    if not len(known):
        return ""
    some = evenly(len(known), most)
    chosen = known[some]
    projection = projection_for(given[known])
    flat = projection.shapes(given[known])
    extent = extent_of(projection, flat, aspect=_ASPECT)
    view = View(extent, _WIDTH * _UNITS)
    (coast,) = path_data([shapely.simplify(land(projection, extent), extent.width / 600)], view)
    paths = path_data(flat[some], view)
    drawn, entries = "", []
    for place, (name, colour, dashes) in enumerate(
        zip(names, GROUP_COLOURS, _DASHES, strict=False)
    ):
        count = int((group == place).sum())
        if not count:
            continue
        mine = "".join(paths[i] for i in np.flatnonzero(group[chosen] == place).tolist())
        drawn += (
            f'<path d="{mine}" fill="{colour}" fill-opacity="0.6" stroke="{colour}"'
            f' stroke-width="3" stroke-dasharray="{dashes}"/>'
        )
        mark = f'<span aria-hidden="true" style="color:{colour}">&#9632;</span>'
        entries.append(f"{mark} {count:,} {escape(name)}")
    if len(chosen) < len(given):
        entries.append(f"{len(chosen):,} of {len(given):,} drawn")
    return figure(
        f'<svg role="img" aria-label="{escape(label)}" width="{_WIDTH}"'
        f' height="{round(_WIDTH / _ASPECT)}" viewBox="{view.box}" fill-rule="evenodd">'
        f'<path d="{coast}" fill="{LAND}"/>{drawn}</svg>',
        ", ".join(entries),
    )
