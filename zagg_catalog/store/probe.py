"""The probe: find out whether a server honours conditional writes or overwrites with a 200."""

from __future__ import annotations

import threading
import uuid
import warnings
from typing import Any

from botocore.exceptions import ClientError

from zagg_catalog.store.base import UnsafeStoreWarning
from zagg_catalog.store.refusal import explained, knows_no_condition, lost_condition

FOLDER = ".probe"
_STALE = '"00000000000000000000000000000000"'

# Not kept in the bucket: the server behind an endpoint may be changed or updated any day.
_known: dict[tuple[str, str], bool] = {}
_lock = threading.Lock()


def is_safe(client: Any, bucket: str, prefix: str, endpoint: str) -> bool:
    """Say whether conditional writes are honoured; asks once per endpoint, bucket and process.

    Parameters
    ----------
    client : boto3 S3 client
        What to ask with.
    bucket, prefix : str
        Where the probe may write; it removes what it wrote.
    endpoint : str
        Name of the server, without credentials.

    Warns
    -----
    UnsafeStoreWarning
        Once, if they are not.

    Raises
    ------
    StoreUnavailable
        If the server cannot be asked.
    """
    with _lock:
        where = (endpoint, bucket)
        if where not in _known:
            with explained("probe conditional writes", bucket, endpoint):
                _known[where] = _probe(client, bucket, f"{prefix}{FOLDER}/{uuid.uuid4().hex}")
            if not _known[where]:
                warnings.warn(
                    f"The S3 server at {endpoint} overwrites in bucket {bucket} despite"
                    " If-None-Match or If-Match, so two runs that meet could lose a release"
                    " pointer.",
                    UnsafeStoreWarning,
                    stacklevel=3,
                )
        return _known[where]


def forget() -> None:
    """Forget what the probes found, so that servers are asked again."""
    with _lock:
        _known.clear()


def _probe(client: Any, bucket: str, key: str) -> bool:
    """Write a key as a first, second, stale and rightful writer; say whether it went as it must."""
    try:
        return (
            _writes(client, bucket, key, b"first", IfNoneMatch="*")
            and not _writes(client, bucket, key, b"second", IfNoneMatch="*")
            and not _writes(client, bucket, key, b"stale", IfMatch=_STALE)
            and _is(client, bucket, key, b"first")
            and _writes(client, bucket, key, b"next", IfMatch=_etag(client, bucket, key))
            and _is(client, bucket, key, b"next")
        )
    finally:
        client.delete_object(Bucket=bucket, Key=key)


def _writes(client: Any, bucket: str, key: str, body: bytes, **condition: str) -> bool:
    """Say whether a conditional write is let through."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, **condition)
    except ClientError as error:
        if lost_condition(error) or knows_no_condition(error):
            return False
        raise
    return True


def _etag(client: Any, bucket: str, key: str) -> str:
    return str(client.head_object(Bucket=bucket, Key=key)["ETag"])


def _is(client: Any, bucket: str, key: str, body: bytes) -> bool:
    with client.get_object(Bucket=bucket, Key=key)["Body"] as stream:
        return bool(stream.read() == body)
