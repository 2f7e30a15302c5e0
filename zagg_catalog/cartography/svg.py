"""A small map as SVG, without matplotlib: shapes over land, graticule, scale bar and legend."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.cartography.coastline import land
from zagg_catalog.cartography.colours import PLAIN, ColourClasses, colour_classes
from zagg_catalog.cartography.extent import extent_of, scale_bar
from zagg_catalog.cartography.graticules import Label, graticule
from zagg_catalog.cartography.paths import View, path_data
from zagg_catalog.cartography.projection import Geometries, MapProjection, projection_for
from zagg_catalog.cartography.raster import Raster
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import one_line

shapely = lazy_module("shapely")

# Units of the view box to a pixel.
_UNITS = 3
# Pixels: width of a map, its greatest height, and the height of a line of text.
WIDTH, _HIGHEST, _LINE = 480, 480, 16
# The greatest ratio of a map's width to its height.
_WIDEST = 2.4
_FONT = 11
# Pixels across a cell in which shapes are joined that are too many to be drawn one by one.
_CELL = 3.0
# Islands of fewer units are left out.
_SMALLEST = 20.0
# Fewer shapes than these are drawn whatever the size.
_FEWEST = 50
# So many shapes are drawn one by one.
MOST_SHAPES = 1500
SEA, LAND, COAST, GRID, INK = "#f3f7fa", "#dcdcd6", "#8f8f86", "#b9c6d0", "#222"
"""Colours of a map's background, the same in every renderer."""
# Characters of a map, unless another number is given.
_LARGEST = 50_000


def map_svg(
    shapes: ArrayLike,
    counts: ArrayLike | None = None,
    *,
    title: str,
    notes: Sequence[str] = (),
    unit: str = "granules",
    heading: bool = True,
    most: int = MOST_SHAPES,
    largest: int = _LARGEST,
) -> str:
    """Return a map as an SVG document, which also stands inside HTML.

    Parameters
    ----------
    shapes : array_like of shapely geometry, shape (n,)
        Polygons or lines in longitude and latitude, WGS84; None is left out. Points stand for the
        middles of shapes that are too many to be drawn one by one.
    counts : array_like of int, shape (n,), optional
        Numbers that colour the shapes.
    title : str
        What the map shows; it is the name for those who do not see the map.
    notes : sequence of str
        Lines below the map; what the map lacks is said here.
    unit : str
        What the counts are of.
    heading : bool
        Whether the title is drawn above the map.
    most : int
        More shapes with counts than these are drawn as cells of a few pixels, which together
        cover all of them; of more shapes without counts so many are drawn, evenly chosen, and a
        note says so.
    largest : int
        Characters of the document at most; cells grow, and fewer shapes are drawn, until it is
        small enough.

    Returns
    -------
    str
        With ``xmlns``, ``title`` and ``desc``, on a light background, in one projection with its
        coastline. Without a shape it says so. It has no script, font or address.
    """
    given = np.atleast_1d(np.asarray(shapes, dtype=object))
    known = np.flatnonzero(~(shapely.is_missing(given) | shapely.is_empty(given)))
    given, title, notes = given[known], one_line(title), [one_line(note) for note in notes]
    numbers = None if counts is None else np.asarray(counts, dtype=np.int64)[known]
    projection = projection_for(given)
    flat = projection.shapes(given)
    extent = extent_of(projection, flat)
    aspect = float(np.clip(extent.width / extent.height, WIDTH / _HIGHEST, _WIDEST))
    view = View(extent.widened(aspect=aspect), WIDTH * _UNITS)
    classes = None if numbers is None or not len(numbers) else colour_classes(numbers)
    joined = classes is not None and (len(given) > most or _has_points(given))
    before, after = _surroundings(projection, view)
    if not len(given):
        after += _text(view.width // 2, view.height // 2, "Nothing to draw", "middle")
    head = _text(0, _LINE * _UNITS, title, size=14, weight="bold") if heading else ""
    top = round(1.5 * _LINE) * _UNITS if heading else 0
    cell, raster = _CELL * _UNITS, None
    while True:
        lines = [*notes]
        if joined and classes is not None and numbers is not None:
            raster = raster or Raster(flat, classes.of(numbers))
            drawn = _cells(raster, classes, view, round(cell))
        else:
            drawn = _shapes(flat[evenly(len(flat), most)], numbers, classes, view)
            if len(flat) > most:
                lines.append(f"{most:,} of {len(flat):,} shapes are drawn.")
        below, height = _below(classes, [*lines, projection.name], unit, view, top)
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}"'
            f' height="{round(height / _UNITS)}" viewBox="0 0 {view.width} {height}"'
            f' font-family="sans-serif" font-size="{_FONT * _UNITS}" fill="{INK}">'
            f"<title>{escape(title)}</title>"
            f"<desc>{escape(_description(classes, len(given), unit, lines))}</desc>"
            f'<rect width="{view.width}" height="{height}" fill="#fff"/>{head}'
            f'<svg y="{top}" width="{view.width}" height="{view.height}">'
            f"{before}{drawn}{after}</svg>{below}</svg>"
        )
        if len(text) <= largest or most < _FEWEST or cell > view.width:
            return text
        if joined:
            cell *= 1.2
        elif classes is not None:
            joined = True
        else:
            most = most * 2 // 3


