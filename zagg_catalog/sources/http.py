"""HTTP requests to an API, with retries."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import orjson
import requests
import urllib3
from pydantic import SecretStr
from pystac_client.stac_api_io import StacApiIO

from zagg_catalog.errors import BadResponse, FetchError, RequestFailed
from zagg_catalog.messages import clean_text, plain_logger, without_userinfo
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.bounded import (
    MAX_HEADERS,
    AnswerTooLarge,
    BoundedAdapter,
    answer_within,
    seconds_left,
)

SEARCH_AFTER = "CMR-Search-After"
DEFAULT_PORTS = {"http": 80, "https": 443}
# Lists and objects within each other in an answer; those of a granule have about ten.
MAX_DEPTH = 100
# Texts, so that brackets in them do not count, and brackets.
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class ApiRequest:
    """One request to an API."""

    url: str
    """Absolute URL with its query."""
    method: str = "GET"
    """GET or POST."""
    body: dict[str, Any] | None = None
    """Search parameters of a POST, sent as JSON."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers, such as those of a next link."""

    def __str__(self) -> str:
        body = f" {json.dumps(self.body)}" if self.body else ""
        return clean_text(f"{self.method} {self.url}{body}", limit=500)

    @property
    def key(self) -> str:
        """Text that is equal for equal requests; of the headers only CMR-Search-After counts."""
        after = self.headers.get(SEARCH_AFTER, "")
        return f"{self.method} {self.url} {json.dumps(self.body, sort_keys=True)}{after}"


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port; raise `ValueError` if the port is not a number."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(scheme)


class RetryableError(Exception):
    """Raised when an attempt fails but another one may succeed.

    `problem` is a sentence, `wait` the seconds that the server asks to wait, `error` the class to
    raise after the last attempt.
    """

    def __init__(
        self, problem: str, *, wait: float | None = None, error: type[FetchError] = RequestFailed
    ) -> None:
        super().__init__(problem)
        self.wait = wait
        self.error = error


def parse_body(body: bytes, needs: str | None) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises `RetryableError` if the body is not a JSON object, or has no list named `needs`.
    """
    try:
        document = read_json(body)
    except (ValueError, RecursionError) as error:
        kind = "HTML" if body.lstrip()[:1] == b"<" else "not JSON"
        problem = f"the body of {len(body)} bytes is {kind}{server_message(body)}."
        raise RetryableError(problem, error=BadResponse) from error
    if not isinstance(document, dict):
        problem = f"expected a JSON object, got {type(document).__name__}{server_message(body)}."
        raise RetryableError(problem, error=BadResponse)
    if needs is not None and not isinstance(document.get(needs), list):
        problem = f"the JSON object has no list {needs!r}{server_message(body)}."
        raise RetryableError(problem, error=BadResponse)
    return document


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text; raise `ValueError` or `RecursionError` if it has none."""
    try:
        return orjson.loads(body)
    except ValueError:
        # Only the standard library accepts NaN and halves of surrogate pairs.
        try:
            return json.loads(body, parse_int=_integer)
        except RecursionError:
            return json.loads(without_depths(body), parse_int=_integer)


def _integer(digits: str) -> int | float:
    """Return an integer; infinity for one of more digits than any float has."""
    return int(digits) if len(digits) <= 400 else float(digits)


def without_depths(body: bytes) -> bytes:
    """Return a JSON text with null in place of what is nested deeper than `MAX_DEPTH`.

    So a value that no parser reads costs its own item only.
    """
    depth, start, pieces = 0, 0, []
    for mark in _MARKS.finditer(body):
        if mark[0] in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                pieces += [body[start : mark.start()], b"null"]
        elif mark[0] in b"]}":
            if depth == MAX_DEPTH + 1:
                start = mark.end()
            depth -= 1
    return b"".join([*pieces, body[start:]]) if depth == 0 else body


def server_message(body: bytes) -> str:
    """Return the server's error message, from a JSON error object if the body is one."""
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
    """Return Retry-After (seconds or an HTTP date) as seconds from now; None if it is neither."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)  # infinite with hundreds of digits
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


try:
    PACKAGE_VERSION = version("zagg-catalog")
except PackageNotFoundError:
    PACKAGE_VERSION = "0"

logger = plain_logger(__name__)

RETRY_STATUS = frozenset({429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
# CMR uses both spellings.
PARTIAL = ("CMR-Time-Out", "CMR-Timed-Out")
FIRST_WAIT = 1.0
_CHUNK = 1 << 20


class Gate:
    """A time before which no thread sends a request."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._opens = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Keep the gate closed for at least this many seconds from now."""
        with self._lock:
            self._opens = max(self._opens, self._now() + seconds)

    def wait_time(self) -> float:
        """Return the seconds until the gate opens; 0 if it is open."""
        return max(0.0, self._opens - self._now())


