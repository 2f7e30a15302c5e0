"""ApiRequest: one call of a STAC API, and how it is named in messages without its secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from zagg_catalog.messages import clean_text

SEARCH_AFTER = "CMR-Search-After"
DEFAULT_PORTS = {"http": 80, "https": 443}


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
