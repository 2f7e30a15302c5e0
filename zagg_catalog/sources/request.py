"""ApiRequest: one call of a STAC API, and how it is named in messages without its secrets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

SEARCH_AFTER = "CMR-Search-After"
DEFAULT_PORTS = {"http": 80, "https": 443}

_SECRET_VALUE = re.compile(
    r"(?i)\b([\w.-]*(?:token|signature|secret|password|passwd|credential|api[_-]?key|auth|sig)"
    r"[\w.-]*[\"']?\s*[=:]\s*[\"']?)(?:bearer\s+|basic\s+)?[^\s&\"'#;]+"
)
_USERINFO = re.compile(r"//[^/\s@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class ApiRequest:
    """One call of a STAC API.

    Parameters
    ----------
    url : str
        Absolute address with its query.
    method : {"GET", "POST"}
        A POST sends ``body`` as JSON.
    body : dict, optional
        Search parameters of a POST.
    headers : dict, optional
        Further headers, as a next link may ask for.
    """

    url: str
    method: str = "GET"
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        body = f" {json.dumps(self.body)}" if self.body else ""
        return clean_text(f"{self.method} {self.url}{body}", limit=500)

    @property
    def key(self) -> str:
        """Text that is equal for equal calls; of headers only CMR's place in a search counts."""
        after = self.headers.get(SEARCH_AFTER, "")
        return f"{self.method} {self.url} {json.dumps(self.body, sort_keys=True)}{after}"


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, as browsers compare them.

    Raises
    ------
    ValueError
        If the port is not a number.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(scheme)


def without_userinfo(url: str) -> str:
    """Return a URL without user, password and fragment."""
    parts: SplitResult = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def clean_text(text: str, *, limit: int = 200) -> str:
    """Return text fit for a message: on one line, cut, no userinfo, tokens or signatures."""
    text = _CONTROL.sub(" ", text[: 4 * limit]).strip()
    text = _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("//", text))
    return text if len(text) <= limit else text[:limit] + "…"
