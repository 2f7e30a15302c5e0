"""The command ``report``: a catalog, a map or a release as one HTML page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

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
_SUFFIXES = (".html", ".htm")

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
    check_output(output, _SUFFIXES)
    loaded = load_file(file)
    if isinstance(loaded, MapColumns):
        content = map_content(loaded, name=file.name, catalog=load_catalog(catalog))
    elif catalog is not None:
        raise InvalidOption(f"{file} is a catalog; --catalog is for the report of a map.")
    else:
        content = catalog_content(loaded, name=file.name)
    _write(content, output, as_json)
    return exit_code_of(loaded, kind_of(loaded), partial=True)


@app.command(help_epilogue="")
def release(
    *,
    place: ReleasePlace,
    digest: Digest = None,
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
    check_output(output, _SUFFIXES)
    opened = open_store(store)
    found = find_release(opened, *place.parts(), digest=digest)
    for name in grid or ():
        if found.record.grid(name) is None:
            names = ", ".join(one.name for one in found.record.grids) or "none"
            raise ObjectMissing(f"The release has no grid {name!r}; it has {names}.")
    _write(release_content(opened, found, grids=grid), output, as_json)
    note_partial(found.record)
    return DONE


def _write(content: ReportContent, output: Path, as_json: bool) -> None:
    page = report_html(content).encode()
    write_atomic(output, [page])
    facts = {
        "file": output,
        "size": len(page),
        "kind": content.kind,
        "title": content.title,
        "verdict": content.verdict,
        "statements": [asdict(one) for one in content.statements],
    }
    text = f"{output}: {len(page) / 1e6:.2f} MB, {content.title}: {content.verdict}"
    print_result(facts, lambda: print_line(text), as_json=as_json)
