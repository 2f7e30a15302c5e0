"""A queue of CMR's notifications on Amazon SQS: receive, hold, delete and refuse messages."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.errors import InvalidNotification, QueueUnavailable
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.settings import Settings
from zagg_catalog.store.s3_errors import code_of, status_of
from zagg_catalog.watch.notifications import (
    Change,
    Notification,
    group_changes,
    read_message,
)

boto3 = lazy_module("boto3")

# Most messages of a request, and seconds that a request waits for one; both are SQS's limits.
BATCH, WAIT = 10, 20
# Most messages of a group, and characters of all of them; the next group has the others.
MOST, MOST_CHARACTERS = 20_000, 100_000_000
# Seconds in which no other reader gets a message. It is renewed while a group is held, so that a
# reader that is killed blocks its messages no longer.
VISIBLE_AFTER = 300
# The same for messages whose cycle could not be counted: each receipt counts towards the redrive
# policy, and a source may be down for hours.
LATER = 1800
# Most attributes of a message, an SQS limit.
ATTRIBUTES = 10

_MISSING = ("NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
_CREDENTIALS = ("AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of a queue, which no other reader gets for a while."""

    id: str
    body: str
    sent: datetime
    """When the queue got it, UTC; the same each time that it is received."""
    mode: str | None
    """Its attribute ``mode``, which raw delivery keeps."""
    receipt: str = field(repr=False)
    """Names this receipt of it to the server."""
    attributes: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


class Queue:
    """A queue, and the one to which messages that cannot be read go.

    Parameters
    ----------
    settings : Settings
        URLs, region and endpoint; credentials are those of boto3's own chain.

    Raises
    ------
    QueueUnavailable
        If no queue is set, or its URL, region or endpoint is not valid.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.queue_url:
            raise QueueUnavailable(
                "No queue is set; set ZAGG_CATALOG_QUEUE_URL to the URL of the SQS queue to which"
                " CMR sends its notifications."
            )
        self.url = _checked(settings.queue_url, "ZAGG_CATALOG_QUEUE_URL")
        self.region = settings.queue_region or region_of(self.url)
        if self.region is None:
            raise QueueUnavailable(
                f"The URL of the queue, {self.name}, names no region; set"
                " ZAGG_CATALOG_QUEUE_REGION, for example to us-east-1."
            )
        if settings.queue_dead_letters == settings.queue_url:
            raise QueueUnavailable(
                "ZAGG_CATALOG_QUEUE_DEAD_LETTERS is the queue itself, which would never be empty;"
                " set it to another queue, or leave it out."
            )
        self._endpoint = settings.queue_endpoint
        self._dead_letters = settings.queue_dead_letters
        self._client = self._connect(settings)

    @property
    def name(self) -> str:
        """URL of the queue, for messages."""
        return clean_text(self.url)

    def _connect(self, settings: Settings) -> Any:
        # A long poll needs more time than it waits.
        timeout = max(settings.s3_timeout, WAIT + 10)
        retries = {"mode": "standard", "total_max_attempts": settings.s3_attempts}
        config = Config(connect_timeout=timeout, read_timeout=timeout, retries=retries)
        try:
            return boto3.Session().client(
                "sqs", region_name=self.region, endpoint_url=self._endpoint, config=config
            )
        except (ValueError, BotoCoreError) as error:
            raise QueueUnavailable(
                f"The queue {self.name} cannot be used ({type(error).__name__}); check"
                " ZAGG_CATALOG_QUEUE_REGION, ZAGG_CATALOG_QUEUE_ENDPOINT and AWS_PROFILE."
            ) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def receive(self, wait: float = 0.0) -> list[Message]:
        """Return up to ten messages; wait for one, at most 20 seconds."""
        with self._explained("receive messages"):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=min(WAIT, math.ceil(wait)),
                VisibilityTimeout=VISIBLE_AFTER,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        return [_message(found) for found in answer.get("Messages", [])]

    def delete(self, messages: Iterable[Message]) -> int:
        """Delete messages; return how many are left, which come again."""
        left = 0
        for some in batched(messages, BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": one.receipt} for n, one in enumerate(some)]
            with self._explained("delete messages"):
                answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            left += len(answer.get("Failed", []))
        return left

    def hide(self, messages: Iterable[Message], seconds: int) -> None:
        """Hide messages from other readers for so long from now; those that are gone stay gone."""
        for some in batched(messages, BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": one.receipt, "VisibilityTimeout": seconds}
                for n, one in enumerate(some)
            ]
            with self._explained("hold messages"):
                self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def refuse(self, message: Message) -> bool:
        """Move a message to the dead-letter queue; return False if there is no such queue."""
        target = self.dead_letters()
        if target is None:
            return False
        with self._explained("store a message", target):
            self._client.send_message(
                QueueUrl=target, MessageBody=message.body, MessageAttributes=message.attributes
            )
        self.delete([message])
        return True

    def dead_letters(self) -> str | None:
        """Return the URL of the dead-letter queue: of the settings, or of the redrive policy."""
        if self._dead_letters is None:
            with self._explained("read the redrive policy"):
                answer = self._client.get_queue_attributes(
                    QueueUrl=self.url, AttributeNames=["RedrivePolicy"]
                )
            policy = answer.get("Attributes", {}).get("RedrivePolicy")
            self._dead_letters = self._url_of(policy) if policy else ""
        return self._dead_letters or None

    def _url_of(self, policy: str) -> str:
        """Return the URL of the queue of a redrive policy, of the same account and region."""
        name = str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2]
        return f"{self.url.rpartition('/')[0]}/{name}"

    @contextmanager
    def _explained(self, action: str, url: str | None = None) -> Iterator[None]:
        """Turn errors of boto3 into one sentence."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            # Not chained: the text of boto3 may contain URLs with secrets.
            raise QueueUnavailable(
                f"Cannot {action} in the queue {clean_text(url or self.url)}, region"
                f" {self.region}: {_predicate(error)}."
            ) from None


