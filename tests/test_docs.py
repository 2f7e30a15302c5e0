"""Queries, calls and imports quoted in the pages of docs/ are valid as they are written."""

import ast
import importlib
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from tests.shardmap.test_cells import ANTARCTIC, GRIDS, RINGS
from tests.test_catalog import make_catalog
from zagg_catalog import ShardMap
from zagg_catalog.cli.main import make_app
from zagg_catalog.shardmap import index_footprints

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_has_rows(query):
    import duckdb

    assert duckdb.sql(query).fetchall()


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_imports_what_there_is(block):
    for node in ast.walk(ast.parse(textwrap.dedent(block))):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("block", blocks("(?:bash|sh|console)"))
def test_a_shell_block_has_flags_that_there_are(block):
    lines = block.replace("\\\n", " ").splitlines()
    calls = [shlex.split(line, comments=True) for line in lines]
    for _, *arguments in (call for call in calls if call[:1] == ["zagg-catalog"]):
        if not {"-h", "--help", "--version", "--install-completion"} & set(arguments):
            make_app().parse_args(arguments, exit_on_error=False, print_error=False)
