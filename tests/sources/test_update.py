"""An incremental fetch asks for little, and gives the bytes of a full one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sources.served import WORLD, cycle_22
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sandbox.granules import pick
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.received import Received
from zagg_catalog.sources.update import Previous

APIS = ("stac", "cmr")
START, LATER = datetime(2025, 1, 1), timedelta(days=7)


@pytest.fixture(scope="module")
def pool() -> Granules:
    """Cycle 22 and the ends of its neighbours, some in two revisions."""
    return simulate(cycle=[21, 22, 23], tracks=range(1, 1388, 60), revised=0.5, superseded=0.4)


class Played:
    """A server whose granules change, and a fetch that follows them."""

    def __init__(self, pool: Granules, folder: Path, api: str, rows: Any) -> None:
        self.pool, self.folder, self.when = pool, folder, START
        first, rest = rows[len(rows) // 2 :][:1], np.delete(rows, len(rows) // 2)
        self.server = SandboxServer(pick(pool, first), page_size=8, cmr_page_size=8)
        # The newest one is that of the middle; the others are older than the margin.
        self.server.add(pick(pool, rest), when=START - 10 * LATER)
        self.server.add(pick(pool, first), when=START)
        self.api = api
        self.previous: Previous | None = None

    def __enter__(self) -> Played:
        self.server.__enter__()
        root = self.server.root_url if self.api == "stac" else self.server.cmr_url
        self.source = CMRSource(root_url=root, api=self.api, connections=2)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)

    def full(self, query: Query | None = None) -> bytes:
        """Fetch everything; return the file's bytes."""
        path = self.folder / "full.parquet"
        self.source.fetch_to(query or cycle_22(), path, partial=True)
        return path.read_bytes()

    def follow(self, query: Query | None = None) -> bytes:
        """Fetch what changed since the last call, and remember it; return the file's bytes."""
        path = self.folder / "now.parquet"
        self.source.fetch_to(query or cycle_22(), path, partial=True, previous=self.previous)
        path.rename(self.folder / "held.parquet")
        path = self.folder / "held.parquet"
        if self.source.last_received is not None:
            self.source.last_received.to_parquet(self.folder / "received")
        self.previous = Previous(catalog=path, received=self.folder / "received")
        return path.read_bytes()

    def add(self, granules: Granules) -> None:
        self.when += LATER
        self.server.add(granules, when=self.when)

    @property
    def how(self) -> tuple[bool, str | None]:
        assert self.source.last_report is not None
        return self.source.last_report.updated, self.source.last_report.full_because

    @property
    def requests(self) -> int:
        assert self.source.last_report is not None
        return self.source.last_report.transfer.requests


def moved(granules: Granules, degrees: float) -> Granules:
    """The same granules with other footprints."""
    lons = (granules.lons + degrees + 180.0) % 360.0 - 180.0
    return replace(granules, lons=lons)


def delayed(granules: Granules, days: int) -> Granules:
    """The same granules at other times."""
    shift = pa.array([timedelta(days=days)] * len(granules), pa.duration("us"))
    table = granules.table
    for name in ("start", "end"):
        place = table.schema.get_field_index(name)
        times = pa.compute.add(table[name].combine_chunks(), shift)
        table = table.set_column(place, name, times)
    return replace(granules, table=table)


def in_cycle(granules: Granules) -> Any:
    names = granules.table["id"].to_pylist()
    return np.flatnonzero([name.split("_")[2][4:6] == "22" for name in names])


# What the source may do; only CMR tells of the last two.
SEEN = st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 99), st.integers(1, 25))
REVISED = st.tuples(st.sampled_from(["revise", "move"]), st.integers(0, 99), st.integers(1, 25))


@pytest.mark.parametrize("api", APIS)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_changes_the_result_is_that_of_a_full_fetch(
    pool: Granules, tmp_path: Path, api: str, data: st.DataObject
) -> None:
    every = np.arange(len(pool))
    held = set(every[every % 5 != 0].tolist())
    changes = SEEN if api == "stac" else st.one_of(SEEN, REVISED)
    with Played(pool, tmp_path, api, np.array(sorted(held))) as played:
        played.follow()
        for kind, where, count in data.draw(st.lists(changes, min_size=1, max_size=3)):
            first = len(every) * where // 100
            rows = [int(row) for row in every[first:] if (row in held) != (kind == "add")][:count]
            some = pick(pool, np.array(rows, dtype=np.int64))
            if kind == "remove":
                played.server.remove(some.table["id"].to_pylist())
                held -= set(rows)
            else:
                held |= set(rows)
                played.add(moved(some, 20.0) if kind == "move" else some)
            assert played.follow() == played.full()


