"""Settings read from the environment (``ZAGG_CATALOG_*``) and a ``.env`` file."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

CMR_ROOT = "https://cmr.earthdata.nasa.gov/search"
CMR_STAC_ROOT = "https://cmr.earthdata.nasa.gov/stac"


class Settings(BaseSettings):
    """What can be set from outside, each as ``ZAGG_CATALOG_<NAME>``.

    Attributes
    ----------
    stac_root : str
        Root of the STAC API; the provider's sub-catalog is appended. Default: NASA's CMR-STAC.
    api : {"stac", "cmr"}
        What granules are fetched from: a STAC API, or CMR's own search.
    cmr_root : str
        Root of CMR's own search. Default: NASA's.
    stac_method : {"GET", "POST"}
        How searches are sent; a few servers page rightly by POST only.
    connections : int
        Connections that a large fetch uses at once.
    timeout : float
        Seconds allowed for one request.
    retries : int
        Further attempts after the first one failed.
    retry_wait_max : float
        Longest single wait between attempts, in seconds; also caps ``Retry-After``.
    store : str
        Where catalogs, shard maps and releases are kept: a folder or ``s3://bucket/prefix``.
    registry : str
        Registered regions and grids: a path or ``s3://bucket/key``.
    accept_last_writer_wins : bool
        Move pointers also on a server that cannot do so safely when two runs meet.
    s3_endpoint : str or None
        URL of an S3 server other than AWS; also read from ``AWS_ENDPOINT_URL_S3`` and
        ``AWS_ENDPOINT_URL``.
    s3_region : str or None
        Also read from ``AWS_REGION`` and ``AWS_DEFAULT_REGION``.
    s3_profile : str or None
        A profile of the AWS config files; goes before ``AWS_PROFILE``, which boto3 reads.
    s3_access_key_id, s3_secret_access_key, s3_session_token : SecretStr or None
        Explicit credentials, which go before a profile. Default: boto3's own chain
        (``AWS_ACCESS_KEY_ID``, profiles, web identity, instance roles).
    s3_timeout : float
        Seconds to wait for an S3 server to connect or to send something.
    s3_attempts : int
        How often one S3 request is sent before it counts as failed.
    """

    model_config = SettingsConfigDict(
        env_prefix="ZAGG_CATALOG_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        populate_by_name=True,
    )

    stac_root: str = CMR_STAC_ROOT
    api: Literal["stac", "cmr"] = "stac"
    cmr_root: str = CMR_ROOT
    stac_method: Literal["GET", "POST"] = "GET"
    connections: int = Field(default=8, ge=1, le=32)
    timeout: float = Field(default=60.0, gt=0)
    retries: int = Field(default=6, ge=0, le=20)
    retry_wait_max: float = Field(default=60.0, gt=0)
    store: str = "./zagg-store"
    registry: str = "deployments/registry.yaml"
    accept_last_writer_wins: bool = False
    s3_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "ZAGG_CATALOG_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"
        ),
    )
    s3_region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("ZAGG_CATALOG_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    )
    s3_profile: str | None = None
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_session_token: SecretStr | None = None
    s3_timeout: float = Field(default=30.0, gt=0)
    s3_attempts: int = Field(default=6, ge=1, le=20)


def get_settings() -> Settings:
    """Read the settings afresh, so that a changed environment is seen."""
    return Settings()
