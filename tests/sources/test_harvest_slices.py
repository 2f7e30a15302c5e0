"""Large fetches: slices of time read side by side give what one reading gives."""

import dataclasses
import threading

import numpy as np
import pyarrow as pa
import pytest

from zagg_catalog import CMRSource, Query
from zagg_catalog.errors import FetchError, IncompleteHarvest
from zagg_catalog.sandbox import SandboxServer, concat, simulate

QUERY = Query.for_cycle("ATL06", "007", 22, (-180, -90, 180, 90))


@pytest.fixture(scope="module")
def cycle():
    """Some 1,400 granules of cycle 22 and its neighbours: 60 pages of 25."""
    return simulate("ATL06", cycle=[21, 22, 23], tracks=range(1, 1388, 14), superseded=0.01)


def fetch(server, connections, **more):
    source = CMRSource(root_url=server.root_url, connections=connections)
    return source.fetch(QUERY, **more), source.last_report


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_RETRY_WAIT_MAX", "0.01")


def test_side_by_side_and_one_after_the_other_give_the_same_catalog(cycle):
    with SandboxServer(cycle, page_size=25) as server:
        serial, _ = fetch(server, 1)
        parallel, report = fetch(server, 8)
    assert parallel.table.equals(serial.table)
    assert parallel.metadata == serial.metadata
    assert report.complete


def test_a_small_answer_is_not_cut(cycle):
    with SandboxServer(cycle, page_size=2000) as server:
        _, report = fetch(server, 8)
        assert report.transfer.requests == report.transfer.pages + 1


def test_faults_are_ridden_out_by_every_slice(cycle, quick):
    faults = ["status=503:every=5:times=4", "cut-json:every=7:times=3", "reset:every=11:times=2"]
    with SandboxServer(cycle, page_size=25) as server:
        whole, _ = fetch(server, 1)
    with SandboxServer(cycle, page_size=25, faults=faults) as server:
        catalog, report = fetch(server, 4)
    # Links carry the server's port.
    assert catalog.table.drop_columns("links").equals(whole.table.drop_columns("links"))
    assert report.transfer.retries >= 7


def test_an_error_in_one_slice_ends_the_fetch(cycle, quick):
    before = threading.active_count()
    with (
        SandboxServer(cycle, page_size=25, faults=["status=400:skip=20"]) as server,
        pytest.raises(FetchError, match="HTTP 400"),
    ):
        fetch(server, 4)
    assert threading.active_count() <= before


def test_a_count_that_does_not_add_up_is_noticed(cycle, quick):
    with SandboxServer(cycle, page_size=60, faults=["count-high=3"]) as server:
        with pytest.raises(IncompleteHarvest, match="declared"):
            fetch(server, 4)
        catalog, _ = fetch(server, 4, partial=True)
    assert catalog.complete is False
    assert len(catalog) == 1400


def test_progress_only_ever_grows(cycle):
    seen = []
    with SandboxServer(cycle, page_size=25) as server:
        fetch(server, 4, progress=lambda done, total: seen.append((done, total)))
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert seen[-1][0] == seen[-1][1]


def with_times(granules, starts, ends):
    """The same granules at other times, seconds after midnight of 2024-01-01."""
    base = np.datetime64("2024-01-01", "us")
    table = granules.table
    for name, seconds in (("start", starts), ("end", ends)):
        times = base + np.asarray(seconds).astype("timedelta64[s]")
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(times))
    return concat([dataclasses.replace(granules, table=table)])


