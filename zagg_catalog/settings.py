"""Settings read from the environment (``ZAGG_CATALOG_*``) and a ``.env`` file."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from zagg_catalog.errors import InvalidSetting

CMR_ROOT = "https://cmr.earthdata.nasa.gov/search"
CMR_STAC_ROOT = "https://cmr.earthdata.nasa.gov/stac"


class LimitSettings(BaseSettings):
    """Limits of grids; alone they are read several times as fast as all settings."""

    model_config = SettingsConfigDict(
        env_prefix="ZAGG_CATALOG_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        populate_by_name=True,
    )

    max_shards: int = Field(default=1_000_000, ge=1, le=2**40)
    """Largest number of shards of a region."""
    max_cells: int = Field(default=200_000_000, ge=1, le=2**40)
    """Largest number of cells of one shard, and of the masks of one map."""


class Settings(LimitSettings):
    """Settings, each read from ``ZAGG_CATALOG_<NAME>``; some also from variables of AWS."""

    stac_root: str = CMR_STAC_ROOT
    """Root of the STAC API, without the sub-catalog of the provider."""
    api: Literal["stac", "cmr"] = "stac"
    """API to fetch granules from: a STAC API, or CMR's own search."""
    cmr_root: str = CMR_ROOT
    """Root of CMR's own search."""
    stac_method: Literal["GET", "POST"] = "GET"
    """Method of STAC searches; the paging of a few servers works by POST only."""
    earthdata_token: SecretStr | None = None
    """Bearer token of Earthdata Login, for collections under access control."""
    connections: int = Field(default=8, ge=1, le=32)
    """Number of connections of a large fetch."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds for one request."""
    max_response_mb: int = Field(default=512, ge=1)
    """Most megabytes of one response, as sent and unpacked; a page of 2,000 items has about 40."""
    retries: int = Field(default=6, ge=0, le=20)
    """Number of attempts after the first one."""
    retry_wait_max: float = Field(default=60.0, gt=0)
    """Longest wait between attempts, seconds; also limits ``Retry-After``."""
    store: str = "./zagg-store"
    """Store of catalogs, shard maps and releases: a folder or ``s3://bucket/prefix``."""
    registry: str = "deployments/registry.yaml"
    """Registry of regions and grids: a path or ``s3://bucket/key``."""
    release_reports: bool = True
    """Whether a release that is published gets a report, a page in the store."""
    accept_last_writer_wins: bool = False
    """Whether to replace pointers on a server without conditional writes."""
    s3_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "ZAGG_CATALOG_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"
        ),
    )
    """URL of an S3 server other than AWS."""
    granule_s3_endpoint: str | None = None
    """URL of the S3 server that zagg reads granules from. Default: AWS, even if
    ``AWS_ENDPOINT_URL_S3`` names another server for the store and for outputs."""
    s3_region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("ZAGG_CATALOG_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    )
    """Region of the store's bucket. Default: boto3's own chain."""
    s3_addressing: Literal["path", "virtual"] | None = None
    """Where requests name the bucket: in the path, or as a part of the host. Default: in the path
    for a server that an endpoint names, and as boto3 decides for AWS."""
    s3_profile: str | None = None
    """Profile of the AWS config files; overrides ``AWS_PROFILE``, which boto3 reads."""
    s3_access_key_id: SecretStr | None = None
    """Access key, which overrides a profile. Default: boto3's own chain."""
    s3_secret_access_key: SecretStr | None = None
    """Secret of the access key."""
    s3_session_token: SecretStr | None = None
    """Session token of temporary credentials."""
    s3_unsigned: bool = False
    """Whether to send S3 requests without a signature, to read public buckets."""
    s3_requester_pays: bool = False
    """Whether to pay for requests to buckets whose requesters pay."""
    s3_kms_key_id: str | None = None
    """Key of AWS KMS (id, ARN or alias) to encrypt objects with; default: as the bucket is set."""
    s3_timeout: float = Field(default=30.0, gt=0)
    """Seconds to wait for an S3 server to connect or to send data."""
    s3_attempts: int = Field(default=6, ge=1, le=20)
    """Number of attempts for one S3 request."""
    queue_url: str | None = None
    """URL of the SQS queue to which CMR's notifications of granules go."""
    queue_dead_letters: str | None = None
    """URL of the queue for messages that cannot be read. Default: that of its redrive policy."""
    queue_region: str | None = None
    """Region of the two queues. Default: the one in the URL."""
    queue_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("ZAGG_CATALOG_QUEUE_ENDPOINT", "AWS_ENDPOINT_URL_SQS"),
    )
    """URL of an SQS server other than AWS."""
    queue_group: float = Field(default=300.0, ge=0, le=3600)
    """Seconds in which messages are grouped, from the first one of a group."""
    queue_settle: float = Field(default=30.0, ge=0, le=3600)
    """Seconds from the end of a group until its cycles are counted, since CMR's search knows a
    granule a moment after its notification."""


def get_settings() -> Settings:
    """Read the settings from the environment; nothing is cached.

    Raises `InvalidSetting` if one cannot be used.
    """
    return read_settings(Settings)


def read_settings[S: BaseSettings](kind: type[S]) -> S:
    """Read settings from the environment and the ``.env`` file.

    Raises `InvalidSetting`, which names each variable that cannot be used.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = [
            f"{_variable(kind, str(entry['loc'][0]))}{_value(entry['input'])}: {entry['msg']}"
            if entry["loc"]
            else entry["msg"].removeprefix("Value error, ")
            for entry in error.errors(include_url=False, include_context=False)
        ]
    except SettingsError as error:
        # Of a field that is a list: the text names the field, and the cause has the value.
        found = re.search(r'field "(\w+)"', str(error))
        name = _variable(kind, found[1]) if found else "A setting"
        problems = [f'{name} is not JSON, expected a list such as ["one", "two"]']
    raise InvalidSetting(
        f"{'; '.join(problems)}. Correct the environment or the file .env."
    ) from None


def _variable(kind: type[BaseSettings], field: str) -> str:
    """Return the variable of a field, which an error may name by another variable of it."""
    prefix = kind.model_config.get("env_prefix", "")
    return f"{prefix}{field.upper()}" if field in kind.model_fields else field.upper()


def _value(value: object) -> str:
    """Return a clause with a number or a short word; anything else may be a secret."""
    return f"={value}" if re.fullmatch(r"[-+.\d]{1,12}|[a-z]{1,12}", str(value)) else ""
