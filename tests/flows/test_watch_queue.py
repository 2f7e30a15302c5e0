"""``watch-queue``: notifications in a queue become the events of cycles."""

from dataclasses import replace

import pytest
import yaml

from flows.watch_queue import watch_queue
from tests.flows.test_watch import PRODUCT, TRACKS, Watcher, available, said, watcher
from tests.harness.servers import KEY_ID, SECRET, moto, running
from tests.harness.sqs import Mailbox
from tests.watch.notices import body, envelope
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.watch.cursor import read_cursor
from zagg_catalog.watch.events import POLLED

__all__ = ["said", "watcher"]


@pytest.fixture(scope="module")
def server():
    with running(moto()) as one:
        yield one.endpoint


@pytest.fixture
def mailbox(server, watcher, monkeypatch):
    """A queue for a team whose other product, which the API does not have, is never overdue."""
    registry = watcher.team.registry / "registry.yaml"
    content = yaml.safe_load(registry.read_text())
    content["watch"]["ATL03_007"] = {"overdue_days": None}
    registry.write_text(yaml.safe_dump(content))
    mailbox = Mailbox.make(server)
    for name, value in (mailbox.values | {"queue_group": 0, "queue_settle": 0}).items():
        monkeypatch.setenv(f"ZAGG_CATALOG_{name.upper()}", str(value))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    # Nobody waits for the first message of an empty queue.
    monkeypatch.setattr("flows.watch_queue.WAIT", 0)
    return mailbox


def name(track: int, cycle: int = 22) -> str:
    return f"ATL06_20240101010203_{track:04d}{cycle}03_007_01.h5"


def read(watcher: Watcher, **changes):
    parameters = {
        "store": watcher.team.store_url,
        "stac_root": watcher.server.root_url,
        "registry": str(watcher.team.registry / "registry.yaml"),
    }
    return watch_queue(**(parameters | changes), return_state=True)


def test_a_queue_announces_what_a_poll_would(watcher, mailbox, said):
    assert read(watcher).message == "0 messages; nothing new."  # the first poll counts all
    watcher.add()
    asked = len(watcher.server.requests)
    for track in TRACKS:
        mailbox.send(envelope(body(name(track)), "New"))
    mailbox.send(body("ATL08_20240101010203_00012203_007_01.h5"), "New")
    mailbox.send("not JSON")
    said.clear()
    state = read(watcher)
    assert state.message == (
        "37 messages, 1 of products that are not watched, 1 that cannot be read;"
        " ATL06_007: cycle 22 new."
    )
    assert len(watcher.server.requests) - asked == 1
    polled = [resource for event, resource, _ in said if event == POLLED]
    assert polled == ["zagg-catalog.watch.atl03-007", "zagg-catalog.watch.atl06-007"]
    (payload,) = available(said)
    assert mailbox.waiting() == 0
    assert mailbox.dead() == [("not JSON", None)]
    state = watcher.prepare(notice=payload["notice"])  # as the automation does
    assert state.message == "ATL06_007, cycle 22: released greenland."
    assert watcher.poll().message == "ATL06_007: nothing new."
    assert read(watcher).message == "0 messages; nothing new."


def test_the_event_is_that_of_the_watch(watcher, mailbox, said, tmp_path):
    """Two stores of one source: a poll fills the one, the queue the other."""
    another = {"store": str(tmp_path / "another-store")}
    watcher.poll()
    read(watcher, **another)
    watcher.add()
    mailbox.send(body(name(1)), "New")
    watcher.poll()
    read(watcher, **another)
    polled, told = ({**one, "notice": None, "store": None} for one in available(said))
    # The poll has also counted a granule on the border of cycle 21 once more.
    assert polled["granules"].pop("expected") == told["granules"].pop("expected") + 1
    assert polled == told


@pytest.fixture
def live():
    """An API that has cycle 21, to which 22 is added, in pages that make an update worth it."""
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS), page_size=20) as server:
        yield server


def test_an_update_among_new_granules_is_fetched_although_counts_hide_it(watcher, mailbox, said):
    read(watcher)
    watcher.add()
    mailbox.send(body(name(1)), "New")
    read(watcher)
    watcher.prepare(notice=available(said)[-1]["notice"])
    before = watcher.team.release("greenland").record.catalog.digest
    replaced = simulate("ATL06", cycle=22, tracks=TRACKS)
    watcher.server.add(replace(replaced, lons=replaced.lons + 0.2))
    watcher.server.add(simulate("ATL06", cycle=22, tracks=[2]))
    for mode in ("New", "Update"):
        mailbox.send(body(name(2)), mode)
    read(watcher)
    watcher.prepare(notice=available(said)[-1]["notice"])
    after = watcher.team.release("greenland").record.catalog.digest
    watcher.prepare(force=True)
    assert watcher.team.release("greenland").record.catalog.digest == after != before


def test_messages_stay_while_the_source_is_down(watcher, mailbox, said):
    read(watcher)
    mailbox.send(body(name(1)), "New")
    with SandboxServer(simulate("ATL06", cycle=21, tracks=TRACKS), faults=["status=404"]) as gone:
        state = read(watcher, stac_root=gone.root_url)
    assert state.is_failed()
    assert state.message.startswith("ATL06_007: ")
    assert mailbox.waiting() == 1
    assert 22 not in read_cursor(watcher.team.store, PRODUCT).cursor.cycles


def test_a_message_without_a_place_to_go_fails_the_run(watcher, server, mailbox, monkeypatch):
    alone = Mailbox.make(server, redrive=False)
    monkeypatch.setenv("ZAGG_CATALOG_QUEUE_URL", alone.url)
    alone.send("not JSON")
    state = read(watcher)
    assert state.is_failed()
    assert "cannot be read, and it stays in the queue, which has no dead-letter queue" in (
        state.message
    )


def test_a_run_without_a_queue_says_what_to_set(watcher, mailbox, monkeypatch):
    monkeypatch.delenv("ZAGG_CATALOG_QUEUE_URL")
    state = read(watcher)
    assert state.is_failed()
    assert state.message.startswith("No queue is set; set ZAGG_CATALOG_QUEUE_URL")
