"""Rows wait in files until they are put together; however many there are, in the same order."""

import tempfile
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.served import cycle_22
from tests.sources.stub import item, name
from zagg_catalog import Catalog
from zagg_catalog.catalog.filters import NameFilters
from zagg_catalog.catalog.harvest_report import Transfer
from zagg_catalog.errors import IncompleteHarvest
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import CMRSource, harvest, spool
from zagg_catalog.sources.batches import gather
from zagg_catalog.sources.harvest_slices import combine
from zagg_catalog.sources.items import read_items
from zagg_catalog.sources.search import Page, SearchResult
from zagg_catalog.sources.spool import Spool
from zagg_catalog.sources.stac import StacSearch


@pytest.fixture(scope="module")
def server():
    with SandboxServer(simulate(cycle=22, tracks=range(1, 1388, 24)), page_size=40) as running:
        yield running


@pytest.fixture
def small_memory(monkeypatch, tmp_path):
    """As if a few hundred rows were too many for memory."""
    monkeypatch.setattr(spool, "BATCH_ROWS", 100)
    monkeypatch.setattr(harvest, "MOST_IN_MEMORY", 150)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("thumbnails", [False, True])
def test_a_catalog_in_a_mapped_file_is_that_in_memory(
    server, request, connections, thumbnails, tmp_path
):
    source = CMRSource(root_url=server.root_url, connections=connections)
    whole = source.fetch(cycle_22(), preserve_thumbnails=thumbnails)
    request.getfixturevalue("small_memory")
    mapped = source.fetch(cycle_22(), preserve_thumbnails=thumbnails)
    assert mapped.table.equals(whole.table)
    assert mapped.metadata == whole.metadata
    assert list((tmp_path / "temporary").iterdir()) == []
    assert mapped.table.num_rows > 500
    # The rows are still there although the file has no name any more.
    assert len(set(mapped.table["id"].to_pylist())) == len(whole)


@pytest.mark.parametrize("thumbnails", [False, True])
def test_a_file_written_row_group_by_row_group_is_equal(server, request, tmp_path, thumbnails):
    source = CMRSource(root_url=server.root_url)
    paths = [tmp_path / f"{n}.parquet" for n in range(3)]
    source.fetch(cycle_22(), preserve_thumbnails=thumbnails).to_geoparquet(paths[0])
    report = source.fetch_to(cycle_22(), paths[1], preserve_thumbnails=thumbnails)
    request.getfixturevalue("small_memory")
    source.fetch_to(cycle_22(), paths[2], preserve_thumbnails=thumbnails)
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()
    assert report == source.last_report or report.kept == source.last_report.kept
    assert len(Catalog.from_geoparquet(paths[1])) == report.kept


def test_nothing_is_written_where_the_harvest_fails(server, tmp_path):
    source = CMRSource(root_url=server.root_url)
    with (
        SandboxServer(simulate(cycle=22, tracks=[1]), faults=["count-high"]) as liar,
        pytest.raises(IncompleteHarvest),
    ):
        CMRSource(root_url=liar.root_url).fetch_to(cycle_22(), tmp_path / "c.parquet")
    assert list(tmp_path.iterdir()) == []
    assert source.last_report is None


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
@settings(max_examples=30, deadline=None)
def test_rows_are_gathered_in_any_order(sizes, data):
    total = sum(sizes)
    table = read_items([item(name(n)) for n in range(total)], "ATL06_007").table
    places = data.draw(st.lists(st.integers(0, total - 1), min_size=1, max_size=12))
    with Spool("ATL06_007") as files:
        starts = np.cumsum([0, *sizes])
        batches = [files.store(table.slice(a, n)) for a, n in zip(starts[:-1], sizes, strict=True)]
        assert gather(batches, np.array(places)).equals(table.take(pa.array(places)))


def test_an_unusable_item_of_a_resumed_slice_makes_the_harvest_incomplete(tmp_path):
    search = stac_search_of()
    with Spool("ATL06_007", checkpoint=tmp_path / "kept") as first:
        decoder, found = spool.Decoder(first), SearchResult(search, declared_before=2)
        features = [item(name(1)), item(name(2), geometry=None)]
        found.add(Page(features=features, declared=2))
        decoder.add("page 1", features)
        decoder.finish(found, record=True).result()
    with Spool("ATL06_007", checkpoint=tmp_path / "kept") as second:
        whole = combine(search, second.finished(search), 2)
        whole.declared_after = 2
        report = harvest.merge([whole], NameFilters(), Transfer()).report
    assert (report.harvested, report.kept, report.complete) == (2, 1, False)
    assert [(entry.id, entry.reason) for entry in report.quarantined] == [(name(2), "no geometry")]


def stac_search_of():
    """A search of a server that is not asked."""
    interval = (datetime(2024, 1, 1), datetime(2024, 1, 31))
    return StacSearch(
        url="http://127.0.0.1:9/search",
        collection="ATL06_007",
        bbox=(0.0, 0.0, 1.0, 1.0),
        interval=interval,
        limit=10,
    )
