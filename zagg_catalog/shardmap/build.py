"""Building a shard map: cover the region, join the footprints, keep the columns."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import numpy as np

from zagg_catalog.catalog import Catalog, column_values, granule_entries
from zagg_catalog.errors import InvalidOption
from zagg_catalog.footprints import read_footprints
from zagg_catalog.grids import HealpixGrid, OutputGrid
from zagg_catalog.regions import Region, as_region, bbox_region
from zagg_catalog.shardmap import beams
from zagg_catalog.shardmap.backends import Backend, Pairs, choose_backend
from zagg_catalog.shardmap.model import ShardMap

FOOTPRINTS = ("swath", "beams")


def build_map(
    catalog: Catalog,
    grid: OutputGrid,
    *,
    region: Region | Iterable[tuple[Any, Any]] | None = None,
    aoi: Region | Iterable[tuple[Any, Any]] | None = None,
    backend: str = "auto",
    mortie_order: int | None = None,
    footprint: str = "swath",
) -> ShardMap:
    """Build a shard map from a catalog and an output grid.

    A granule is paired with a shard when the shard is in the region's coverage and the
    granule's footprint, its edges great circles, reaches the shard.

    Parameters
    ----------
    catalog : Catalog
        Granule metadata.
    grid : OutputGrid
        The grid, usually from `zagg_catalog.grids.from_config`.
    region : Region or list of (lats, lons), optional
        Coverage mask, degrees, WGS84. By default the box in the catalog's metadata.
    aoi : Region or list of (lats, lons), optional
        Area of the strict mask of cells that the map carries where the config has
        ``output.aoi_mask: true``. By default the region.
    backend : {"auto", "spherely", "mortie"}
        ``auto`` is spherely where a spherely with a SpatialIndex is installed, else mortie on
        HEALPix grids and shapely on rectilinear ones. ``mortie`` knows HEALPix cells only: on
        a rectilinear grid it is shapely too. ``spherely`` works with the stock wheel.
    mortie_order : int, optional
        Order of the footprint covers on HEALPix, from ``parent_order``, the default, to 29. A
        finer cover, coarsened, is slightly tighter: 643,220 pairs against 643,229 for one cycle
        at order 8.
    footprint : {"swath", "beams"}
        ``swath`` is CMR's polygon; ``beams`` cuts those of ATL03 and ATL06 into three beam-pair
        corridors. Other products and footprints that are no swath keep their polygon.

    Returns
    -------
    ShardMap
        ``metadata`` has the catalog's provenance, the options and the counts; ``quarantined``
        names the granules whose footprint cannot be used, and then ``complete`` is false;
        ``repaired`` names those whose footprint was mended.

    Raises
    ------
    InvalidOption
        If an option is not allowed, or there is neither a region nor a box in the catalog.
    InvalidRegion
        If the region is not usable.
    MissingBackend
        If spherely was asked for and is not installed.
    """
    started = time.perf_counter()
    if footprint not in FOOTPRINTS:
        raise InvalidOption(f"footprint is 'swath' or 'beams', not {footprint!r}.")
    join = choose_backend(backend, grid)
    order = _cover_order(grid, mortie_order)
    mask = _mask(catalog, region)
    covered = grid.coverage(mask)
    footprints = read_footprints(column_values(catalog.table, "geometry"))
    rings = beams.with_breadth(footprints)
    if footprint == "beams" and beams.applies(catalog):
        rings = beams.corridors(footprints, grid.near(covered))
    pairs = join.join(grid, covered, rings, order=order)
    problems = footprints.problems | pairs.problems
    return _assemble(
        catalog,
        grid,
        pairs,
        problems=problems,
        repaired=footprints.repaired,
        aoi=_aoi(grid, mask if aoi is None else as_region(aoi)),
        metadata=_method(join, footprint, order),
        started=started,
    )


def _mask(catalog: Catalog, region: Region | Iterable[tuple[Any, Any]] | None) -> Region:
    if region is not None:
        return as_region(region)
    box = catalog.metadata.get("bbox")
    if box is None:
        raise InvalidOption(
            "A map needs a region: pass region=, since the catalog's metadata has no bbox."
        )
    return bbox_region(box)


def _aoi(grid: OutputGrid, area: Region) -> Region | None:
    """Return the area of the strict mask, if the grid's config asks for one."""
    config = getattr(grid, "config", None)
    return area if config is not None and config.aoi_mask else None


def _cover_order(grid: OutputGrid, order: int | None) -> int | None:
    if not isinstance(grid, HealpixGrid):
        return None
    if order is None:
        return grid.parent_order
    if not grid.parent_order <= order <= 29:
        raise InvalidOption(
            f"mortie_order is from the grid's parent_order, {grid.parent_order}, to 29; "
            f"got {order}."
        )
    return order


def _method(backend: Backend, footprint: str, order: int | None) -> dict[str, Any]:
    """Return how the pairs were found, as far as they depend on it."""
    method = {
        "backend": backend.name,
        "backend_version": version(backend.name),
        "footprint": footprint,
    }
    return method | ({"mortie_order": order} if backend.name == "mortie" else {})


def _assemble(
    catalog: Catalog,
    grid: OutputGrid,
    pairs: Pairs,
    *,
    problems: dict[int, str],
    repaired: dict[int, str],
    aoi: Region | None,
    metadata: dict[str, Any],
    started: float,
) -> ShardMap:
    shards, offsets, rows = pairs.grouped()
    used, rows = np.unique(rows, return_inverse=True)
    ids = catalog.table["id"]
    quarantined, mended = (
        [{"id": ids[row].as_py(), "reason": rows[row]} for row in sorted(rows)]
        for rows in (problems, {row: how for row, how in repaired.items() if row not in problems})
    )
    counts = {
        "total_granules": len(catalog),
        "granules_assigned": len(used),
        "total_shards": len(shards),
        "total_pairs": len(rows),
        "quarantined": quarantined,
        "repaired": mended,
        "complete": catalog.complete and not quarantined,
        **({} if aoi is None else {"aoi_mask": True}),
        "build_wall_s": round(time.perf_counter() - started, 3),
    }
    return ShardMap.from_columns(
        grid_signature=grid.spatial_signature(),
        shards=shards,
        offsets=offsets,
        rows=rows.astype(np.int64),
        table=granule_entries(catalog.table, time_key=catalog.metadata.get("time_key")).take(used),
        metadata=catalog.metadata | metadata | counts,
        mask=None if aoi is None else grid.aoi_mask(aoi, shards),
    )
