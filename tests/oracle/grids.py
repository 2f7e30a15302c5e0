"""The grids and caps that footprints are drawn for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.oracle.footprints import footprints, shift
from tests.oracle.spaces import Healpix, Tiles
from tests.oracle.sphere import places, vectors
from tests.test_catalog import make_catalog
from zagg_catalog import HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.regions import Region, bbox_region

EVERYWHERE = bbox_region((-180, -90, 180, 90))


@dataclass
class Case:
    """A grid, the region of its maps, and the cap that footprints are drawn in."""

    name: str
    grid: object
    space: object
    region: Region
    centre: np.ndarray
    radius: float

    def __post_init__(self):
        self.keys = self.grid.coverage(self.region)
        self.cells = self.space.cells(self.keys)
        self.cell_of = dict(zip(self.keys.tolist(), self.cells.tolist(), strict=True))

    def rim(self, which, along):
        """A point on the outline of one of the cells; corners at 0, 1/4, 1/2, 3/4."""
        for cell in np.roll(self.cells, -int(which * (len(self.cells) - 1))):
            side, t = divmod(4 * along % 4, 1)
            u, v = [(t, 0.0), (1.0, t), (1 - t, 1.0), (0.0, 1 - t)][int(side)]
            point = self.space.inside(np.array([cell]), np.array([u]), np.array([v]))[0]
            if np.isfinite(point[0]):
                return point
        raise AssertionError("no cell of this grid is on the Earth")

    def footprints(self, **options):
        """Strategy: a ring for this case."""
        return footprints(self.centre, self.radius, self.rim, **options)

    def pairs(self, rings, **options):
        """The library's pairs as (ring, cell)."""
        drawn = [np.column_stack([lons, lats]) for lats, lons in rings]
        # No product that is known by name, so that footprints of any size are plausible.
        catalog = make_catalog(*drawn, metadata={"collection": "PATCHES_001"})
        number = {name: i for i, name in enumerate(catalog.table["id"].to_pylist())}
        found = ShardMap.build(catalog, self.grid, region=self.region, **options)
        assert not found.metadata["quarantined"]
        both = found.pairs().to_pydict()
        return {
            (number[name], self.cell_of[key])
            for key, name in zip(both["shard_key"], both["id"], strict=True)
        }


# Where cells are awkward: poles, the antimeridian, a corner of three base cells, anywhere.
PLACES = {
    "north pole": (90, 0),
    "south pole": (-90, 0),
    "antimeridian": (-17.3, 179.98),
    "three base cells": (41.93, 90.0),
    "Greenland": (71.2, -41.7),
}


def healpix(order, place=None):
    """All cells of a coarse order, or a few hundred around a place."""
    grid, space = HealpixGrid(order, max(order, 13)), Healpix(order)
    if place is None:
        return Case(f"o{order}", grid, space, EVERYWHERE, vectors(12.3, 45.6), np.pi)
    lat, lon = PLACES[place]
    radius = 8 * space.size
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = places(shift(vectors(lat, lon), radius, turn))
    return Case(f"o{order} {place}", grid, space, Region([ring]), vectors(lat, lon), radius * 1.2)


CRS = {
    "UTM": ("EPSG:32618", 100, [340000, 4270000, 420000, 4350000], (64, 64)),
    "Antarctica": ("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6], (256, 256)),
    "Arctic": ("EPSG:3413", 500, [-7e5, -3.4e6, 9e5, -6e5], (200, 180)),
    "north pole": ("EPSG:3413", 100, [-25000, -20000, 24000, 23000], (40, 40)),
    "Lambert": ("EPSG:3347", 2000, [3.6e6, 6.5e5, 9.1e6, 4.5e6], (128, 128)),
    "date line": ("EPSG:4326", 0.05, [172, -24, 190, -6], (20, 20)),
    "globe": ("EPSG:4326", 0.25, [-180, -90, 180, 90], (60, 60)),
    "beyond UTM": ("EPSG:32660", 2000, [-8e5, 1e5, 1.7e6, 3e6], (64, 64)),
}


def rectilinear(name):
    """One of the grids in a CRS, with all of its shards."""
    crs, resolution, bounds, shape = CRS[name]
    grid = RectilinearGrid(crs, resolution, bounds, shape)
    space = Tiles(grid)
    cells = np.arange(space.rows * space.columns)
    points = np.concatenate(
        [
            space.inside(cells, np.full(len(cells), u), np.full(len(cells), v))
            for u in (0.001, 0.5, 0.999)
            for v in (0.001, 0.5, 0.999)
        ]
    )
    points = points[np.isfinite(points[:, 0])]
    middle = points.mean(axis=0)
    middle = middle / np.linalg.norm(middle) if np.linalg.norm(middle) > 0.05 else points[0]
    radius = float(np.arccos(np.clip(points @ middle, -1, 1)).max()) + 2 * space.size
    return Case(name, grid, space, EVERYWHERE, middle, min(radius, np.pi))
