"""Time slices: nothing is lost between two of them, and nothing counted twice."""

import itertools
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import EmptyHarvest, InvalidQuery
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
    ours, theirs = merged.metadata["harvest"], whole.metadata["harvest"]
    same = ("complete", "harvested", "kept", "outside_cycle", "superseded", "quarantined")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert len(ours["slices"]) == count
    assert ours["declared_before"] == ours["harvested"] + ours["shared"]
    rest = merged.metadata | {"harvest": None}
    assert rest == whole.metadata | {"harvest": None}


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
        unnamed = {"id": "page 1 item 3", "reason": "no id"}
        part.metadata["harvest"]["quarantined"] = [named, unnamed]
        part.metadata["harvest"]["harvested"] += 2
    harvest = merge_slices(query, parts).metadata["harvest"]
    assert [entry["id"] for entry in harvest["quarantined"]] == [
        "ATL06_x",
        "slice 1 page 1 item 3",
        "slice 2 page 1 item 3",
    ]
    assert harvest["harvested"] == source.fetch(query).metadata["harvest"]["harvested"] + 3


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
