"""Faults of servers and networks: waits, statuses, broken connections, broken bodies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from zagg_catalog.sandbox.faults import Fault, kind
from zagg_catalog.sandbox.reply import Page, Reply


@kind("latency", "wait VALUE seconds before every reply", value=0.1)
def _latency(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.delay += float(fault.value or 0)


@kind(
    "status",
    "answer with status VALUE; retry-after=SECONDS, or retry-after=date:in=SECONDS for a date",
    value=503,
    times=1,
)
def _status(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.status = fault.number
    reply.document = {"errors": [f"The sandbox answers {fault.number}, as it was asked to."]}
    reply.content_type = "application/json; charset=utf-8"
    wait = fault.options.get("retry-after")
    if wait == "date":
        when = datetime.now(UTC) + timedelta(seconds=float(fault.options.get("in", 1)))
        wait = format_datetime(when, usegmt=True)
    if wait is not None:
        reply.headers["Retry-After"] = wait


@kind("reset", "reset the connection (RST) in place of a reply", times=1)
def _reset(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.transport = "reset"


@kind("no-response", "close the connection without a reply", times=1)
def _no_response(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.transport = "close"


@kind("timeout", "say nothing for VALUE seconds, then close", value=5, times=1)
def _timeout(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.delay += float(fault.value or 0)
    reply.transport = "close"


@kind("truncated", "send VALUE of the declared Content-Length, then close", value=0.5, times=1)
def _truncated(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.keep, reply.declare_all = float(fault.value or 0), True


@kind("cut-json", "send VALUE of the JSON, with a Content-Length that fits", value=0.5, times=1)
def _cut_json(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.keep = float(fault.value or 0)


@kind("html", "answer 200 with an HTML page", times=1)
def _html(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.content_type = "text/html; charset=utf-8"
    reply.body = b"<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>"


@kind("json-list", "answer 200 with a JSON list", times=1)
def _json_list(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = []


@kind("json-null", "answer 200 with null", times=1)
def _json_null(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = None


@kind("no-features", "answer 200 with an object that has no features", times=1)
def _no_features(fault: Fault, reply: Reply, page: Page | None) -> None:
    reply.document = {"type": "FeatureCollection", "links": []}
