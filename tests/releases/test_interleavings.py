"""Publish, roll back and collect at once, step by step: what latest names can be read."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.turns import Call, Killed, run
from tests.releases import inputs
from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.releases import (
    MapToPublish,
    ReleaseKey,
    ReleaseSummary,
    collect_garbage,
    collection,
    find_release,
    rollback,
    verify,
)
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.store import LocalStore

KEY = ReleaseKey(*inputs.RELEASE_KEY)
POINTER = KEY.pointer()
NOW = timedelta(0)
NAMES = (*inputs.CATALOGS, "part of next")
"""All are complete but the last one, which shares the files of one grid with `next`."""


class Pauses:
    """A clock for calls that wait, which only their pauses move; they take steps, too."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 2 * seconds


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """A collection at work is done after fewer pauses than a dead one is waited for."""
    monkeypatch.setattr(collection, "time", Pauses())


def publish(store, files, name, **options):
    if name != "part of next":
        return inputs.publish(store, files, name, json_manifests=False, **options)
    healpix, _ = inputs.builds(files, "next")
    failed = MapToPublish("plate", files / "plate.yaml", error="Out of memory.")
    maps = [healpix, failed]
    return inputs.publish(store, files, "next", json_manifests=False, maps=maps, **options)


def publish_to(files, name):
    return lambda store: publish(store, files, name)


def roll_back_to(digest):
    return lambda store: rollback(store, *inputs.RELEASE_KEY, digest, partial_latest=True)


def collect(days):
    """A collection of all that may go, by a clock that is so many days ahead."""
    return lambda store: collect_garbage(
        store,
        delete=True,
        grace=NOW,
        releases_after=NOW,
        clock=lambda: datetime.now(UTC) + timedelta(days=days),
    )


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    """Digest of each release, by name, and records by digest; the same in every store."""
    store = LocalStore(tmp_path_factory.mktemp("all"))
    done = {name: publish(store, files, name) for name in NAMES}
    digests = {name: one.digest for name, one in done.items()}
    return digests, {one.digest: one.record for one in done.values()}


class Watched:
    """A store's folder, and what it lost."""

    def __init__(self, folder: Path, records: dict[str, ReleaseRecord]) -> None:
        self.folder, self.records = folder, records
        self.lost = set[str]()

    def check(self) -> None:
        """All that the pointer and its history name is there, but what was lost.

        The facts in the pointer are those of the records.
        """
        latest = read_latest(LocalStore(self.folder), KEY)
        assert latest.problem is None
        known = latest.publication
        if known is None:
            return
        assert known.record == self.records[known.digest]
        for digest, summary in known.all_summaries:
            assert summary == ReleaseSummary.of(self.records[digest])
        for digest in known.digests:
            files = {KEY.key("releases", digest), *(f.key for f in self.records[digest].files)}
            gone = {key for key in files if not (self.folder / key).is_file()}
            assert gone <= self.lost

    def lose(self, number: int) -> None:
        """Lose a file; the pointer only while no collection trusts it."""
        found = sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        if not found:
            return
        key = found[number % len(found)]
        if key == POINTER:
            mark = json.loads((self.folder / key).read_bytes()).get("collection")
            if mark is not None and not mark["ended"]:
                return
        (self.folder / key).unlink()
        self.lost.add(key)

    def losing(self, order: Iterator[int | str], number: int) -> Iterator[int]:
        """Yield the numbers of an order, and lose an object where it has a text."""
        for at, one in enumerate(order):
            if isinstance(one, int):
                yield one
            else:
                self.lose(number + at)


@pytest.fixture(scope="module")
def two(files, tmp_path_factory):
    """A store whose latest release is `first`, beside an old one that no pointer names."""
    folder = tmp_path_factory.mktemp("two")
    store = LocalStore(folder)
    publish(store, files, "first")
    assert not publish(store, files, "part of next").latest
    return folder


@pytest.mark.parametrize("collector", ["second", "first"])
@pytest.mark.parametrize("other", ["roll back", "publish"])
def test_what_is_being_collected_becomes_the_latest_as_a_whole_or_not_at_all(
    files, whole, two, tmp_path, other, collector
):
    """The first call takes some steps, and then the second one all that it can."""
    digests, records = whole
    target = digests["part of next" if other == "roll back" else "next"]
    call = roll_back_to(target) if other == "roll back" else publish_to(files, "next")
    outcomes = set()
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        shutil.copytree(two, folder)
        mover = Call(other, str(folder), call)
        calls = [mover, Call("collect", str(folder), collect(400))]
        if collector == "first":
            calls.reverse()
        order = itertools.chain(itertools.repeat(0, steps), itertools.repeat(1, 60))
        run(calls, order, Watched(folder, records).check)
        assert verify(LocalStore(folder)).clean
        moved = find_release(LocalStore(folder), *inputs.RELEASE_KEY).digest == target
        assert moved == (mover.error is None)
        assert [one.error for one in calls if one is not mover] == [None]
        outcomes.add(moved)
        if calls[0].steps <= steps:
            break
    assert outcomes == ({True, False} if other == "roll back" else {True})


@pytest.mark.parametrize("other", ["publish", "roll back"])
def test_a_collection_that_was_killed_delays_others_for_a_while(
    files, whole, two, tmp_path, other, monkeypatch
):
    monkeypatch.setattr(collection, "PATIENCE", 0)
    digests, records = whole
    call = roll_back_to(digests["first"]) if other == "roll back" else publish_to(files, "next")
    for steps in itertools.count(1):
        folder = tmp_path / str(steps)
        shutil.copytree(two, folder)
        killed = Call("collect", str(folder), collect(400))
        watched = Watched(folder, records)
        run([killed], itertools.chain(itertools.repeat(0, steps), [-1]), watched.check)
        mover = Call(other, str(folder), call)
        run([mover], iter(()), watched.check)
        assert mover.error is None
        collect(400)(LocalStore(folder))
        watched.check()
        assert verify(LocalStore(folder)).clean
        if killed.error is None:
            break
    assert steps > 10


MOVES = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(NAMES)),
    st.tuples(st.just("roll back"), st.sampled_from(NAMES)),
    st.tuples(st.just("collect"), st.floats(-2000, 2000)),
)
# Steps of 0 and above choose a call, those below kill one, and text loses an object.
ORDER = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 5), st.integers(-3, -1), st.just("lose")),
    max_size=60,
)


@given(
    st.lists(st.lists(MOVES, min_size=1, max_size=3), min_size=1, max_size=3),
    ORDER,
    st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_what_latest_named_can_be_read_or_was_never_there(files, whole, rounds, order, number):
    """Under any clock, with calls that are killed, and after the loss of objects."""
    digests, records = whole
    steps = iter(order)
    with TemporaryDirectory() as folder:
        watched = Watched(Path(folder), records)
        publish(LocalStore(folder), files, "first")
        for moves in rounds:
            calls = [Call(act, folder, make(act, what, files, digests)) for act, what in moves]
            run(calls, watched.losing(steps, number), watched.check)
            for call in calls:
                assert call.error is None or isinstance(call.error, ALLOWED), call.error


ALLOWED = (InvalidRelease, StoreError, Killed)


def make(act, what, files, digests):
    if act == "publish":
        return publish_to(files, what)
    return roll_back_to(digests[what]) if act == "roll back" else collect(what)
