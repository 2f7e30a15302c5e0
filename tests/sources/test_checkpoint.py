"""A fetch that was killed continues from its finished slices, to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.sources.served import cycle_22
from zagg_catalog.errors import InvalidQuery, RequestFailed
from zagg_catalog.sandbox import Fault, SandboxServer, simulate
from zagg_catalog.sources import CMRSource, spool
from zagg_catalog.sources.checkpoint import StoredSlices
from zagg_catalog.sources.harvest_slices import KEPT_PAGES

FETCH = """
import sys
from zagg_catalog import CMRSource, Query
root, api, checkpoint, out = sys.argv[1:]
query = Query.for_cycle("ATL06", "007", 22, (-180, -90, 180, 90))
CMRSource(root_url=root, api=api, connections=4).fetch_to(query, out, checkpoint=checkpoint)
"""


@pytest.fixture(scope="module")
def cycle():
    """Some 1,000 granules: 40 pages of 25."""
    return simulate("ATL06", cycle=[21, 22, 23], tracks=range(1, 1388, 20), superseded=0.02)


def slices(folder):
    return sorted(folder.glob("slice-*.json"))


def source(server, api="stac", **more):
    root = server.root_url if api == "stac" else server.cmr_url
    return CMRSource(root_url=root, api=api, connections=4, **more)


def interrupted(server, folder, api="stac", *, at_least=3):
    """Let a fetch be killed by the operating system when it has finished some slices."""
    root = server.root_url if api == "stac" else server.cmr_url
    command = [sys.executable, "-c", FETCH, root, api, str(folder), str(folder) + ".parquet"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    try:
        while len(slices(folder)) < at_least:
            assert process.poll() is None, "the fetch ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("api", ["stac", "cmr"])
def test_a_killed_fetch_continues_and_gives_the_same_bytes(cycle, tmp_path, api):
    folder, whole, resumed = (tmp_path / name for name in ("kept", "a.parquet", "b.parquet"))
    with SandboxServer(cycle, page_size=25, faults=["latency=0.05"]) as server:
        interrupted(server, folder, api)
        known = len(slices(folder))
        server.faults.clear()
        server.requests.clear()
        report = source(server, api).fetch_to(cycle_22(), resumed, checkpoint=folder)
        again = len(server.requests)
        server.requests.clear()
        source(server, api).fetch_to(cycle_22(), whole)
        assert again <= len(server.requests) - known
    assert report.complete
    assert resumed.read_bytes() == whole.read_bytes()
    assert not folder.exists()
    assert not (tmp_path / "kept.parquet").exists()


def failed(server, folder):
    """Let a fetch fail half way, by a server that refuses at some time."""
    server.faults.append(Fault("status", 400, times=99, skip=25))
    with pytest.raises(RequestFailed):
        source(server).fetch(cycle_22(), checkpoint=folder)
    server.faults.clear()
    server.requests.clear()
    assert len(slices(folder)) >= 2


@pytest.fixture
def half(cycle, tmp_path):
    """A server, and the checkpoint of a fetch from it that failed half way."""
    with SandboxServer(cycle, page_size=25) as server:
        failed(server, tmp_path / "kept")
        yield server, tmp_path / "kept"


def test_what_is_left_of_a_fetch_that_failed_is_used(half):
    server, folder = half
    catalog = source(server).fetch(cycle_22(), checkpoint=folder)
    fewer = len(server.requests)
    server.requests.clear()
    assert source(server).fetch(cycle_22()).table.equals(catalog.table)
    assert fewer < len(server.requests)


def test_searches_of_one_box_do_not_share_slices(cycle, tmp_path):
    """The days of a season are searches of their own."""
    query, folder = cycle_22(season="12-20..01-10,02-01..03-01"), tmp_path / "kept"
    with SandboxServer(cycle, page_size=15) as server:
        whole = source(server).fetch(query)
        server.faults.append(Fault("status", 400, times=99, skip=len(server.requests) - 4))
        server.requests.clear()
        with pytest.raises(RequestFailed):
            source(server).fetch(query, checkpoint=folder)
        server.faults.clear()
        records = [json.loads(path.read_bytes()) for path in slices(folder)]
        assert {record.get("number", 0) for record in records} == {0, 1}
        resumed = source(server).fetch(query, checkpoint=folder)
    assert resumed.table.equals(whole.table)
    assert resumed.metadata == whole.metadata


@pytest.mark.parametrize(
    "damage", ["torn part", "no part", "torn record", "another name", "old", "of the future"]
)
def test_a_slice_that_is_not_as_it_was_is_fetched_again(half, damage):
    server, folder = half
    whole = source(server).fetch(cycle_22())
    for record in slices(folder):
        content = json.loads(record.read_bytes())
        part = folder / content["files"][0]["name"] if content["files"] else record
        if damage == "torn part":
            part.write_bytes(part.read_bytes()[:-1] + b"?")
        elif damage == "no part":
            part.unlink()
        elif damage == "torn record":
            record.write_bytes(record.read_bytes()[:-9])
        elif damage == "another name":
            record.rename(record.with_name(record.name[:-6] + "x.json"))
        else:
            hours = spool.MOST_HOURS + 1
            content["when"] += 3600 * (hours if damage == "of the future" else -hours)
            record.write_text(json.dumps(content))
    server.requests.clear()
    resumed = source(server).fetch(cycle_22(), checkpoint=folder)
    assert resumed.table.equals(whole.table)
    assert resumed.complete


def test_another_query_does_not_take_it(half):
    server, folder = half
    before = slices(folder)
    found = source(server).fetch(cycle_22((-180, -90, 180, -60)), checkpoint=folder)
    assert found.table.equals(source(server).fetch(cycle_22((-180, -90, 180, -60))).table)
    assert slices(folder) == before


def test_granules_that_came_since_are_not_lost(half):
    server, folder = half
    server.add(simulate("ATL06", cycle=22, tracks=[10, 700]))
    found = source(server).fetch(cycle_22(), checkpoint=folder)
    assert found.complete
    assert found.table.equals(source(server).fetch(cycle_22()).table)


def test_a_small_fetch_leaves_no_folder(cycle, tmp_path):
    with SandboxServer(cycle) as server:
        source(server).fetch(cycle_22((0, 70, 10, 80)), checkpoint=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_checkpoint_is_a_folder(cycle, tmp_path):
    (tmp_path / "kept").write_text("")
    with SandboxServer(cycle) as server, pytest.raises(InvalidQuery, match="is not a folder"):
        source(server).fetch(cycle_22(), checkpoint=tmp_path / "kept")


FOLDER = "results/slices/one"


def failed_into(store, server, *, after=45):
    """Let a fetch fail that has its checkpoint in a store, after so many requests."""
    server.faults.append(Fault("status", 400, times=999, skip=after))
    with pytest.raises(RequestFailed):
        source(server).fetch(cycle_22(), checkpoint=StoredSlices(store, FOLDER))
    server.faults.clear()
    server.requests.clear()


def test_a_fetch_that_failed_is_continued_from_a_store(cycle, store):
    """As on another machine: only the store is shared."""
    with SandboxServer(cycle, page_size=10) as server:
        whole = source(server).fetch(cycle_22())
        needed = len(server.requests)
        server.requests.clear()
        failed_into(store, server)
        resumed = source(server).fetch(cycle_22(), checkpoint=StoredSlices(store, FOLDER))
        asked = len(server.requests)
    assert resumed.table.equals(whole.table)
    assert resumed.metadata == whole.metadata
    # Each connection repeats a slice at most; a slice costs half a page; and two requests count.
    assert asked <= (needed - 45) + 4 * KEPT_PAGES + needed / KEPT_PAGES / 2 + 2


def test_a_fetch_that_succeeded_leaves_its_slices_in_the_store(cycle, store):
    """Its caller may be killed before the catalog is stored."""
    with SandboxServer(cycle, page_size=25) as server:
        whole = source(server).fetch(cycle_22(), checkpoint=StoredSlices(store, FOLDER))
        server.requests.clear()
        again = source(server).fetch(cycle_22(), checkpoint=StoredSlices(store, FOLDER))
        assert len(server.requests) == 2  # the first page, and the count
    assert again.table.equals(whole.table)
    assert again.metadata == whole.metadata


@pytest.mark.parametrize("damage", ["lost part", "torn part", "torn record"])
def test_a_slice_of_a_store_that_is_damaged_is_fetched_again(cycle, place, damage):
    store = place.open()
    with SandboxServer(cycle, page_size=10) as server:
        failed_into(store, server)
        suffix = ".json" if damage == "torn record" else ".arrow"
        for info in store.list(FOLDER):
            if info.key.endswith(suffix):
                if damage == "lost part":
                    store.delete(info.key)
                else:
                    place.overwrite(info.key, b"{}")
        resumed = source(server).fetch(cycle_22(), checkpoint=StoredSlices(place.open(), FOLDER))
        assert resumed.table.equals(source(server).fetch(cycle_22()).table)
