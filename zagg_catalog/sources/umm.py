"""UMM-G records as STAC items, as CMR-STAC makes them.

The rules are those of nasa/cmr-stac, ``src/domains/items.ts`` and ``stac.ts``, so that both APIs
give the same catalog; data files have no media type, for example. What CMR-STAC leaves out is
added: footprints of granules whose extent is a part of an orbit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from zagg_catalog.sources.items import name_by_file, text_or_none
from zagg_catalog.sources.orbit import Swath
from zagg_catalog.sources.umm_extent import Footprint, footprints_of, has_orbit

STAC_VERSION = "1.1.0"
PUBLIC_ROOT = "https://cmr.earthdata.nasa.gov/search"
STORAGE = "https://stac-extensions.github.io/storage/v2.0.0/schema.json"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The collection of a search."""

    name: str
    """``ATL06_007``."""
    concepts: frozenset[str] = frozenset()
    """Its concept ids; one, unless the provider has several of this short name and version."""
    titles: frozenset[str] = frozenset()
    """Its entry titles."""
    swath: Swath | None = None
    """Swath of its granules, if it states one."""


def needs_collection(items: Sequence[Any]) -> bool:
    """Return whether the collection must be known to read some results of a granule search.

    Those of ICESat-2 refer to it by its title or concept id only; the swath of granules whose
    extent is a part of an orbit is that of the collection.
    """
    return any(_short_name(umm) is None or has_orbit(umm) for umm in map(_umm, items) if umm)


def stac_items(items: Sequence[Any], collection: Collection, root: str) -> list[Any]:
    """Return results of a granule search as STAC items; a text for one without a record.

    Parameters
    ----------
    items : sequence
        ``items`` of the response.
    collection : Collection
        The collection of the search.
    root : str
        URL of the search API. Concepts of an API that is not NASA's, such as a proxy or a
        simulation, are linked at NASA's CMR, so that the catalog does not depend on its address.
    """
    root = root if _is_nasas(root) else PUBLIC_ROOT
    records = [_umm(item) for item in items]
    footprints = footprints_of([umm or {} for umm in records], collection.swath)
    return [
        "no UMM-G record" if umm is None else _item(umm, meta_of(item), footprint, collection, root)
        for item, umm, footprint in zip(items, records, footprints, strict=True)
    ]


def _is_nasas(root: str) -> bool:
    return (urlsplit(root).hostname or "").endswith(".earthdata.nasa.gov")


def _umm(item: Any) -> Mapping[str, Any] | None:
    umm = item.get("umm") if isinstance(item, dict) else None
    return umm if isinstance(umm, dict) else None


def meta_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what CMR says of a granule's record; empty if it says nothing."""
    meta = item.get("meta")
    return meta if isinstance(meta, dict) else {}


def _item(
    umm: Mapping[str, Any],
    meta: Mapping[str, Any],
    footprint: Footprint,
    collection: Collection,
    root: str,
) -> Any:
    concept = text_or_none(meta.get("concept-id"))
    concept_url = None if concept is None else f"{root}/concepts/{quote(concept)}"
    urls = umm.get("RelatedUrls")
    files = _files(urls) if isinstance(urls, list) else []
    assets = _assets(files, concept, concept_url)
    return name_by_file(
        {
            "type": "Feature",
            "stac_version": STAC_VERSION,
            "stac_extensions": [STORAGE] if any(file.is_direct for file in files) else [],
            "id": umm.get("GranuleUR"),
            "collection": _collection_of(umm, meta, collection),
            "geometry": footprint.geometry,
            "bbox": footprint.bbox,
            "properties": _times(umm),
            "links": [{"href": f"{concept_url}.umm_json", "rel": "via"}] if concept_url else [],
            "assets": assets,
        }
    )


def _short_name(umm: Mapping[str, Any]) -> str | None:
    reference = umm.get("CollectionReference")
    return reference.get("ShortName") if isinstance(reference, dict) else None


