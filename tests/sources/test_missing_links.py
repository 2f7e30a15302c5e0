"""The 59 real items of a box, half of them without links: what a fetch makes of them."""

from __future__ import annotations

import pytest

from tests.harness.recorded import DAYS, SERC, RecordedServer, serc_items
from tests.sources.stub import quick
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.build import make_shardmap
from zagg_catalog.catalog import IncompleteCatalog
from zagg_catalog.sources import Catalog, CMRSource, Query
from zagg_catalog.sources.query_slices import merge_slices, time_slices

QUERY = Query("ATL03", "007", *DAYS, SERC)
REASON = "no data asset"


@pytest.fixture(scope="module")
def items(real_data):
    return serc_items(real_data)


@pytest.fixture(scope="module")
def bad(items):
    """Every second item."""
    return [item["id"] for item in items[::2]]


def fetch(server: RecordedServer, query: Query = QUERY, **more) -> Catalog:
    with quick() as transport:
        source = CMRSource(root_url=server.root_url, transport=transport)
        return source.fetch(query, limit=20, **more)


def test_items_that_stay_without_links_make_the_catalog_incomplete(items, bad, tmp_path):
    with (
        RecordedServer(items, bad) as server,
        pytest.warns(
            IncompleteCatalog, match=f"30 granules cannot be used, {bad[0]}: .*{REASON}"
        ) as caught,
    ):
        fetch(server).to_geoparquet(tmp_path / "c.parquet")
    assert [one.filename for one in caught] == [__file__], "it is not at the line of the fetch"
    catalog = Catalog.from_geoparquet(tmp_path / "c.parquet")
    assert len(catalog) == 29
    assert catalog.metadata["complete"] is False
    assert [entry["id"] for entry in catalog.metadata["quarantined"]] == bad
    harvest = catalog.metadata["harvest"]
    assert harvest["declared_before"] == harvest["declared_after"] == harvest["harvested"] == 59
    assert harvest["complete"] is False


def test_pages_without_links_are_asked_for_until_they_have_them(items, bad):
    with RecordedServer(items, bad, times=2) as server:
        catalog = fetch(server)
    assert len(catalog) == 59
    assert catalog.complete
    assert catalog.quarantined == []


def test_partial_results_do_not_warn_and_are_not_complete(items, bad):
    with RecordedServer(items, bad) as server:
        catalog = fetch(server, partial=True)
    assert (len(catalog), catalog.complete, len(catalog.quarantined)) == (29, False, 30)


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_each_map_lists_what_its_catalog_lacks(items, bad, tmp_path, suffix):
    with RecordedServer(items, bad) as server, quick() as transport:
        source = CMRSource(root_url=server.root_url, transport=transport)
        with pytest.warns(IncompleteCatalog):
            shard_map = make_shardmap(QUERY, HealpixGrid(9, 15), source=source)
    if suffix == "json":
        shard_map.to_json(tmp_path / "m.json")
        shard_map = ShardMap.from_json(tmp_path / "m.json")
    else:
        shard_map.to_parquet(tmp_path / "m.parquet")
        shard_map = ShardMap.from_parquet(tmp_path / "m.parquet")
    assert shard_map.metadata["complete"] is False
    assert [entry["id"] for entry in shard_map.metadata["quarantined"]] == bad


def test_an_unusable_item_of_any_slice_makes_the_whole_incomplete(items, bad):
    query = QUERY
    with RecordedServer(items, bad[-1:]) as server:
        first, *others, last = time_slices(query, 4)
        parts = [fetch(server, part) for part in (first, *others)]
        with pytest.warns(IncompleteCatalog):
            parts.append(fetch(server, last))
    assert [part.complete for part in parts] == [True, True, True, False]
    whole = merge_slices(query, parts)
    assert (len(whole), whole.complete) == (58, False)
    assert [entry["id"] for entry in whole.metadata["quarantined"]] == bad[-1:]


def test_a_granule_that_another_slice_has_with_links_is_not_missing(items):
    middle = items[30]
    day = middle["properties"]["start_datetime"][:10]
    one, two = (Query("ATL03", "007", *days, SERC) for days in ((DAYS[0], day), (day, DAYS[1])))
    with RecordedServer(items, [middle["id"]]) as server, pytest.warns(IncompleteCatalog):
        first = fetch(server, one)
    with RecordedServer(items) as server:
        second = fetch(server, two)
    assert not first.complete
    whole = merge_slices(QUERY, [first, second])
    assert (len(whole), whole.complete, whole.quarantined) == (59, True, [])
