"""Time slices: nothing is lost between two of them, and nothing counted twice."""

import itertools
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.files import digest_file
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query_slices import merge_slices, time_slices

ANTARCTICA = (-180, -90, 180, -60)


@given(days=st.integers(1, 400), first=st.integers(0, 3000), count=st.integers(1, 40))
@settings(max_examples=60)
def test_slices_cover_every_day_and_share_one_with_the_next(days, first, count):
    start = date.fromordinal(date(2019, 1, 1).toordinal() + first)
    end = date.fromordinal(start.toordinal() + days - 1)
    query = Query("ATL06", "007", start, end, ANTARCTICA)
    slices = time_slices(query, count)
    assert 1 <= len(slices) <= count
    assert slices[0].start_date == query.start_date
    assert slices[-1].end_date == query.end_date
    for one, following in itertools.pairwise(slices):
        assert one.end_date == following.start_date
    if len(slices) > 1:
        lengths = [
            date.fromisoformat(s.end_date) - date.fromisoformat(s.start_date) for s in slices
        ]
        assert min(lengths).days >= 7
        assert (max(lengths) - min(lengths)).days <= 1


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_the_number_of_slices_is_a_positive_whole_number(count):
    with pytest.raises(InvalidQuery, match="from 1, not"):
        time_slices(Query.for_cycle("ATL06", "007", 22, ANTARCTICA), count)


@pytest.fixture(scope="module")
def source():
    """Cycle 22 and its neighbours, with revisions that gave way to others."""
    granules = simulate("ATL06", cycle=[21, 22, 23], tracks=range(1, 1388, 12), superseded=0.5)
    with SandboxServer(granules) as server:
        yield CMRSource(root_url=server.root_url)


@pytest.mark.parametrize("count", [2, 5])
def test_slices_give_the_rows_of_one_fetch(source, count):
    query = Query.for_cycle("ATL06", "007", 22, ANTARCTICA)
    whole = source.fetch(query)
    merged = merge_slices(query, [source.fetch(part) for part in time_slices(query, count)])
    assert merged.table.equals(whole.table)
    assert merged.metadata == whole.metadata


def test_an_incomplete_slice_makes_the_whole_incomplete(source):
    query = Query.for_cycle("ATL06", "007", 22, ANTARCTICA)
    parts = [source.fetch(part) for part in time_slices(query, 2)]
    parts[1].metadata["harvest"]["complete"] = False
    assert not merge_slices(query, parts).complete


def test_what_was_set_aside_in_two_slices_is_named_once(source):
    query = Query.for_cycle("ATL06", "007", 22, ANTARCTICA)
    parts = [source.fetch(part) for part in time_slices(query, 2)]
    for part in parts:
        named = {"id": "ATL06_x", "reason": "no polygon"}
        unnamed = {"id": "item without an id 0a1b", "reason": "no id"}
        part.metadata["harvest"]["quarantined"] = [named, unnamed]
        part.metadata["harvest"]["harvested"] += 2
    harvest = merge_slices(query, parts).metadata["harvest"]
    assert [entry["id"] for entry in harvest["quarantined"]] == [
        "ATL06_x",
        "item without an id 0a1b",
    ]
    assert harvest["harvested"] == source.fetch(query).metadata["harvest"]["harvested"] + 2


def test_no_slice_with_anything_is_an_empty_harvest():
    query = Query.for_cycle("ATL06", "007", 22, ANTARCTICA)
    with pytest.raises(EmptyHarvest, match="check the product"):
        merge_slices(query, [])


def test_nothing_there_is_told_from_nothing_usable(source):
    empty = Query("ATL06", "007", "2018-10-01", "2018-10-02", ANTARCTICA, cycle=1)
    with pytest.raises(EmptyHarvest) as nothing:
        source.fetch(empty)
    assert nothing.value.matched == 0
    other = Query("ATL06", "007", "2024-02-20", "2024-02-25", ANTARCTICA, cycle=9)
    with pytest.raises(EmptyHarvest) as unusable:
        source.fetch(other)
    assert unusable.value.matched > 0


@pytest.mark.parametrize("api", ["stac", "cmr"])
def test_the_file_of_a_catalog_does_not_depend_on_the_slices(tmp_path, api):
    """Not on their number, the size of the pages, or what a shared day has of other cycles."""
    granules = simulate("ATL06", cycle=[21, 22, 23], tracks=range(1, 1388, 20), superseded=0.5)
    # A footprint without area, which is quarantined.
    row = len(granules) // 2
    granules.lats[granules.offsets[row] : granules.offsets[row + 1]] = -80.0
    query = Query.for_cycle("ATL06", "007", 22, ANTARCTICA, tracks="1-600,700-1387")
    found, facts = set(), []
    path = tmp_path / "catalog.parquet"
    with SandboxServer(granules) as server:
        root = server.root_url if api == "stac" else server.cmr_url
        source = CMRSource(root_url=root, api=api, connections=2)
        for count, size in ((1, 40), (4, 500), (12, 25)):
            parts = []
            for part in time_slices(query, count):
                parts.append(source.fetch(part, partial=True, limit=size))
                facts.append(source.last_report.facts)
            merge_slices(query, parts).to_geoparquet(path)
            found.add(digest_file(path)[0])
            assert len(parts) == count
        source.fetch_to(query, path, partial=True)
        found.add(digest_file(path)[0])
    assert len(found) == 1
    (aside,) = merge_slices(query, parts).quarantined
    assert aside["id"] == granules.table["id"][row].as_py()
    assert sum(part.harvested for part in facts[1:5]) > facts[0].harvested
