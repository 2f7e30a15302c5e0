"""Claims: one run at a time, whoever asks; what died is taken over, and said."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.aggregation.desk import SLOT
from zagg_catalog.aggregation.lease import HeldElsewhere, Lease, LeaseLost, Place, claim_grid
from zagg_catalog.errors import PickupBusy, PickupRefused
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import PickupAttempt
from zagg_catalog.store import open_store

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def goes_on(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(tmp_path, clock):
    return Place(
        store=open_store(str(tmp_path)),
        slot=ReleaseKey("ATL06_007", "antarctica", 22),
        grid="healpix",
        lease=timedelta(seconds=60),
        clock=clock,
    )


def attempt(release=A, **changes):
    return PickupAttempt(
        **({"release": release, "dry_run": False, "by": "me", "began_at": NOON} | changes)
    )


def claim(place, release=A, *, sleep=lambda seconds: None, **changes):
    return claim_grid(place, attempt(release, **changes), patience=0, sleep=sleep)


def test_a_claim_is_given_back_when_nothing_came_of_it(place):
    with claim(place):
        assert place.read()[0].claim.release == A
    assert place.read()[0].claim is None


def test_a_run_at_the_same_release_is_left_alone_once_it_shows_life(place, clock):
    first = claim(place)

    def shows_life(seconds):
        clock.goes_on(5)
        first.say()

    found = claim(place, sleep=shows_life)
    assert isinstance(found, HeldElsewhere)
    assert found.claim.by == "me"


def test_a_run_that_died_is_taken_over_when_its_lease_is_over_and_recorded(place, clock):
    dead = claim(place)
    dead.say(started=True)
    taken = claim(place, by="other", sleep=lambda seconds: clock.goes_on(20))
    assert isinstance(taken, Lease)
    (entry,) = place.read()[0].entries
    assert (entry.outcome, entry.started, entry.release) == ("failed", True, A)
    assert entry.reason == "The run of me ended without a word, while zagg was at work."


def test_who_was_taken_over_notices_and_must_stop(place, clock):
    late = claim(place)
    clock.goes_on(61)
    claim(place, by="other")
    with pytest.raises(LeaseLost, match="taken over"):
        late.say(started=True)
    assert late.lost.is_set()


def test_a_run_at_another_release_or_in_another_mode_is_waited_for(place):
    claim(place)
    for wanted in ({"release": B}, {"dry_run": True}):
        with pytest.raises(PickupBusy, match=f"me is still at an aggregation of release {A[:12]}"):
            claim(place, **wanted)


def test_a_claim_is_kept_alive_while_it_is_held(tmp_path):
    place = Place(
        store=open_store(str(tmp_path)),
        slot=ReleaseKey("ATL06_007", "antarctica", 22),
        grid="healpix",
        lease=timedelta(seconds=0.6),
    )
    with claim(place) as held:
        first = place.read()[0].claim.expires_at
        time.sleep(1)
        assert place.read()[0].claim.expires_at > first
        assert not held.lost.is_set()


def test_an_interrupted_run_leaves_its_claim_where_zagg_was_at_work(place):
    def interrupted():
        with claim(place) as held:
            held.say(started=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert place.read()[0].claim.started, "until its lease is over, and then it is recorded"


def test_two_events_at_once_lead_to_one_aggregation(desk):
    desk.publish("first")
    arrived, go_on, started = threading.Event(), threading.Event(), desk.zagg

    def slow(call, folder, **options):
        arrived.set()
        go_on.wait(20)
        return started(call, folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zagg_catalog.aggregation.run.run_zagg", slow)
        found = {}
        lease = timedelta(seconds=1.5)
        first = threading.Thread(target=lambda: found.update(a=desk.aggregate(lease=lease)))
        first.start()
        arrived.wait(20)
        found["b"] = desk.aggregate(lease=lease)
        go_on.set()
        first.join()
    assert (found["a"].status, found["b"].status) == ("done", "elsewhere")
    assert "someone@somewhere is at it" in found["b"].notes[0]
    assert len(desk.calls) == 1
    assert desk.aggregate().status == "already"


def test_a_newer_release_waits_for_the_older_one_and_is_then_picked_up(desk):
    desk.publish("first")
    arrived, published, started = threading.Event(), threading.Event(), desk.zagg

    def slow(call, folder, **options):
        if not arrived.is_set():
            arrived.set()
            published.wait(20)
            time.sleep(0.5)
        return started(call, folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zagg_catalog.aggregation.run.run_zagg", slow)
        first = threading.Thread(target=desk.aggregate)
        first.start()
        arrived.wait(20)
        newer = desk.publish("more")
        published.set()
        found = desk.aggregate(patience=20)
        first.join()
    assert (found.status, found.release) == ("done", newer.digest)
    assert len(desk.calls) == 2
    assert [entry.outcome for entry in desk.standing().entries] == ["aggregated"] * 2


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
    said = {racer.communicate(timeout=100)[0].strip() for racer in racers}
    assert "done checked" in said
    assert said < {"done checked", "already checked", "elsewhere None"}
    assert len(said) == 2
    (entry,) = real_desk.standing().entries
    objects = [key for key in real_desk.files() if key.startswith("pickups/")]
    assert sorted(objects) == sorted([entry.key, SLOT.pointer("pickups", "healpix")])


def test_a_process_that_is_killed_at_work_is_taken_over(desk, pickup_inputs, tmp_path):
    """Its zagg ends with it, and the next run does all of it."""
    desk.publish("first")
    stand_in = str(ROOT / "tests/pickup/stand_in")
    script = (
        "import sys; from datetime import timedelta; from pathlib import Path;"
        "from tests.aggregation.desk import Desk;"
        "desk = Desk(Path(sys.argv[1]), Path(sys.argv[2]));"
        "desk.aggregate(lease=timedelta(seconds=2))"
    )
    env = {"PYTHONPATH": f"{stand_in}:{ROOT}", "ZAGG_ENDS": "hangs"}
    env["ZAGG_PID"] = str(tmp_path / "pid")
    command = [sys.executable, "-c", script, pickup_inputs, desk.folder]
    process = subprocess.Popen(command, env=os.environ | env)
    try:
        give_up = time.monotonic() + 60
        while not (claim := desk.standing().claim) or not claim.started:
            assert time.monotonic() < give_up
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = desk.aggregate(lease=timedelta(seconds=2))
    assert again.status == "done"
    assert [entry.outcome for entry in desk.standing().entries] == ["aggregated", "failed"]


def test_a_refusal_gives_the_claim_back(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    desk.pick()
    assert desk.standing().claim is None
    with pytest.raises(PickupRefused):
        desk.pick(release=None, references=(_strange(),))
    assert desk.standing().claim is None


def _strange():
    from zagg_catalog.aggregation.references import Reference

    return Reference(source="the event", slot=SLOT, release=A, store="s3://elsewhere")
