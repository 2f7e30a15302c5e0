"""Refusals: what an S3 server or boto3 answers instead of doing it, as one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.errors import ObjectMissing, StoreError, StoreUnavailable

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
    """Say whether a conditional write was refused because of its condition."""
    return status_of(error) in (409, 412) or code_of(error) == "NoSuchKey"


def knows_no_condition(error: ClientError) -> bool:
    """Say whether a server refused a conditional write because it has none."""
    return status_of(error) == 501 or code_of(error) == "NotImplemented"


def is_missing(error: ClientError) -> bool:
    """Say whether a server has no such key; a missing bucket is told apart where it can be."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


@contextmanager
def explained(action: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn boto3's errors into the store's.

    Parameters
    ----------
    action : str
        What was tried, ``"read catalogs/…"``; said in the error.
    bucket, endpoint : str
        Where; the endpoint without credentials.
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
    """Return the error for what a server answered; its free text is not repeated."""
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
