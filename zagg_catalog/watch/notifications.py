"""CMR's notifications of granules: messages of a queue → changes of cycles, by product.

CMR publishes a notification to SNS when it ingests, updates or deletes a granule of a collection
with an ingest subscription. SNS delivers it to a queue, in an envelope or as it is (raw delivery).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zagg_catalog.cycles import check_begun
from zagg_catalog.errors import InvalidNotification, InvalidQuery
from zagg_catalog.files import parse_json
from zagg_catalog.granule_names import GranuleName, parse_granule_name
from zagg_catalog.jsonio import first_problem
from zagg_catalog.messages import clean_text

# Most characters of a message; a notification has about 1,500 in its envelope.
LONGEST = 20_000

Mode = Literal["New", "Update", "Delete"]


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One change of one granule."""

    product: str
    """Product with its version, ``ATL06_007``."""
    cycles: range
    """Mission cycles; one, except for multi-cycle products."""
    mode: Mode | None
    """What happened to the granule; None if the message does not say."""
    sent: datetime
    """Time when the queue got the message, UTC."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What notifications tell of a cycle."""

    until: datetime
    """Time of the newest of them, UTC."""
    only_new: bool
    """Whether granules were added only, which a count shows."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class _Attribute(_Model):
    value: str = Field(alias="Value", max_length=200)


class _Envelope(_Model):
    """A message of SNS without raw delivery."""

    kind: str = Field(alias="Type", max_length=40)
    message: str = Field(alias="Message")
    attributes: dict[str, _Attribute] = Field(alias="MessageAttributes", default={})


class _Body(_Model):
    """CMR's own part of a message."""

    concept_id: str = Field(alias="concept-id", pattern=r"^G[0-9]+-[A-Z0-9_]+$", max_length=60)
    granule_ur: str = Field(alias="granule-ur", min_length=1, max_length=250)
    producer_granule_id: str = Field(alias="producer-granule-id", default="", max_length=250)


class _Mode(_Model):
    mode: Mode | None


def read_message(body: str, sent: datetime, now: datetime, mode: str | None = None) -> Notification:
    """Read a message of a queue.

    Parameters
    ----------
    body : str
        The message: CMR's JSON, or an envelope of SNS around it.
    sent : datetime
        When the queue got it, UTC.
    now : datetime
        The time, UTC: a cycle that has not begun is refused.
    mode : str, optional
        Attribute ``mode`` of the message; an envelope has its own.

    Raises
    ------
    InvalidNotification
        If the message is not a notification of a granule of ICESat-2.
    """
    try:
        if len(body) > LONGEST:
            raise ValueError(f"has {len(body):,} characters, expected at most {LONGEST:,}")
        document = parse_json(body)
        if isinstance(document, dict) and "Message" in document:
            envelope = _opened(_Envelope.model_validate(document))
            attribute = envelope.attributes.get("mode")
            mode = attribute.value if attribute else None
            document = parse_json(envelope.message)
        found = _Body.model_validate(document)
        return _notification(found, _Mode.model_validate({"mode": mode}).mode, sent, now)
    except ValidationError as error:
        problem = f"is no notification of CMR: {first_problem(error)}"
    except ValueError as error:
        problem = str(error)
    raise InvalidNotification(f"The message {clean_text(problem, limit=400)}")


def _opened(envelope: _Envelope) -> _Envelope:
    if envelope.kind == "SubscriptionConfirmation":
        raise ValueError(
            "asks to confirm the subscription of the queue: open its SubscribeURL once, since"
            " nothing is delivered before"
        )
    if envelope.kind != "Notification":
        raise ValueError(f"is of the type {envelope.kind!r}, expected Notification")
    return envelope


def _notification(body: _Body, mode: Mode | None, sent: datetime, now: datetime) -> Notification:
    names = [name for name in (body.granule_ur, body.producer_granule_id) if name.isascii()]
    parts = next(filter(None, map(parse_granule_name, names)), None)
    if parts is None:
        raise ValueError(f"is of {body.granule_ur!r}, which is no name of an ICESat-2 granule")
    return Notification(
        product=f"{parts.product}_{parts.release}",
        cycles=_cycles(parts, now),
        mode=mode,
        sent=sent,
    )


def _cycles(parts: GranuleName, now: datetime) -> range:
    """Return the cycles of a granule; raise `ValueError` if there are none, or not yet."""
    if not 1 <= parts.cycle <= parts.last_cycle:
        raise ValueError(f"is of a granule of the cycles {parts.cycle} to {parts.last_cycle}")
    try:
        return range(parts.cycle, check_begun(parts.last_cycle, now) + 1)
    except InvalidQuery as error:
        raise ValueError(f"is of a granule that cannot exist yet. {error}") from None


def group_changes(notifications: Iterable[Notification]) -> Mapping[int, Change]:
    """Return the changes of one product, by cycle; order and duplicates do not matter."""
    found: dict[int, Change] = {}
    for one in notifications:
        for cycle in one.cycles:
            before = found.get(cycle)
            found[cycle] = Change(
                until=max(one.sent, before.until) if before else one.sent,
                only_new=one.mode == "New" and (before is None or before.only_new),
            )
    return found