@pytest.mark.parametrize(("api", "most"), [("stac", 0.1), ("cmr", 0.03)])
def test_one_percent_of_late_granules_costs_little(tmp_path: Path, api: str, most: float) -> None:
    """All granules of a stretch of days, over the middle of the cycle too."""
    pool = simulate(cycle=22, tracks=range(1, 1388, 20))
    for place in (0.13, 0.5):
        first = int(len(pool) * place)
        late = np.arange(first, first + len(pool) // 100)
        with Played(pool, tmp_path, api, np.setdiff1d(np.arange(len(pool)), late)) as played:
            played.server.api._quirks = replace(played.server.api._quirks, page_size=5)
            played.server._cmr._page_size = 5
            played.follow()
            played.add(pick(pool, late))
            ours = played.follow()
            assert played.how == (True, None)
            asked = played.requests
            assert ours == played.full()
            assert asked <= most * played.requests


def test_a_count_that_moves_from_one_time_to_another_is_found(
    pool: Granules, tmp_path: Path
) -> None:
    """The total stays; the counts of the parts do not."""
    rows = in_cycle(pool)
    with Played(pool, tmp_path, "stac", rows) as played:
        played.follow()
        played.add(delayed(pick(pool, rows[20:22]), 45))
        assert played.follow() == played.full()


@pytest.mark.parametrize("api", APIS)
def test_a_revision_that_leaves_the_counts_is_what_only_cmr_tells(
    pool: Granules, tmp_path: Path, api: str
) -> None:
    with Played(pool, tmp_path, api, in_cycle(pool)) as played:
        before = played.follow()
        played.add(moved(pick(pool, in_cycle(pool)[30:33]), 10.0))
        after = played.follow()
        assert (after == before) == (api == "stac")
        assert (after == played.full()) == (api == "cmr")


@pytest.mark.parametrize("api", APIS)
def test_nothing_new_costs_the_counts_only(pool: Granules, tmp_path: Path, api: str) -> None:
    with Played(pool, tmp_path, api, in_cycle(pool)) as played:
        before = played.follow()
        assert played.follow() == before
        assert played.how == (True, None)
        assert played.requests <= 4


@pytest.mark.parametrize("api", APIS)
def test_an_item_that_cannot_be_used_is_named_as_by_a_full_fetch(
    pool: Granules, tmp_path: Path, api: str
) -> None:
    rows = in_cycle(pool)
    with Played(pool, tmp_path, api, rows[2:]) as played:
        played.follow()
        flat = pick(pool, rows[:2])
        flat.lats[:] = 10.0
        played.add(flat)
        ours, how = played.follow(), played.how
        assert how == (True, None)
        assert ours == played.full()
        # The next one begins anew, since the catalog lacks them.
        played.follow()
        assert "incomplete" in str(played.how[1])


def test_another_fetch_begins_anew_and_says_why(pool: Granules, tmp_path: Path) -> None:
    with Played(pool, tmp_path, "stac", in_cycle(pool)) as played:
        played.follow()
        for query, why in (
            (cycle_22((-180, 0, 180, 90)), "of another fetch (bbox, area)"),
            (cycle_22(WORLD, tracks="1-700"), "of another fetch (filters)"),
        ):
            path = tmp_path / "other.parquet"
            played.source.fetch_to(query, path, previous=played.previous)
            assert path.read_bytes() == played.full(query)
            played.source.fetch_to(query, path, previous=played.previous)
            updated, reason = played.how
            assert not updated
            assert why in str(reason)
        (tmp_path / "received").write_bytes(b"nothing")
        played.follow()
        assert "cannot be read" in str(played.how[1])


def test_counts_that_do_not_add_up_are_not_believed(pool: Granules, tmp_path: Path) -> None:
    with Played(pool, tmp_path, "cmr", in_cycle(pool)) as played:
        played.follow()
        # A granule that arrives with an old revision date.
        played.server.add(pick(pool, np.arange(3)), when=START - 20 * LATER)
        extra = simulate(cycle=22, tracks=[5, 6])
        played.server.add(extra, when=START - 20 * LATER)
        assert played.follow() == played.full()


@pytest.fixture
def received(pool: Granules, tmp_path: Path) -> Iterator[Received]:
    with Played(pool, tmp_path, "cmr", np.arange(len(pool))) as played:
        played.follow()
        yield Received.from_parquet(tmp_path / "received")


def test_what_was_received_is_a_file_of_its_own(received: Received) -> None:
    assert received.table.num_rows > 0
    assert received.facts.newest == "2025-01-01T00:00:00+00:00"
    assert received.facts.page == 8
