"""Text for messages, without secrets and shortened; the time and the user."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit

SHOWN = 5


def short_digest(digest: str) -> str:
    """Return the first 12 hex digits of a digest, enough to identify a release."""
    return digest[:12]


def first_few(names: Sequence[object], total: int | None = None) -> str:
    """Return the number of names and the first five; `total` if `names` are not all of them."""
    count = len(names) if total is None else total
    shown = ", ".join(map(str, names[:SHOWN]))
    return f"{count:,} in all: {shown}" + (", …" if count > SHOWN else "")


Clock = Callable[[], datetime]

_SECRET_VALUE = re.compile(
    r"(?i)\b([\w.-]*(?:token|signature|secret|password|passwd|credential|api[_-]?key|auth|sig)"
    r"[\w.-]*[\"']?\s*[=:]\s*[\"']?)(?:bearer\s+|basic\s+)?[^\s&\"'#;]+"
)
_USERINFO = re.compile(r"//[^/\s@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def without_userinfo(url: str) -> str:
    """Return a URL without user, password and fragment."""
    parts: SplitResult = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def clean_text(text: str, *, limit: int = 200) -> str:
    """Return text on one line, cut to `limit`, without userinfo, tokens and signatures."""
    text = _CONTROL.sub(" ", text[: 4 * limit]).strip()
    text = _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("//", text))
    return text if len(text) <= limit else text[:limit] + "…"


def utc_now() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)


def user_at_host() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def names_note(irregular: int) -> str | None:
    """Return a sentence about the number of names that are not understood; None for 0."""
    if not irregular:
        return None
    granules = "1 granule" if irregular == 1 else f"{irregular:,} granules"
    return f"revisions of {granules} cannot be told apart, because the names are not ICESat-2's"


def boxes_text(boxes: Sequence[Sequence[float]]) -> str:
    """Return boxes as text, ``[-76.72871, 38.71166, -76.37671, 39.09519]``."""
    return " and ".join(f"[{', '.join(f'{side:.10g}' for side in box)}]" for box in boxes)


def extent_text(extent: Sequence[float] | None) -> str:
    """Return where a grid is, a part of a sentence, given its box."""
    if extent is None:
        return "the grid's bounds are outside the domain of its crs"
    return f"the grid's box is {boxes_text([extent])} (west, south, east, north in degrees)"


def shown(value: object) -> str:
    """Return the repr of a value, cut to 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= 60 else f"{text[:57]}..."
