"""Settings read from the environment (``ZAGG_CATALOG_*``) and a ``.env`` file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CMR_STAC_ROOT = "https://cmr.earthdata.nasa.gov/stac"


class Settings(BaseSettings):
    """What can be set from outside, each as ``ZAGG_CATALOG_<NAME>``.

    Attributes
    ----------
    stac_root : str
        Root of the STAC API; the provider's sub-catalog is appended. Default: NASA's CMR-STAC.
    stac_method : {"GET", "POST"}
        How searches are sent; a few servers page rightly by POST only.
    timeout : float
        Seconds allowed for one request.
    retries : int
        Further attempts after the first one failed.
    retry_wait_max : float
        Longest single wait between attempts, in seconds; also caps ``Retry-After``.
    """

    model_config = SettingsConfigDict(
        env_prefix="ZAGG_CATALOG_", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    stac_root: str = CMR_STAC_ROOT
    stac_method: Literal["GET", "POST"] = "GET"
    timeout: float = Field(default=60.0, gt=0)
    retries: int = Field(default=6, ge=0, le=20)
    retry_wait_max: float = Field(default=60.0, gt=0)


def get_settings() -> Settings:
    """Read the settings afresh, so that a changed environment is seen."""
    return Settings()
