"""``watch-cycles``: polls of the sandbox, what they announce, and how runs answer."""

import threading

import pytest
import yaml

from flows import events
from flows.runtime import CycleLease
from flows.watch import report_overdue, watch_cycles
from tests.harness.waiting import wait_for
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import LocalStore
from zagg_catalog.watch.answers import read_processed
from zagg_catalog.watch.cursor import read_cursor
from zagg_catalog.watch.events import AVAILABLE, OVERDUE, POLLED, PREPARED

PRODUCT = "ATL06_007"
TRACKS = range(1, 1388, 40)
RULES = {"first_cycle": 22, "changed_hours": 0, "overdue_days": None}


@pytest.fixture
def live():
    """An API that has cycle 21, and to which 22 is added."""
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS)) as server:
        yield server


@pytest.fixture
def said(monkeypatch):
    """Events that were emitted."""
    sent = []

    def emit(event, resource, payload):
        sent.append((event, resource["prefect.resource.id"], payload))

    monkeypatch.setattr(events, "emit_event", emit)
    return sent


class Watcher:
    """A team that watches one product at that API."""

    def __init__(self, team, server):
        self.team, self.server = team, server
        team.stac_root = server.root_url
        self.rules()

    def rules(self, **changes):
        path = self.team.registry / "registry.yaml"
        content = yaml.safe_load(path.read_text())
        content["watch"] = {PRODUCT: RULES | changes}
        # One small region is enough here.
        content["grids"] = {k: g for k, g in content["grids"].items() if "antarctica" not in k}
        path.write_text(yaml.safe_dump(content))

    def poll(self, **changes):
        given = {
            "products": [PRODUCT],
            "store": self.team.store_url,
            "stac_root": self.server.root_url,
            "registry": str(self.team.registry / "registry.yaml"),
        }
        return watch_cycles(**(given | changes), return_state=True)

    def add(self, tracks=TRACKS):
        self.server.add(simulate("ATL06", cycle=22, tracks=tracks))

    def prepare(self, **changes):
        return self.team.run(regions=None, **changes)


@pytest.fixture
def watcher(team, live):
    return Watcher(team, live)


def available(said):
    return [payload for event, _, payload in said if event == AVAILABLE]


def test_a_quiet_poll_asks_once_and_writes_nothing(watcher, said, monkeypatch):
    watcher.poll()
    files, asked = watcher.team.files(), len(watcher.server.requests)

    def refuse(*_):
        raise AssertionError("a quiet poll writes nothing")

    monkeypatch.setattr(LocalStore, "swap_pointer", refuse)
    monkeypatch.setattr(LocalStore, "_put", refuse)
    said.clear()
    state = watcher.poll()
    assert state.is_completed(), state.message
    assert state.message == "ATL06_007: nothing new."
    assert len(watcher.server.requests) - asked == 1
    assert watcher.team.files() == files
    assert [event for event, _, _ in said] == [POLLED]


def test_a_new_cycle_is_announced_with_counts_and_the_reason(watcher, said):
    watcher.poll()
    watcher.add()
    state = watcher.poll()
    assert state.message == "ATL06_007: cycle 22 new."
    (payload,) = available(said)
    assert payload["cycle"] == 22
    assert (payload["product"], payload["version"], payload["why"]) == ("ATL06", "007", "new")
    counts = payload["granules"]
    assert (counts["before"], counts["now"]) == (0, len(TRACKS) * 14)
    assert counts["expected"] == pytest.approx(counts["now"], rel=0.02)
    assert payload["store"] == watcher.team.store_url


def test_a_dry_run_announces_nothing(watcher, said):
    watcher.poll()
    watcher.add()
    said.clear()
    assert watcher.poll(dry_run=True).message == "ATL06_007: cycle 22 new."
    assert not said
    assert watcher.poll().message == "ATL06_007: cycle 22 new."


