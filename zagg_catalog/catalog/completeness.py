"""Completeness of a catalog or of a shard map, as its metadata says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from zagg_catalog.messages import SHOWN, boxes_text, first_few

# In a map's metadata: the keys of the shards that reach beyond the area of the catalog.
BEYOND_KEY = "shards_beyond_area"
# In a catalog's metadata: that the region by which it was selected reaches beyond its area.
BEYOND_REGION_KEY = "region_beyond_area"
# In the filters of a catalog's metadata: the digest of the polygons by which it was selected.
REGION_KEY = "region"
Completeness = Literal["unknown"] | bool
"""True, False, or ``"unknown"`` if the metadata does not say it."""


class IncompleteCatalog(UserWarning):
    """Warning that a fetched catalog lacks granules that the server declared; it names them."""


def completeness_text(known: Completeness) -> str:
    """Return completeness as ``yes``, ``no`` or ``unknown``."""
    return "yes" if known is True else "no" if known is False else "unknown"


def completeness(metadata: Mapping[str, Any]) -> Completeness:
    """Return whether a catalog or a map is complete.

    Parameters
    ----------
    metadata : mapping
        Metadata of a catalog or of a shard map.

    Returns
    -------
    bool or "unknown"
        True if the metadata says ``complete: true`` and lists no granule that was set aside;
        ``"unknown"`` if it does not say it, as the files of zagg.
    """
    said = metadata.get("complete")
    if said is False or set_aside(metadata):
        return False
    return True if said is True else "unknown"


def set_aside(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the granules that cannot be used, and the reasons.

    Parameters
    ----------
    metadata : mapping
        Metadata of a catalog or of a shard map.

    Returns
    -------
    list of dict
        With ``id`` and ``reason``, each id once: those of ``quarantined`` and ``unreadable``, then
        those that only the harvest report lists.
    """
    harvest = metadata.get("harvest")
    lists = [metadata, harvest] if isinstance(harvest, Mapping) else [metadata]
    found: dict[Any, dict[str, Any]] = {}
    keys = ("quarantined", "unreadable")
    for entry in (entry for part in lists for key in keys for entry in part.get(key) or []):
        found.setdefault(entry["id"], dict(entry))
    return list(found.values())


def all_complete(parts: Iterable[Completeness]) -> Completeness:
    """Return False if one part is incomplete, else ``"unknown"`` if one is unknown, else True."""
    seen = set(parts)
    if False in seen:
        return False
    return "unknown" if "unknown" in seen else True


def name_set_aside(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return how many granules were set aside, and the first five with the reasons."""
    texts = [f"{entry['id']}: {entry.get('reason')}" for entry in entries]
    more = f"; and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    what = "1 granule" if len(texts) == 1 else f"{len(texts):,} granules"
    return f"{what} cannot be used, {'; '.join(texts[:SHOWN])}{more}"


def explain_missing(metadata: Mapping[str, Any]) -> str:
    """Return what an incomplete catalog or map lacks, as far as its metadata names it."""
    aside, harvest = set_aside(metadata), metadata.get("harvest")
    parts = [name_set_aside(aside)] if aside else []
    if isinstance(harvest, Mapping) and (missing := harvest.get("missing")):
        parts.append(f"granules that were asked for and not found, {first_few(missing)}")
    if metadata.get(BEYOND_REGION_KEY):
        box = boxes_text([metadata["bbox"]]) if metadata.get("bbox") else "selected"
        parts.append(f"the region {box} reaches beyond the area of the catalog")
    if beyond := metadata.get(BEYOND_KEY):
        area = boxes_text(metadata.get("area") or [])
        parts.append(f"{len(beyond):,} shards of the region reach beyond the area {area}")
    return "; ".join(parts) or "not everything that the server declared was received"
