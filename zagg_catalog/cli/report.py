"""The command ``report``: a catalog, a map or a release as one HTML page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cli.common import DONE, exit_code_of, print_error, print_json, print_line
from zagg_catalog.cli.inspect import load_file
from zagg_catalog.cli.options import AsJson, ReleasePlace, StoreUrl
from zagg_catalog.errors import InvalidOption, ObjectMissing
from zagg_catalog.files import write_atomic
from zagg_catalog.releases.read import find_release
from zagg_catalog.releases.report import release_content
from zagg_catalog.report.content import ReportContent, catalog_content, map_content
from zagg_catalog.report.page import report_html
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.store import open_store

EXAMPLES = """Examples:
  zagg-catalog report map.json --catalog cycle22.parquet -o report.html
  zagg-catalog report release --product ATL06_007 --region antarctica --cycle 22
"""
Output = Annotated[Path, Parameter(alias="-o", metavar="FILE")]
_OUTPUT = Path("report.html")

app = App(
    name="report",
    help="Write a catalog, a map or a release as an HTML page.",
    help_epilogue=EXAMPLES,
)


@app.default
def report(
    file: Path,
    /,
    *,
    catalog: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    output: Output = _OUTPUT,
    as_json: AsJson = False,
) -> int:
    """Write a report of a catalog or a shard map, one HTML file that needs no network.

    Parameters
    ----------
    file
        A catalog (.parquet) or a map (.json, .parquet).
    catalog
        The catalog of a map, whose footprints are drawn.
    output
        The file to write.
    """
    loaded = load_file(file)
    if isinstance(loaded, MapColumns):
        source = None if catalog is None else load_file(catalog)
        if isinstance(source, MapColumns):
            raise InvalidOption(f"{catalog} is a map; --catalog needs the map's catalog.")
        content = map_content(loaded, name=file.name, catalog=source)
    elif catalog is not None:
        raise InvalidOption(f"{file} is a catalog; --catalog is for the report of a map.")
    else:
        content = catalog_content(loaded, name=file.name)
    _write(content, output, as_json)
    kind = "catalog" if isinstance(loaded, Catalog) else "map"
    return exit_code_of(loaded, kind, partial=True)


@app.command(help_epilogue="")
def release(
    *,
    place: ReleasePlace,
    digest: Annotated[
        str | None,
        Parameter(help="Digest of a release, or its beginning (default: the latest)."),
    ] = None,
    grid: Annotated[list[str] | None, Parameter(metavar="NAME")] = None,
    output: Output = _OUTPUT,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Write a report of a release.

    Parameters
    ----------
    grid
        Name of a grid to draw; once per grid (default: all).
    output
        The file to write.
    """
    opened = open_store(store)
    found = find_release(opened, *place.parts(), digest=digest)
    for name in grid or ():
        if found.record.grid(name) is None:
            names = ", ".join(one.name for one in found.record.grids) or "none"
            raise ObjectMissing(f"The release has no grid {name!r}; it has {names}.")
    _write(release_content(opened, found, grids=grid), output, as_json)
    if not found.record.complete:
        print_error(f"note: the release is partial: {'; '.join(found.record.lacks)}.")
    return DONE


def _write(content: ReportContent, output: Path, as_json: bool) -> None:
    page = report_html(content).encode()
    write_atomic(output, [page])
    if as_json:
        facts = {"file": output, "size": len(page), "kind": content.kind, "title": content.title}
        statements = [asdict(one) for one in content.statements]
        print_json(facts | {"verdict": content.verdict, "statements": statements})
    else:
        print_line(f"{output}: {len(page) / 1e6:.2f} MB, {content.title}: {content.verdict}")
