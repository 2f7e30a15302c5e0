"""New pipeline configs: the grid of a region, with its cells and shards by size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zagg_catalog.config import MAX_ORDER
from zagg_catalog.errors import InvalidOption
from zagg_catalog.geometry.sphere import Floats, densify_edges, to_latlon, to_xyz
from zagg_catalog.grids.describe import SIDE, side_text
from zagg_catalog.lazy import lazy_module
from zagg_catalog.regions import Region, polygon_to_bbox

pyproj = lazy_module("pyproj")

# Edges of a region are cut at this length, radians, about 6 km: they bend in a projection.
_STEP = 0.001
_ROUNDING = 1e-9
Product = Literal["ATL03", "ATL06", "ATL08"]


@dataclass(frozen=True, kw_only=True)
class NewGrid:
    """The section ``output.grid`` of a new config."""

    lines: tuple[str, ...]
    """Lines of YAML below ``grid:``, commented."""
    sizes: str
    """The sides of a cell and of a shard, a part of a sentence."""


def new_rectilinear(region: Region, *, crs: str | None, resolution: float, shard: float) -> NewGrid:
    """Return a rectilinear grid whose shards cover a region.

    Parameters
    ----------
    region : Region
        Area of interest.
    crs : str, optional
        CRS; by default EPSG:3413 or EPSG:3031 beyond 60° of latitude, else the UTM zone, or
        EPSG:6933 for a region wider than 12°.
    resolution, shard : float
        Sides of a cell and of a shard, in units of the CRS; a shard is a whole number of cells.

    Raises
    ------
    InvalidOption
        If the sizes do not fit, PROJ does not know the CRS, or the region leaves its domain.
    """
    cells = _cells(resolution, shard)
    name = crs or suggested_crs(region)
    try:
        parsed = pyproj.CRS(name)
    except pyproj.exceptions.CRSError:
        raise InvalidOption(f"PROJ does not know the CRS {name}; such as EPSG:3413.") from None
    west, south, east, north = _extent(region, parsed, name)
    first, last = (
        np.floor(np.array([west, south]) / shard),
        np.ceil(np.array([east, north]) / shard),
    )
    bounds = [_number(value * shard) for value in (*first, *last)]
    columns, rows = (last - first).astype(int).tolist()
    unit = f"{parsed.axis_info[0].unit_name}s"
    return NewGrid(
        lines=(
            "type: rectilinear",
            f"crs: {name}  # {parsed.name}",
            f"resolution: {_number(resolution)}  # side of a cell, {unit}",
            f"bounds: [{', '.join(bounds)}]  # xmin, ymin, xmax, ymax, {unit}",
            f"chunk_shape: [{cells}, {cells}]  # rows and columns of cells in a shard:"
            f" {_number(shard)} {unit}",
            f"# {columns} x {rows} shards; those that the region touches are processed.",
        ),
        sizes=f"cells of {_number(resolution)} {unit}, shards of {_number(shard)} {unit}",
    )


def new_healpix(*, resolution: float, shard: float) -> NewGrid:
    """Return a HEALPix grid whose cells and shards have about these sides.

    Parameters
    ----------
    resolution, shard : float
        Sides of a cell and of a shard, metres; the nearest orders are taken.

    Raises
    ------
    InvalidOption
        If a size is not positive, or the shard is smaller than a cell.
    """
    child, parent = _order(resolution), _order(shard)
    if parent > child:
        raise InvalidOption(
            f"A shard of {_number(shard)} m is smaller than a cell of {_number(resolution)} m;"
            " give a larger --shard."
        )
    return NewGrid(
        lines=(
            "type: healpix",
            "indexing_scheme: nested",
            f"parent_order: {parent}  # shard: sides of about {side_text(parent)}",
            f"child_order: {child}  # cell: sides of about {side_text(child)}",
        ),
        sizes=f"cells of about {side_text(child)}, shards of about {side_text(parent)}",
    )


def config_text(grid: NewGrid, *, product: Product) -> str:
    """Return a whole pipeline config, which this package and zagg accept.

    Parameters
    ----------
    grid : NewGrid
        The grid.
    product : {"ATL03", "ATL06", "ATL08"}
        Product of the granules that zagg reads.
    """
    is_healpix = grid.lines[0] == "type: healpix"
    morton = _MORTON if is_healpix else ""
    lines = "\n".join(f"    {line}" for line in grid.lines)
    return (
        f"# {product}: {grid.sizes}.\n\n{_SOURCES[product]}\naggregation:\n{morton}{_STATISTICS}"
        f"\noutput:\n  grid:\n{lines}\n"
    )


def suggested_crs(region: Region) -> str:
    """Return a CRS for a region: polar stereographic, its UTM zone, or EASE-Grid."""
    west, south, east, north = polygon_to_bbox(region)
    if south >= 60.0 or north <= -60.0:
        return "EPSG:3413" if south > 0.0 else "EPSG:3031"
    width = (east - west) % 360.0 or 360.0
    if width > 12.0:
        return "EPSG:6933"
    middle = (west + width / 2.0 + 180.0) % 360.0
    zone = min(60, int(middle // 6.0) + 1)
    return f"EPSG:{326 if south + north >= 0.0 else 327}{zone:02d}"


def _cells(resolution: float, shard: float) -> int:
    if not (resolution > 0.0 and shard > 0.0 and math.isfinite(shard / resolution)):
        raise InvalidOption("--resolution and --shard are positive numbers.")
    cells = round(shard / resolution)
    if cells < 1 or abs(cells * resolution - shard) > _ROUNDING * shard:
        low = max(1, math.floor(shard / resolution)) * resolution
        raise InvalidOption(
            f"A shard is a whole number of cells; {_number(shard)} is not one of"
            f" {_number(resolution)}. Did you mean {_number(low)} or {_number(low + resolution)}?"
        )
    return cells


def _extent(region: Region, crs: Any, name: str) -> tuple[float, float, float, float]:
    """Return the box of a region in a CRS, from its edges and, of a polar one, its poles."""
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    points = [_edges(lats, lons) for polygon in region.polygons() for lats, lons in polygon[:1]]
    lons, lats = np.concatenate(points, axis=1)
    x, y = transformer.transform(lons, lats)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidOption(
            f"The region leaves the domain of {name}; give another --crs, or a smaller region."
        )
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def _edges(lats: Floats, lons: Floats) -> Floats:
    """Return longitudes and latitudes along the great circles of a ring, shape (2, n)."""
    start = to_xyz(lats, lons)
    points, _ = densify_edges(start, np.roll(start, -1, axis=0), _STEP)
    lat, lon = to_latlon(points)
    return np.stack([lon, lat])


def _order(side: float) -> int:
    if not (side > 0.0 and math.isfinite(side)):
        raise InvalidOption("--resolution and --shard are positive numbers.")
    return min(MAX_ORDER, max(0, round(math.log2(SIDE / side))))


def _number(value: float) -> str:
    return f"{value:.15g}"


_GROUPS = "  groups: [gt1l, gt1r, gt2l, gt2r, gt3l, gt3r]  # the six beams"
_SOURCES: dict[Product, str] = {
    "ATL06": f"""data_source:
  reader: h5coro
  driver: s3  # or https, outside of us-west-2
{_GROUPS}
  coordinates:
    latitude: "/{{group}}/land_ice_segments/latitude"
    longitude: "/{{group}}/land_ice_segments/longitude"
  variables:
    h: "/{{group}}/land_ice_segments/h_li"
  quality_filter:
    dataset: "/{{group}}/land_ice_segments/atl06_quality_summary"
    value: 0
""",
    "ATL03": f"""data_source:
  reader: h5coro
  driver: s3  # or https, outside of us-west-2
{_GROUPS}
  coordinates:
    latitude: "/{{group}}/heights/lat_ph"
    longitude: "/{{group}}/heights/lon_ph"
  variables:
    h: "/{{group}}/heights/h_ph"
  filters:
    - dataset: "/{{group}}/heights/signal_conf_ph"
      column: 0
      op: ne
      value: -2
  shard_workers: 1  # all photons of a granule are in memory at once
""",
    "ATL08": f"""data_source:
  reader: h5coro
  driver: s3  # or https, outside of us-west-2
{_GROUPS}
  coordinates:
    latitude: "/{{group}}/land_segments/latitude"
    longitude: "/{{group}}/land_segments/longitude"
  variables:
    h: "/{{group}}/land_segments/terrain/h_te_best_fit"
""",
}
_MORTON = """  coordinates:
    morton:  # numbers of the cells
      dtype: uint64
      fill_value: 0
"""
_STATISTICS = """  variables:
    count:
      function: len
      source: h
      dtype: int32
      fill_value: 0
    h_median:
      function: median
      source: h
      dtype: float32
"""
