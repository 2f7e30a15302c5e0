"""Parameters: types that make a usable run form, and their meaning for the library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from zagg_catalog.cycles import cycle_of
from zagg_catalog.settings import get_settings

# About how long NSIDC takes to publish what was measured.
LATENCY = timedelta(days=45)


class Product(StrEnum):
    """Along-track products."""

    ATL03 = "ATL03"
    ATL06 = "ATL06"
    ATL07 = "ATL07"
    ATL08 = "ATL08"
    ATL10 = "ATL10"
    ATL12 = "ATL12"
    ATL13 = "ATL13"
    ATL24 = "ATL24"


def _names(section: str) -> list[str]:
    """Return what the registry in the working directory offers; the run itself checks it."""
    location = get_settings().registry
    if "://" in location or not Path(location).is_file():
        return []
    try:
        content = yaml.safe_load(Path(location).read_text(encoding="utf-8"))
        return [str(name) for name in content[section]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []  # the run says what is wrong with the registry; the form does without


def _choices(section: str) -> dict[str, Any]:
    names = _names(section)
    return {"enum": names} if names else {}


Version = Annotated[str, Field(pattern=r"^[0-9]{3}$")]
Cycle = Annotated[int, Field(ge=1, le=99)]
NoticeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,120}$")]
Slices = Annotated[int, Field(ge=1, le=32)]
RegionName = Annotated[str, Field(json_schema_extra=_choices("regions"))]
GridName = Annotated[str, Field(json_schema_extra=_choices("grids"))]


def cycle_or_current(cycle: int | None, now: datetime | None = None) -> int:
    """Return the cycle, by default the one that was under way 45 days ago."""
    return cycle if cycle is not None else cycle_of((now or datetime.now(UTC)) - LATENCY)
