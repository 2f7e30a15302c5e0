"""Errors of boto3 and S3 servers as errors of the store; a probe of conditional writes."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.errors import ObjectMissing, StoreError, StoreUnavailable
from zagg_catalog.store.base import UnsafeStoreWarning

_CREDENTIALS = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
}
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
)


def code_of(error: ClientError) -> str:
    """Return the error code, such as ``NoSuchKey``; without a body the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def time_of(answer: dict[str, Any]) -> datetime | None:
    """Return the server's time, UTC, that an answer states; None if it states none."""
    try:
        stated = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return None
    return stated.astimezone(UTC) if stated.tzinfo else stated.replace(tzinfo=UTC)


def is_failed_condition(error: ClientError) -> bool:
    """Return whether a server refused a conditional write because its condition failed."""
    return status_of(error) in (409, 412) or code_of(error) == "NoSuchKey"


def is_unsupported_condition(error: ClientError) -> bool:
    """Return whether a server refused a conditional write because it does not support them."""
    return status_of(error) == 501 or code_of(error) == "NotImplemented"


def is_missing(error: ClientError) -> bool:
    """Return whether a key does not exist; False for a missing bucket, if the server names it."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


@contextmanager
def explained(action: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn errors of boto3 into errors of the store; `action` is ``"read catalogs/…"``."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        where = f"bucket {bucket} at {endpoint}"
        # Not chained: the text of boto3 may contain signed URLs.
        raise _translated(error, action, where) from None


def _translated(error: ClientError | BotoCoreError, action: str, where: str) -> StoreError:
    """Return the store's error for an error of boto3."""
    start = f"Cannot {action} in {where}:"
    if isinstance(error, ClientError):
        return _error_of_response(error, start)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreUnavailable(
            f"{start} no usable credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or log in again."
        )
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError)):
        kind = type(error).__name__
        return StoreUnavailable(
            f"{start} the server did not answer, also after retries ({kind}); check that it runs"
            " and that ZAGG_CATALOG_S3_ENDPOINT is right, then try again.",
            transient=True,
        )
    return StoreUnavailable(
        f"{start} boto3 refused it ({type(error).__name__}); check the AWS settings."
    )


def _error_of_response(error: ClientError, start: str) -> StoreError:
    """Return the store's error for an error response, without the server's text."""
    code, status = code_of(error), status_of(error)
    if code == "NoSuchBucket":
        return StoreUnavailable(
            f"{start} the bucket does not exist; create it or correct ZAGG_CATALOG_STORE."
        )
    if status == 404:
        return ObjectMissing(f"{start} there is no such object.")
    if code in _REGION or status == 301:
        return StoreUnavailable(
            f"{start} the bucket is in another region ({code}); set AWS_REGION to it."
        )
    if code in _CREDENTIALS or status in (401, 403):
        return StoreUnavailable(
            f"{start} the server refused the credentials or their rights ({code}); check the"
            " access key, the profile, and the permissions to read, list and write."
        )
    if status >= 500 or code == "SlowDown":
        return StoreUnavailable(
            f"{start} the server still failed after retries ({code}, HTTP {status}); try again"
            " later.",
            transient=True,
        )
    return StoreUnavailable(f"{start} the server refused it ({code}, HTTP {status}).")


FOLDER = ".probe"
_STALE = '"00000000000000000000000000000000"'

# Not stored in the bucket: the server behind an endpoint may change.
_known: dict[tuple[str, str], bool] = {}
_lock = threading.Lock()


def is_safe(client: Any, bucket: str, prefix: str, endpoint: str) -> bool:
    """Return whether a server honours conditional writes; if not, warn once.

    Each process probes an endpoint and bucket once, with an object below the prefix that it
    removes afterwards. Raises `StoreUnavailable` if the server does not answer.
    """
    with _lock:
        where = (endpoint, bucket)
        if where not in _known:
            with explained("probe conditional writes", bucket, endpoint):
                _known[where] = _probe(client, bucket, f"{prefix}{FOLDER}/{uuid.uuid4().hex}")
            if not _known[where]:
                warnings.warn(
                    f"The S3 server at {endpoint} ignores If-None-Match or If-Match in bucket"
                    f" {bucket}, so two runs at the same time could lose a release pointer.",
                    UnsafeStoreWarning,
                    stacklevel=3,
                )
        return _known[where]


def forget() -> None:
    """Clear the results, so that servers are probed again."""
    with _lock:
        _known.clear()


def _probe(client: Any, bucket: str, key: str) -> bool:
    """Write a key with conditions that must hold and must fail; return whether all did."""
    try:
        return (
            _writes(client, bucket, key, b"first", IfNoneMatch="*")
            and not _writes(client, bucket, key, b"second", IfNoneMatch="*")
            and not _writes(client, bucket, key, b"stale", IfMatch=_STALE)
            and _has_content(client, bucket, key, b"first")
            and _writes(client, bucket, key, b"next", IfMatch=_etag(client, bucket, key))
            and _has_content(client, bucket, key, b"next")
        )
    finally:
        client.delete_object(Bucket=bucket, Key=key)


def _writes(client: Any, bucket: str, key: str, body: bytes, **condition: str) -> bool:
    """Return whether the server accepts a conditional write."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, **condition)
    except ClientError as error:
        if is_failed_condition(error) or is_unsupported_condition(error):
            return False
        raise
    return True


def _etag(client: Any, bucket: str, key: str) -> str:
    return str(client.head_object(Bucket=bucket, Key=key)["ETag"])


def _has_content(client: Any, bucket: str, key: str, body: bytes) -> bool:
    with client.get_object(Bucket=bucket, Key=key)["Body"] as stream:
        return bool(stream.read() == body)