class Transport:
    """Sends requests to an API, and repeats those that fail or return a damaged body.

    Threads may share it: each takes a connection of the session's pool, and a ``Retry-After`` for
    one of them delays all.

    Parameters
    ----------
    timeout : float, optional
        Seconds for one attempt, its headers and body included. Default: the setting.
    retries : int, optional
        Further attempts after the first. Default: the setting.
    wait_max : float, optional
        Longest wait between attempts, seconds; also limits ``Retry-After``, so that one request
        takes at most ``(retries + 1) * timeout + retries * wait_max``.
    connections : int
        Size of the connection pool, one for each thread.
    sleep, now : callable
        Wait for a number of seconds; return the time in seconds.
    rng : random.Random, optional
        Source of the jitter.

    Attributes
    ----------
    requests, retries_used : int
        Number of attempts, and of those that were repetitions.
    received : int
        Bytes of the bodies, compressed as the server sent them, those of failed attempts included.
    secret : SecretStr or None
        Token of the session's ``auth``, which is removed from responses.
    """

    def __init__(
        self,
        timeout: float | None = None,
        retries: int | None = None,
        wait_max: float | None = None,
        *,
        connections: int = 1,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        settings = get_settings()
        self.seconds = settings.timeout if timeout is None else timeout
        self.most = settings.max_response_mb << 20
        self.retries = settings.retries if retries is None else retries
        self.wait_max = settings.retry_wait_max if wait_max is None else wait_max
        self.session = _session(connections)
        self.secret: SecretStr | None = None
        self.gate = Gate(now)
        self.requests = 0
        self.retries_used = 0
        self.received = 0
        self._lock = threading.Lock()
        self._sleep = sleep
        self._rng = rng or random.Random()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session's connections."""
        self.session.close()

    @property
    def is_authorized(self) -> bool:
        """Whether requests carry a login or a token."""
        return self.session.auth is not None

    def get_json(self, request: ApiRequest, *, needs: str | None = "features") -> dict[str, Any]:
        """Send a request and return the JSON object of the response; see `get_answer`."""
        return self.get_answer(request, needs=needs)[0]

    def get_answer(
        self,
        request: ApiRequest,
        *,
        needs: str | None = "features",
        parse: Callable[[bytes, str | None], dict[str, Any]] = parse_body,
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Send a request, with retries, and return the JSON object and headers of the response.

        Parameters
        ----------
        request : ApiRequest
            The request.
        needs : str, optional
            Name of a list that the JSON object must have; None accepts any JSON object.
        parse : callable
            Returns the object in a body; raises as `parse_body`.

        Raises
        ------
        RequestFailed
            If the API refuses the request, or the last attempt fails.
        BadResponse
            If the last response is not the expected JSON.
        """
        attempt = 0
        while True:
            self._wait_at_gate()
            try:
                body, headers = self._attempt(request)
                return parse(body, needs), headers
            except RetryableError as failure:
                if attempt >= self.retries:
                    raise failure.error(
                        f"{request} failed: {failure} That was attempt {attempt + 1} of "
                        f"{self.retries + 1}; try again later."
                    ) from failure.__cause__
                logger.info("%s: %s (attempt %d)", request, failure, attempt + 1)
                self.pause(attempt, failure.wait)
                attempt += 1

    def pause(self, attempt: int, asked: float | None = None) -> None:
        """Wait before a repetition, and count it.

        The wait doubles with each attempt, with full jitter. If the server asked for a number of
        seconds, all threads wait for them, up to a tenth longer.
        """
        with self._lock:
            self.retries_used += 1
        if asked is None:
            wait = self._rng.uniform(0.0, FIRST_WAIT * 2.0 ** min(attempt, 30))
            self._sleep(min(wait, self.wait_max))
        else:
            self.gate.hold(min(asked * self._rng.uniform(1.0, 1.1), self.wait_max))

    def _wait_at_gate(self) -> None:
        if (held := self.gate.wait_time()) > 0:
            self._sleep(held)

    def _attempt(self, request: ApiRequest) -> tuple[bytes, Mapping[str, str]]:
        """Send a request once; return body and headers."""
        with self._lock:
            self.requests += 1
        try:
            with answer_within(self.seconds, self.most):
                return self._follow(request)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise RetryableError(f"no whole answer within {self.seconds:g} s.") from error
        except AnswerTooLarge:
            raise RequestFailed(
                f"{request} failed: its headers have more than {MAX_HEADERS >> 20} MB, or its body"
                f" more than {self.most >> 20:,} MB; raise ZAGG_CATALOG_MAX_RESPONSE_MB if that"
                " is right.",
                final=True,
            ) from None
        except ValueError as error:
            # Invalid URLs and headers, also of a redirect: a repetition does not help.
            problem = clean_text(str(error)).rstrip(".")
            message = f"{request} cannot be sent or followed: {problem}."
            raise RequestFailed(message, final=True) from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                problem = "the server's certificate is not trusted."
                raise RequestFailed(f"{request} failed: {problem}") from error
            raise RetryableError(f"the connection failed ({_root(error)}).") from error

    def _follow(self, request: ApiRequest) -> tuple[bytes, Mapping[str, str]]:
        """Send a request, follow redirects, and return body and headers of a success."""
        for _ in range(MAX_REDIRECTS + 1):
            with self._send(request) as response:
                if response.status_code not in REDIRECTS:
                    body = self._without_secret(self._read(response))
                    _check_status(request, response, body, authorized=self.is_authorized)
                    return body, response.headers
                request = _redirected(request, response.status_code, self._location(response))
        message = f"{request} failed: more than {MAX_REDIRECTS} redirects in a row."
        raise RequestFailed(message, final=True)

    def _read(self, response: requests.Response) -> bytes:
        """Read a body, and count its bytes."""
        try:
            return _read(response, self.most)
        finally:
            with self._lock:
                self.received += response.raw.tell()

    def _location(self, response: requests.Response) -> str | None:
        """Return the target of a redirect, without the token."""
        location: str | None = response.headers.get("Location")
        if location is None:
            return None
        return self._without_secret(location.encode("latin-1", "replace")).decode("latin-1")

    def _without_secret(self, body: bytes) -> bytes:
        """Return a body without the token, which a server may repeat in an error."""
        if self.secret is None:
            return body
        return body.replace(self.secret.get_secret_value().encode(), b"***")

    def _send(self, request: ApiRequest) -> requests.Response:
        return self.session.request(
            request.method,
            request.url,
            headers=request.headers,
            json=request.body if request.method == "POST" else None,
            timeout=seconds_left(),
            allow_redirects=False,
            stream=True,
        )


def _session(connections: int) -> requests.Session:
    """Return pystac-client's session with a connection pool.

    Its own retries are off, because urllib3 does not detect a damaged body.
    """
    client = f"zagg-catalog/{PACKAGE_VERSION}"
    accept = "application/geo+json, application/json"
    headers = {"Client-Id": client, "User-Agent": client, "Accept": accept}
    session = StacApiIO(headers=headers, max_retries=None).session
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(pool_maxsize=connections))
    return session


def _read(response: requests.Response, most: int) -> bytes:
    """Read a body in pieces, so that a small one that unpacks to a large one is not read whole."""
    pieces, size = [], 0
    while piece := response.raw.read1(_CHUNK, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise AnswerTooLarge
    return b"".join(pieces)


def _check_status(
    request: ApiRequest, response: requests.Response, body: bytes, *, authorized: bool
) -> None:
    status = response.status_code
    known = response.headers.get("CMR-Request-Id")
    named = f" (CMR-Request-Id {clean_text(known, limit=80)})" if known else ""
    if status in RETRY_STATUS:
        problem = f"HTTP {status}{server_message(body)}{named}."
        wait = response.headers.get("Retry-After")
        raise RetryableError(problem, wait=retry_after(wait) if wait else None)
    if any(response.headers.get(name, "").lower() == "true" for name in PARTIAL):
        raise RetryableError(f"the server ran out of time and sent a part only{named}.")
    if not 200 <= status < 300:
        problem = f"HTTP {status}{server_message(body)}{named}.{_advice(status, authorized)}"
        raise RequestFailed(f"{request} was refused: {problem}", final=status < 500)
    logger.debug("%s answered%s", request, named)


def _advice(status: int, authorized: bool) -> str:
    if status not in (401, 403):
        return ""
    if authorized:
        return " The login or token may be wrong or expired, or lack the rights."
    return " Access may need an Earthdata token (ZAGG_CATALOG_EARTHDATA_TOKEN)."


def _redirected(request: ApiRequest, status: int, location: str | None) -> ApiRequest:
    target = without_userinfo(urljoin(request.url, location or ""))
    shown = clean_text(target, limit=500)
    if location is None or origin_of(target) != origin_of(request.url):
        raise RequestFailed(
            f"{request} was redirected to {shown}, which is not on the same origin; set the "
            "STAC root to the address that answers itself.",
            final=True,
        )
    if request.method == "POST" and status not in {307, 308}:
        message = f"{request} was redirected to {shown} in a way that drops its body."
        raise RequestFailed(message, final=True)
    return ApiRequest(target, request.method, request.body, request.headers)


def _root(error: BaseException) -> str:
    """Return the type and text of the innermost cause; requests nests its errors."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = clean_text(str(error), limit=120)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
