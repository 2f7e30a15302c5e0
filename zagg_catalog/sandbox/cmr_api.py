"""CMR's own search API, simulated: granules as UMM-JSON, hits and paging in headers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from zagg_catalog.sandbox.cmr_collections import collection_record
from zagg_catalog.sandbox.faults import Page, Reply
from zagg_catalog.sandbox.holdings import FIRST_CONCEPT, Record, Snapshot
from zagg_catalog.sandbox.items import concept_id, file_name, timestamp, ur_of
from zagg_catalog.sandbox.search import BadRequest
from zagg_catalog.sandbox.umm import umm_item

MAX_PAGE = 2000
# Parameters other than conditions.
_OTHER = frozenset({"page_size", "sort_key", "pretty", "options[readable_granule_name][pattern]"})
_SORT = {
    "start_date": "start_date",
    "end_date": "end_date",
    "granule_ur": "id",
    "readable_granule_name": "id",
}
Given = Mapping[str, list[str]]


class CmrApi:
    """Answers ``/search/granules.umm_json``, ``….json`` and ``/search/collections.umm_json``.

    `page_size` is the largest page; a larger one in a request is reduced to it. `archive` and
    `orbits` are as in `zagg_catalog.sandbox.umm.umm_item`.
    """

    def __init__(
        self, page_size: int, provider: str, *, archive: str = "cloud", orbits: bool = False
    ) -> None:
        self._page_size = min(page_size, MAX_PAGE)
        self._provider = provider
        self._archive = archive
        self._orbits = orbits

    def answer(
        self,
        content: Snapshot,
        path: str,
        given: Given,
        after: str | None,
        *,
        plain: bool = False,
    ) -> tuple[Reply, Page | None]:
        """Answer one request; `after` is its header ``CMR-Search-After``.

        Parameters have the same meaning with and without ``[]``. With `plain`, no fault reads or
        changes the items, so that cached JSON can be sent.
        """
        if path == "/search/collections.umm_json":
            return self._collections(content, given), None
        kind = re.fullmatch(r"/search/granules(?:\.(umm_json|json))?", path)
        if kind is None:
            return Reply(404, {"errors": [f"There is nothing at {path!r}."]}), None
        try:
            return self._search(content, kind[1] or "json", given, after, plain)
        except BadRequest as error:
            return Reply(400, {"errors": [str(error)]}), None

    def _collections(self, content: Snapshot, given: Given) -> Reply:
        """Answer a search of collections by short name, version and provider."""
        asked = {key.removesuffix("[]"): values for key, values in given.items()}
        records = [collection_record(name, self._provider) for name in content.collections]
        found = [
            record
            for record in records
            if record["umm"]["ShortName"] in asked.get("short_name", [record["umm"]["ShortName"]])
            and record["umm"]["Version"] in asked.get("version", [record["umm"]["Version"]])
            and self._provider in asked.get("provider", [self._provider])
        ]
        return _reply("umm_json", found, len(found))

    def _search(
        self, content: Snapshot, kind: str, given: Given, after: str | None, plain: bool
    ) -> tuple[Reply, Page | None]:
        size = min(_page_size(given), self._page_size)
        rows = self._rows(content, given)
        offset, salt = _read_after(after, content, rows)
        number = offset // max(size, 1) + 1
        taken = rows[offset : offset + size]

        def item_at(place: int) -> Any:
            return self._encode(kind, content.records(rows[place : place + 1])[0])

        if plain:
            texts = content.texts(
                f"cmr {kind}", taken, lambda record: orjson.dumps(self._encode(kind, record))
            )
            items: list[Any] = [orjson.Fragment(text) for text in texts]
        else:
            items = [self._encode(kind, record) for record in content.records(taken)]

        def following(offset: int, page: int = 0, salt: int = 0) -> dict[str, Any]:
            return {"after": self._after(content, rows[:offset], salt)}

        reply = _reply(kind, items, len(rows), fast=plain)
        if len(taken):
            # As in CMR, also after the last item; the next page is then empty.
            reply.headers[AFTER] = following(offset + len(taken))["after"]
        page = Page(
            number=number,
            offset=offset,
            size=size,
            taken=len(taken),
            matched=len(rows),
            ids=lambda: content.ids(taken),
            salt=salt,
            item_at=item_at,
            next_link=following,
        )
        return reply, page

    def _encode(self, kind: str, record: Record) -> Any:
        if kind == "json":
            return _json_entry(record, self._provider, self._archive)
        return umm_item(record, self._provider, archive=self._archive, orbits=self._orbits)

    def _after(self, content: Snapshot, before: Any, salt: int) -> str:
        """Return the header for the page after some rows: values of the last one to sort by.

        They are the provider, the start in milliseconds, and a number. A fault adds its own.
        """
        values: list[Any] = [self._provider.lower(), 0, 0]
        if len(before):
            (last,) = content.records(before[-1:])
            start = np.datetime64(last.start or 0, "ms").astype(np.int64).item()
            values[1:] = [start, last.concept]
        return json.dumps(values + [salt] * bool(salt), separators=(",", ":"))

    def _rows(self, content: Snapshot, given: Given) -> Any:
        found: dict[str, Any] = {}
        names: dict[str, list[str]] = {}
        for key, values in given.items():
            names.setdefault(key.removesuffix("[]"), []).extend(v for v in values if v)
        providers = names.pop("provider", None) or names.pop("provider_short_name", None)
        products, versions = names.pop("short_name", None), names.pop("version", None)
        if not (providers or products):
            raise BadRequest("The CMR does not allow querying across granules in all collections.")
        if providers and self._provider not in providers:
            return np.zeros(0, dtype=np.int64)
        if products or versions:
            found["collections"] = [
                name
                for name in content.collections
                if (not products or name.rpartition("_")[0] in products)
                and (not versions or name.rpartition("_")[2] in versions)
            ]
        if temporal := names.pop("temporal", None):
            found["datetime"] = "/".join(_interval(temporal[0]))
        if boxes := names.pop("bounding_box", None):
            found["boxes"] = [_box(text) for text in boxes]
        if since := names.pop("updated_since", None):
            found["updated_since"] = _moment(since[0]).isoformat()
        if patterns := names.pop("readable_granule_name", None):
            wild = _first(given, "options[readable_granule_name][pattern]", "false") == "true"
            found["name"] = "|".join(f"(?:{_pattern(text, wild)})" for text in patterns)
        if sort := names.pop("sort_key", None):
            found["sortby"] = ",".join(map(_sort_key, sort))
        unknown = sorted(set(names) - _OTHER)
        if unknown:
            raise BadRequest(f"Parameter [{unknown[0]}] was not recognized.")
        return content.index.rows(found)


# HTTP/2 has the names of headers in lower case.
HITS, AFTER = "cmr-hits", "cmr-search-after"
_EXPOSED = (
    "CMR-Hits",
    "CMR-Request-Id",
    "X-Request-Id",
    "CMR-Scroll-Id",
    "CMR-Search-After",
    "CMR-Timed-Out",
    "CMR-Shapefile-Original-Point-Count",
    "CMR-Shapefile-Simplified-Point-Count",
)
_TOOK = 23
_MEDIA = {
    "umm_json": "application/vnd.nasa.cmr.umm_results+json;version=1.6.6; charset=utf-8",
    "json": "application/json;charset=utf-8",
}
_counter = iter(range(1, 1 << 40))


def _reply(kind: str, items: list[Any], hits: int, *, fast: bool = False) -> Reply:
    """Return a page with the headers of CMR; those of its proxies are left out."""
    reply = Reply(200, _document(kind, items, hits), fast=fast)
    reply.content_type = _MEDIA[kind]
    reply.headers |= {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": ", ".join(_EXPOSED),
        HITS: str(hits),
        "cmr-request-id": f"00000000-0000-4000-8000-{next(_counter):012d}",
        "cmr-took": str(_TOOK),
    }
    return reply


def _read_after(text: str | None, content: Snapshot, rows: Any) -> tuple[int, int]:
    """Return offset and salt of a header; those of the first page for None."""
    if text is None:
        return 0, 0
    try:
        _, _, number, *salt = json.loads(text)
        # A granule that arrived meanwhile moves none to another page.
        (places,) = np.nonzero(content.serial[rows] == int(number) - FIRST_CONCEPT)
        if number and not len(places):
            raise BadRequest("search_after is not of this search.")
        return int(places[0]) + 1 if number else 0, int(salt[0]) if salt else 0
    except (ValueError, TypeError):
        raise BadRequest("search_after is not one of this server's.") from None


def _document(kind: str, items: list[Any], hits: int) -> dict[str, Any]:
    if kind == "umm_json":
        return {"hits": hits, "took": _TOOK, "items": items}
    return {
        "feed": {
            "updated": datetime.now(UTC).isoformat(timespec="milliseconds")[:23] + "Z",
            "id": "https://cmr.earthdata.nasa.gov:443/search/granules.json",
            "title": "ECHO granule metadata",
            "entry": items,
        }
    }


def _json_entry(record: Record, provider: str, archive: str) -> Any:
    """Return a granule as an entry of the short JSON, without links and polygons."""
    return {
        "id": concept_id(record, provider),
        "title": ur_of(record, archive),
        "producer_granule_id": file_name(record),
        "time_start": timestamp(record.start),
        "time_end": timestamp(record.end),
        "updated": timestamp(record.updated),
        "data_center": provider,
    }


def _first(given: Given, name: str, default: str) -> str:
    return given.get(name, [default])[0].lower()


def _page_size(given: Given) -> int:
    text = _first(given, "page_size", "10")
    if not text.isdigit() or int(text) > MAX_PAGE:
        raise BadRequest(f"page_size must be a number between 0 and {MAX_PAGE}, not {text!r}.")
    return int(text)


def _box(text: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north; a box with west > east crosses the antimeridian."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest(f"[{text}] is not a valid URL encoded bounding_box") from None
    if not (max(abs(west), abs(east)) <= 180 and -90 <= south <= north <= 90):
        raise BadRequest(f"bounding_box [{text}] leaves the Earth or has its south above its north")
    return west, south, east, north


def _interval(text: str) -> tuple[str, str]:
    low, _, high = text.partition(",")
    ends = tuple(f"{_moment(end).isoformat()}Z" if end.strip() else ".." for end in (low, high))
    return ends[0], ends[1]


def _moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadRequest(f"[{text}] is not a valid datetime") from None
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def _pattern(text: str, wild: bool) -> str:
    """Return a regular expression; names compare without case, as in CMR."""
    escaped = re.escape(text)
    if wild:
        escaped = escaped.replace(r"\*", ".*").replace(r"\?", ".")
    return f"(?i)^{escaped}$"


def _sort_key(text: str) -> str:
    name = text.lstrip("+- ")
    if name not in _SORT:
        raise BadRequest(f"The sort key [{name}] is not a valid field for sorting granules.")
    return ("-" if text.startswith("-") else "") + _SORT[name]
