"""Text for messages and logs, without secrets and shortened; the time and the user."""

from __future__ import annotations

import getpass
import logging
import re
import socket
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import SplitResult, unquote_plus, urlsplit, urlunsplit

SHOWN = 5
MOST_BOXES = 3
# Most characters of a line of a terminal, of a log and of an event.
_LONGEST = 4000


def short_digest(digest: str) -> str:
    """Return the first 12 hex digits of a digest, enough to identify a release."""
    return digest[:12]


def first_few(names: Sequence[object], total: int | None = None) -> str:
    """Return the number of names and the first five; `total` if `names` are not all of them."""
    count = len(names) if total is None else total
    shown = ", ".join(map(str, names[:SHOWN]))
    return f"{count:,} in all: {shown}" + (", …" if count > SHOWN else "")


def number_of(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural unless it is one: ``1 map``, ``2,000 maps``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


Clock = Callable[[], datetime]

# What nothing shows, or what moves, recolours or turns around other text: control characters, ends
# of lines, marks of direction, characters without width, halves of pairs, and tags.
_HIDDEN = (
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E)),
    *((0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
    *((0xD800, 0xDFFF), (0xE0000, 0xE007F)),
)
HIDDEN = re.compile("[" + "".join(rf"\U{a:08x}-\U{b:08x}" for a, b in _HIDDEN) + "]")
"""Characters that no message, table, log or id has."""
HIDDEN_RE2 = "[" + "".join(rf"\x{{{a:x}}}-\x{{{b:x}}}" for a, b in _HIDDEN) + "]"
"""The same for pyarrow."""
_RUNS = re.compile(f"{HIDDEN.pattern}+")

_WORDS = "token|signature|secret|passw|credential|api[_-]?key|session_?id|jwt"
SECRET_PARAMETER = re.compile(
    rf"(?i)x-(amz|goog|oss|cos)-.*|.*({_WORDS}|session).*|(google|aws)?access-?(key)?-?id"
    r"|key-pair-id|policy|sig|code|state|auth.*|(access|private|account)?[_-]?key|user(name)?"
    r"|login|pwd|pass"
)
"""Parameters of an address that are secret or sign it; elsewhere some words mean other things."""
_PARAMETER = re.compile(r"([?&;#])([^\s=?&;#\"']+)=([^\s&;#\"']+)")
# A value ends with its quotation mark, or with the word.
_VALUE = r"(?:\"[^\"]*\"?|'[^']*'?|\\\"[^\"]*|(?:bearer\s+|basic\s+)?[^\s&\"'#;]+)"
_NAMED = re.compile(
    rf"(?i)((?:{_WORDS}|auth|sig)[\w.-]{{0,60}}\\?[\"']?\s*(?:[=:]|%3[ad])\s*\[?\s*)({_VALUE})"
)
# Names of other things, too: secret if the value has a digit, or is very long, and is no path.
_MAYBE = re.compile(
    r"(?i)(?<![\w.-])([\"']?(?:code|state|key|pwd|pass|session)[\"']?\s*[=:]\s*[\"']?)"
    r"(?![a-z]+/)(?=[^\s&\"'#;,]*\d|[^\s&\"'#;,]{32})[^\s&\"'#;,]{6,}"
)
_BEARER = re.compile(
    r"\b((?i:bearer|basic))\s+(?:(?=[\w+/=.~-]*(?:[\d_./+=-]|[a-z][A-Z]))[\w+/=.~-]{6,}"
    r"|(?i:(?<=bearer\s)(?!token|auth|scheme|credential|realm|format)[a-z]{6,}))"
)
# A host with a port is none of a user with a password.
_NO_HOST = r"(?!(?:[\w-]+(?:\.[\w-]+)+|localhost|\[[\da-fA-F:.]+\]):\d{1,5}[/?#])"
# A password may have slashes and at signs, and the scheme may be missing.
_USERINFO = re.compile(rf"//{_NO_HOST}(?:[^/\s\"']*|[^/\s@:]*:[^\s@\"']*|[^/\s@]*)@")
_LOGIN = re.compile(rf"(?<![\w/@.+-]){_NO_HOST}[\w.+%-]+:(?!//)[^\s:\"'()\[\]{{}},]+@(?=[\w[])")

# With a backslash they have no meaning in Markdown; inside words and numbers _ has none anyway.
_MARKUP = re.compile(
    r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[\\`*{}\[\]<>()#+!|~&$@]|:(?=//)|(?<=www)\."
)
_ACTIVE = re.compile(r"(?i)[<`]|\][(\[]|!\[|https?://|www\.")


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
    return shortened(without_secrets(one_line(text[: 4 * limit]).strip()), limit)


def without_secrets(text: str) -> str:
    """Return text with ``***`` in place of tokens, signatures and passwords, without userinfo."""
    text = _LOGIN.sub("", _USERINFO.sub("//", text))
    text = _PARAMETER.sub(_without_parameter, _NAMED.sub(_without_value, text))
    return _BEARER.sub(r"\1 ***", _MAYBE.sub(r"\1***", text))


def _without_value(found: re.Match[str]) -> str:
    """Return the name of a secret; its value keeps its quotation marks."""
    name, value = found.groups()
    mark = value[0] if value[0] in "\"'" else ""
    return f"{name}{mark}***{mark if value[1:].endswith(mark) else ''}"


def _without_parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    secret = SECRET_PARAMETER.fullmatch(unquote_plus(name))
    return f"{mark}{name}={'***' if secret else value}"


def shortened(text: str, limit: int) -> str:
    """Return text of at most `limit` characters and an ellipsis."""
    return text if len(text) <= limit else text[:limit] + "…"


def one_line(text: str) -> str:
    """Return text without what moves or recolours a terminal's, turns it around or hides in it."""
    return _RUNS.sub(" ", text)


def as_line(text: str) -> str:
    """Return text as a line of a terminal, of bounded length."""
    return shortened(one_line(text), _LONGEST)


def as_markdown(text: str, *, limit: int = 2000) -> str:
    """Return text that Markdown shows as it is, also in a cell of a table."""
    return _MARKUP.sub(r"\\\g<0>", shortened(one_line(text), limit))


def as_cell(text: str, *, limit: int = 10_000) -> str:
    """Return text for a cell that is Markdown, and is read by programs, too.

    It is changed only if it would link, or show a picture or HTML.
    """
    text = shortened(one_line(text), limit)
    return as_markdown(text, limit=limit) if _ACTIVE.search(text) else text


class PlainRecords(logging.Filter):
    """Cleans log records: each is one line, without secrets and what would move a terminal's."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace message and traceback of a record by what may be shown."""
        try:
            record.msg, record.args = _plain(record.getMessage()), None
        except (TypeError, ValueError):
            return True  # logging reports a format that does not fit
        if record.exc_info and record.exc_info[0] and not record.exc_text:
            lines = "".join(traceback.format_exception(*record.exc_info)).rstrip().split("\n")
            record.exc_text = "\n".join(map(_plain, lines))
        return True


def plain_logger(name: str) -> logging.Logger:
    """Return the logger of a module, whose records are clean for every handler."""
    logger = logging.getLogger(name)
    logger.addFilter(PlainRecords())
    return logger


def _plain(text: str) -> str:
    return clean_text(text, limit=_LONGEST)


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
    """Return boxes as text, ``[-76.72871, 38.71166, -76.37671, 39.09519]``; the first three."""
    some = [f"[{', '.join(f'{side:.10g}' for side in box)}]" for box in boxes[:MOST_BOXES]]
    more = [f"{len(boxes) - MOST_BOXES} more boxes"] if len(boxes) > MOST_BOXES else []
    return " and ".join([*some, *more]) or "no box"


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
