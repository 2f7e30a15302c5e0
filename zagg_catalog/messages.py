"""Text of messages: cleaned of secrets and shortened; the time and the user."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit

SHOWN = 5


def short_digest(digest: str) -> str:
    """Return the first 12 hex digits of a digest, which tell releases apart."""
    return digest[:12]


def first_few(names: Sequence[object], total: int | None = None) -> str:
    """Return how many there are, and the first few of them.

    Parameters
    ----------
    names : sequence
        All of them, or the first ones.
    total : int, optional
        How many there are in all; by default the length of `names`.
    """
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
    """Return text fit for a message: on one line, cut, no userinfo, tokens or signatures."""
    text = _CONTROL.sub(" ", text[: 4 * limit]).strip()
    text = _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("//", text))
    return text if len(text) <= limit else text[:limit] + "…"


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


def user_at_host() -> str:
    """Return who runs this, and where."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
