"""Events of a cycle, in the format of Prefect's API, without Prefect itself."""

from __future__ import annotations

import base64
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from zagg_catalog.cycles import check_cycle
from zagg_catalog.errors import InvalidQuery, NotifyFailed
from zagg_catalog.messages import clean_text, without_userinfo

AVAILABLE = "zagg-catalog.cycle.available"
OVERDUE = "zagg-catalog.cycle.overdue"
PREPARED = "zagg-catalog.cycle.prepared"
POLLED = "zagg-catalog.watch.polled"
RESOURCE = "zagg-catalog.cycle"
WATCH = "zagg-catalog.watch"
STATE = "zagg-catalog.state"
"""Of events of states, ``zagg-catalog.state.settled``, and of their resources."""

Why = Literal["new", "changed", "again", "recheck", "by-hand"]

_PRODUCT = re.compile(r"([A-Z0-9]+)_([0-9]{3})")
_RESOURCE = re.compile(rf"{re.escape(RESOURCE)}\.([a-z0-9]+)-([0-9]{{3}})-c([0-9]{{1,2}})")


def cycle_name(product: str, cycle: int) -> str:
    """Return a cycle's short name, ``atl06-007-c22``."""
    return f"{product.lower().replace('_', '-')}-c{cycle}"


def cycle_resource(product: str, cycle: int) -> dict[str, str]:
    """Return the resource of a cycle's events."""
    return {
        "prefect.resource.id": f"{RESOURCE}.{cycle_name(product, cycle)}",
        "prefect.resource.name": f"{product}, cycle {cycle}",
    }


def watch_resource(product: str) -> dict[str, str]:
    """Return the resource of the event that a product was polled."""
    return {
        "prefect.resource.id": f"{WATCH}.{product.lower().replace('_', '-')}",
        "prefect.resource.name": f"watch of {product}",
    }


def read_resource(resource: str) -> tuple[str, int] | None:
    """Return product and cycle of the resource id of a cycle; None for other resources."""
    found = _RESOURCE.fullmatch(resource)
    return (f"{found[1].upper()}_{found[2]}", int(found[3])) if found else None


def split_product(product: str) -> tuple[str, str]:
    """Return short name and version of ``ATL06_007``, or raise `InvalidQuery`."""
    found = _PRODUCT.fullmatch(product)
    if found is None:
        raise InvalidQuery(f"A product is short name and version, as ATL06_007, not {product!r}.")
    return found[1], found[2]


def notice_id(product: str, cycle: int, generation: str, number: int) -> str:
    """Return the id of an event of the watch, ``atl06-007-c22-1f0c9a-3``."""
    return f"{cycle_name(product, cycle)}-{generation}-{number}"


def read_notice_id(notice: str, product: str, cycle: int) -> tuple[str, int] | None:
    """Return generation and number of an event of the watch; None for any other id."""
    prefix = re.escape(cycle_name(product, cycle))
    found = re.fullmatch(rf"{prefix}-([0-9a-f]+)-([0-9]+)", notice)
    return (found[1], int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True)
class CycleAvailable:
    """Event: granules of a cycle are available."""

    product: str
    """Product with its version, ``ATL06_007``."""
    cycle: int
    """Mission cycle."""
    why: Why
    """``new``, a new cycle; ``changed`` since its last event; ``again``, the last event was not
    processed; ``recheck``, periodic; ``by-hand``, by a user."""
    notice: str | None = None
    """Id that a run marks as processed; None for the id of the event itself."""
    before: int | None = None
    """Number of granules in the last event; None if they were not counted."""
    now: int | None = None
    """Number of granules now; None if they were not counted."""
    expected: float | None = None
    """Number of granules of the whole cycle."""

    @property
    def payload(self) -> dict[str, Any]:
        """Payload of the event; raises `InvalidQuery` if product or cycle is not valid."""
        name, version = split_product(self.product)
        return {
            "product": name,
            "version": version,
            "cycle": check_cycle(self.cycle),
            "why": self.why,
            "notice": self.notice,
            "granules": {
                "before": self.before,
                "now": self.now,
                "expected": None if self.expected is None else round(self.expected),
            },
        }

    def __str__(self) -> str:
        counts = [f"{self.now:,} granules"] if self.now is not None else []
        counts += [f"{self.before:,} before"] if self.before else []
        counts += [f"about {self.expected:,.0f} expected"] if self.expected else []
        details = f" ({', '.join(counts)})" if counts else ""
        return f"{self.product}, cycle {self.cycle}: {self.why}{details}"


