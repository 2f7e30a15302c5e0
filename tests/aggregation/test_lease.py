"""One run at a time holds a grid's lease; that of a run that died is taken over and recorded."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.aggregation.desk import RELEASE_KEY
from tests.harness.waiting import wait_for
from zagg_catalog.aggregation.lease import GridLease, HeldElsewhere
from zagg_catalog.aggregation.references import Reference
from zagg_catalog.errors import PickupBusy, PickupRefused
from zagg_catalog.releases.pickups import PickupAttempt, PickupLease, read_pickup_history
from zagg_catalog.store import open_store
from zagg_catalog.store.lease import LeaseLost

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


class Clock:
    """A clock that moves only by `advance`."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


class Ticks:
    """A clock that advances a millisecond each time it is read, so that no lease expires."""

    def __init__(self):
        self.count, self.third = 0, threading.Event()

    def __call__(self):
        self.count += 1
        if self.count == 3:
            self.third.set()
        return NOON + timedelta(milliseconds=self.count)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def grid(tmp_path, clock):
    return Grid(tmp_path, duration=timedelta(seconds=60), clock=clock)


class Grid:
    """A grid whose lease several runs want."""

    def __init__(self, folder, **options):
        self.store, self.options = open_store(str(folder)), options

    def lease(self, release=A, *, sleep=lambda seconds: None, **changes):
        """Acquire the lease for another run."""
        lease = GridLease(self.store, RELEASE_KEY, "healpix", **self.options)
        return lease.acquire_for(attempt(release, **changes), wait=0, sleep=sleep)

    def history(self):
        return read_pickup_history(self.store, RELEASE_KEY, "healpix")[0]


def attempt(release=A, **changes):
    return PickupAttempt(
        **({"release": release, "dry_run": False, "by": "me", "began_at": NOON} | changes)
    )


def test_a_claim_is_given_back_when_nothing_came_of_it(grid):
    with grid.lease():
        assert grid.history().claim.release == A
    assert grid.history().claim is None


def test_a_run_at_the_same_release_is_left_alone_once_it_shows_life(grid, clock):
    first = grid.lease()

    def shows_life(seconds):
        clock.advance(5)
        first.update()

    with pytest.raises(HeldElsewhere, match=r"^me has been processing it since 12:00:00 UTC"):
        grid.lease(sleep=shows_life)


def test_a_run_that_died_is_taken_over_when_its_lease_is_over_and_recorded(grid, clock):
    dead = grid.lease()
    dead.update(started=True)
    grid.lease(by="other", sleep=lambda seconds: clock.advance(20))
    assert grid.history().claim.by == "other"
    (entry,) = grid.history().entries
    assert (entry.outcome, entry.started, entry.release) == ("failed", True, A)
    assert (
        entry.reason == "The run of me stopped without recording a result, while zagg was running."
    )


def test_who_was_taken_over_notices_and_must_stop(grid, clock):
    late = grid.lease()
    clock.advance(61)
    grid.lease(by="other")
    with pytest.raises(LeaseLost, match="taken over"):
        late.update(started=True)
    assert late.lost.is_set()


def test_a_run_at_another_release_or_in_another_mode_is_waited_for(grid):
    grid.lease()
    for wanted in ({"release": B}, {"dry_run": True}):
        with pytest.raises(PickupBusy, match=rf"The aggregation of release {A[:12]} .* by me has"):
            grid.lease(**wanted)


def test_a_held_lease_is_renewed(tmp_path):
    now = datetime.now(UTC)
    grid = Grid(tmp_path, duration=timedelta(seconds=3), clock=lambda: now)
    with grid.lease() as lease:
        first = grid.history().claim.expires_at
        now += timedelta(seconds=1)
        wait_for(lambda: grid.history().claim.expires_at > first)
        assert not lease.lost.is_set()


