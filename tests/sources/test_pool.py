"""Large fetches: slices of time read side by side give what one reading gives."""

import threading

import pytest

from zagg_catalog import CMRSource, Query
from zagg_catalog.errors import FetchError, IncompleteHarvest
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import haul
from zagg_catalog.sources.pool import Pool
from zagg_catalog.sources.transport import Gate, Transport

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
    # Granules that reach over a border between slices came twice and are there once.
    assert report.transfer.duplicates > 0


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
    counts = [done for done, _ in seen[1:]]
    assert counts == sorted(counts)
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize(
    ("declared", "page", "slices"),
    [
        (None, 100, 1),
        (0, 0, 1),
        (1200, 100, 1),
        (1201, 100, 4),
        (19418, 100, 53),
        (10**6, 100, 256),
    ],
)
def test_how_many_slices_a_search_is_cut_into(declared, page, slices):
    assert haul.slices_for(declared, page) == slices


def test_a_job_may_ask_to_be_cut_further():
    pool = Pool(Transport, 3)

    def halve(_, job):
        return sum(job) if len(job) == 1 else [job[: len(job) // 2], job[len(job) // 2 :]]

    try:
        assert sorted(pool.run(halve, [list(range(10))])) == list(range(10))
    finally:
        pool.close()


def test_connections_wait_together_where_one_was_asked_to():
    clock, waits = [100.0], []
    gate = Gate(now=lambda: clock[0])
    first = Transport(gate=gate, sleep=waits.append)
    first.pause(0, asked=7.0)
    assert gate.wait_time() == 7.0
    clock[0] += 5
    assert gate.wait_time() == 2.0
    clock[0] += 5
    assert gate.wait_time() == 0.0
    first.close()


def test_a_request_waits_at_the_gate(cycle):
    waits = []
    gate = Gate()
    gate.hold(3600)
    with (
        SandboxServer(cycle) as server,
        Transport(gate=gate, sleep=waits.append) as transport,
    ):
        CMRSource(root_url=server.root_url, transport=transport).fetch(QUERY)
    assert waits
    assert 3500 < waits[0] <= 3600