@dataclass(frozen=True, kw_only=True)
class CycleOverdue:
    """Event: a cycle is overdue."""

    product: str
    """Product with its version, ``ATL06_007``."""
    cycle: int
    """Mission cycle."""
    due: datetime
    """When it should have been prepared, UTC."""
    granules: int
    """Number of granules."""
    expected: float | None
    """Number of granules of the whole cycle."""
    problem: Literal["missing", "few", "unanswered"]
    """No granules; too few for an announcement; announced, and no run has succeeded."""

    @property
    def payload(self) -> dict[str, Any]:
        """Payload of the event."""
        name, version = split_product(self.product)
        expected = None if self.expected is None else round(self.expected)
        return {
            "product": name,
            "version": version,
            "cycle": self.cycle,
            "due": self.due.isoformat(),
            "problem": self.problem,
            "granules": {"now": self.granules, "expected": expected},
            "message": str(self),
        }

    def __str__(self) -> str:
        whole = f" of about {self.expected:,.0f} expected" if self.expected else ""
        problem = {
            "missing": "the source has no granules of it",
            "few": f"the source has {self.granules:,} granules{whole}, too few to announce it",
            "unanswered": "it was announced, and no run of prepare-cycle has succeeded",
        }[self.problem]
        return f"{self.product}, cycle {self.cycle} was due on {self.due:%Y-%m-%d}: {problem}."


TIMEOUT = 30.0

Event = dict[str, Any]


def event_body(product: str, version: str, cycle: int, *, now: datetime | None = None) -> Event:
    """Return the body of the event that a cycle is available, for Prefect's API.

    `product` is a short name, ``ATL06`` or ``atl06``; `version` is ``007`` or ``7``; `now` is the
    time of the event, UTC. Raises `InvalidQuery` if an argument is not valid.
    """
    name, release = product.strip().upper(), version.strip()
    if not re.fullmatch(r"ATL[0-9]{2}", name):
        raise InvalidQuery(f"--product is the short name of a product, as ATL06, not {product!r}.")
    if not re.fullmatch(r"[0-9]{1,3}", release):
        raise InvalidQuery(f"--version is a release, as 007, not {version!r}.")
    full = f"{name}_{int(release):03d}"
    notice = CycleAvailable(product=full, cycle=check_cycle(cycle), why="by-hand")
    return {
        "id": str(uuid.uuid4()),
        "occurred": (now or datetime.now(UTC)).isoformat(),
        "event": AVAILABLE,
        "resource": cycle_resource(full, cycle),
        "related": [],
        "payload": notice.payload,
    }


def send(event: Event, api_url: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Post an event to Prefect's API; return the URL without secrets.

    The environment has ``PREFECT_API_URL``, the default of `api_url`, and the credentials,
    ``PREFECT_API_KEY`` or ``PREFECT_API_AUTH_STRING``. Raises `InvalidQuery` if the URL is missing
    or not valid, and `NotifyFailed` if the API cannot be reached or refuses the event.
    """
    url = _events_url(api_url or environment.get("PREFECT_API_URL") or "")
    shown = clean_text(url)
    try:
        answer = requests.post(
            url,
            json=[event],
            headers=_login(environment),
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except (requests.RequestException, ValueError) as error:
        raise NotifyFailed(
            f"Prefect's API at {shown} cannot be reached ({type(error).__name__}); check its"
            " address, and that the server is running."
        ) from None
    if answer.status_code in (401, 403):
        raise NotifyFailed(
            f"Prefect's API at {shown} refused the login (HTTP {answer.status_code}); set"
            " PREFECT_API_KEY, or PREFECT_API_AUTH_STRING for your own server."
        )
    if not 200 <= answer.status_code < 300:
        text = clean_text(answer.text, limit=200)
        raise NotifyFailed(
            f"Prefect's API at {shown} answered HTTP {answer.status_code}: {text} Check that"
            " the address ends with /api, or on Prefect Cloud with a workspace id."
        )
    return shown


def _events_url(api_url: str) -> str:
    try:
        parts = urlsplit(api_url.strip())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        problem = f"is {clean_text(api_url)!r}" if api_url else "is missing"
        raise InvalidQuery(
            f"The address of Prefect's API {problem}; set --api-url or PREFECT_API_URL to an"
            " address such as http://127.0.0.1:4200/api."
        )
    return f"{without_userinfo(api_url.strip()).rstrip('/')}/events"


def _login(environment: Mapping[str, str]) -> dict[str, str]:
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if login := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}