def test_a_successful_run_processes_the_event_and_a_later_run_ends_at_once(watcher, said):
    watcher.poll()
    watcher.add()
    watcher.poll()
    (payload,) = available(said)
    watcher.team.run(grids=["atl06-greenland-polar"])
    assert read_processed(watcher.team.store, PRODUCT, 22).number == 0  # a part is no answer
    state = watcher.prepare()  # by hand; it covers what was announced
    assert state.is_completed(), state.message
    assert (PREPARED, "zagg-catalog.cycle.atl06-007-c22") in [entry[:2] for entry in said]
    asked = len(watcher.server.requests)
    state = watcher.prepare(notice=payload["notice"])
    assert state.message == "ATL06_007, cycle 22: an earlier run has processed this event."
    assert len(watcher.server.requests) == asked
    watcher.rules(patience_hours=0)
    assert watcher.poll().message == "ATL06_007: nothing new."
    assert read_cursor(watcher.team.store, PRODUCT).cursor.cycles[22].given.answered


def test_a_failed_run_processes_no_event(watcher, said):
    watcher.poll()
    watcher.add()
    watcher.poll()
    (payload,) = available(said)
    config = watcher.team.registry / "grids/atl06-greenland-healpix.yaml"
    whole = config.read_text()
    config.write_text("output: {}")
    assert watcher.prepare(notice=payload["notice"]).is_failed()
    assert read_processed(watcher.team.store, PRODUCT, 22).number == 0
    config.write_text(whole)
    assert watcher.prepare(notice=payload["notice"]).is_completed()
    assert read_processed(watcher.team.store, PRODUCT, 22).number == 1


def test_changes_during_a_run_lead_to_exactly_one_more(watcher, said, prefect_server):
    watcher.add()
    states = []

    def run(notice):
        states.append(watcher.prepare(notice=notice))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two", "three")]
    # As a run would that prepares the cycle.
    with CycleLease(watcher.team.store, PRODUCT, 22).acquire({}, wait=0):
        for thread in threads:
            thread.start()
        # Runs that other modules have killed on this server wait for ever.
        wait_for(lambda: {"one", "two", "three"} <= {*events.waiting_notices(PRODUCT, 22)})
    for thread in threads:
        thread.join()
    said = sorted(state.message.partition(": ")[2] for state in states)
    assert said == [*["an earlier run has processed this event."] * 2, "released greenland."]


def test_an_overdue_cycle_is_reported(watcher, said):
    watcher.rules(overdue_days=200)
    message = watcher.poll().message
    assert "cycle 22 overdue" in message
    late = next(payload for event, _, payload in said if event == OVERDUE)
    assert late["message"].startswith("ATL06_007, cycle 22 was due on 2024-10-0")
    assert watcher.poll().message == "ATL06_007: nothing new."  # a week's rest


def test_one_broken_product_does_not_stop_the_others(watcher, said):
    state = watcher.poll(products=["ATL03_007", PRODUCT])
    assert state.is_completed()  # the sandbox has no ATL03: none is no failure at first
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS), faults=["status=404"]) as gone:
        state = watcher.poll(stac_root=gone.root_url)
    assert state.is_failed()
    assert "ATL06_007" in state.message


def test_an_unknown_product_is_named(watcher):
    state = watcher.poll(products=["ATL99_001"])
    assert "has no grid for ATL99_001; it has grids for ATL03_007, ATL06_007" in state.message


@pytest.mark.parametrize(
    ("resource", "message", "expected"),
    [
        ("zagg-catalog.cycle.atl06-007-c22", "It is late.", "It is late."),
        ("zagg-catalog.cycle.atl06-007-c22", None, "ATL06_007, cycle 22, is overdue."),
        ("zagg-catalog.watch.atl06-007", None, "was not polled for too long"),
    ],
)
def test_the_report_of_something_late_ends_failed(prefect_server, resource, message, expected):
    state = report_overdue(resource, message, return_state=True)
    assert state.is_failed()
    assert expected in state.message