def _predicate(error: ClientError | BotoCoreError) -> str:
    """Return what is wrong, and what to do."""
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return (
            "no usable credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or log in again"
        )
    if not isinstance(error, ClientError):
        if isinstance(error, (boto.HTTPClientError, boto.ConnectionError)):
            return (
                f"the server did not answer, also after retries ({type(error).__name__}); check"
                " ZAGG_CATALOG_QUEUE_ENDPOINT and ZAGG_CATALOG_QUEUE_REGION"
            )
        return f"boto3 refused it ({type(error).__name__}); check the AWS settings"
    code, sentence = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    answer = clean_text(f"{code}, HTTP {status_of(error)}: {sentence}", limit=200).rstrip(". ")
    if any(one in code for one in _MISSING):
        return (
            f"there is no such queue ({answer}); correct ZAGG_CATALOG_QUEUE_URL,"
            " ZAGG_CATALOG_QUEUE_DEAD_LETTERS or ZAGG_CATALOG_QUEUE_REGION"
        )
    if any(one in code for one in _CREDENTIALS) or status_of(error) in (401, 403):
        return (
            f"the server refused the credentials or their rights ({answer}); check the key or the"
            " role, its region, and the policy deployments/policies/queue.json"
        )
    return f"the server refused the request ({answer})"


