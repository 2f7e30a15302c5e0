"""Open a store by its URL."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from zagg_catalog.errors import InvalidName, StoreUnavailable
from zagg_catalog.files import reason
from zagg_catalog.settings import Settings, get_settings
from zagg_catalog.store.base import Store
from zagg_catalog.store.keys import check_key, shown
from zagg_catalog.store.local import LocalStore
from zagg_catalog.store.s3 import S3Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Not a path of this system: a URL that lacks a slash, a drive, a share of another system.
_OTHER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*\\", re.DOTALL)
_UNSEEN = re.compile(r"\s|.*[\x00-\x1f\x7f]|.*\s\Z", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


def open_store(url: str | None = None, *, settings: Settings | None = None) -> Store:
    """Open a store by its URL; nothing is read or written yet.

    Parameters
    ----------
    url : str or None
        A path, ``file:///path`` or ``s3://bucket/prefix``. A path does not begin with a word and
        a colon (write ``./a:b``), and has no backslash. Default: the setting
        ``ZAGG_CATALOG_STORE``.
    settings : Settings or None
        Endpoint, credentials and time-outs. Default: read from the environment.

    Returns
    -------
    Store
        In a local folder or in a bucket.

    Raises
    ------
    InvalidName
        If the URL is of another kind, or has no valid folder or bucket.
    StoreUnavailable
        If the AWS profile of the settings does not exist, or the current folder is gone.
    """
    settings = settings or get_settings()
    location = settings.store if url is None else url
    scheme = _SCHEME.match(location)
    if scheme is None:
        return _local(_own_path(location))
    if scheme[1].lower() == "file":
        return _local(_path(_file_path(location)))
    if scheme[1].lower() == "s3":
        return S3Store(*_bucket(location), settings=settings)
    raise InvalidName(
        f"A store in {scheme[0]}… is not supported: expected a path, file:///path or"
        " s3://bucket/prefix (other S3 servers are named by ZAGG_CATALOG_S3_ENDPOINT)."
    )


def _local(path: str) -> LocalStore:
    try:
        return LocalStore(path)
    except RuntimeError:
        raise InvalidName(
            f"The path of the store {shown(path)} names a user without a home; expected a folder."
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"The store {shown(path)} is relative to a folder that cannot be used:"
            f" {reason(error)}; change to another folder."
        ) from None


def _path(text: str) -> str:
    if not text or _UNSEEN.match(text):
        raise InvalidName(
            "The path of the store is empty, begins or ends with a blank, or has a control"
            " character; expected a folder."
        )
    return text


def _own_path(text: str) -> str:
    """Return a path, or refuse what would be a folder here and is meant as another place."""
    if _OTHER.match(_path(text)):
        raise InvalidName(
            f"The store {shown(text.partition(':')[0] + ':…' if ':' in text else text)} is not a"
            " path of this system: expected a folder, file:///path or s3://bucket/prefix (write"
            " ./name for a folder whose name has a colon)."
        )
    return text


def _file_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise InvalidName(
            "The file:// URL of the store has another host, a query or a fragment; expected"
            " file:///absolute/path, with %3F and %23 for a ? and a #."
        )
    return unquote(parts.path)


def _bucket(url: str) -> tuple[str, str]:
    """Return bucket and prefix; errors do not show parts that may be secrets."""
    bucket, _, prefix = url[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidName(
            "The s3:// store has no usable bucket name: expected s3://bucket/prefix, 3 to 63"
            " letters, digits, '-', '_' or '.'; credentials belong in the environment."
        )
    prefix = prefix.rstrip("/")
    return bucket, check_key(prefix) if prefix else ""
