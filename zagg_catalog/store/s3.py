"""A store in an S3 bucket."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.errors import ObjectMissing, StoreUnavailable, UnsafePointerStore
from zagg_catalog.files import (
    BLOCK,
    Content,
    check_digest_of,
    digest_file,
    digest_of,
    reason,
    rename_synced,
    temporary_beside,
    write_synced,
)
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import utc_now
from zagg_catalog.settings import Settings
from zagg_catalog.store.base import ObjectInfo, ObjectRef, Pointer, Store, conflict
from zagg_catalog.store.keys import check_key
from zagg_catalog.store.s3_errors import (
    code_of,
    explained,
    is_failed_condition,
    is_missing,
    is_refusal,
    is_safe,
    status_of,
    time_of,
)
from zagg_catalog.store.s3_upload import DIGEST_FIELD, replace, upload_new

if TYPE_CHECKING:
    import pyarrow.fs

boto3, s3fs = lazy_module("boto3"), lazy_module("s3fs")

# A connection that breaks while a body streams is not retried by boto3.
_BROKEN_STREAM = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
)
_RACES = 5
# So that a browser shows a page, and asks whether it has changed.
_PAGE = {"ContentType": "text/html; charset=utf-8", "CacheControl": "no-cache"}
_READERS = 16  # half of the connections of a client


class S3Store(Store):
    """A store in a bucket, below a prefix without outer slashes, which may be empty."""

    def __init__(self, bucket: str, prefix: str = "", *, settings: Settings) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._settings = settings
        self._session = make_session(settings)
        self._client = make_client(self._session, settings)
        self._endpoint = endpoint_name(self._client.meta.endpoint_url)

    def _put(self, key: str, content: Content) -> ObjectRef:
        with self._explained(f"write {key}"):
            written = not self._complete(key, content) and self._create(key, content)
        return ObjectRef(key, content.digest, content.size, written=written)

    def _create(self, key: str, content: Content) -> bool:
        """Upload an object unless another writer does so first; return whether it was uploaded."""
        for race in range(_RACES):
            try:
                upload_new(self._client, self._endpoint, self._where(key), content)
                return True
            except ClientError as error:
                if not is_failed_condition(error) and code_of(error) != "NoSuchUpload":
                    raise
                if self._complete(key, content):
                    return False
                if status_of(error) == 412:
                    # The stored content does not have the digest in its key: replace it.
                    replace(self._client, self._endpoint, self._where(key), content)
                    return True
                _pause(race)
        raise StoreUnavailable(
            f"Cannot write {key} in store {self.url}: other writers interfered {_RACES} times;"
            " try again.",
            transient=True,
        )

    def _complete(self, key: str, content: Content) -> bool:
        """Return whether an object exists, by its size and the digest in its metadata."""
        facts = self._head(key)
        if facts is None or facts["ContentLength"] != content.size:
            return False
        recorded = {name.lower(): value for name, value in facts["Metadata"].items()}
        if DIGEST_FIELD in recorded:
            return bool(recorded[DIGEST_FIELD] == content.digest)
        # Another program copied the object, or the server stores no metadata: read the content.
        found, _ = self._reading(key, lambda answer: digest_of(answer["Body"].iter_chunks(BLOCK)))
        return found == content.digest

    def _get(self, key: str, expected: str) -> bytes:
        content = self._reading(key, lambda answer: bytes(answer["Body"].read()))
        check_digest_of(key, expected, digest_of([content])[0])
        return content

    def _download(self, key: str, expected: str, target: Path) -> None:
        def copy(answer: dict[str, Any]) -> None:
            temporary.unlink(missing_ok=True)
            write_synced(temporary, answer["Body"].iter_chunks(BLOCK))

        try:
            with temporary_beside(target) as temporary:
                self._reading(key, copy)
                check_digest_of(key, expected, digest_file(temporary)[0])
                rename_synced(temporary, target)
        except ObjectMissing:
            raise
        except OSError as error:
            raise StoreUnavailable(
                f"Cannot copy {key} to {target}: {reason(error)}; check the folder, its"
                " permissions and the free space."
            ) from None

    def exists(self, key: str) -> bool:
        """Return whether an object or pointer exists."""
        check_key(key)
        with self._explained(f"look up {key}"):
            if self._head(key) is None:
                # HEAD answers 404 for a bucket that does not exist, too; this raises.
                self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
                return False
            return True

    def delete(self, key: str) -> None:
        """Delete an object or pointer, if it exists."""
        check_key(key)
        with self._explained(f"delete {key}"):
            try:
                self._client.delete_object(**self._where(key))
            except ClientError as error:
                if not is_missing(error):
                    raise

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects and pointers below a folder."""
        top = self.prefix + (f"{check_key(folder)}/" if folder else "")
        with self._explained(f"list {folder or 'the store'}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=top):
                for entry in page.get("Contents", []):
                    key = entry["Key"][len(self.prefix) :]
                    hidden = any(part.startswith(".") for part in key.split("/"))
                    if not hidden and not key.endswith("/"):
                        modified = entry["LastModified"].astimezone(UTC)
                        yield ObjectInfo(key, entry["Size"], modified, entry.get("ETag", ""))

    def now(self) -> datetime:
        """Return the server's time, as its answers state it."""
        with self._explained("ask for the time"):
            where = {"Bucket": self.bucket, "Prefix": self.prefix}
            return time_of(self._client.list_objects_v2(**where, MaxKeys=1)) or utc_now()

    def read_pointer(self, key: str) -> Pointer | None:
        """Return the current version of a pointer, or None if it does not exist."""
        check_key(key)

        def read(answer: dict[str, Any]) -> Pointer:
            return Pointer(key, bytes(answer["Body"].read()), answer["ETag"])

        try:
            return self._reading(key, read)
        except ObjectMissing:
            return None

    def swap_pointer(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer if the version that was read is still the current one."""
        check_key(key)
        if not is_safe(self._client, self.bucket, self.prefix, self._endpoint):
            return self._overwrite(key, value, expected)
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        with self._explained(f"write {key}"):
            for race in range(_RACES):
                try:
                    return self._write(key, value, condition)
                except ClientError as error:
                    if not is_failed_condition(error):
                        raise
                    busy = status_of(error) == 409
                current = self.read_pointer(key)
                # The other writer may be an earlier attempt of this call, whose answer was lost.
                if current is not None and current.value == value:
                    return current.token
                if not busy or (current and current.token) != expected:
                    raise conflict(key, expected, current)
                _pause(race)
        raise conflict(key, expected, current)

    def _overwrite(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer without a condition, if the settings accept that."""
        if not self._settings.accept_last_writer_wins:
            raise UnsafePointerStore(
                f"Pointer {key} was not changed: the S3 server at {self._endpoint} ignores or"
                " refuses conditional writes, so two runs could overwrite each other. Use a server"
                " that honours them, or set ZAGG_CATALOG_ACCEPT_LAST_WRITER_WINS=true if only one"
                " run publishes at a time."
            )
        current = self.read_pointer(key)
        if current is not None and current.value == value:
            return current.token
        if (current and current.token) != expected:
            raise conflict(key, expected, current)
        with self._explained(f"write {key}"):
            return self._write(key, value, {})

    def read_each[T, R](self, read: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        """Return the results of a function for each item in order; 16 run at the same time."""
        with ThreadPoolExecutor(_READERS) as readers:
            batches = batched(items, _READERS * 16)  # so that few waiting calls are in memory
            return [one for batch in batches for one in readers.map(read, batch)]

    def uri(self, key: str) -> str:
        """Return the ``s3://`` URL of an object."""
        return f"s3://{self.bucket}/{self.prefix}{check_key(key)}"

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """Return a pyarrow filesystem rooted at the store, which renews its credentials."""
        from pyarrow import fs

        unsigned = self._settings.s3_unsigned
        with self._explained("open a filesystem"):
            if not unsigned and self._session.get_credentials() is None:
                raise boto.NoCredentialsError
        key, secret, token = _credentials(self._settings)
        files = s3fs.S3FileSystem(
            anon=unsigned,
            requester_pays=self._settings.s3_requester_pays,
            s3_additional_kwargs=_encryption(self._settings),
            key=key,
            secret=secret,
            token=token,
            profile=self._settings.s3_profile,
            endpoint_url=self._settings.s3_endpoint,
            client_kwargs={"region_name": self._client.meta.region_name},
            config_kwargs=_protocol(self._settings),
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        root = f"{self.bucket}/{self.prefix}".rstrip("/")
        return fs.SubTreeFileSystem(root, fs.PyFileSystem(fs.FSSpecHandler(files)))

    def sweep(self, older_than: timedelta = timedelta(days=1)) -> Sequence[str]:
        """Abort the unfinished uploads of killed writers, and return their keys."""
        limit = self.now() - older_than
        swept = []
        with self._explained("sweep unfinished uploads"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for found in page.get("Uploads", []):
                    if found["Initiated"] <= limit:
                        where = {"Key": found["Key"], "UploadId": found["UploadId"]}
                        self._client.abort_multipart_upload(Bucket=self.bucket, **where)
                        swept.append(found["Key"][len(self.prefix) :])
        return swept

    def _write(self, key: str, value: bytes, condition: dict[str, str]) -> str:
        """Write a pointer, and return its new token."""
        kind = _PAGE if key.endswith(".html") else {}
        answer = self._client.put_object(**self._where(key), Body=value, **kind, **condition)
        return str(answer["ETag"])

    def _head(self, key: str) -> dict[str, Any] | None:
        """Return the metadata of an object, or None if it or the bucket does not exist."""
        try:
            return self._facts(key)
        except ClientError as error:
            if not is_refusal(error):
                raise
        # The answer to HEAD has no body. That to GET has the reason, or a region for boto3 to use.
        try:
            self._client.get_object(**self._where(key), Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            if not is_missing(error):
                raise
        return self._facts(key)

    def _facts(self, key: str) -> dict[str, Any] | None:
        try:
            facts: dict[str, Any] = self._client.head_object(**self._where(key))
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        return facts

    def _reading[T](self, key: str, read: Callable[[dict[str, Any]], T]) -> T:
        """Pass the response for an object to `read`; repeat if the connection breaks."""
        with self._explained(f"read {key}"):
            for attempt in range(self._settings.s3_attempts - 1):
                answer = self._client.get_object(**self._where(key))
                try:
                    with closing(answer["Body"]):
                        return read(answer)
                except _BROKEN_STREAM:
                    _pause(attempt)
            answer = self._client.get_object(**self._where(key))
            with closing(answer["Body"]):
                return read(answer)

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained(action, self.bucket, self._endpoint)


def _pause(attempt: int) -> None:
    """Wait for a random time, which grows with each attempt."""
    time.sleep(random.uniform(0, min(0.1 * 2**attempt, 5.0)))


def make_session(settings: Settings) -> Any:
    """Return a boto3 session with explicit keys, a named profile, or boto3's own chain.

    Raises `StoreUnavailable` if the profile does not exist or the AWS config files cannot be read.
    """
    key, secret, token = _credentials(settings)
    try:
        return boto3.Session(
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            region_name=settings.s3_region,
            profile_name=settings.s3_profile,
        )
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"The AWS settings cannot be used ({type(error).__name__}): check the profile name,"
            " the AWS config files, and that key id and secret are both set."
        ) from None


def make_client(session: Any, settings: Settings) -> Any:
    """Return an S3 client; raise `StoreUnavailable` if the endpoint is not a URL."""
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        signature_version=UNSIGNED if settings.s3_unsigned else None,
        connect_timeout=settings.s3_timeout,
        read_timeout=settings.s3_timeout,
        retries={"mode": "standard", "total_max_attempts": settings.s3_attempts},
        max_pool_connections=32,
        **_protocol(settings),
    )
    region = session.region_name or "us-east-1"
    try:
        client = session.client(
            "s3", endpoint_url=settings.s3_endpoint, region_name=region, config=config
        )
    except (ValueError, BotoCoreError) as error:
        raise StoreUnavailable(
            f"The S3 settings cannot be used ({type(error).__name__}): check the endpoint,"
            " expected as in http://127.0.0.1:9000, and the region."
        ) from None
    _add_parameters(client, settings)
    return client


def _protocol(settings: Settings) -> dict[str, Any]:
    """Return the options of boto3 that decide what requests look like."""
    default = "path" if settings.s3_endpoint else "auto"
    return {
        # The signature covers the body, so that servers that verify it verify the content.
        "s3": {
            "payload_signing_enabled": True,
            "addressing_style": settings.s3_addressing or default,
        },
        # Some servers other than AWS refuse checksums that they did not require.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }


# Operations that store an object.
_STORING = ("PutObject", "CreateMultipartUpload")


def _add_parameters(client: Any, settings: Settings) -> None:
    """Add the requester's payment to all requests of a client, and a key to those that store."""

    def pay(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-amz-request-payer"] = "requester"

    def encrypt(params: dict[str, Any], **_: Any) -> None:
        params.update(_encryption(settings))

    events = client.meta.events
    if settings.s3_requester_pays:
        events.register("before-call.s3", pay)
    if settings.s3_kms_key_id:
        for operation in _STORING:
            events.register(f"provide-client-params.s3.{operation}", encrypt)


def _encryption(settings: Settings) -> dict[str, str]:
    """Return the parameters of S3 that encrypt an object with a key of KMS."""
    if not settings.s3_kms_key_id:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.s3_kms_key_id}


def endpoint_name(url: str | None) -> str:
    """Return scheme, host and port of an endpoint, without credentials or query."""
    parts = urlsplit(url or "https://s3.amazonaws.com")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _credentials(settings: Settings) -> tuple[str | None, str | None, str | None]:
    """Return the explicit key id, secret and session token of the settings."""
    secrets = (settings.s3_access_key_id, settings.s3_secret_access_key, settings.s3_session_token)
    key, secret, token = (value.get_secret_value() if value else None for value in secrets)
    return key, secret, token


def read_url(url: str, settings: Settings, most: int = -1) -> bytes:
    """Return the content of an object by its URL ``s3://bucket/key``, at most `most` bytes.

    Raises `ObjectMissing`, or `StoreUnavailable` if the server does not answer or refuses.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    client = make_client(make_session(settings), settings)
    endpoint = endpoint_name(client.meta.endpoint_url)
    with explained(f"read {key}", bucket, endpoint), closing(client):
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        content: bytes = body.read(most if most >= 0 else None)
    return content
