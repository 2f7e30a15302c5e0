"""The Earthdata login that zagg reads granules with; standard library only."""

from __future__ import annotations

import base64
import binascii
import json
import netrc
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOST = "urs.earthdata.nasa.gov"
# zagg's providers of S3 credentials that need the login; None is its default.
PROVIDERS = (None, "nsidc", "gesdisc", "lpdaac")
_HOW = (
    f"set EARTHDATA_TOKEN, or EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or add a line for {HOST}"
    " to ~/.netrc or to the file that NETRC names"
)


class NoLogin(Exception):
    """Raised when zagg would ask for a login, or use one that has expired."""


def check_login(driver: str, provider: str | None, environ: Mapping[str, str]) -> None:
    """Raise `NoLogin` if zagg reads with the Earthdata login, and the environment has none.

    Parameters
    ----------
    driver : str
        zagg's driver, ``s3`` or ``https``.
    provider : str or None
        Name of the config's provider of S3 credentials.
    environ : mapping
        Environment of the process.
    """
    if driver != "https" and provider not in PROVIDERS:
        return
    token = environ.get("EARTHDATA_TOKEN")
    ended = _expiry(token) if token else None
    if ended is not None and ended < time.time():
        when = datetime.fromtimestamp(ended, UTC)
        raise NoLogin(
            f"the Earthdata token in EARTHDATA_TOKEN expired on {when:%Y-%m-%d %H:%M} UTC; make a"
            f" new one at https://{HOST}"
        )
    named = environ.get("EARTHDATA_USERNAME") and environ.get("EARTHDATA_PASSWORD")
    if not (token or named or _in_netrc(environ)):
        raise NoLogin(f"no Earthdata login was found, and zagg reads granules with it; {_HOW}")


def check_s3_credentials(found: Any, provider: str | None) -> Any:
    """Return S3 credentials; raise `NoLogin` if Earthdata gave none, which zagg does not notice."""
    if provider in PROVIDERS and not (isinstance(found, Mapping) and found.get("accessKeyId")):
        raise NoLogin(
            "Earthdata gave no S3 credentials: it did not accept the login, or the user has not"
            f" accepted the licence of the data; see https://{HOST}, or read by https"
        )
    return found


def _in_netrc(environ: Mapping[str, str]) -> bool:
    path = Path(environ.get("NETRC") or Path(environ.get("HOME") or Path.home()) / ".netrc")
    try:
        login = netrc.netrc(str(path)).authenticators(HOST)
    except (OSError, netrc.NetrcParseError):
        return False
    return bool(login and login[0] and login[2])


def _expiry(token: str) -> float | None:
    """Return when a token ends, seconds since 1970; None if it does not say so."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
