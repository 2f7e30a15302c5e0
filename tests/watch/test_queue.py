"""A queue of notifications: groups of messages become notices, once, whatever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness import killed
from tests.harness.servers import KEY_ID, SECRET, free_port, moto, running
from tests.harness.sqs import REGION, Mailbox, client
from tests.harness.waiting import wait_for
from tests.watch.conftest import PRODUCT, START, FakeProbe
from tests.watch.notices import body, envelope, name_of
from zagg_catalog.errors import InvalidNotification, QueueUnavailable
from zagg_catalog.registry.schema import WatchRules
from zagg_catalog.settings import Settings
from zagg_catalog.store import LocalStore
from zagg_catalog.watch import queue as queues
from zagg_catalog.watch.cursor import CycleState, read_cursor
from zagg_catalog.watch.poll import Poll, poll, poll_changes
from zagg_catalog.watch.queue import Group, Inbox, Queue, Told, region_of

RULES = WatchRules(first_cycle=23, announce="first-granules", changed_hours=0, patience_hours=999)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(moto()) as one:
        yield one.endpoint


@pytest.fixture(autouse=True)
def login(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def mailbox(server) -> Mailbox:
    return Mailbox.make(server)


@pytest.fixture
def store(tmp_path) -> LocalStore:
    """A store whose watch knows cycles 22 and 23, and has announced 23."""
    store = LocalStore(tmp_path / "store")
    poll(PRODUCT, probe(0), store, RULES, START)
    return store


def probe(granules: int) -> FakeProbe:
    """A source with so many granules of cycle 24."""
    return FakeProbe({22: 1000, 23: 500, 24: granules} if granules else {22: 1000, 23: 500})


def take(
    settings: Settings, store: LocalStore, granules: int, *, die: bool = False
) -> tuple[Inbox, Poll]:
    """Read a group as watch-queue does; or die when its notice is in the store."""
    now = START + timedelta(hours=2)
    with closing(Queue(settings)) as queue, Group(queue) as group:
        group.collect(0, 0)
        inbox = group.sort(now)
        told = inbox.products.get(PRODUCT, Told())
        found = poll_changes(PRODUCT, probe(granules), store, RULES, now, told.changes)
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        group.delete(told.messages)
    return inbox, found


def notices(found: Poll) -> list[tuple[int, str, int | None]]:
    return [(one.cycle, one.why, one.now) for one in found.notices]


def test_messages_become_one_notice_and_are_then_deleted(mailbox, store):
    for track in range(1, 26):
        mailbox.send(envelope(body(name_of(track)), "New"))
        mailbox.send(body(name_of(track)), "New")  # the same, by raw delivery
    inbox, found = take(mailbox.settings, store, 25)
    assert [*inbox.products] == [PRODUCT]
    assert notices(found) == [(24, "new", 25)]
    assert found.cursor.cycles[24].unseen is None
    assert found.requests == 1
    assert mailbox.waiting() == 0


def test_a_poll_and_a_queue_announce_a_change_once(mailbox, store):
    mailbox.send(body(name_of(1)), "New")
    now = START + timedelta(hours=1)
    assert notices(poll(PRODUCT, probe(1), store, RULES, now)) == [(24, "new", 1)]
    # START is long ago: as if the message had been sent before that poll.
    told = {24: queues.Change(until=now - timedelta(minutes=1), only_new=True)}
    assert notices(poll_changes(PRODUCT, probe(1), store, RULES, now, told)) == []
    _, found = take(mailbox.settings, store, 2)
    assert notices(found) == [(24, "changed", 2)]
    after = poll(PRODUCT, probe(2), store, RULES, START + timedelta(hours=3))
    assert (notices(after), after.written, after.requests) == ([], False, 1)


def test_an_update_is_a_change_though_counts_stay_the_same(mailbox, store):
    mailbox.send(body(name_of(1, cycle=23)), "Update")
    _, found = take(mailbox.settings, store, 0)
    assert notices(found) == [(23, "changed", 500)]
    assert found.cursor.cycles[23].unseen == found.cursor.cycles[23].told


def test_as_many_new_as_deleted_granules_are_a_change(mailbox, store):
    mailbox.send(body(name_of(1, cycle=23)), "Delete")
    mailbox.send(body(name_of(1, cycle=23).replace("_01.h5", "_02.h5")), "New")
    _, found = take(mailbox.settings, store, 0)
    assert notices(found) == [(23, "changed", 500)]


def test_a_message_that_comes_late_or_again_announces_nothing(store):
    def told(second: int) -> Poll:
        change = queues.Change(until=START + timedelta(seconds=second), only_new=False)
        now = START + timedelta(hours=2)
        return poll_changes(PRODUCT, probe(1), store, RULES, now, {24: change})

    assert notices(told(9)) == [(24, "new", 1)]
    for second in (9, 5, 1):
        again = told(second)
        assert (notices(again), again.written, again.requests) == ([], False, 0)
    assert notices(told(10)) == [(24, "changed", 1)]


def test_a_reader_that_is_killed_before_it_deletes_announces_once(mailbox, store, tmp_path):
    mailbox.send(body(name_of(1)), "New")
    given = (mailbox.values, store.url)
    child = killed.CONTEXT.Process(target=_take_and_die, args=given)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    state = cycle_state(store)
    assert (state.given.number, state.count) == (1, 1)  # what it had announced stands
    assert mailbox.waiting() == 1  # and nothing is lost if it had not
    found: list[Poll] = []

    def empty() -> bool:
        found.append(take(mailbox.settings, store, 1)[1])
        return mailbox.waiting() == 0

    wait_for(empty)
    assert [notices(one) for one in found] == [[]] * len(found)
    assert cycle_state(store) == state


def cycle_state(store: LocalStore) -> CycleState:
    return read_cursor(store, PRODUCT).cursor.cycles[24]


def _take_and_die(values: dict, folder: str) -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    queues.VISIBLE_AFTER = 1
    take(Settings(_env_file=None, **values), LocalStore(folder), 1, die=True)


def test_two_readers_at_once_announce_once(mailbox, store):
    for track in range(1, 41):
        mailbox.send(body(name_of(track)), "New")
    found, start = [], threading.Barrier(2)

    def read() -> None:
        start.wait()
        found.append(take(mailbox.settings, LocalStore(store.url), 40))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for one in readers:
        one.join()
    assert len(found) == 2
    numbers = [notice.notice for _, poll in found for notice in poll.notices]
    assert len(numbers) == len(set(numbers))
    assert "new" in [notice.why for _, poll in found for notice in poll.notices]
    assert mailbox.waiting() == 0


@pytest.mark.parametrize("named", [False, True])
def test_a_message_that_cannot_be_read_goes_to_the_dead_letter_queue(server, named):
    mailbox = Mailbox.make(server, redrive=not named)
    changes = {"queue_dead_letters": mailbox.dead_url} if named else {}
    poison = ["[" * 20_000, "x" * 200_000, '{"a": ' * 5_000, body("no-granule"), "\t�"]
    for text in poison:
        mailbox.send(text, "New")
    mailbox.send(body(name_of(1)), "New")
    settings = Settings(_env_file=None, **(mailbox.values | changes))
    with closing(Queue(settings)) as queue, Group(queue) as group:
        assert group.collect(0, 0) == 6
        inbox = group.sort(START)
        assert [*inbox.products] == [PRODUCT]
        for message, reason in inbox.unread.items():
            assert isinstance(reason, InvalidNotification)
            assert group.refuse(message)
    assert mailbox.waiting() == 1  # the good one
    assert sorted(mailbox.dead()) == sorted((text, "New") for text in poison)


def test_without_a_dead_letter_queue_it_stays(server):
    mailbox = Mailbox.make(server, redrive=False)
    mailbox.send("{", None)
    with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
        group.collect(0, 0)
        (message,) = group.sort(START).unread
        assert not group.refuse(message)
    assert mailbox.waiting() == 1


def test_a_message_is_deleted_only_where_the_dead_letter_queue_has_it(server):
    mailbox = Mailbox.make(server)
    mailbox.send("{", None)
    changes = {"queue_dead_letters": f"{mailbox.dead_url}-gone"}
    settings = Settings(_env_file=None, **(mailbox.values | changes))
    with closing(Queue(settings)) as queue, Group(queue) as group:
        group.collect(0, 0)
        (message,) = group.sort(START).unread
        with pytest.raises(QueueUnavailable, match="there is no such queue"):
            group.refuse(message)
    assert mailbox.waiting() == 1


def test_no_other_reader_gets_a_message_while_its_group_is_held(mailbox, monkeypatch):
    monkeypatch.setattr(queues, "VISIBLE_AFTER", 3)
    mailbox.send(body(name_of(1)), "New")
    with closing(Queue(mailbox.settings)) as queue, closing(Queue(mailbox.settings)) as other:
        with Group(queue) as group:
            assert group.collect(0, 0) == 1
            until = time.monotonic() + 4
            while time.monotonic() < until:
                assert other.receive() == []
                time.sleep(0.2)
        wait_for(lambda: other.receive())  # afterwards it comes again


def test_a_group_takes_messages_until_its_time_is_over(mailbox):
    mailbox.send(body(name_of(1)), "New")
    with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
        received, later = queue.receive, [body(name_of(2))]

        def receive(wait: float = 0.0):
            found = received(wait)
            for text in later:
                mailbox.send(text, "New")
            later.clear()
            return found

        queue.receive = receive
        assert group.collect(1, 0) == 2


def test_a_group_is_bounded(mailbox, monkeypatch):
    monkeypatch.setattr(queues, "MOST", 10)
    for track in range(1, 26):
        mailbox.send(body(name_of(track)), "New")
    sizes = []
    while mailbox.waiting():
        with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
            sizes.append(group.collect(60, 0) if len(sizes) < 2 else group.collect(0, 0))
            group.delete(group.sort(START).products[PRODUCT].messages)
    assert sizes == [10, 10, 5]


def test_messages_whose_cycle_cannot_be_counted_come_later(mailbox):
    mailbox.send(body(name_of(1)), "New")
    with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
        group.collect(0, 0)
        group.postpone(group.sort(START).products[PRODUCT].messages)
        assert queue.receive() == []
    assert mailbox.waiting() == 1


def test_a_topic_delivers_what_is_read(server, mailbox):
    """SNS in between, with and without raw delivery."""
    sns = client("sns", server)
    topic = sns.create_topic(Name="cmr-subscriptions")["TopicArn"]
    arn = mailbox.sqs.get_queue_attributes(QueueUrl=mailbox.url, AttributeNames=["QueueArn"])
    read = []
    for raw in ("false", "true"):
        one = sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": raw},
            ReturnSubscriptionArn=True,
        )
        mode = {"mode": {"DataType": "String", "StringValue": "Update"}}
        sns.publish(TopicArn=topic, Message=body(), Subject="Update", MessageAttributes=mode)
        with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
            assert group.collect(0, 5) == 1
            told = group.sort(datetime.now(UTC)).products[PRODUCT]
            read.append([(c, one.only_new) for c, one in told.changes.items()])
            group.delete(told.messages)
        sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    assert read == [[(24, False)]] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"queue_url": None}, r"No queue is set; set ZAGG_CATALOG_QUEUE_URL"),
        ({"queue_url": "granules"}, r"ZAGG_CATALOG_QUEUE_URL is 'granules', expected the URL"),
        ({"queue_dead_letters": "{url}"}, r"QUEUE_DEAD_LETTERS is the queue itself"),
        ({"queue_region": None}, r"names no region; set ZAGG_CATALOG_QUEUE_REGION"),
        ({"queue_endpoint": "nowhere"}, r"cannot be used \(ValueError\); check"),
        ({"queue_region": "eu-west-1"}, r"region eu-west-1: there is no such queue"),
        ({"queue_url": "{url}-other"}, r"there is no such queue .* correct ZAGG_CATALOG_QUEUE_URL"),
        ({"queue_endpoint": "down"}, r"did not answer, also after retries \(Endpoint"),
    ],
)
def test_a_queue_that_cannot_be_used_is_one_sentence(mailbox, changes, sentence):
    if changes.get("queue_endpoint") == "down":
        changes = {"queue_endpoint": f"http://127.0.0.1:{free_port()}", "s3_attempts": 1}
    named = {name: str(value).format(url=mailbox.url) for name, value in changes.items() if value}
    changes = changes | {name: value for name, value in named.items() if "://" in value}
    with pytest.raises(QueueUnavailable, match=sentence) as caught:
        Queue(Settings(_env_file=None, **(mailbox.values | changes))).receive()
    assert "\n" not in str(caught.value)


def test_no_credentials_are_a_sentence(mailbox, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(QueueUnavailable, match="no usable credentials were found"):
        Queue(mailbox.settings).receive()


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.us-west-2.amazonaws.com/123456789012/zagg", "us-west-2"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/zagg", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/zagg", "cn-north-1"),
        ("http://127.0.0.1:5000/123456789012/zagg", None),
        (f"https://sqs.{REGION}.amazonaws.com.example.com/1/zagg", None),
    ],
)
def test_the_region_is_the_one_in_the_url(url, region):
    assert region_of(url) == region
