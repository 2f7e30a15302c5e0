"""Errors of boto3 and S3 servers as errors of the store; the probe of conditional writes."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Return the error code, ``NoSuchKey``; answers without a body have the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def lost_condition(error: ClientError) -> bool:
    """Return whether a conditional write was refused because of its condition."""
    return status_of(error) in (409, 412) or code_of(error) == "NoSuchKey"


def knows_no_condition(error: ClientError) -> bool:
    """Return whether a server refused a conditional write because it has none."""
    return status_of(error) == 501 or code_of(error) == "NotImplemented"


def is_missing(error: ClientError) -> bool:
    """Return whether a key does not exist; a missing bucket is told apart if the server does so."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


@contextmanager
def explained(action: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn boto3's errors into the store's.

    Parameters
    ----------
    action : str
        The operation, for the message: ``"read catalogs/…"``.
    bucket, endpoint : str
        The endpoint without credentials.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        where = f"bucket {bucket} at {endpoint}"
        # Not chained: boto3's own text may hold signed URLs.
        raise _refusal(error, action, where) from None


def _refusal(error: ClientError | BotoCoreError, action: str, where: str) -> StoreError:
    """Return the error to raise for boto3's error."""
    start = f"Cannot {action} in {where}:"
    if isinstance(error, ClientError):
        return _answered(error, start)
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


def _answered(error: ClientError, start: str) -> StoreError:
    """Return the error for a server's answer, without the server's own text."""
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
            " access key, the profile, and that they may read, list and write there."
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

# Not stored in the bucket: the server behind an endpoint may change any day.
_known: dict[tuple[str, str], bool] = {}
_lock = threading.Lock()


def is_safe(client: Any, bucket: str, prefix: str, endpoint: str) -> bool:
    """Return whether conditional writes are honoured; probed once per endpoint, bucket, process.

    Parameters
    ----------
    client : boto3 S3 client
    bucket, prefix : str
        Place of the probe's object, which is removed afterwards.
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
                    f"The S3 server at {endpoint} ignores If-None-Match or If-Match in bucket"
                    f" {bucket}, so two runs at the same time could lose a release pointer.",
                    UnsafeStoreWarning,
                    stacklevel=3,
                )
        return _known[where]


def forget() -> None:
    """Forget the results, so that servers are probed again."""
    with _lock:
        _known.clear()


def _probe(client: Any, bucket: str, key: str) -> bool:
    """Write a key as a first, second, stale and rightful writer; return whether all was as due."""
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
    """Return whether a conditional write is let through."""
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