def figure(svg: str, caption: str = "") -> str:
    """Return an SVG element as a ``figure``, which a narrow screen shows whole."""
    fitting = svg.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure style="margin:0;min-width:0">{fitting}{text}</figure>'


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return the places of at most so many things, evenly among all of them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _surroundings(projection: MapProjection, view: View) -> tuple[str, str]:
    """Return what is drawn below the shapes, and what above them."""
    extent = view.extent
    unit = extent.width / view.width
    coast = shapely.get_parts(land(projection, extent))
    coast = shapely.multipolygons(coast[shapely.area(coast) > _SMALLEST * unit**2])
    lines = graticule(projection, extent)
    around = shapely.simplify(np.array([coast, lines.lines], dtype=object), 1.5 * unit)
    shore, grid = path_data(around, view)
    bar = scale_bar(projection, extent)
    scale = ""
    if bar is not None:
        x, y, length = 8 * _UNITS, view.height - 8 * _UNITS, round(bar.length / unit)
        scale = (
            f'<path d="M{x} {y - 9}v9h{length}v-9" fill="none" stroke="{INK}" stroke-width="4"/>'
            + _text(x + length + 12, y, bar.label)
        )
    named = "".join(_label(one, view) for one in lines.labels)
    return (
        f'<rect width="{view.width}" height="{view.height}" fill="{SEA}"/>'
        f'<path d="{shore}" fill="{LAND}" stroke="{COAST}" stroke-width="1.5"/>',
        f'<path d="{grid}" fill="none" stroke="{GRID}" stroke-width="1.5"/>'
        f'<g font-size="{9 * _UNITS}" fill="#456">{named}</g>{scale}',
    )


def _label(label: Label, view: View) -> str:
    """Return a label at the left, inside, or below where the scale bar is not; else nothing."""
    ((x, y),) = view.units(np.array([[label.x, label.y]])).tolist()
    if label.side == "left":
        return _text(x + 9, y - 6, label.text)
    if label.side == "inside":
        return _text(x, y - 3, label.text, "middle")
    if label.side == "bottom" and x > view.width * 0.45:
        return _text(x, y - 9, label.text, "middle")
    return ""


def _has_points(shapes: Geometries) -> bool:
    return bool(len(shapes)) and bool((shapely.get_dimensions(shapes) == 0).any())


def _shapes(flat: Geometries, counts: Any, classes: ColourClasses | None, view: View) -> str:
    """Return shapes as paths: one of each class, or one of each shape that has no count."""
    unit = view.extent.width / view.width
    simple = shapely.orient_polygons(shapely.simplify(flat, unit))
    paths = path_data(simple, view)
    if classes is None or counts is None:
        one = "".join(f'<path d="{path}"/>' for path in paths)
        return f'<g fill="{PLAIN}" fill-opacity="0.35" stroke="{PLAIN}">{one}</g>'
    found = classes.of(counts)
    drawn = (
        f'<path fill="{colour}" d="{"".join(paths[i] for i in np.flatnonzero(found == place))}"/>'
        for place, colour in enumerate(classes.colours)
    )
    return f'<g fill-opacity="0.85" stroke="#fff" stroke-width="1">{"".join(drawn)}</g>'


def _cells(raster: Raster, classes: ColourClasses, view: View, size: int) -> str:
    """Return shapes as cells of a raster, one path of each class."""
    drawn = (
        f'<path fill="{colour}" d="{path}"/>'
        for colour, path in zip(
            classes.colours, raster.paths(len(classes.colours), view, size), strict=True
        )
    )
    return f'<g fill-opacity="0.85">{"".join(drawn)}</g>'


def _below(
    classes: ColourClasses | None, notes: list[str], unit: str, view: View, top: int
) -> tuple[str, int]:
    """Return the legend and the notes, and the height of the whole picture in units."""
    y = top + view.height
    drawn = ""
    if classes is not None:
        y += round(1.2 * _LINE * _UNITS)
        x, box = 0, _FONT * _UNITS
        for colour, label in zip(classes.colours, [*classes.labels], strict=True):
            # About the width of the text, which differs from font to font.
            step = box + round((len(label) * 0.62 + 1.5) * _FONT * _UNITS)
            if x + step > view.width:
                x, y = 0, y + _LINE * _UNITS
            drawn += f'<rect x="{x}" y="{y - box}" width="{box}" height="{box}" fill="{colour}"/>'
            drawn += _text(x + box + 9, y - 4, label)
            x += step
        if x + len(unit) * 0.62 * _FONT * _UNITS > view.width:
            x, y = 0, y + _LINE * _UNITS
        drawn += _text(x, y - 4, unit)
    for note in notes:
        y += _LINE * _UNITS
        drawn += _text(0, y - 4, note)
    return drawn, y + 3 * _UNITS


def _text(
    x: int, y: int, text: str, anchor: str = "start", size: int | None = None, weight: str = ""
) -> str:
    more = "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += "" if size is None else f' font-size="{size * _UNITS}"'
    more += f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x}" y="{y}"{more}>{escape(text)}</text>'


def _description(classes: ColourClasses | None, count: int, unit: str, notes: list[str]) -> str:
    colours = (
        ""
        if classes is None
        else f", coloured by {unit}, {classes.lows[0]:,} to {classes.highs[-1]:,}"
    )
    return " ".join([f"A map of {count:,} shapes{colours}.", *notes])
