"""A watch that is killed at any step of its writes: the next one announces what it did not."""

from __future__ import annotations

import shutil
import signal
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.harness import killed
from tests.harness.stores import Place
from tests.watch.conftest import PRODUCT, START, FakeProbe
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.store import Store, open_store
from zagg_catalog.watch.poll import poll
from zagg_catalog.watch.states import mark_sent, move_states

pytestmark = pytest.mark.slow

# After so long an event that no run has processed is sent again.
PATIENCE = timedelta(days=5)
# 75 days after the end of cycle 23.
OVERDUE = START + timedelta(days=14)
BEFORE, AFTER = {22: 19_000, 23: 18_900}, {22: 19_000, 23: 18_900, 24: 12}


def watch(log: Path, counts: dict[int, int], now: datetime, store: Store) -> None:
    """Poll, send events into a file, and move states, in the order of ``watch-cycles``."""
    rules = WatchRules(first_cycle=22, announce="first-granules", recheck_days=0)
    found = poll(PRODUCT, FakeProbe(counts), store, rules, now)
    events = [f"cycle {notice.cycle}: {notice.now}" for notice in found.notices]
    _send(log, events)
    moved = move_states(store, found.cursor, ["greenland"], rules, now)
    _send(log, [f"cycle {one.cycle} is {one.after}, {one.id}" for one in moved.states.unsent])
    if moved.states.unsent:
        mark_sent(store, PRODUCT, moved.states.unsent)


def _send(log: Path, events: list[str]) -> None:
    with log.open("a") as file:
        file.writelines(f"{event}\n" for event in events)


@pytest.fixture
def desk(tmp_path) -> Path:
    """A store whose watch has seen two cycles."""
    watch(tmp_path / "log", BEFORE, START, open_store(str(tmp_path / "store")))
    return tmp_path


def killed_at(step: str | None, desk: Path) -> tuple[int, list[str], set[str]]:
    """Kill a watch that finds a third cycle, and that the second one is overdue; watch again.

    Return its exit code, its steps, and all events.
    """
    work = desk / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(desk / "store", work)
    log = desk / f"log-{step}"
    log.touch()
    place = Place(str(work))
    code, steps = killed.run(place, partial(watch, log, AFTER, OVERDUE), step, desk)
    watch(log, AFTER, OVERDUE + PATIENCE, place.open())
    return code, steps, set(log.read_text().splitlines())


def test_a_watch_that_is_killed_at_any_step_loses_no_event(desk):
    code, steps, wanted = killed_at(None, desk)
    assert code == 0
    assert "cycle 24: 12" in wanted
    fatal = [step for step in steps if any(one in step for one in ("begins", "half", "renamed"))]
    fatal = [step for step in fatal if "read" not in step]
    assert len(fatal) == 9  # of the cursor, of the states, and of what was sent
    for step in fatal:
        code, _, events = killed_at(step, desk)
        assert code == -signal.SIGKILL
        assert "cycle 24: 12" in events, step
        # A transition has one id, however often it is sent.
        states = [event.partition(",")[0] for event in events if " is " in event]
        assert states == ["cycle 23 is overdue"], step
