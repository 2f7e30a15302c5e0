"""Readers of one queue, step by step: they meet in any order, and are killed at any step."""

from __future__ import annotations

from datetime import timedelta
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.harness.turns import Call, Killed, run
from tests.watch.conftest import PRODUCT, START, FakeProbe
from tests.watch.notices import body, name_of
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.store import LocalStore
from zagg_catalog.watch.cursor import read_cursor
from zagg_catalog.watch.notifications import group_changes, read_message
from zagg_catalog.watch.poll import poll, poll_changes

RULES = WatchRules(first_cycle=23, announce="first-granules", changed_hours=0, patience_hours=999)
NOW = START + timedelta(hours=2)
COUNTS = {22: 1000, 23: 500, 24: 6}


class Mail:
    """A queue of six messages that a reader has until it deletes them, and what is announced."""

    def __init__(self, modes: list[str]) -> None:
        self.waiting = {
            track: read_message(body(name_of(track)), START + timedelta(seconds=track), NOW, mode)
            for track, mode in enumerate(modes, 1)
        }
        self.announced: list[str | None] = []

    def read(self, store: LocalStore, tracks: range) -> None:
        """Read messages as watch-queue does; each is received by as many readers as get it."""
        got = {track: self.waiting[track] for track in tracks if track in self.waiting}
        changes = group_changes(got.values())
        found = poll_changes(PRODUCT, FakeProbe(COUNTS), store, RULES, NOW, changes)
        self.announced += [one.notice for one in found.notices]
        for track in got:
            store.exists("watch/deleted")  # a step, after which it may be killed
            self.waiting.pop(track, None)


TURNS = st.lists(st.integers(-3, 3), max_size=60)
MODES = st.lists(st.sampled_from(["New", "Update", "Delete"]), min_size=6, max_size=6)


@settings(max_examples=60, deadline=None)
@given(order=TURNS, modes=MODES)
@example(order=[-1], modes=["New"] * 6)
@example(order=[0, 0, 0, 0, 0, -1], modes=["Update"] * 6)
def test_no_change_is_lost_and_no_notice_is_repeated(order, modes):
    mail = Mail(modes)
    with TemporaryDirectory() as folder:
        poll(PRODUCT, FakeProbe({22: 1000, 23: 500}), LocalStore(folder), RULES, START)
        # Two with different messages, and a third one that has got some of both once more.
        parts = (range(1, 4), range(4, 7), range(2, 6))
        readers = [
            Call(str(part), folder, lambda store, part=part: mail.read(store, part))
            for part in parts
        ]
        run(readers, iter(order), lambda: None)
        assert {type(one.error) for one in readers} <= {type(None), Killed}
        # A message is gone only when the store has its change.
        known = read_cursor(LocalStore(folder), PRODUCT).cursor.cycles.get(24)
        gone = [track for track in range(1, 7) if track not in mail.waiting]
        assert all(known.told >= START + timedelta(seconds=track) for track in gone)
        # Whoever comes later takes what is left, and announces only what the store does not have.
        sent = max((one.sent for one in mail.waiting.values()), default=START)
        said = len(mail.announced)
        mail.read(LocalStore(folder), range(1, 7))
        state = read_cursor(LocalStore(folder), PRODUCT).cursor.cycles[24]
    if known is not None and sent <= known.told:
        assert (state, len(mail.announced)) == (known, said)
    assert mail.waiting == {}
    assert state.told == START + timedelta(seconds=6)
    assert (state.count, state.given.version) == (6, state.version)
    assert len(mail.announced) == len(set(mail.announced))
    if set(modes) == {"New"}:
        assert state.given.number == 1
