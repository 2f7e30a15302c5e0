"""One run at a time holds a lease, in a folder and on S3; that of a run that died expires."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from zagg_catalog.errors import InvalidRelease, StoreUnavailable
from zagg_catalog.store.lease import Lease, LeaseBusy, Leased, LeaseLost, StoredLease

KEY = "watch/product=ATL06_007/cycle=22/lease.json"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that moves only by `advance`."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_lease(store, clock):
    def make(**options) -> Lease:
        given = {"what": "cycle 22", "duration": timedelta(seconds=60), "clock": clock} | options
        return Lease(store, KEY, Leased[StoredLease], StoredLease, **given)

    return make


def stored(store) -> StoredLease | None:
    return Leased[StoredLease].load(store.read_pointer(KEY).value).claim


def test_a_lease_names_its_run_and_ends_with_the_block(store, make_lease):
    with make_lease().acquire({"by": "me@here", "run": "brisk-owl"}, wait=0):
        found = stored(store)
        assert (found.by, found.run, found.began_at) == ("me@here", "brisk-owl", NOON)
        assert found.expires_at == NOON + timedelta(seconds=60)
    assert stored(store) is None


def test_a_second_run_waits_and_names_the_first_when_it_gives_up(make_lease):
    make_lease().acquire({"by": "me@here"}, wait=0)
    with pytest.raises(LeaseBusy, match=r"^me@here has held the lease of cycle 22 since 2026"):
        make_lease().acquire({}, wait=0, sleep=lambda _: None)


def test_an_expired_lease_is_taken_over_and_its_run_notices(store, make_lease, clock):
    late = make_lease().acquire({"by": "late"}, wait=0)
    make_lease().acquire({"by": "next"}, wait=3600, sleep=lambda _: clock.advance(20))
    assert stored(store).by == "next"
    late.check()  # nothing has told it yet
    with pytest.raises(LeaseLost, match="taken over cycle 22"):
        late.update(run="late")
    with pytest.raises(LeaseLost):
        late.check()


def test_a_run_that_lost_its_lease_does_not_end_that_of_the_next(store, make_lease, clock):
    with make_lease().acquire({"by": "late"}, wait=0):
        clock.advance(61)
        make_lease().acquire({"by": "next"}, wait=0)
    assert stored(store).by == "next"


def test_a_lease_is_renewed_while_the_work_goes_on(store, make_lease):
    """The thread of the lease renews it every third of its duration."""
    renewed = threading.Event()

    class Watched(Clock):
        def __call__(self) -> datetime:
            if threading.current_thread().name == "lease":
                renewed.set()
            return super().__call__()

    with make_lease(duration=timedelta(seconds=0.3), clock=Watched()).acquire({}, wait=0):
        assert renewed.wait(300)


@pytest.mark.parametrize("strict", [True, False])
def test_a_store_that_does_not_answer_ends_only_work_that_must_not_overlap(
    make_lease, store, clock, monkeypatch, strict
):
    asked = threading.Semaphore(0)

    def fail(*_):
        asked.release()
        raise StoreUnavailable("The store does not answer.", transient=True)

    lease = make_lease(duration=timedelta(seconds=0.3)).acquire({}, wait=0)
    monkeypatch.setattr(lease, "_strict", strict)
    monkeypatch.setattr(store, "swap_pointer", fail)
    clock.advance(1)
    with lease:
        assert asked.acquire(timeout=300)
        if strict:
            assert lease.lost.wait(300)
        else:
            assert asked.acquire(timeout=300), "it tries again"
            lease.check()


def test_of_many_runs_one_at_a_time_holds_the_lease(make_lease):
    holders, most = 0, []
    counting = threading.Lock()

    def run() -> None:
        nonlocal holders
        lease = make_lease(duration=timedelta(hours=1))
        with lease.acquire({}, wait=300, sleep=lambda _: threading.Event().wait(0.01)):
            with counting:
                holders += 1
                most.append(holders)
            threading.Event().wait(0.01)
            with counting:
                holders -= 1

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_a_lease_that_cannot_be_read_stops_the_run(store, make_lease):
    store.swap_pointer(KEY, b"{}", None)
    with pytest.raises(InvalidRelease, match=r"lease\.json"):
        make_lease().acquire({}, wait=0)
