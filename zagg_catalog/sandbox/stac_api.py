"""The STAC API, simulated: root, landing page, collections, items, searches."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

import numpy as np
import orjson
import pyarrow.compute as pc

from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sandbox.faults import Page, Reply
from zagg_catalog.sandbox.holdings import MAX_CACHED, GranuleStore, Record, Snapshot
from zagg_catalog.sandbox.items import STAC_VERSION, item_of, timestamp
from zagg_catalog.sandbox.search import BadRequest, Search, make_cursor, parse_search

CONFORMS_TO = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)
NEXT_METHODS = ("same", "GET", "POST", "POST-merge")
COUNTS = ("both", "numberMatched", "context", "none")


@dataclass(frozen=True, kw_only=True)
class ServerQuirks:
    """Options in which STAC servers differ; raises `ValueError` for unknown values."""

    page_size: int = 100
    """Largest page; a larger ``limit`` of a request is reduced to it."""
    provider: str = "NSIDC_CPRD"
    """Name of the sub-catalog."""
    next_method: str = "same"
    """Method of next links: ``same`` as the request, ``GET``, ``POST`` with the whole body, or
    ``POST-merge`` with only the cursor, to be merged into the body of the request."""
    relative: bool = False
    """Whether next links are without scheme and host."""
    counts: str = "both"
    """Fields with the count: ``numberMatched``, ``context``, ``both`` or ``none``."""

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise ValueError(f"page_size is at least 1, not {self.page_size}.")
        if self.next_method not in NEXT_METHODS:
            raise ValueError(f"next_method is one of {NEXT_METHODS}, not {self.next_method!r}.")
        if self.counts not in COUNTS:
            raise ValueError(f"counts is one of {COUNTS}, not {self.counts!r}.")


class StacApi:
    """Answers requests to the STAC API, without a socket."""

    def __init__(self, store: GranuleStore, quirks: ServerQuirks) -> None:
        self._store, self._quirks = store, quirks

    @property
    def size(self) -> int:
        """Number of granules served."""
        return len(self._store.now)

    def warm(self, root: str, stopped: Callable[[], bool]) -> None:
        """Encode every item before its first request; see `SandboxServer.warm`."""
        content = self._store.now
        call = _Call("GET", {}, root, content, self._quirks, True)
        for first in range(0, min(len(content), MAX_CACHED), 100):
            if stopped():
                return
            call.features(np.arange(first, min(first + 100, len(content))))

    def answer(
        self,
        method: str,
        path: str,
        given: Mapping[str, Any],
        root: str,
        *,
        plain: bool = False,
    ) -> tuple[Reply, Page | None]:
        """Answer one request; also return the page of a successful search.

        `given` are the query parameters or the JSON body, `root` is the absolute URL of the API in
        links. With `plain`, no fault reads or changes the items, so that cached JSON can be sent.
        """
        call = _Call(method, given, root, self._store.now, self._quirks, plain)
        try:
            return call.route([unquote(p) for p in path.split("/") if p])
        except BadRequest as error:
            return Reply(400, {"errors": [str(error)]}), None


@dataclass(frozen=True)
class _Call:
    """One request, and the granules at its arrival."""

    method: str
    given: Mapping[str, Any]
    root: str
    content: Snapshot
    quirks: ServerQuirks
    plain: bool

    def route(self, parts: list[str]) -> tuple[Reply, Page | None]:
        provider = self.quirks.provider
        catalog = f"{self.root}/{provider}"
        match parts:
            case ["stac"]:
                return Reply(200, _root(self.root, provider)), None
            case ["stac", name, *rest] if name == provider:
                parts = rest
            case _:
                return _not_found("/".join(parts)), None
        if parts == ["search"]:
            return self._search("search", self.given)
        if self.method != "GET":
            return Reply(405, {"errors": [f"{self.method} is for /search only."]}), None
        match parts:
            case []:
                return Reply(200, _landing(catalog, self.root, provider)), None
            case ["conformance"]:
                return Reply(200, {"conformsTo": list(CONFORMS_TO)}), None
            case ["collections"]:
                documents = [self._collection(name) for name in self.content.collections]
                links = [_link("self", f"{catalog}/collections"), _link("root", self.root)]
                return Reply(200, {"collections": documents, "links": links}), None
            case ["collections", name, *rest] if name in self.content.collections:
                return self._in_collection(name, rest)
            case _:
                return _not_found("/".join(parts)), None

    def _in_collection(self, name: str, rest: list[str]) -> tuple[Reply, Page | None]:
        match rest:
            case []:
                return Reply(200, self._collection(name)), None
            case ["items"]:
                given = {**self.given, "collections": [name]}
                return self._search(f"collections/{name}/items", given)
            case ["items", item]:
                rows = self.content.index.rows({"collections": [name], "ids": [item]})
                if len(rows):
                    return Reply(200, self._item(int(rows[0]))), None
        return _not_found("/".join(rest)), None

    def _search(self, route: str, given: Mapping[str, Any]) -> tuple[Reply, Page | None]:
        search = parse_search(given)
        rows = self.content.index.rows(search.parameters)
        size = self.quirks.page_size
        if search.limit is not None:
            size = min(search.limit, size)
        taken = rows[search.offset : search.offset + size]
        next_link = self._linker(route, search)
        url = f"{self.root}/{self.quirks.provider}/{route}"
        links = [_link("self", url), _link("root", self.root)]
        stop = search.offset + len(taken)
        if size and stop < len(rows):
            links.append(next_link(stop, search.page + 1, 0))
        document = {
            "type": "FeatureCollection",
            "stac_version": STAC_VERSION,
            **self._counts(len(rows), len(taken), size),
            "features": self.features(taken),
            "links": links,
        }
        page = Page(
            number=search.page,
            offset=search.offset,
            size=size,
            taken=len(taken),
            matched=len(rows),
            salt=search.salt,
            item_at=lambda place: self._item(int(rows[place])),
            next_link=next_link,
        )
        media = "application/geo+json; charset=utf-8"
        return Reply(200, document, content_type=media, fast=self.plain), page

    def features(self, rows: Ints) -> list[Any]:
        """Return the items of some rows, as cached JSON if no fault reads them."""
        if not self.plain:
            return [self._item_of(record) for record in self.content.records(rows)]

        def encode(record: Record) -> bytes:
            return orjson.dumps(self._item_of(record))

        return [orjson.Fragment(text) for text in self.content.texts(self.root, rows, encode)]

    def _linker(self, route: str, search: Search) -> Callable[[int, int, int], dict[str, Any]]:
        """Return a function that makes next links for one search."""
        base = f"/{self.quirks.provider}/{route}"
        href = (
            f"/{self.root.split('/', 3)[3]}{base}" if self.quirks.relative else f"{self.root}{base}"
        )
        method = self.method if self.quirks.next_method == "same" else self.quirks.next_method
        given = dict(search.parameters)
        if search.limit is not None:
            given["limit"] = search.limit
        if route != "search":
            # The collection is in the path, and items are paged by GET only.
            given.pop("collections")
            method = "GET"

        def link(offset: int, page: int, salt: int) -> dict[str, Any]:
            cursor = make_cursor(offset, page, salt)
            result = {"rel": "next", "type": "application/geo+json"}
            if method == "GET":
                query = urlencode({**{k: _as_text(v) for k, v in given.items()}, "cursor": cursor})
                return {**result, "method": "GET", "href": f"{href}?{query}"}
            if method == "POST-merge":
                body = {"cursor": cursor}
                return {**result, "method": "POST", "href": href, "body": body, "merge": True}
            return {**result, "method": "POST", "href": href, "body": {**given, "cursor": cursor}}

        return link

    def _counts(self, matched: int, returned: int, limit: int) -> dict[str, Any]:
        counts: dict[str, Any] = {}
        if self.quirks.counts in ("both", "numberMatched"):
            counts |= {"numberMatched": matched, "numberReturned": returned}
        if self.quirks.counts in ("both", "context"):
            counts["context"] = {"limit": limit, "matched": matched, "returned": returned}
        return counts

    def _item(self, row: int) -> Any:
        return self._item_of(self.content.records(np.array([row]))[0])

    def _item_of(self, record: Record) -> Any:
        return item_of(record, self.root, self.quirks.provider)

    def _collection(self, name: str) -> dict[str, Any]:
        catalog = f"{self.root}/{self.quirks.provider}"
        table = self.content.granules.table
        times = table.filter(pc.equal(table["collection"], name))["start"].to_numpy()
        times = times[~np.isnat(times)]
        first = timestamp(times.min().item()) if len(times) else None
        url = f"{catalog}/collections/{name}"
        return {
            "type": "Collection",
            "stac_version": STAC_VERSION,
            "stac_extensions": [],
            "id": name,
            "title": f"Simulated {name}",
            "description": f"Granules of {name}, simulated or read from a file.",
            "license": "not-provided",
            "extent": {
                "spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]},
                "temporal": {"interval": [[first, None]]},
            },
            "links": [
                _link("self", url),
                _link("root", self.root),
                _link("parent", catalog),
                _link("items", f"{url}/items", "application/geo+json"),
            ],
        }


def _as_text(value: Any) -> str:
    """Return a parameter as text for a query string."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            signs = {"desc": "-"}
            return ",".join(signs.get(v.get("direction"), "") + v["field"] for v in value)
        return ",".join(str(v) for v in value)
    return str(value)


def _link(rel: str, href: str, kind: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": kind, **more}


def _not_found(path: str) -> Reply:
    return Reply(404, {"errors": [f"There is nothing at {path!r}."]})


def _root(root: str, provider: str) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "stac",
        "title": "zagg-catalog sandbox",
        "description": "An offline stand-in for CMR-STAC: one sub-catalog per provider.",
        "links": [
            _link("self", root),
            _link("root", root),
            _link("child", f"{root}/{provider}", title=provider),
        ],
    }


def _landing(catalog: str, root: str, provider: str) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": provider,
        "title": provider,
        "description": f"Simulated root catalog of {provider}.",
        "conformsTo": list(CONFORMS_TO),
        "links": [
            _link("self", catalog),
            _link("root", root),
            _link("conformance", f"{catalog}/conformance"),
            _link("data", f"{catalog}/collections"),
            _link("search", f"{catalog}/search", "application/geo+json", method="GET"),
            _link("search", f"{catalog}/search", "application/geo+json", method="POST"),
        ],
    }
