"""The command group ``grid``: a new config for a region, and what a config's grid is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog import grids
from zagg_catalog.cli.common import DONE, WRONG_DATA, print_error, print_json, print_line
from zagg_catalog.cli.options import AreaOptions, AsJson
from zagg_catalog.cli.tables import print_fields
from zagg_catalog.errors import InvalidOption, InvalidQuery
from zagg_catalog.files import write_atomic
from zagg_catalog.grids.describe import describe_grid, grid_notes
from zagg_catalog.grids.new import Product, config_text, new_healpix, new_rectilinear
from zagg_catalog.jsonio import as_json as as_json_value
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import boxes_text
from zagg_catalog.regions import Region
from zagg_catalog.registry.needs import unmet_needs

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
    resolution: Annotated[float, Parameter(metavar="SIZE")],
    shard: Annotated[float, Parameter(metavar="SIZE")],
    region: Annotated[str | None, Parameter(metavar="FILE|NAME")] = None,
    bbox: Annotated[str | None, Parameter(metavar="W,S,E,N", allow_leading_hyphen=True)] = None,
    crs: Annotated[str | None, Parameter(metavar="EPSG:N")] = None,
    healpix: bool = False,
    product: Product = "ATL06",
    output: Annotated[Path, Parameter(alias="-o", metavar="FILE")],
) -> int:
    """Write a commented config whose grid covers a region.

    Parameters
    ----------
    resolution
        Side of a cell: metres, or units of the CRS.
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
    if output.exists():
        raise InvalidQuery(f"{output} exists; give another file, or remove it.")
    if healpix:
        if crs:
            raise InvalidOption("A HEALPix grid has no CRS; leave --crs out.")
        made = new_healpix(resolution=resolution, shard=shard)
    elif area is None:
        raise InvalidQuery("The area is missing; give --region FILE or --bbox W,S,E,N.")
    else:
        made = new_rectilinear(area, crs=crs, resolution=resolution, shard=shard)
    write_atomic(output, [config_text(made, product=product).encode()])
    print_line(f"{output}: written; change it as you like, and see it with `grid show`.")
    return _show(output, area, as_json=False)


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
    facts = describe_grid(grid)
    if region is not None:
        facts["in the region"] = f"{len(grid.coverage(region)):,} shards"
    extent = grid.extent()
    facts["box"] = boxes_text([extent]) if extent else "outside the domain of the crs"
    facts["signature"] = canonical_digest(as_json_value(grid.spatial_signature()))
    if as_json:
        print_json({**facts, "notes": notes, "needs": needs})
    else:
        print_fields(f"grid {config}", [*facts.items(), *(("note", note) for note in notes)])
    for text in needs:
        print_error(f"zagg cannot aggregate with {config} yet: {text}")
    return WRONG_DATA if needs else DONE
