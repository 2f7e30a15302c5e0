"""``zagg-catalog notify``: tell Prefect that a cycle is available, by hand or from elsewhere."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from zagg_catalog.cycles import check_cycle
from zagg_catalog.errors import InvalidQuery, NotifyFailed
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.watch.notice import AVAILABLE, CycleAvailable, cycle_resource

DONE = 0
TIMEOUT = 30.0

Event = dict[str, Any]


def event_body(product: str, version: str, cycle: int, *, now: datetime | None = None) -> Event:
    """Return the event that a cycle is available, as Prefect's API takes it in a list.

    Parameters
    ----------
    product : str
        Short name, ``ATL06``; small letters are accepted.
    version : str
        Release, ``007``; ``7`` means the same.
    cycle : int
        Mission cycle, 1 to 99.
    now : datetime, optional
        When it happened, UTC.

    Raises
    ------
    InvalidQuery
        Naming what is wrong.
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
    """Post an event to Prefect's API.

    Parameters
    ----------
    event : dict
        From `event_body`.
    api_url : str or None
        Address of the API; by default ``PREFECT_API_URL``.
    environment : mapping
        Holds ``PREFECT_API_KEY`` or ``PREFECT_API_AUTH_STRING`` where the API asks for one.

    Returns
    -------
    str
        Where it was posted to, without secrets.

    Raises
    ------
    InvalidQuery
        If there is no address, or it is none.
    NotifyFailed
        If the API cannot be reached or refuses.
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
            f"Prefect's API at {shown} cannot be reached ({type(error).__name__}); is the server"
            " running, and is the address right?"
        ) from None
    if answer.status_code in (401, 403):
        raise NotifyFailed(
            f"Prefect's API at {shown} refused the login (HTTP {answer.status_code}); set"
            " PREFECT_API_KEY, or PREFECT_API_AUTH_STRING for a server of your own."
        )
    if not 200 <= answer.status_code < 300:
        said = clean_text(answer.text, limit=200)
        raise NotifyFailed(
            f"Prefect's API at {shown} answered HTTP {answer.status_code}: {said} The address"
            " ends with /api on a server, and with a workspace's id on Cloud."
        )
    return shown


def add_notify(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add the command ``notify``."""
    notify = parts.add_parser(
        "notify", parents=[common], help="tell Prefect that a cycle is available"
    )
    notify.add_argument("--product", required=True, help="short name, as ATL06")
    notify.add_argument("--version", default="007", help="release (default: 007)")
    notify.add_argument("--cycle", required=True, type=int, help="mission cycle, 1 to 99")
    notify.add_argument(
        "--api-url",
        metavar="URL",
        help="Prefect's API, http://127.0.0.1:4200/api (default: PREFECT_API_URL)",
    )
    notify.add_argument(
        "--print", action="store_true", dest="only_print", help="print the event; send nothing"
    )
    notify.set_defaults(run=_notify)


def _notify(options: argparse.Namespace) -> int:
    event = event_body(options.product, options.version, options.cycle)
    if options.only_print:
        print(json.dumps([event], indent=2))
        return DONE
    where = send(event, options.api_url)
    print(f"{event['resource']['prefect.resource.name']}: announced at {where}.")
    return DONE


def _events_url(api_url: str) -> str:
    try:
        parts = urlsplit(api_url.strip())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        given = f", not {clean_text(api_url)!r}" if api_url else ""
        raise InvalidQuery(
            "Say where Prefect is: --api-url or PREFECT_API_URL, an address such as"
            f" http://127.0.0.1:4200/api{given}."
        )
    return f"{without_userinfo(api_url.strip()).rstrip('/')}/events"


def _login(environment: Mapping[str, str]) -> dict[str, str]:
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if login := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}
