"""A source that answers by heart, a clock, and a store that counts what is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.store import LocalStore
from zagg_catalog.watch.poll import Poll, poll

PRODUCT = "ATL06_007"
# Cycle 24 is under way; 22 ended on 2024-03-18, 23 on 2024-06-17.
START = datetime(2024, 8, 20, tzinfo=UTC)


class FakeProbe:
    """A source with granules by cycle; `revisions` is None for one that cannot tell."""

    def __init__(self, counts: dict[int, int]) -> None:
        self.counts = dict(counts)
        self.revisions: list[tuple[datetime, int]] | None = None
        self.requests = 0

    def total(self) -> int:
        self.requests += 1
        return sum(self.counts.values())

    def count(self, cycle: int) -> int:
        self.requests += 1
        return self.counts.get(cycle, 0)

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        if self.revisions is None:
            return None
        self.requests += 1
        return sum(when >= since and cycle in (None, c) for when, c in self.revisions)


class CountingStore(LocalStore):
    """A folder that knows how often a pointer was moved."""

    writes = 0

    def swap_pointer(self, key: str, value: bytes, expected: str | None) -> str:
        type(self).writes += 1
        return super().swap_pointer(key, value, expected)


class Watch:
    """A product, its source, its store and the time."""

    def __init__(self, store: CountingStore, **rules) -> None:
        self.store = store
        self.rules = WatchRules(**rules)
        self.probe = FakeProbe({})
        self.now = START

    def poll(self, *, hours: float = 1, dry: bool = False) -> Poll:
        """Look again, some hours later."""
        self.now += timedelta(hours=hours)
        self.probe.requests = 0
        return poll(PRODUCT, self.probe, self.store, self.rules, self.now, dry=dry)

    def announcements(self, *, hours: float = 1) -> list[tuple[int, str]]:
        return [(one.cycle, one.why) for one in self.poll(hours=hours).notices]


@pytest.fixture
def make_watch(tmp_path):
    def make(**rules) -> Watch:
        CountingStore.writes = 0
        return Watch(CountingStore(tmp_path / "store"), **rules)

    return make


@pytest.fixture
def watch(make_watch):
    """One past whole cycle of 1,000 granules, answered for; cycle 24 has none yet."""
    watch = make_watch(first_cycle=23)
    watch.probe.counts = {22: 1000, 23: 500}
    return watch
