"""The command group ``grid``: a new config for a region, and what a config's grid is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from zagg_catalog import grids
from zagg_catalog.cli.common import DONE, WRONG_DATA, print_error, print_line, print_result
from zagg_catalog.cli.options import AreaOptions, AsJson
from zagg_catalog.cli.tables import print_fields
from zagg_catalog.errors import InvalidOption, InvalidQuery
from zagg_catalog.files import write_atomic
from zagg_catalog.grids import HealpixGrid, RectilinearGrid
from zagg_catalog.grids.describe import describe_grid, grid_notes
from zagg_catalog.grids.new import Product, config_text, new_healpix, new_rectilinear
from zagg_catalog.jsonio import as_json as as_json_value
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import boxes_text, number_of
from zagg_catalog.regions import Region
from zagg_catalog.registry.needs import unmet_needs
from zagg_catalog.shardmap.build import coverage_of

EXAMPLES = """Examples:
  # cells of 5 km, shards of 25 km, on the polar stereographic map of Greenland
  zagg-catalog grid new --crs EPSG:3413 --resolution 5000 --shard 25000 \\
      --region jakobshavn.geojson -o my_grid.yaml

  # HEALPix cells of about 400 m, shards of about 25 km
  zagg-catalog grid new --healpix --resolution 400 --shard 25000 -o my_healpix.yaml

  zagg-catalog grid show my_grid.yaml
"""
app = App(name="grid", help="Write a config for a grid, or describe one.", help_epilogue=EXAMPLES)


@app.command(help_epilogue="")
def new(
    *,
    resolution: Annotated[str, Parameter(metavar="SIZE")],
    shard: Annotated[str, Parameter(metavar="SIZE")],
    region: Annotated[str | None, Parameter(metavar="FILE|NAME")] = None,
    bbox: Annotated[str | None, Parameter(metavar="W,S,E,N", allow_leading_hyphen=True)] = None,
    crs: Annotated[str | None, Parameter(metavar="EPSG:N")] = None,
    healpix: bool = False,
    product: Product = "ATL06",
    output: Annotated[Path, Parameter(alias="-o", metavar="FILE")],
    as_json: AsJson = False,
) -> int:
    """Write a commented config whose grid covers a region.

    Parameters
    ----------
    resolution
        Side of a cell: metres, 5km, or units of the CRS.
    shard
        Side of a shard, which is a job of zagg: a multiple of the resolution.
    region
        File of the area, a registered region, or WKT.
    bbox
        Box in degrees, instead of a region.
    crs
        Coordinate system of a rectilinear grid (default: the usual one of the region).
    healpix
        Write a HEALPix grid, with the orders whose cells and shards are closest.
    product
        Product that the config reads.
    output
        The file to write; it must not exist.
    """
    _, area = AreaOptions(polygon=region, bbox=bbox).read()
    sizes = {"resolution": _size("--resolution", resolution), "shard": _size("--shard", shard)}
    if output.exists():
        raise InvalidQuery(f"{output} exists; give another file, or remove it.")
    if healpix:
        if crs:
            raise InvalidOption("A HEALPix grid has no CRS; leave --crs out.")
        made = new_healpix(**sizes)
    elif area is None:
        raise InvalidQuery("The area is missing; give --region FILE or --bbox W,S,E,N.")
    else:
        made = new_rectilinear(area, crs=crs, **sizes)
    write_atomic(output, [config_text(made, product=product).encode()])
    if not as_json:
        print_line(f"{output}: written; change it as you like, and see it with `grid show`.")
    return _show(output, area, as_json=as_json)


@app.command(help_epilogue="")
def show(config: Path, /, *, area: AreaOptions = AreaOptions(), as_json: AsJson = False) -> int:
    """Describe the grid of a config, and say what zagg needs beyond it.

    Parameters
    ----------
    config
        Pipeline config YAML.
    """
    return _show(config, area.read()[1], as_json=as_json)


def _show(config: Path, region: Region | None, *, as_json: bool) -> int:
    grid = grids.from_config(config)
    needs = unmet_needs(grid.config) if grid.config else []
    notes = grid_notes(grid)
    touched = None if region is None else len(coverage_of(grid, region))
    signature = as_json_value(grid.spatial_signature())
    facts = {
        "config": config,
        "kind": grid.kind,
        **_sizes(grid),
        "shards_in_region": touched,
        "box": grid.extent(),
        "grid_signature": signature,
        "signature": canonical_digest(signature),
        "notes": notes,
        "needs": needs,
    }
    print_result(facts, lambda: _print_grid(grid, facts), as_json=as_json)
    for text in needs:
        print_error(f"zagg cannot aggregate with {config} yet: {text}")
    return WRONG_DATA if needs else DONE


def _size(flag: str, text: str) -> float:
    """Return a size in metres, or in units of the CRS."""
    found = re.fullmatch(r"([\d.]+(?:e[+-]?\d+)?)\s*(k?m)?", text.strip(), re.IGNORECASE)
    try:
        number = float(found[1] if found else text)
    except ValueError:
        raise InvalidOption(
            f"{flag} is a size in metres, such as 5000 or 5km, or a number of units of the CRS;"
            f" got {text!r}."
        ) from None
    return number * 1000 if found and (found[2] or "").lower() == "km" else number


def _sizes(grid: HealpixGrid | RectilinearGrid) -> dict[str, Any]:
    """Return sizes of cells and shards, and the number of all shards."""
    if isinstance(grid, HealpixGrid):
        return {
            "parent_order": grid.parent_order,
            "child_order": grid.child_order,
            "cells_per_shard": 4 ** (grid.child_order - grid.parent_order),
            "shards": 12 * 4**grid.parent_order,
        }
    rows, columns = grid.chunk_shape
    return {
        "crs": grid.crs,
        "resolution": [grid.res_x, grid.res_y],
        "chunk_shape": [rows, columns],
        "cells_per_shard": rows * columns,
        "shards": grid.n_row_blocks * grid.n_col_blocks,
    }


def _print_grid(grid: HealpixGrid | RectilinearGrid, facts: dict[str, Any]) -> None:
    rows = describe_grid(grid)
    if facts["shards_in_region"] is not None:
        rows["in the region"] = number_of(facts["shards_in_region"], "shard")
    rows["box"] = boxes_text([facts["box"]]) if facts["box"] else "outside the domain of the crs"
    rows["signature"] = facts["signature"]
    notes = (("note", note) for note in facts["notes"])
    print_fields(f"grid {facts['config']}", [*rows.items(), *notes])
