"""Titles and notes of pictures of catalogs and shard maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zagg_catalog.catalog.completeness import (
    BEYOND_KEY,
    BEYOND_REGION_KEY,
    completeness,
    set_aside,
)
from zagg_catalog.messages import one_line


def caption(metadata: Mapping[str, Any], counts: str, region: str | None = None) -> str:
    """Return the title of a picture: product, cycle, region and counts.

    Parameters
    ----------
    metadata : mapping
        Metadata of a catalog or of a map.
    counts : str
        What it has, ``24,851 shards, 4,161 granules``.
    region : str, optional
        Name of the region.
    """
    cycle = metadata.get("cycle")
    known = (metadata.get("collection"), None if cycle is None else f"cycle {cycle}", region)
    what = ", ".join(one_line(str(part)) for part in known if part)
    return f"{what}: {counts}" if what else counts


def shortfall(metadata: Mapping[str, Any], granules: int) -> list[str]:
    """Return what an incomplete catalog or map lacks, for people who see its picture.

    Parameters
    ----------
    metadata : mapping
        Metadata of a catalog or of a map.
    granules : int
        Number of granules that it has.

    Returns
    -------
    list of str
        One line each, ``incomplete: 12 of 4,161 granules missing``; empty for what is complete.
    """
    known = completeness(metadata)
    if known is True:
        return []
    if known == "unknown":
        return ["not known whether it is complete"]
    missing = _missing(metadata)
    lines = [f"incomplete: {missing:,} of {granules + missing:,} granules missing"] * (missing > 0)
    if beyond := metadata.get(BEYOND_KEY):
        lines.append(f"incomplete: {len(beyond):,} shards reach beyond the area of the catalog")
    if metadata.get(BEYOND_REGION_KEY):
        lines.append("incomplete: the region reaches beyond the area of the catalog")
    return lines or ["incomplete: not everything that the server declared was received"]


def _missing(metadata: Mapping[str, Any]) -> int:
    """Return the number of granules that were set aside, not received, or not found."""
    count = len(set_aside(metadata))
    harvest = metadata.get("harvest")
    if isinstance(harvest, Mapping):
        declared, received = harvest.get("declared_after"), harvest.get("harvested")
        if isinstance(declared, int) and isinstance(received, int):
            count += max(declared - received, 0)
        count += len(harvest.get("missing") or ())
    return count
