"""Queries in the pages of docs/ have rows, and other programs read files as they say."""

import ast
import asyncio
import importlib
import inspect
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.shardmap.test_cells import ANTARCTIC, GRIDS, RINGS
from tests.test_catalog import make_catalog
from zagg_catalog import ShardMap
from zagg_catalog.shardmap import index_footprints

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    """The blocks of a language, each as a test's parameter."""
    pattern = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.M | re.S)
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text()))
    ]


QUERIES = blocks("sql")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a catalog, a map, and the catalog of a release."""
    monkeypatch.chdir(tmp_path)
    catalog = index_footprints(make_catalog(*RINGS))
    catalog.to_geoparquet("catalog.parquet")
    ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC).to_parquet("map.parquet")
    stored = tmp_path / "catalogs/product=ATL06_007/region=antarctica/cycle=22"
    stored.mkdir(parents=True)
    catalog.to_geoparquet(stored / "0123.parquet")
    return tmp_path


def test_there_are_queries():
    assert len(QUERIES) >= 3


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_has_rows(folder, query):
    import duckdb

    config = {"extension_directory": str(folder), "autoinstall_known_extensions": False}
    with duckdb.connect(config=config) as connection:
        if "spatial" in query:
            offer_spatial(connection, folder)
        assert connection.sql(query).fetchall()


def offer_spatial(connection, folder):
    """Put DuckDB's extension, of a Python package, where INSTALL finds it without a network."""
    package = pytest.importorskip("duckdb_extension_spatial", reason="needs its package")
    (file,) = Path(package.__file__).parent.glob("extensions/*/spatial.duckdb_extension")
    (platform,) = connection.sql("PRAGMA platform").fetchone()
    place = folder / file.parent.name / platform / file.name
    place.parent.mkdir(parents=True)
    place.symlink_to(file)


def lines_of_others():
    """The lines of the documentation in which other programs read a file."""
    section = (ROOT / "docs/reference/library.md").read_text().partition("## Other programs")[2]
    return section.partition("```python\n")[2].partition("```")[0].splitlines()


@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("ignore:The geo metadata indicate:UserWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of fastparquet
@pytest.mark.parametrize("line", lines_of_others())
def test_another_program_reads_a_file_as_documented(line):
    names = {node.id for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)}
    for name in [*names, "stac_geoparquet.arrow", "pyarrow.parquet"]:
        importlib.import_module(name)
    code = compile(line, "library.md", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = eval(code, {name: sys.modules[name] for name in names})
    rows = [*asyncio.run(found)] if inspect.iscoroutine(found) else found
    expected = "catalog.parquet" if "catalog.parquet" in line else "map.parquet"
    assert len(rows if hasattr(rows, "__len__") else [*rows]) >= pq.read_metadata(expected).num_rows


def test_every_program_is_documented():
    text = "".join(lines_of_others())
    programs = "geopandas stac_geoparquet rustac pandas polars fastparquet duckdb"
    assert [name for name in programs.split() if f"{name}." not in text] == []
