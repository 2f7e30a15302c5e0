"""Answers: what a response's body and headers say, and whether asking again may help."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from zagg_catalog.errors import BadResponse, FetchError, RequestFailed
from zagg_catalog.messages import clean_text


class TryAgain(Exception):
    """One attempt failed in a way that another one may not.

    Parameters
    ----------
    problem : str
        What went wrong, as a sentence.
    wait : float, optional
        Seconds that the server asks to wait.
    error : type
        Error to raise when there are no attempts left.
    """

    def __init__(
        self, problem: str, *, wait: float | None = None, error: type[FetchError] = RequestFailed
    ) -> None:
        super().__init__(problem)
        self.wait = wait
        self.error = error


def parse_body(body: bytes, needs: str | None) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Parameters
    ----------
    body : bytes
        Decoded from any content encoding.
    needs : str or None
        Name of a list that it must hold.

    Raises
    ------
    TryAgain
        If it holds something else.
    """
    try:
        document = read_json(body)
    except (ValueError, RecursionError) as error:
        kind = "HTML" if body.lstrip()[:1] == b"<" else "not JSON"
        problem = f"the body of {len(body)} bytes is {kind}{said(body)}."
        raise TryAgain(problem, error=BadResponse) from error
    if not isinstance(document, dict):
        problem = f"expected a JSON object, got {type(document).__name__}{said(body)}."
        raise TryAgain(problem, error=BadResponse)
    if needs is not None and not isinstance(document.get(needs), list):
        problem = f"the JSON object has no list {needs!r}{said(body)}."
        raise TryAgain(problem, error=BadResponse)
    return document


def read_json(body: bytes) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError, RecursionError
        If it is not JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        # NaN and halves of surrogate pairs, which only the standard library takes.
        return json.loads(body)


def said(body: bytes) -> str:
    """Return the server's own words, from a JSON error object where there is one."""
    text = body[:4000].decode("utf-8", "replace")
    try:
        document = json.loads(body) if len(body) <= 4000 else None
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for key in ("detail", "description", "errors", "message", "error"):
            if document.get(key):
                text = _as_text(document[key])
                break
    text = clean_text(text).rstrip(".")
    return f": {text}" if text else ""


def retry_after(value: str) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from now; None for neither."""
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _as_text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "; ".join(value)
    return value if isinstance(value, str) else json.dumps(value)
