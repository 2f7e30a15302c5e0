"""The queries quoted in the pages of docs/ run as they are written."""

import re
from pathlib import Path

import pytest

from tests.shardmap.test_cells import ANTARCTIC, GRIDS, RINGS
from tests.test_catalog import make_catalog
from zagg_catalog import ShardMap
from zagg_catalog.shardmap import index_footprints

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUERIES = [
    pytest.param(query, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, query in enumerate(re.findall(r"^```sql\n(.*?)^```", page.read_text(), re.M | re.S))
]


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
