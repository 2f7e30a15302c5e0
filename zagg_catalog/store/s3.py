"""The store in an S3 bucket."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from botocore.exceptions import ClientError

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
from zagg_catalog.settings import Settings
from zagg_catalog.store.base import ObjectInfo, ObjectRef, Pointer, Store, conflict
from zagg_catalog.store.client import endpoint_name, make_client, make_session
from zagg_catalog.store.keys import check_key
from zagg_catalog.store.s3_errors import (
    code_of,
    explained,
    is_missing,
    is_safe,
    knows_no_condition,
    lost_condition,
    status_of,
)
from zagg_catalog.store.upload import DIGEST_FIELD, upload

if TYPE_CHECKING:
    import pyarrow.fs

# A connection that breaks while a body streams is not retried by boto3.
_BROKEN_STREAM = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
)
_RACES = 5


class S3Store(Store):
    """A bucket, or what is below a prefix in it, that holds a store.

    Parameters
    ----------
    bucket, prefix : str
        Where; the prefix without slashes at its ends, or empty.
    settings : Settings
        Endpoint, credentials and patience.
    """

    def __init__(self, bucket: str, prefix: str = "", *, settings: Settings) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._settings = settings
        self._session = make_session(settings)
        self._client = make_client(self._session, settings)
        self._endpoint = endpoint_name(self._client.meta.endpoint_url)
        self._conditional = True
        self._bucket_seen = False

    def _put(self, key: str, content: Content) -> ObjectRef:
        with self._explained(f"write {key}"):
            written = not self._complete(key, content) and self._create(key, content)
        return ObjectRef(key, content.digest, content.size, written=written)

    def _create(self, key: str, content: Content) -> bool:
        """Upload an object unless someone else does so first; say whether it was us."""
        for race in range(_RACES):
            try:
                upload(self._client, **self._at(key), content=content, condition=self._if_new())
                return True
            except ClientError as error:
                if knows_no_condition(error) and self._conditional:
                    self._conditional = False
                    continue
                if not lost_condition(error) and code_of(error) != "NoSuchUpload":
                    raise
                if self._complete(key, content):
                    return False
                if status_of(error) == 412:
                    # What is there is not what its name says: put it right.
                    upload(self._client, **self._at(key), content=content, condition={})
                    return True
                _pause(race)
        raise StoreUnavailable(
            f"Cannot write {key} in store {self.url}: other writers got in the way {_RACES} times;"
            " try again.",
            transient=True,
        )

    def _complete(self, key: str, content: Content) -> bool:
        """Say whether an object is there, by its size and the digest recorded with it."""
        facts = self._head(key)
        if facts is None or facts["ContentLength"] != content.size:
            return False
        recorded = {name.lower(): value for name, value in facts["Metadata"].items()}
        if DIGEST_FIELD in recorded:
            return bool(recorded[DIGEST_FIELD] == content.digest)
        # Copied by another program, or the server keeps no metadata: read it.
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
        except OSError as error:
            raise StoreUnavailable(
                f"Cannot copy {key} to {target}: {reason(error)}; check the folder, its"
                " permissions and the free space."
            ) from None

    def exists(self, key: str) -> bool:
        """Say whether there is something under a key."""
        check_key(key)
        with self._explained(f"look up {key}"):
            return self._head(key) is not None

    def delete(self, key: str) -> None:
        """Remove what is under a key; nothing there is no error."""
        check_key(key)
        with self._explained(f"delete {key}"):
            try:
                self._client.delete_object(**self._where(key))
            except ClientError as error:
                if not is_missing(error):
                    raise

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """Yield what is below a folder."""
        top = self.prefix + (f"{check_key(folder)}/" if folder else "")
        with self._explained(f"list {folder or 'the store'}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=top):
                for entry in page.get("Contents", []):
                    key = entry["Key"][len(self.prefix) :]
                    hidden = any(part.startswith(".") for part in key.split("/"))
                    if not hidden and not key.endswith("/"):
                        modified = entry["LastModified"].astimezone(UTC)
                        yield ObjectInfo(key, entry["Size"], modified)

    def read_pointer(self, key: str) -> Pointer | None:
        """Return a pointer as it is now, or None if there is none."""
        check_key(key)

        def read(answer: dict[str, Any]) -> Pointer:
            return Pointer(key, bytes(answer["Body"].read()), answer["ETag"])

        try:
            return self._reading(key, read)
        except ObjectMissing:
            return None

    def swap_pointer(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer if it is still the version that was read; see `Store`."""
        check_key(key)
        if not is_safe(self._client, self.bucket, self.prefix, self._endpoint):
            return self._overwrite(key, value, expected)
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        with self._explained(f"write {key}"):
            for race in range(_RACES):
                try:
                    return self._write(key, value, condition)
                except ClientError as error:
                    if not lost_condition(error):
                        raise
                    busy = status_of(error) == 409
                current = self.read_pointer(key)
                # The winner may be our own first attempt, whose answer was lost.
                if current is not None and current.value == value:
                    return current.token
                if not busy or (current and current.token) != expected:
                    raise conflict(key, expected, current)
                _pause(race)
        raise conflict(key, expected, current)

    def _overwrite(self, key: str, value: bytes, expected: str | None) -> str:
        """Replace a pointer without the server's help, if the user accepts that."""
        if not self._settings.accept_last_writer_wins:
            raise UnsafePointerStore(
                f"Pointer {key} was not changed: the S3 server at {self._endpoint} ignores"
                " conditional writes, so two runs could overwrite each other. Use a server that"
                " honours them, or set ZAGG_CATALOG_ACCEPT_LAST_WRITER_WINS=true if only one run"
                " publishes at a time."
            )
        current = self.read_pointer(key)
        if current is not None and current.value == value:
            return current.token
        if (current and current.token) != expected:
            raise conflict(key, expected, current)
        with self._explained(f"write {key}"):
            return self._write(key, value, {})

    def uri(self, key: str) -> str:
        """Return the ``s3://`` URL of an object."""
        return f"s3://{self.bucket}/{self.prefix}{check_key(key)}"

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """Return a pyarrow filesystem rooted at the store, with the credentials of this moment."""
        from pyarrow import fs

        with self._explained("open a filesystem"):
            credentials = self._session.get_credentials()
            if credentials is None:
                raise boto.NoCredentialsError
            keys = credentials.get_frozen_credentials()
        filesystem = fs.S3FileSystem(
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            session_token=keys.token,
            region=self._client.meta.region_name,
            endpoint_override=self._settings.s3_endpoint,
        )
        return fs.SubTreeFileSystem(f"{self.bucket}/{self.prefix}".rstrip("/"), filesystem)

    def sweep(self, older_than: timedelta = timedelta(days=1)) -> Sequence[str]:
        """Abort the unfinished uploads of killed writers, and return their keys."""
        limit = datetime.now(UTC) - older_than
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
        answer = self._client.put_object(**self._where(key), Body=value, **condition)
        return str(answer["ETag"])

    def _head(self, key: str) -> dict[str, Any] | None:
        """Return what the server knows of an object, or None if it has none."""
        try:
            facts: dict[str, Any] = self._client.head_object(**self._where(key))
        except ClientError as error:
            if not is_missing(error):
                raise
            self._see_bucket()
            return None
        return facts

    def _see_bucket(self) -> None:
        """Tell a missing bucket from a missing object, once: a HEAD answers 404 to both."""
        if not self._bucket_seen:
            pages = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            self._bucket_seen = "ResponseMetadata" in pages

    def _reading[T](self, key: str, read: Callable[[dict[str, Any]], T]) -> T:
        """Hand an object's answer to `read`, again where the connection breaks in the middle."""
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

    def _at(self, key: str) -> dict[str, str]:
        return {"bucket": self.bucket, "key": self.prefix + key}

    def _if_new(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self._conditional else {}

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained(action, self.bucket, self._endpoint)


def _pause(attempt: int) -> None:
    """Wait a little, longer each time, not in step with others."""
    time.sleep(random.uniform(0, min(0.1 * 2**attempt, 5.0)))