def _checked(url: str, variable: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or len(url) > 500:
        raise QueueUnavailable(
            f"{variable} is {clean_text(url)!r}, expected the URL of a queue such as"
            " https://sqs.us-east-1.amazonaws.com/123456789012/zagg-granules."
        )
    return without_userinfo(url)


def region_of(url: str) -> str | None:
    """Return the region in the URL of a queue of AWS; None for other servers."""
    host = urlsplit(url).hostname or ""
    found = re.fullmatch(r"(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(\.cn)?", host)
    return (found[1] or found[2]) if found else None


def _message(found: dict[str, Any]) -> Message:
    sent = int(found["Attributes"]["SentTimestamp"]) / 1000
    attributes = found.get("MessageAttributes", {})
    keys = ("DataType", "StringValue", "BinaryValue")
    return Message(
        id=found["MessageId"],
        body=found["Body"],
        sent=datetime.fromtimestamp(sent, UTC),
        mode=attributes.get("mode", {}).get("StringValue"),
        receipt=found["ReceiptHandle"],
        attributes={
            name: {key: value[key] for key in keys if key in value}
            for name, value in list(attributes.items())[:ATTRIBUTES]
        },
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """What messages tell of one product."""

    messages: Sequence[Message] = ()
    changes: Mapping[int, Change] = field(default_factory=dict)
    """Changes by cycle."""


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Messages of a group, read."""

    products: Mapping[str, Told]
    unread: Mapping[Message, InvalidNotification]
    """Messages that cannot be read, with the reason."""


class Group:
    """Messages of a queue that are held together, a context manager.

    A thread hides them from other readers until the ``with`` block ends. Those that are neither
    deleted nor postponed then come again, within five minutes.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._held: dict[str, Message] = {}
        self._characters = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="queue", daemon=True)

    def collect(self, seconds: float, wait: float) -> int:
        """Receive messages for so many seconds from the first one; return their number.

        Waits at most `wait` seconds for the first one.
        """
        found = self._receive(wait)
        until = time.monotonic() + seconds
        while self._held and not self._full:
            left = until - time.monotonic()
            found = self._receive(max(left, 0.0))
            # Afterwards it takes what is there already, for a while.
            if left <= 0 and (not found or left < -WAIT):
                break
        return len(self._held)

    def _receive(self, wait: float) -> bool:
        """Receive messages; return whether there were any."""
        found = self._queue.receive(wait)
        with self._lock:
            # A message that comes twice is deleted by its newest receipt.
            self._held |= {one.id: one for one in found}
        self._characters += sum(len(one.body) for one in found)
        return bool(found)

    @property
    def _full(self) -> bool:
        return len(self._held) >= MOST or self._characters >= MOST_CHARACTERS

    def sort(self, now: datetime) -> Inbox:
        """Read the messages, and sort them by product."""
        products: dict[str, list[tuple[Message, Notification]]] = {}
        unread = {}
        for one in self._held.values():
            try:
                read = read_message(one.body, one.sent, now, one.mode)
            except InvalidNotification as error:
                unread[one] = error
            else:
                products.setdefault(read.product, []).append((one, read))
        return Inbox(
            products={
                product: Told(
                    messages=[message for message, _ in pairs],
                    changes=group_changes(read for _, read in pairs),
                )
                for product, pairs in sorted(products.items())
            },
            unread=unread,
        )

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages; return how many are left, which come again."""
        self._release(messages)
        return self._queue.delete(messages)

    def postpone(self, messages: Sequence[Message]) -> None:
        """Let messages come again in half an hour."""
        self._release(messages)
        self._queue.hide(messages, LATER)

    def refuse(self, message: Message) -> bool:
        """Move a message to the dead-letter queue; return False if there is no such queue.

        It then stays in the queue, and comes again in half an hour.
        """
        if moved := self._queue.refuse(message):
            self._release([message])
        else:
            self.postpone([message])
        return moved

    def _release(self, messages: Sequence[Message]) -> None:
        with self._lock:
            for one in messages:
                self._held.pop(one.id, None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        while not self._over.wait(VISIBLE_AFTER / 3):
            with self._lock:
                held = list(self._held.values())
            try:
                self._queue.hide(held, VISIBLE_AFTER)
            except QueueUnavailable:
                continue  # they come again, which is harmless; the next call reports it