def test_an_interrupted_run_leaves_its_claim_where_zagg_was_at_work(grid):
    def interrupted():
        with grid.lease() as lease:
            lease.update(started=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert grid.history().claim.started, "until its lease is over, and then it is recorded"


def test_two_events_at_once_lead_to_one_aggregation(desk):
    desk.publish("first")
    arrived, go_on, started = threading.Event(), threading.Event(), desk.zagg

    def slow(call, folder, **options):
        arrived.set()
        go_on.wait(300)
        return started(call, folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        desk.watch(patch, slow)
        found = {}
        often = {"lease": timedelta(seconds=1.5), "clock": Ticks()}
        first = threading.Thread(target=lambda: found.update(a=desk.aggregate(**often)))
        first.start()
        arrived.wait(300)
        found["b"] = desk.aggregate(**often)
        go_on.set()
        first.join()
    assert (found["a"].status, found["b"].status) == ("done", "elsewhere")
    assert "someone@somewhere has been processing it" in found["b"].notes[0]
    assert len(desk.calls) == 1
    assert desk.aggregate().status == "already"


def test_a_newer_release_waits_for_the_older_one_and_is_then_picked_up(desk):
    desk.publish("first")
    arrived, clock, started = threading.Event(), Ticks(), desk.zagg

    def slow(call, folder, **options):
        if not arrived.is_set():
            arrived.set()
            clock.third.wait(300)  # the other run has seen this one's lease, and slept once
        return started(call, folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        desk.watch(patch, slow)
        first = threading.Thread(target=desk.aggregate)
        first.start()
        arrived.wait(300)
        newer = desk.publish("more")
        found = desk.aggregate(wait=300, clock=clock)
        first.join()
    assert (found.status, found.release) == ("done", newer.digest)
    assert len(desk.calls) == 2
    assert [entry.outcome for entry in desk.history().entries] == ["aggregated"] * 2


@pytest.mark.zagg
@pytest.mark.slow
def test_two_processes_lead_to_one_aggregation_of_the_real_zagg(real_desk, pickup_inputs):
    pytest.importorskip("zagg")
    real_desk.publish("first")
    command = [sys.executable, "-m", "tests.aggregation.racing", pickup_inputs, real_desk.folder]
    racers = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = {racer.communicate(timeout=600)[0].strip() for racer in racers}
    assert "done checked" in said
    assert said < {"done checked", "already checked", "elsewhere None"}
    assert len(said) == 2
    (entry,) = real_desk.history().entries
    objects = [key for key in real_desk.files() if key.startswith("pickups/")]
    assert sorted(objects) == sorted([entry.key, RELEASE_KEY.pointer("pickups", "healpix")])


@pytest.mark.slow
def test_a_process_that_is_killed_at_work_is_taken_over(desk, pickup_inputs, tmp_path):
    """Its zagg ends with it, and the next run does all of it."""
    desk.publish("first")
    stand_in = str(ROOT / "tests/aggregation/stand_in")
    script = (
        "import sys; from datetime import timedelta; from pathlib import Path;"
        "from tests.aggregation.desk import Desk;"
        "desk = Desk(Path(sys.argv[1]), Path(sys.argv[2]));"
        "desk.aggregate(lease=timedelta(seconds=2))"
    )
    env = {"PYTHONPATH": f"{stand_in}:{ROOT}", "ZAGG_ENDS": "hangs"}
    env |= {"ZAGG_PID": str(tmp_path / "pid"), "EARTHDATA_TOKEN": "token"}
    command = [sys.executable, "-c", script, pickup_inputs, desk.folder]
    process = subprocess.Popen(command, env=os.environ | env)
    try:
        wait_for(lambda: (claim := desk.history().claim) and claim.started)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = desk.aggregate(lease=timedelta(seconds=2))
    assert again.status == "done"
    assert [entry.outcome for entry in desk.history().entries] == ["aggregated", "failed"]


def test_a_refusal_gives_the_claim_back(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    desk.pick()
    assert desk.history().claim is None
    strange = Reference(
        source="the event", release_key=RELEASE_KEY, release=A, store="s3://elsewhere"
    )
    with pytest.raises(PickupRefused):
        desk.pick(references=(strange,))
    assert desk.history().claim is None


YEARS = timedelta(days=3 * 365)


def years_ahead():
    return NOON + YEARS


@pytest.mark.parametrize("release", [A, B], ids=["same release", "another release"])
def test_a_dead_lease_of_a_clock_years_ahead_is_taken_over(tmp_path, clock, release):
    """It is not renewed for as long as it is valid, whatever its time says."""
    brief = timedelta(milliseconds=50)
    Grid(tmp_path, duration=brief, clock=years_ahead).lease()
    grid = Grid(tmp_path, duration=brief, clock=clock)
    grid.lease(release)
    history = grid.history()
    assert history.claim.release == release
    (dead,) = history.entries
    assert (dead.outcome, dead.ended_at) == ("failed", NOON)


@pytest.mark.parametrize(("release", "error"), [(A, HeldElsewhere), (B, PickupBusy)])
def test_a_live_lease_of_a_clock_years_ahead_is_left_alone(tmp_path, clock, release, error):
    """It is renewed, which is all that a run has to wait for."""
    ahead = Clock()
    ahead.advance(YEARS.total_seconds())
    other = Grid(tmp_path, duration=timedelta(hours=1), clock=ahead).lease()

    def sleep(_):
        ahead.advance(20 * 60)
        other.update(states=None)

    grid = Grid(tmp_path, duration=timedelta(milliseconds=1), clock=clock)
    with pytest.raises(error):
        grid.lease(release, sleep=sleep)


@pytest.mark.parametrize("seconds", [1e5, 1e12, 1e300])
def test_no_lease_lasts_longer_than_a_day(clock, seconds):
    lease = PickupLease(
        **attempt().model_dump(), id="x" * 8, expires_at=NOON + YEARS, lease_seconds=seconds
    )
    assert lease.span == timedelta(days=1)
    assert lease.in_future(clock())
