"""Grids and regions of the measurements, for zagg and for zagg-catalog."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

SOUTH = (-180.0, -90.0, 180.0, -60.0)
ANTARCTICA = Path(__file__).parents[1] / "deployments" / "regions" / "antarctica.geojson"
REAL = "ZAGG_CATALOG_TEST_DATA"  # folder of the real granules and their site
POLAR = ("EPSG:3031", 1000.0, [-3.2e6, -3.2e6, 3.2e6, 3.2e6], (16, 16))
# UTM zone 18 N from 27° to 50° N, shards of 3 km.
UTM = ("EPSG:32618", 100.0, [200_000.0, 3_000_000.0, 800_000.0, 5_601_000.0], (30, 30))
SITES, SITE = (10, 20), 10_000.0  # columns and rows of sites; m

Rings = list[tuple[Any, Any]]


def real(name: str) -> Path | None:
    """Return a file of the real granules, or None without them."""
    folder = os.environ.get(REAL)
    return Path(folder, name) if folder else None


def region(name: str) -> Rings:
    """Return a region as lists of latitudes and longitudes, one for each polygon."""
    from zagg_catalog import load_polygon
    from zagg_catalog.regions import bbox_region

    if name == "south":
        return list(bbox_region(SOUTH))
    if name == "sites":
        return sites()
    path = ANTARCTICA if name == "antarctica" else real("aop_neon.geojson")
    return list(load_polygon(path))


def sites() -> Rings:
    """Return 200 squares of 10 km in UTM zone 18 N, in rows and columns."""
    import pyproj

    to_degrees = pyproj.Transformer.from_crs(UTM[0], "EPSG:4326", always_xy=True)
    west, south, east, north = UTM[2]
    found = []
    for x in np.linspace(west, east - SITE, SITES[0]):
        for y in np.linspace(south, north - SITE, SITES[1]):
            corners = np.array([[x, y], [x + SITE, y], [x + SITE, y + SITE], [x, y + SITE]])
            lons, lats = to_degrees.transform(*corners.T)
            found.append((lats, lons))
    return found


def grid(name: str, module: Any) -> Any:
    """Return a grid of a module that has zagg's classes of grids.

    ``o8``, for example, ``polar``, ``utm``, or ``site``: zagg's own grid of order 11 for a site.
    """
    if name == "site":
        return module.HealpixGrid(11, 19, chunk_inner=13)
    if name.startswith("o"):
        order = int(name[1:])
        return module.HealpixGrid(order, order + 6)
    crs, resolution, bounds, shape = POLAR if name == "polar" else UTM
    return module.RectilinearGrid(crs, resolution, bounds, chunk_shape=shape)
