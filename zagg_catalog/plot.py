"""Pictures of shapes with matplotlib: projected axes, coastline, graticule, scale bar, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.cartography.coastline import land
from zagg_catalog.cartography.colours import PLAIN, ColourClasses, colour_classes
from zagg_catalog.cartography.extent import Extent, extent_of, scale_bar
from zagg_catalog.cartography.graticules import graticule
from zagg_catalog.cartography.projection import Geometries, MapProjection, projection_for
from zagg_catalog.cartography.svg import COAST, GRID, INK, LAND, SEA
from zagg_catalog.errors import MissingPackage
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

shapely = lazy_module("shapely")

SUFFIXES = (".png", ".svg", ".pdf")
"""Formats of pictures."""
# Where the labels of a side stand: offset in points, and alignments.
_SIDES = {
    "left": ((-4, 0), "right", "center"),
    "right": ((4, 0), "left", "center"),
    "bottom": ((0, -4), "center", "top"),
    "inside": ((0, 0), "center", "bottom"),
}
# Of more shapes than these the edges would hide the colours.
_EDGED = 3000
# Vertices of shapes are as near to their outlines as this part of the picture's width.
_DETAIL = 1.0 / 5000.0
_CHOSEN = "#d1495b"
# Nothing in a file depends on the time, or on chance.
_SETTINGS = {"svg.hashsalt": "zagg-catalog", "svg.fonttype": "none"}
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True, kw_only=True)
class MapDrawing:
    """What a picture shows."""

    shapes: Geometries
    """Shapes in longitude and latitude, shape (n,); None is left out."""
    title: str
    """Its title."""
    counts: NDArray[np.int64] | None = None
    """Numbers that colour the shapes, shape (n,)."""
    unit: str = "granules"
    """What they count."""
    notes: Sequence[str] = ()
    """Lines below, such as what is missing."""
    chosen: Geometries = field(default_factory=lambda: np.empty(0, dtype=object))
    """Shapes in longitude and latitude whose outlines are drawn over the others."""


def draw_map(drawing: MapDrawing, ax: Axes | None = None) -> Axes:
    """Draw a map into axes of matplotlib.

    Parameters
    ----------
    drawing : MapDrawing
        What it shows.
    ax : matplotlib.axes.Axes, optional
        Where; by default new axes of pyplot.

    Returns
    -------
    matplotlib.axes.Axes
        In metres of the projection that suits the shapes.

    Raises
    ------
    MissingPackage
        Without matplotlib, which the extra ``plot`` installs.
    """
    _matplotlib()
    if ax is None:
        from matplotlib import pyplot  # slow, and only for notebooks

        _, ax = pyplot.subplots(figsize=(8, 7), layout="constrained")
    shapes = drawing.shapes
    known = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    projection = projection_for(shapes)
    flat = projection.shapes(shapes[known])
    extent = extent_of(projection, flat)
    flat = shapely.simplify(flat, extent.width * _DETAIL)
    _draw_background(ax, projection, extent)
    counts = None if drawing.counts is None else drawing.counts[known]
    classes = None if counts is None or not len(counts) else colour_classes(counts)
    _draw_shapes(ax, flat, counts, classes)
    _draw_chosen(ax, projection.shapes(drawing.chosen), extent)
    if classes is not None:
        _draw_colour_bar(ax, classes, drawing.unit)
    if not known.any():
        ax.text(0.5, 0.5, "Nothing to draw", ha="center", transform=ax.transAxes)
    _draw_scale(ax, projection, extent)
    unseen = int(np.count_nonzero(~known))
    notes = [one_line(note) for note in drawing.notes]
    notes += [f"{unseen:,} shapes cannot be drawn"] * (unseen > 0)
    below = "\n".join(fill(note, 90) for note in [*notes, projection.name])
    ax.set_xlabel(below, fontsize=8, loc="left", labelpad=14)
    ax.set_title(fill(one_line(drawing.title), 70), fontsize=11, loc="left", pad=14)
    ax.set_aspect("equal")
    ax.set_xlim(extent.west, extent.east)
    ax.set_ylim(extent.south, extent.north)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def save_map(
    drawing: MapDrawing, path: Path, *, size: tuple[float, float] = (8.0, 7.0), dpi: int = 150
) -> None:
    """Write a map as PNG, SVG or PDF; the same map gives the same bytes.

    Parameters
    ----------
    drawing : MapDrawing
        What it shows.
    path : Path
        The file; its suffix is one of `SUFFIXES`.
    size : tuple of float
        Width and height, inches.
    dpi : int
        Pixels per inch of a PNG.

    Raises
    ------
    MissingPackage
        Without matplotlib.
    """
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw_map(drawing, figure.add_subplot())
        figure.savefig(path, dpi=dpi, metadata=_METADATA[path.suffix.lower()])


def _matplotlib() -> Any:
    try:
        import matplotlib  # optional
    except ImportError as error:
        raise MissingPackage(
            "Pictures need matplotlib: pip install 'zagg-catalog[plot]'."
        ) from error
    return matplotlib


def _path(shapes: Geometries) -> Any:
    """Return the rings and lines of shapes as one path."""
    from matplotlib.path import Path as Curve

    parts = shapely.get_parts(shapely.get_parts(shapely.orient_polygons(shapes)))
    areas = shapely.get_dimensions(parts) == 2
    lines = np.concatenate([shapely.get_rings(parts[areas]), parts[~areas]])
    points, line = shapely.get_coordinates(lines, return_index=True)
    if not len(points):
        return Curve(np.empty((0, 2)))
    codes = np.full(len(points), Curve.LINETO, dtype=Curve.code_type)
    codes[np.append(True, np.diff(line) != 0)] = Curve.MOVETO
    return Curve(points, codes)


def _draw(ax: Axes, shapes: Geometries, **style: Any) -> None:
    from matplotlib.patches import PathPatch

    shapes = np.atleast_1d(np.asarray(shapes, dtype=object))
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if len(shapes):
        ax.add_patch(PathPatch(_path(shapes), **style))


def _draw_background(ax: Axes, projection: MapProjection, extent: Extent) -> None:
    ax.set_facecolor(SEA)
    _draw(ax, land(projection, extent), fc=LAND, ec=COAST, lw=0.5, zorder=1)
    lines = graticule(projection, extent)
    _draw(ax, lines.lines, fc="none", ec=GRID, lw=0.5, zorder=3)
    for label in lines.labels:
        if label.side not in _SIDES:
            continue
        offset, across, upright = _SIDES[label.side]
        ax.annotate(
            label.text,
            (label.x, label.y),
            xytext=offset,
            textcoords="offset points",
            ha=across,
            va=upright,
            fontsize=7,
            color="#456",
            annotation_clip=False,
        )


def _draw_shapes(
    ax: Axes, flat: Geometries, counts: NDArray[np.int64] | None, classes: ColourClasses | None
) -> None:
    """Draw shapes as one path of each class; those without counts one by one, see-through."""
    if counts is None or classes is None:
        for shape in flat:
            _draw(ax, shape, fc=PLAIN, ec=PLAIN, alpha=0.15, lw=0.3, zorder=2)
        return
    edge = {"ec": "white", "lw": 0.3} if len(flat) <= _EDGED else {"ec": "face", "lw": 0.1}
    found = classes.of(counts)
    for place, colour in enumerate(classes.colours):
        style = edge if edge["ec"] == "white" else edge | {"ec": colour}
        _draw(ax, flat[found == place], fc=colour, alpha=0.9, zorder=2, **style)


def _draw_chosen(ax: Axes, flat: Geometries, extent: Extent) -> None:
    known = flat[~shapely.is_missing(flat)]
    # The outlines, since the sides of the picture are none.
    inside = shapely.intersection(shapely.boundary(known), extent.box)
    _draw(ax, inside, fc="none", ec=_CHOSEN, lw=0.9, zorder=4)


def _draw_colour_bar(ax: Axes, classes: ColourClasses, unit: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    number = len(classes.colours)
    norm = BoundaryNorm(np.arange(number + 1) - 0.5, number)
    shades = ScalarMappable(norm, ListedColormap(list(classes.colours)))
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(shades, ax=ax, shrink=0.6, label=unit, ticks=np.arange(number))
    bar.ax.set_yticklabels(classes.labels, fontsize=8)
    bar.ax.tick_params(length=0)


def _draw_scale(ax: Axes, projection: MapProjection, extent: Extent) -> None:
    bar = scale_bar(projection, extent)
    if bar is None:
        return
    x, y = extent.west + 0.03 * extent.width, extent.south + 0.03 * extent.height
    ax.plot([x, x + bar.length], [y, y], color=INK, lw=2, solid_capstyle="butt", zorder=5)
    ax.annotate(bar.label, (x, y), xytext=(0, 4), textcoords="offset points", fontsize=8, zorder=5)