def test_a_granule_over_a_border_of_slices_comes_twice_and_is_kept_once(cycle):
    count, month = len(cycle), 30 * 86400
    starts = np.linspace(0, month - 1, count).astype(int)
    # Each lasts until the fourth one after it begins, so that some reach over every border.
    granules = with_times(cycle, starts, starts + 4 * month // count)
    query = Query("ATL06", "007", "2024-01-01", "2024-01-30", (-180, -90, 180, 90))
    with SandboxServer(granules, page_size=25) as server:
        source = CMRSource(root_url=server.root_url, connections=8)
        found = source.fetch(query)
    assert source.last_report.transfer.duplicates > 0
    assert source.last_report.harvested == len(found) == count


@pytest.mark.parametrize("shape", ["same start", "whole hours", "long", "two clumps"])
def test_no_granule_is_lost_or_doubled_at_a_border(cycle, shape):
    random = np.random.default_rng(3)
    count, month = len(cycle), 30 * 86400
    starts = np.sort(random.integers(0, month, count))
    ends = starts + 400
    if shape == "same start":
        starts[200:1200] = starts[200]
        ends = starts + 400
    elif shape == "whole hours":
        # Borders of slices are whole seconds; so are these starts and ends.
        starts = starts // 3600 * 3600
        ends = starts + 3600
    elif shape == "long":
        ends = starts + random.integers(0, 9 * 86400, count)
    else:
        starts = np.where(starts < month / 2, starts // 100, month - starts // 100)
        ends = starts
    query = Query("ATL06", "007", "2024-01-01", "2024-01-30", (-180, -90, 180, 90))
    with SandboxServer(with_times(cycle, starts, ends), page_size=25) as server:
        one, many = (CMRSource(root_url=server.root_url, connections=n) for n in (1, 8))
        whole, found = one.fetch(query), many.fetch(query)
        assert many.last_report.transfer.pages < 2.5 * one.last_report.transfer.pages
    assert len(whole) > 1000
    assert found.table.equals(whole.table)
    assert found.metadata == whole.metadata


def test_granules_that_arrive_meanwhile_are_harvested(cycle):
    more = simulate("ATL06", cycle=22, tracks=[2, 600, 1380])
    with SandboxServer(cycle, page_size=25) as server:
        added = threading.Event()

        def progress(done, total):
            if done > 600 and not added.is_set():
                added.set()
                server.add(more)

        source = CMRSource(root_url=server.root_url, connections=4)
        found = source.fetch(QUERY, progress=progress)
        assert found.complete
        assert found.table.equals(source.fetch(QUERY).table)
    assert set(more.table["id"].to_pylist()) <= set(found.table["id"].to_pylist())


def test_slices_need_hardly_more_requests_than_pages():
    query = Query("ATL06", "007", "2023-12-20", "2023-12-23", (-180, -90, 180, 90))
    with SandboxServer(simulate(cycle=22, tracks=range(1, 120)), page_size=10) as server:
        source = CMRSource(root_url=server.root_url, connections=8)
        found = source.fetch(query)
        transfer = source.last_report.transfer
    assert transfer.pages <= 1.15 * len(found) / 10 + 1
    assert transfer.requests <= transfer.pages + 4


@pytest.mark.parametrize("regions", [None, [10, 11, 12]], ids=["globe", "south"])
def test_a_cycle_needs_its_pages_and_four_requests(regions):
    with SandboxServer(simulate("ATL06", cycle=[21, 22, 23], regions=regions)) as server:
        source = CMRSource(root_url=server.root_url, connections=8)
        found = source.fetch(Query.for_cycle("ATL06", "007", 22, (-180, -90, 180, 90)))
        transfer = source.last_report.transfer
        asked = [request.query["limit"] for request in server.requests]
    assert found.complete
    assert len(asked) == transfer.requests <= transfer.pages + 4
    # The count before is that of the first page; the count after is asked for by itself.
    assert asked.count("1") == 1


@pytest.mark.realdata
def test_unevenly_spread_granules_need_no_empty_pages(real_data):
    query = Query("ATL03", "007", "2018-10-01", "2026-12-31", (-180, -90, 180, 90))
    with SandboxServer(real_data / "atl03_007_neon.parquet") as server:
        source = CMRSource(root_url=server.root_url, connections=8)
        assert source.fetch(query).complete
        transfer = source.last_report.transfer
        assert len(server.requests) == transfer.requests <= transfer.pages + 4
