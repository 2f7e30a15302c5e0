"""Logins: the Earthdata token for collections under access control, and that in a root's URL."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from requests.auth import AuthBase

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.settings import Settings
from zagg_catalog.sources.http import origin_of

SETTING = "ZAGG_CATALOG_EARTHDATA_TOKEN"
NASA = ".earthdata.nasa.gov"
HINT = (
    f"collections under access control show their granules only with an Earthdata token ({SETTING})"
)

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class EarthdataAuth(AuthBase):
    """Adds the token to requests to one origin, and to no others."""

    def __init__(self, token: SecretStr, origin: tuple[str, str, int | None]) -> None:
        self.token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return a request with the token, if it is for the origin."""
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        return request


def earthdata_auth(root: str, settings: Settings) -> EarthdataAuth | None:
    """Return the token of the settings for the root of an API; None if it is not for that root.

    The token is for NASA's hosts, for the roots that the settings name, and for this machine, so
    that another API never receives it. Raises `InvalidQuery` if it is malformed, or would be sent
    without encryption.
    """
    if settings.earthdata_token is None:
        return None
    token = settings.earthdata_token.get_secret_value().strip().removeprefix("Bearer ").strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidQuery(
            f"{SETTING} is not a bearer token: it has other characters than letters, digits and"
            " -._~+/=. Copy it again from https://urs.earthdata.nasa.gov/profile."
        )
    origin = origin_of(root)
    scheme, host, _ = origin
    here = _is_loopback(host)
    named = {origin_of(settings.stac_root.strip()), origin_of(settings.cmr_root.strip())}
    if not here and not host.endswith(NASA) and origin not in named:
        return None
    if scheme != "https" and not here:
        raise InvalidQuery(
            f"{SETTING} is not sent to {scheme}://{host}, without encryption; use an https root,"
            " or unset it."
        )
    return EarthdataAuth(SecretStr(token), origin)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_root(root: str) -> tuple[str, tuple[str, str] | None]:
    """Return the root without userinfo, and the userinfo for the session."""
    try:
        parts = urlsplit(root.strip())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query
        _ = parts.port
    except (ValueError, AttributeError):
        good = False
    if not good:
        raise InvalidQuery(
            "The root of a STAC API is an address such as https://cmr.earthdata.nasa.gov/stac, "
            f"without a query, not {clean_text(str(root))!r}."
        )
    login = (parts.username, parts.password or "") if parts.username else None
    return without_userinfo(root.strip()).rstrip("/"), login
