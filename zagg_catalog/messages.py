"""Text for messages, without secrets and shortened; the time and the user."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
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
    r"(?i)\b([\w.-]*(?:token|signature|secret|password|passwd|credential|api[_-]?key|auth|sig"
    r"|session_?id|jwt)[\w.-]*[\"']?\s*[=:]\s*[\"']?)(?:bearer\s+|basic\s+)?[^\s&\"'#;]+"
)
# Parameters of an address; elsewhere these words mean other things.
_SECRET_PARAMETER = re.compile(r"(?i)([?&;](?:code|state|key|pwd|pass|session)=)[^\s&\"'#;]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=[\w+/=.~-]*[\d_./+=-])[\w+/=.~-]{6,}")
# A password may have slashes and at signs, and the scheme may be missing.
_USERINFO = re.compile(r"//(?:[^/\s\"']*|[^/\s@:]*:[^\s@\"']*|[^/\s@]*)@")
_LOGIN = re.compile(r"(?<![\w/@.+-])[\w.+%-]+:(?!//)[^\s:\"'()\[\]{},]+@(?=[\w[])")
# Control characters, ends of lines, and marks that turn the direction of text around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")

# With a backslash they have no meaning in Markdown; inside words and numbers _ has none anyway.
_MARKUP = re.compile(
    r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[\\`*{}\[\]<>()#+!|~&$@]|:(?=//)|(?<=www)\."
)


def without_userinfo(url: str) -> str:
    """Return a URL, or a place without a scheme, without user, password and fragment.

    A URL with a host keeps it, whatever is in its path: requests go there.
    """
    parts: SplitResult = urlsplit(url)
    if not _has_host(parts):
        parts = urlsplit(_LOGIN.sub("", _USERINFO.sub("//", url)))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _has_host(parts: SplitResult) -> bool:
    """Return whether a URL has a host; not if the start of a password stands for its port."""
    try:
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.netloc)


def clean_text(text: str, *, limit: int = 200) -> str:
    """Return text on one line, cut to `limit`, without userinfo, tokens and signatures."""
    text = _CONTROL.sub(" ", text[: 4 * limit]).strip()
    text = _LOGIN.sub("", _USERINFO.sub("//", text))
    for secret in (_SECRET_VALUE, _SECRET_PARAMETER):
        text = secret.sub(r"\1***", text)
    text = _BEARER.sub(r"\1 ***", text)
    return text if len(text) <= limit else text[:limit] + "…"


def one_line(text: str) -> str:
    """Return text without what moves or recolours a terminal's, or turns its direction around."""
    return _CONTROL.sub(" ", text)


def as_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also in a cell of a table."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def utc_now() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)


# Clocks of machines differ by less.
CLOCK_TOLERANCE = timedelta(minutes=5)


def is_future(time: datetime, now: datetime) -> bool:
    """Return whether a stored time is later than now, so that a wrong clock wrote it."""
    return time > now + CLOCK_TOLERANCE


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
