"""Maps of shapes: projection, coastline, graticule, scale bar and colours, for every renderer.

A renderer takes shapes in longitude and latitude (shapely, WGS84) and asks in this order:

.. code-block:: python

    from zagg_catalog.cartography import (
        View, colour_classes, extent_of, graticule, land, path_data, projection_for, scale_bar,
    )

    projection = projection_for(outlines)           # EPSG:3031, EPSG:3413, local equal-area, globe
    flat = projection.shapes(outlines)              # shapely in metres; None where not shown
    extent = extent_of(projection, flat, aspect=1.5)  # .west .south .east .north .width .height
    coast = land(projection, extent)                # (Multi)Polygon inside the extent
    lines = graticule(projection, extent)           # .lines, .labels (x, y, text, side)
    bar = scale_bar(projection, extent)             # .length in the plane, .label; or None
    classes = colour_classes(counts)                # .lows, .highs, .colours, .labels
    fills = classes.colours_of(counts)              # '#rrggbb' of each shape

    view = View(extent, width=3600)                 # for SVG: .box, .height, .units(xy)
    paths = path_data(flat, view)                   # attribute d of each shape

All of it is pure, in columns, and needs no matplotlib. `projection.points` and
`projection.lonlat` go forward and back. More shapes, footprints for instance, are projected by
the same projection. The coastline is Natural Earth's, see ``NATURAL_EARTH.md`` in this folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zagg_catalog.lazy import lazy_attribute

if TYPE_CHECKING:
    from zagg_catalog.cartography.coastline import land
    from zagg_catalog.cartography.colours import PLAIN, ColourClasses, colour_classes
    from zagg_catalog.cartography.extent import Extent, ScaleBar, extent_of, scale_bar
    from zagg_catalog.cartography.graticules import Graticule, Label, graticule
    from zagg_catalog.cartography.groups import groups_svg
    from zagg_catalog.cartography.paths import View, path_data
    from zagg_catalog.cartography.projection import (
        GLOBE,
        NORTH,
        SOUTH,
        MapProjection,
        local_projection,
        projection_for,
    )

_MODULES = {
    "colours": ("PLAIN", "ColourClasses", "colour_classes"),
    "extent": ("Extent", "ScaleBar", "extent_of", "scale_bar"),
    "graticules": ("Graticule", "Label", "graticule"),
    "coastline": ("land",),
    "groups": ("groups_svg",),
    "paths": ("View", "path_data"),
    "projection": (
        "GLOBE",
        "NORTH",
        "SOUTH",
        "MapProjection",
        "local_projection",
        "projection_for",
    ),
}
_NAMES = {
    name: f"zagg_catalog.cartography.{module}"
    for module, names in _MODULES.items()
    for name in names
}

__all__ = [
    "GLOBE",
    "NORTH",
    "PLAIN",
    "SOUTH",
    "ColourClasses",
    "Extent",
    "Graticule",
    "Label",
    "MapProjection",
    "ScaleBar",
    "View",
    "colour_classes",
    "extent_of",
    "graticule",
    "groups_svg",
    "land",
    "local_projection",
    "path_data",
    "projection_for",
    "scale_bar",
]


def __getattr__(name: str) -> Any:
    return lazy_attribute(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
