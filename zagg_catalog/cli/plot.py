"""The command ``plot``: a catalog, a map or a release as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog import grids
from zagg_catalog.cli.common import (
    DONE,
    check_output,
    exit_code_of,
    note_partial,
    print_line,
    print_result,
)
from zagg_catalog.cli.inspect import kind_of, load_catalog, load_file
from zagg_catalog.cli.options import AsJson, Digest, ReleasePlace, StoreUrl
from zagg_catalog.errors import InvalidOption, ObjectMissing
from zagg_catalog.plot import SUFFIXES, MapDrawing, save_map
from zagg_catalog.releases.read import find_release, load_map
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.shardmap.picture import map_drawing
from zagg_catalog.store import open_store

EXAMPLES = """Examples:
  zagg-catalog plot map.json -o map.png
  zagg-catalog plot map.json --shard 1234 --catalog cycle22.parquet -o shard.svg
  zagg-catalog plot release --product ATL06_007 --region antarctica --cycle 22 -o map.png
"""
Output = Annotated[Path, Parameter(alias="-o", metavar="FILE")]
Title = Annotated[str | None, Parameter(help="Title (default: product, cycle and counts).")]
Size = Annotated[
    tuple[float, float], Parameter(metavar="WIDTH HEIGHT", help="Size of the picture, inches.")
]
Dpi = Annotated[int, Parameter(help="Pixels per inch of a PNG.")]
_OUTPUT = Path("map.png")

app = App(
    name="plot",
    help="Draw a catalog, a map or a release as PNG, SVG or PDF.",
    help_epilogue=EXAMPLES,
)


@app.default
def plot(
    file: Path,
    /,
    *,
    output: Output = _OUTPUT,
    config: Annotated[Path | None, Parameter(alias="--grid", metavar="FILE")] = None,
    shard: Annotated[int | None, Parameter(metavar="KEY")] = None,
    granule: Annotated[str | None, Parameter(metavar="ID")] = None,
    catalog: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    title: Title = None,
    size: Size = (8.0, 7.0),
    dpi: Dpi = 150,
    as_json: AsJson = False,
) -> int:
    """Draw the shards of a map, coloured by number of granules, or the footprints of a catalog.

    Parameters
    ----------
    file
        A catalog (.parquet) or a map (.json, .parquet).
    output
        The file to write: .png, .svg or .pdf.
    config
        Pipeline config YAML of a map's grid (default: the grid of its signature).
    shard
        Outline a shard of a map, and with --catalog the footprints of its granules.
    granule
        Outline a granule's shards of a map, or with --catalog its footprint, or that of a catalog.
    catalog
        The catalog of a map, for footprints.
    """
    check_output(output, SUFFIXES)
    loaded = load_file(file)
    if isinstance(loaded, MapColumns):
        source = load_catalog(catalog)
        grid = None if config is None else grids.from_config(config)
        drawing = map_drawing(
            loaded, grid=grid, shard=shard, granule=granule, catalog=source, title=title
        )
    else:
        for name, value in (("config", config), ("shard", shard), ("catalog", catalog)):
            if value is not None:
                raise InvalidOption(f"{file} is a catalog; --{name} is for the picture of a map.")
        drawing = loaded.drawing(granule=granule, title=title)
    _write(drawing, output, size, dpi, as_json)
    return exit_code_of(loaded, kind_of(loaded), partial=True)


@app.command(help_epilogue="")
def release(
    *,
    place: ReleasePlace,
    digest: Digest = None,
    grid: Annotated[str | None, Parameter(metavar="NAME")] = None,
    output: Output = _OUTPUT,
    title: Title = None,
    size: Size = (8.0, 7.0),
    dpi: Dpi = 150,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Draw a map of a release.

    Parameters
    ----------
    grid
        Name of the grid (default: the only one that has a map).
    output
        The file to write: .png, .svg or .pdf.
    """
    check_output(output, SUFFIXES)
    opened = open_store(store)
    found = find_release(opened, *place.parts(), digest=digest)
    names = [one.name for one in found.record.grids if one.manifest is not None]
    if grid is None and len(names) == 1:
        grid = names[0]
    if grid not in names:
        wrong = "Name a grid with --grid" if grid is None else f"The release has no map of {grid!r}"
        raise ObjectMissing(f"{wrong}; it has maps of {', '.join(names) or 'none'}.")
    loaded = load_map(opened, found, str(grid))
    assert loaded is not None, "a grid with a manifest has a map"
    drawing = map_drawing(loaded, region=place.region, title=title)
    _write(drawing, output, size, dpi, as_json)
    note_partial(found.record)
    return DONE


def _write(
    drawing: MapDrawing, output: Path, size: tuple[float, float], dpi: int, as_json: bool
) -> None:
    if not (all(1.0 <= side <= 100.0 for side in size) and 10 <= dpi <= 1200):
        raise InvalidOption("--size needs 1 to 100 inches, and --dpi 10 to 1200.")
    save_map(drawing, output, size=size, dpi=dpi)
    facts = {
        "file": output,
        "size": output.stat().st_size,
        "title": drawing.title,
        "shapes": len(drawing.shapes),
        "notes": list(drawing.notes),
    }
    text = "; ".join([f"{output}: {drawing.title}", *drawing.notes])
    print_result(facts, lambda: print_line(text), as_json=as_json)
