"""Catalog files of simulated cycles, made without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from zagg_catalog import Catalog
from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.cycles import cycle_to_days
from zagg_catalog.sandbox import Granules, simulate

SOUTH = (-180.0, -90.0, 180.0, -60.0)
GLOBE = (-180.0, -90.0, 180.0, 90.0)


def write_cycle(path: Path, cycle: int, *, every: int, south: bool, product: str = "ATL06") -> None:
    """Write the catalog of a product's cycle, as a fetch of the globe or of the south returns it.

    ``every`` selects every n-th track; a cycle of all tracks has 19,418 granules.
    """
    if path.exists():
        return
    granules = simulate(product, cycle=cycle, tracks=range(1, 1388, every), gaps=False)
    table = catalog_table(granules)
    if south:
        # The box has all longitudes: a footprint is in it if it reaches below the north side.
        table = table.filter(pc.less_equal(pc.struct_field(table["bbox"], "ymin"), SOUTH[3]))
    metadata = {
        "collection": f"{product}_007",
        "short_name": product,
        "version": "007",
        "cycle": cycle,
        "cycle_convention": "mission",
        "bbox": list(SOUTH if south else GLOBE),
        "complete": True,
        "total_granules": len(table),
        **dict(zip(("start_date", "end_date"), cycle_to_days(cycle), strict=True)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    Catalog(table.sort_by("id"), metadata).to_geoparquet(path)


def write_all(path: Path, catalogs: list[Path]) -> None:
    """Write the granules of several catalogs as one."""
    if path.exists():
        return
    parts = [Catalog.from_geoparquet(one) for one in catalogs]
    table = pa.concat_tables([part.table for part in parts])
    Catalog(table, parts[0].metadata | {"total_granules": len(table)}).to_geoparquet(path)


def catalog_table(granules: Granules) -> pa.Table:
    """Return simulated granules as a catalog's table."""
    count = len(granules)
    source = granules.table
    ring = np.repeat(np.arange(count), np.diff(granules.offsets))
    shapes = shapely.polygons(shapely.linearrings(granules.lons, granules.lats, indices=ring))
    sides = shapely.bounds(shapes).T
    names = ("xmin", "ymin", "xmax", "ymax")
    roles = pa.array([["data"]] * count, pa.list_(pa.string()))
    when = {name: pc.assume_timezone(source[name], "UTC") for name in ("start", "end")}
    columns = {
        "type": pa.repeat("Feature", count),
        "stac_version": pa.repeat("1.0.0", count),
        "stac_extensions": pa.array([[]] * count, pa.list_(pa.string())),
        "id": source["id"],
        "collection": source["collection"],
        "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()),
        "bbox": pa.StructArray.from_arrays([pa.array(side) for side in sides], names),
        "links": pa.array([[]] * count, catalog_schema().field("links").type),
        "assets": pa.StructArray.from_arrays(
            [_asset(source[name], roles) for name in ("data", "data_s3", "metadata")],
            ["data", "data_s3", "metadata"],
        ),
        "datetime": when["start"],
        "start_datetime": when["start"],
        "end_datetime": when["end"],
    }
    schema = catalog_schema()
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)


def _asset(href: pa.ChunkedArray, roles: pa.Array) -> pa.StructArray:
    href = href.combine_chunks()
    empty = pa.nulls(len(href), pa.string())
    return pa.StructArray.from_arrays(
        [href, empty, empty, roles], ["href", "type", "title", "roles"]
    )


def granules_in(path: Path) -> int:
    """Return the number of granules in a catalog file."""
    return int(pq.read_metadata(path).num_rows)
