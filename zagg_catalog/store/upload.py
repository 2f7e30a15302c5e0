"""Uploads: an object in one request or in parts, visible whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from zagg_catalog.files import Content

PART_SIZE = 8 << 20
MAX_PARTS = 10_000
DIGEST_FIELD = "sha256"


def upload(client: Any, bucket: str, key: str, content: Content, condition: dict[str, str]) -> None:
    """Store content under a key, with its digest as metadata.

    Parameters
    ----------
    client : boto3 S3 client
        What to write with.
    bucket, key : str
        Where.
    content : Source
        Read again block by block; up to 8 MiB (more above 80 GB) are in memory at a time.
    condition : dict
        ``{"IfNoneMatch": "*"}`` to create only, or empty.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If it fails after boto3's retries; an upload in parts is aborted.
    StoreError
        If the file changed meanwhile.
    """
    if content.size > PART_SIZE:
        _upload_parts(client, bucket, key, content, condition)
        return
    body = b"".join(content.checked_blocks())
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        ChecksumSHA256=_checksum(body),
        Metadata={DIGEST_FIELD: content.digest},
        **condition,
    )


def _upload_parts(
    client: Any, bucket: str, key: str, content: Content, condition: dict[str, str]
) -> None:
    """Send the parts one after another, then make them one object."""
    where = {"Bucket": bucket, "Key": key}
    metadata = {DIGEST_FIELD: content.digest}
    started = client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256", Metadata=metadata)
    where["UploadId"] = started["UploadId"]
    try:
        parts = _send_parts(client, where, content)
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **condition)
    except BaseException:
        _abort(client, where)
        raise


def _send_parts(client: Any, where: dict[str, str], content: Content) -> list[dict[str, Any]]:
    """Send the parts, and return what the server needs to put them together."""
    length = max(PART_SIZE, -(-content.size // MAX_PARTS))
    parts = []
    for number, body in enumerate(content.checked_blocks(length), start=1):
        checksum = _checksum(body)
        answer = client.upload_part(**where, PartNumber=number, Body=body, ChecksumSHA256=checksum)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
    return parts


def _abort(client: Any, where: dict[str, str]) -> None:
    """Drop the parts; what cannot be dropped now stays invisible until `Store.sweep`."""
    # The upload's own error is the one to tell.
    with contextlib.suppress(BotoCoreError, ClientError):
        client.abort_multipart_upload(**where)


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
