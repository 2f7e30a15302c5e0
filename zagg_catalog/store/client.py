"""The boto3 client that a store talks to S3 with."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore.config import Config
from pydantic import SecretStr

from zagg_catalog.errors import StoreUnavailable
from zagg_catalog.settings import Settings


def make_session(settings: Settings) -> Any:
    """Return a boto3 session: explicit keys, a named profile, or boto3's own chain.

    Raises
    ------
    StoreUnavailable
        If the profile does not exist, or the AWS config files cannot be read.
    """
    try:
        return boto3.Session(
            aws_access_key_id=_revealed(settings.s3_access_key_id),
            aws_secret_access_key=_revealed(settings.s3_secret_access_key),
            aws_session_token=_revealed(settings.s3_session_token),
            region_name=settings.s3_region,
            profile_name=settings.s3_profile,
        )
    except botocore.exceptions.BotoCoreError as error:
        raise StoreUnavailable(
            f"The AWS settings cannot be used ({type(error).__name__}): check the profile name,"
            " the AWS config files, and that key id and secret are both given."
        ) from None


def make_client(session: Any, settings: Settings) -> Any:
    """Return an S3 client with bounded patience.

    Raises
    ------
    StoreUnavailable
        If the endpoint is not a URL.
    """
    config = Config(
        connect_timeout=settings.s3_timeout,
        read_timeout=settings.s3_timeout,
        retries={"mode": "standard", "total_max_attempts": settings.s3_attempts},
        # The signature covers the body, so that every server that checks it checks the content.
        s3={
            "payload_signing_enabled": True,
            "addressing_style": "path" if settings.s3_endpoint else "auto",
        },
        # Other servers than AWS trip over checksums that nobody asked for.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=32,
    )
    region = session.region_name or "us-east-1"
    try:
        return session.client(
            "s3", endpoint_url=settings.s3_endpoint, region_name=region, config=config
        )
    except (ValueError, botocore.exceptions.BotoCoreError) as error:
        raise StoreUnavailable(
            f"The S3 settings cannot be used ({type(error).__name__}): check the endpoint,"
            " expected as in http://127.0.0.1:9000, and the region."
        ) from None


def endpoint_name(url: str | None) -> str:
    """Return scheme, host and port of an endpoint, without credentials or query."""
    parts = urlsplit(url or "https://s3.amazonaws.com")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
