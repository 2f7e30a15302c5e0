"""The registry's files, in a folder or on S3."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from zagg_catalog.errors import InvalidRegistry, StoreUnavailable
from zagg_catalog.settings import Settings, get_settings


def beside(location: str, name: str) -> str:
    """Return where a file named in the registry is: relative to it, absolute, or a URL."""
    if "://" in name or name.startswith("/"):
        return name
    if "://" in location:
        scheme, _, path = location.partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(path), name))}"
    return str(Path(location).parent / name)


def read_bytes(location: str) -> bytes:
    """Return a file's content.

    Raises
    ------
    InvalidRegistry
        If there is no such file, or it may not be read; the text is a part of a sentence.
    StoreUnavailable
        If an S3 server does not answer; trying again may help.
    """
    if "://" not in location:
        try:
            return Path(location).read_bytes()
        except OSError as error:
            raise InvalidRegistry(f"cannot be read ({error.strerror})") from None
    if not location.startswith("s3://"):
        raise InvalidRegistry("is neither a path nor s3://bucket/key")
    return _read_s3(location, get_settings())


def _read_s3(location: str, settings: Settings) -> bytes:
    # Loads slowly, and most registries are folders.
    import s3fs  # type: ignore[import-untyped]

    try:
        files = s3fs.S3FileSystem(
            key=_revealed(settings.s3_access_key_id),
            secret=_revealed(settings.s3_secret_access_key),
            token=_revealed(settings.s3_session_token),
            profile=settings.s3_profile,
            endpoint_url=settings.s3_endpoint,
            client_kwargs=_region(settings),
            skip_instance_cache=True,
        )
        content: bytes = files.cat_file(location)
    except FileNotFoundError:
        raise InvalidRegistry("cannot be read (there is no such object or bucket)") from None
    except PermissionError:
        raise InvalidRegistry(
            "cannot be read (the server refused the credentials or their rights)"
        ) from None
    except (OSError, BotoCoreError, ClientError) as error:
        # Not chained: the text may hold signed URLs.
        raise StoreUnavailable(
            f"{location} cannot be read ({type(error).__name__}); check the AWS settings, or"
            " try again later.",
            transient=True,
        ) from None
    return content


def _region(settings: Settings) -> dict[str, Any]:
    return {"region_name": settings.s3_region} if settings.s3_region else {}


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