def _collection_of(
    umm: Mapping[str, Any], meta: Mapping[str, Any], collection: Collection
) -> str | None:
    """Return the collection of a record: its name, or what refers to another collection."""
    reference = umm.get("CollectionReference")
    reference = reference if isinstance(reference, dict) else {}
    if (short_name := reference.get("ShortName")) is not None:
        return f"{short_name}_{reference.get('Version', '')}"
    concept = text_or_none(meta.get("collection-concept-id"))
    title = text_or_none(reference.get("EntryTitle"))
    known = concept in collection.concepts if concept else title in collection.titles
    return collection.name if known else concept or title


def _times(umm: Mapping[str, Any]) -> dict[str, Any]:
    extent = umm.get("TemporalExtent")
    extent = extent if isinstance(extent, dict) else {}
    span = extent.get("RangeDateTime")
    if isinstance(span, dict):
        start, end = span.get("BeginningDateTime"), span.get("EndingDateTime")
        both = {"start_datetime": start, "end_datetime": end} if start and end else {}
        return {"datetime": start, **both}
    return {"datetime": extent.get("SingleDateTime")}


class _File(NamedTuple):
    """A related URL."""

    href: str
    kind: str

    @property
    def is_direct(self) -> bool:
        return self.kind == _DIRECT and self.href.startswith("s3://")

    @property
    def key(self) -> str:
        """The part of the address before the ending, by which CMR-STAC names a data file."""
        parts = self.href.split(".")
        return (parts[-2] if len(parts) > 1 else "") or "asset_key"


_DATA, _DIRECT = "GET DATA", "GET DATA VIA DIRECT ACCESS"
_IMAGE, _THUMBNAIL = "GET RELATED VISUALIZATION", "Thumbnail"
_PAGE = "DATA SET LANDING PAGE"
_KINDS = frozenset({_DATA, _DIRECT, _IMAGE, _THUMBNAIL, _PAGE})


def _files(urls: list[Any]) -> list[_File]:
    """Return the related URLs of which CMR-STAC makes assets."""
    return [
        _File(href, str(url["Type"]))
        for url in urls
        if isinstance(url, dict)
        and str(url.get("Type")) in _KINDS
        and (href := text_or_none(url.get("URL")))
    ]


def _assets(
    files: Sequence[_File], concept: str | None, concept_url: str | None
) -> dict[str, dict[str, Any]]:
    """Return the assets of a granule, in the order of CMR-STAC."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        if file.kind == _IMAGE and file.href.startswith("http"):
            title = f"Download {file.href.rpartition('/')[2]}"
            found["browse"] = _asset(file.href, title, "browse", "image/jpeg")
    for numbered in (
        _numbered("thumbnail", "Thumbnail", [f for f in files if f.kind in (_THUMBNAIL, _IMAGE)]),
        _data("", "Direct Download", [f for f in files if f.kind == _DATA]),
        _numbered("metadata", "Provider Metadata", [f for f in files if f.kind == _PAGE]),
        _data("s3_", "S3 Direct Download", [f for f in files if f.is_direct]),
    ):
        found |= numbered
    if concept_url is not None:
        title = f"CMR XML metadata for {concept}"
        found["metadata"] = _asset(f"{concept_url}.xml", title, "metadata", "application/xml")
    return found


def _data(prefix: str, title: str, files: Sequence[_File]) -> dict[str, dict[str, Any]]:
    return {
        f"{prefix}{file.key}": _asset(file.href, _title(title, n, files), "data")
        for n, file in enumerate(files)
    }


def _numbered(role: str, title: str, files: Sequence[_File]) -> dict[str, dict[str, Any]]:
    name = title.lower().replace(" ", "_")
    return {
        f"{name}_{n}" if len(files) > 1 else name: _asset(file.href, _title(title, n, files), role)
        for n, file in enumerate(files)
    }


def _title(text: str, number: int, files: Sequence[_File]) -> str:
    return f"{text} [{number}]" if len(files) > 1 else text


def _asset(href: str, title: str, role: str, media: str | None = None) -> dict[str, Any]:
    return {"href": href, "type": media, "title": title, "roles": [role]}
