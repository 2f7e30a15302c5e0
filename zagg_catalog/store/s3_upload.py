"""Uploads of objects to S3, with or without what a server refuses."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.files import Content
from zagg_catalog.store.s3_errors import is_unsupported

PART_SIZE = 8 << 20
MAX_PARTS = 10_000
DIGEST_FIELD = "sha256"


@dataclass(frozen=True)
class Extensions:
    """Parts of a request that some servers refuse.

    An object is whole without them: its signature covers the body, and each read checks the digest.
    """

    checksums: bool = True
    """``x-amz-checksum-sha256``, which the server verifies and stores."""
    condition: bool = True
    """``If-None-Match: *``, so that an object is created only."""


_ALL = Extensions()
# In the order in which they are tried.
_FEWER = (
    _ALL,
    Extensions(checksums=False),
    Extensions(condition=False),
    Extensions(checksums=False, condition=False),
)
# What the server at an endpoint accepts; each process finds out by its first upload.
_accepted: dict[str, Extensions] = {}


def forget() -> None:
    """Clear what is known about servers."""
    _accepted.clear()


def upload_new(client: Any, endpoint: str, where: dict[str, str], content: Content) -> None:
    """Create an object, with its digest as metadata; `where` has ``Bucket`` and ``Key``.

    If the server refuses checksums or conditions, the upload is repeated without them, and later
    ones go without them at once. Parts of 8 MiB (more above 80 GB) are in memory one at a time.
    Errors of boto3 are not translated; a multipart upload that fails is aborted. Raises
    `StoreError` if the file changes meanwhile.
    """
    refusal: ClientError | None = None
    for extensions in _FEWER[_FEWER.index(_accepted.get(endpoint, _ALL)) :]:
        try:
            _upload(client, where, content, extensions)
        except ClientError as error:
            if not is_unsupported(error):
                raise
            refusal = refusal or error
        else:
            _accepted[endpoint] = extensions
            return
    assert refusal is not None
    raise refusal


def replace(client: Any, endpoint: str, where: dict[str, str], content: Content) -> None:
    """Store an object in place of the one that is there."""
    checksums = _accepted.get(endpoint, _ALL).checksums
    _upload(client, where, content, Extensions(checksums=checksums, condition=False))


def _upload(client: Any, where: dict[str, str], content: Content, extensions: Extensions) -> None:
    condition = {"IfNoneMatch": "*"} if extensions.condition else {}
    metadata = {DIGEST_FIELD: content.digest}
    if content.size > PART_SIZE:
        _upload_parts(client, where, content, metadata, condition, extensions.checksums)
        return
    body = b"".join(content.checked_blocks())
    checksum = _checksum(body, extensions.checksums)
    client.put_object(**where, Body=body, Metadata=metadata, **checksum, **condition)


def _upload_parts(
    client: Any,
    where: dict[str, str],
    content: Content,
    metadata: dict[str, str],
    condition: dict[str, str],
    checksums: bool,
) -> None:
    """Upload the parts one after another, and complete the upload."""
    algorithm = {"ChecksumAlgorithm": "SHA256"} if checksums else {}
    started = client.create_multipart_upload(**where, Metadata=metadata, **algorithm)
    where = {**where, "UploadId": started["UploadId"]}
    try:
        parts = _send_parts(client, where, content, checksums)
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **condition)
    except BaseException:
        _abort(client, where)
        raise


def _send_parts(
    client: Any, where: dict[str, str], content: Content, checksums: bool
) -> list[dict[str, Any]]:
    """Upload the parts, and return their numbers, ETags and checksums."""
    length = max(PART_SIZE, -(-content.size // MAX_PARTS))
    parts = []
    for number, body in enumerate(content.checked_blocks(length), start=1):
        checksum = _checksum(body, checksums)
        answer = client.upload_part(**where, PartNumber=number, Body=body, **checksum)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **checksum})
    return parts


def _abort(client: Any, where: dict[str, str]) -> None:
    """Abort an upload; parts that cannot be deleted now stay hidden until `Store.sweep`."""
    # The error of the upload itself is reported.
    with contextlib.suppress(BotoCoreError, ClientError):
        client.abort_multipart_upload(**where)


def _checksum(body: bytes, wanted: bool) -> dict[str, str]:
    if not wanted:
        return {}
    return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode()}
