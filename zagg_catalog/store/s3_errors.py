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
from zagg_catalog.messages import clean_text
from zagg_catalog.store.base import UnsafeStoreWarning

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_CREDENTIALS = {
    "AccessDenied",
    "AllAccessDisabled",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
}
# Codes of Aliyun and Tencent; others answer with 400 and a sentence about it.
_ADDRESSING = {"SecondLevelDomainForbidden", "PathStyleDomainForbidden"}
# Refusals with status 400 for another reason than a header that the server does not support.
_OTHER_REASON = {
    *_EXPIRED,
    *_CREDENTIALS,
    *_REGION,
    *_ADDRESSING,
    "BadDigest",
    "IncompleteBody",
    "InvalidBucketName",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "XAmzContentSHA256Mismatch",
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


def is_unsupported(error: ClientError) -> bool:
    """Return whether a server refused a write that may succeed without conditions or checksums."""
    if status_of(error) == 400:
        return code_of(error) not in _OTHER_REASON
    return status_of(error) == 501 or code_of(error) == "NotImplemented"


def is_refusal(error: ClientError) -> bool:
    """Return whether a server refused a request, and would refuse it again."""
    return 300 <= status_of(error) < 500 or status_of(error) == 501


def is_missing(error: ClientError) -> bool:
    """Return whether a key does not exist; False for a missing bucket, if the server names it."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


@contextmanager
def explained(action: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn errors of boto3 into errors of the store; `action` is ``"read catalogs/…"``."""
    try:
        yield
    except (ClientError, BotoCoreError, RecursionError) as error:
        where = f"bucket {bucket} at {endpoint}"
        # Not chained: the text of boto3 may contain signed URLs.
        raise _translated(error, action, where) from None


def _translated(
    error: ClientError | BotoCoreError | RecursionError, action: str, where: str
) -> StoreError:
    """Return the store's error for an error of boto3."""
    start = f"Cannot {action} in {where}:"
    if isinstance(error, ClientError):
        return _error_of_response(error, start)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreUnavailable(
            f"{start} no usable credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or log in again."
        )
    if isinstance(error, RecursionError) or isinstance(error.kwargs.get("error"), RecursionError):
        # boto3 looks for the region of a bucket without end if each answer is a redirection.
        return StoreUnavailable(
            f"{start} the server redirects each request and names no region; check"
            " ZAGG_CATALOG_S3_ENDPOINT, http or https, and AWS_REGION."
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
    """Return the store's error for an error response, with the server's own sentence."""
    code, status = code_of(error), status_of(error)
    if code == "NoSuchBucket":
        return StoreUnavailable(
            f"{start} the bucket does not exist; create it or correct ZAGG_CATALOG_STORE."
        )
    if status == 404:
        return ObjectMissing(f"{start} there is no such object.")
    if status in _TEMPORARY or code in ("SlowDown", "RequestTimeout"):
        return StoreUnavailable(
            f"{start} the server still failed after retries ({_answer(error)}); try again later.",
            transient=True,
        )
    remedy = _remedy(code, status)
    return StoreUnavailable(f"{start} {remedy.format(_answer(error))}.")


# The server may not fail the next time. 501 says that it cannot do what is asked at all.
_TEMPORARY = (500, 502, 503, 504, 507)


def _remedy(code: str, status: int) -> str:
    """Return the predicate of a sentence: what is wrong, and what to do."""
    if code in _ADDRESSING:
        return "the bucket belongs into the host name ({}); set ZAGG_CATALOG_S3_ADDRESSING=virtual"
    if code in _REGION or status in (301, 307):
        return "the bucket is in another region ({}); set AWS_REGION to it"
    if code in _EXPIRED:
        return "the session token has expired ({}); log in again, or set a new token and its keys"
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong ({}); correct it"
    if code in _CREDENTIALS or status in (401, 403):
        return (
            "the server refused the credentials or their rights ({}); check the access key, the"
            " profile, and the permissions to read, list and write"
        )
    if status == 501:
        return "the server does not support the request ({}); use a server that does"
    return "the server refused the request ({})"


def _answer(error: ClientError) -> str:
    """Return code, status and sentence of a server."""
    code = code_of(error)
    status = f"HTTP {status_of(error)}"
    # Text of others, which may contain anything.
    sentence = clean_text(str(error.response.get("Error", {}).get("Message", "")), limit=160)
    named = status if code in ("", str(status_of(error))) else f"{clean_text(code)}, {status}"
    return f"{named}: {sentence.rstrip('. ')}" if sentence else named


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
                    f"The S3 server at {endpoint} ignores or refuses If-None-Match or If-Match in"
                    f" bucket {bucket}, so two runs at the same time could lose a release pointer.",
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
        if is_failed_condition(error) or is_unsupported(error):
            return False
        raise
    return True


def _etag(client: Any, bucket: str, key: str) -> str:
    return str(client.head_object(Bucket=bucket, Key=key)["ETag"])


def _has_content(client: Any, bucket: str, key: str, body: bytes) -> bool:
    with client.get_object(Bucket=bucket, Key=key)["Body"] as stream:
        return bool(stream.read() == body)
