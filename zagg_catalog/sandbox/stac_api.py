"""The STAC API, simulated: root, landing page, collections, items, searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import orjson
import pyarrow.compute as pc

from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.sandbox.faults import Page, Reply
from zagg_catalog.sandbox.holdings import MAX_CACHED, GranuleStore, Record, Snapshot
from zagg_catalog.sandbox.items import (
    ARCHIVES,
    GEOJSON,
    STAC_VERSION,
    item_of,
    link,
    listed_item,
    timestamp,
)
from zagg_catalog.sandbox.query_string import write_query
from zagg_catalog.sandbox.search import BadRequest, make_cursor, parse_search

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
COUNTS = ("cmr-stac", "both", "numberMatched", "context", "none")
# CMR-STAC repeats at most this limit in the count of a page.
_LIMIT_SHOWN = 10_000


@dataclass(frozen=True, kw_only=True)
class ServerQuirks:
    """Options in which STAC servers differ; raises `ValueError` for unknown values."""

    page_size: int = 100
    """Largest page; a larger ``limit`` of a request is reduced to it."""
    provider: str = "NSIDC_CPRD"
    """Name of the sub-catalog."""
    next_method: str = "GET"
    """Method of next links: ``GET``, as in CMR-STAC, also after a POST; ``same`` as the request;
    ``POST`` with the whole body; or ``POST-merge`` with only the cursor, to be merged into the body
    of the request."""
    relative: bool = False
    """Whether next links are without scheme and host."""
    counts: str = "cmr-stac"
    """Fields with the count: ``context``, ``numberMatched``, ``both`` or ``none``. ``cmr-stac`` has
    the context in searches, and both in the items of a collection."""
    archive: str = "cloud"
    """``cloud``, or ``ecs``, NSIDC's former archive: granules with numbers for names."""

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise ValueError(f"page_size is at least 1, not {self.page_size}.")
        if self.next_method not in NEXT_METHODS:
            raise ValueError(f"next_method is one of {NEXT_METHODS}, not {self.next_method!r}.")
        if self.archive not in ARCHIVES:
            raise ValueError(f"archive is one of {ARCHIVES}, not {self.archive!r}.")
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
        call = _Call("GET", {}, root, "", content, self._quirks, True)
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
        target: str = "",
        plain: bool = False,
    ) -> tuple[Reply, Page | None]:
        """Answer one request; also return the page of a successful search.

        `given` are the query parameters and the JSON body, `root` is the absolute URL of the API in
        links, `target` the path and query of the request. With `plain`, no fault reads or changes
        the items, so that cached JSON can be sent.
        """
        call = _Call(method, given, root, target or path, self._store.now, self._quirks, plain)
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
    target: str
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
            return self._search(self.given)
        if self.method != "GET":
            return Reply(405, {"errors": [f"{self.method} is for /search only."]}), None
        match parts:
            case []:
                return Reply(200, _landing(catalog, self.root, provider)), None
            case ["conformance"]:
                return Reply(200, {"conformsTo": list(CONFORMS_TO)}), None
            case ["collections"]:
                documents = [self._collection(name) for name in self.content.collections]
                links = [link("self", f"{catalog}/collections"), link("root", self.root)]
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
                return self._items(name)
            case ["items", item]:
                rows = self.content.index.rows({"collections": [name], "ids": [item]})
                if len(rows):
                    return Reply(200, self._item(int(rows[0]))), None
        return _not_found("/".join(rest)), None

    def _search(self, given: Mapping[str, Any]) -> tuple[Reply, Page | None]:
        catalog = f"{self.root}/{self.quirks.provider}"
        found = self._find(given, f"{catalog}/search")
        first = write_query({k: v for k, v in given.items() if k != "cursor"})
        links = [
            link("self", self._own_url(), GEOJSON, title="This search"),
            link("root", self.root, title="Root Catalog"),
            link("parent", catalog, title="Provider Catalog"),
            link("first", f"{catalog}/search?{first}", GEOJSON, title="First page of results"),
        ]
        document = {
            "type": "FeatureCollection",
            "features": self.features(found.rows),
            "links": [*links, *found.following],
            **self._counts(found, of_items=False),
        }
        return Reply(200, document, content_type=_GEOJSON, fast=self.plain), found.page

    def _items(self, name: str) -> tuple[Reply, Page | None]:
        """Return a page of the items of a collection, in the form that CMR-STAC has for it."""
        path = f"{self.root}/{self.quirks.provider}/collections/{quote(name)}/items"
        found = self._find(self.given, path, collection=name)
        collection = self._collection(name)
        links = [
            link("self", self._own_url(), GEOJSON),
            link("root", self.root),
            link("parent", path.removesuffix("/items")),
        ]
        for entry in found.following:
            entry.pop("title")
        document = {
            "type": "FeatureCollection",
            "description": f"Items in the collection {name}",
            "id": f"{name}-items",
            "license": collection["license"],
            "extent": collection["extent"],
            "stac_version": STAC_VERSION,
            **self._counts(found, of_items=True),
            "features": self.features(found.rows, listed=path),
            "links": [*links, *found.following],
        }
        return Reply(200, document, content_type=_GEOJSON, fast=self.plain), found.page

    def _find(self, given: Mapping[str, Any], url: str, *, collection: str | None = None) -> _Found:
        """Return the rows of a page and its next link, which leads to `url`."""
        named = {} if collection is None else {"collections": [collection]}
        search = parse_search({**given, **named})
        rows = self.content.index.rows(search.parameters)
        size = self.quirks.page_size
        if search.limit is not None:
            size = min(search.limit, size)
        taken = rows[search.offset : search.offset + size]
        next_link = self._linker(given, url, "GET" if collection else self.quirks.next_method)
        stop = search.offset + len(taken)
        page = Page(
            number=search.page,
            offset=search.offset,
            size=size,
            taken=len(taken),
            matched=len(rows),
            ids=lambda: self.content.ids(taken),
            salt=search.salt,
            item_at=lambda place: self._item(int(rows[place])),
            next_link=next_link,
        )
        # As in CMR-STAC, also after the last item; the next page is then empty.
        following = [next_link(stop, search.page + 1, 0)] if len(taken) else []
        return _Found(taken, page, search.limit, following)

    def _own_url(self) -> str:
        """Return the URL of this request."""
        return self.root.removesuffix("/stac") + self.target

    def features(self, rows: Ints, listed: str | None = None) -> list[Any]:
        """Return the items of some rows, as cached JSON if no fault reads them.

        `listed` is the URL of the items of a collection, for their form in such a list.
        """

        def form(record: Record) -> Any:
            item = self._item_of(record)
            return item if listed is None else listed_item(item, listed)

        if not self.plain:
            return [form(record) for record in self.content.records(rows)]
        texts = self.content.texts(listed or self.root, rows, lambda r: orjson.dumps(form(r)))
        return [orjson.Fragment(text) for text in texts]

    def _linker(
        self, given: Mapping[str, Any], url: str, method: str
    ) -> Callable[[int, int, int], dict[str, Any]]:
        """Return a function that makes next links for one search."""
        href = f"/{url.split('/', 3)[3]}" if self.quirks.relative else url
        method = self.method if method == "same" else method
        repeated = {name: value for name, value in given.items() if name != "cursor"}

        def make(offset: int, page: int, salt: int) -> dict[str, Any]:
            cursor = {"cursor": make_cursor(offset, page, salt)}
            if method == "GET":
                query = write_query(repeated | cursor)
                return link("next", f"{href}?{query}", GEOJSON, title=_NEXT)
            merged = method == "POST-merge"
            body = cursor if merged else repeated | cursor
            more = {"merge": True} if merged else {}
            return link("next", href, GEOJSON, title=_NEXT, method="POST", body=body, **more)

        return make

    def _counts(self, found: _Found, *, of_items: bool) -> dict[str, Any]:
        counts: dict[str, Any] = {}
        kind, returned, matched = self.quirks.counts, len(found.rows), found.page.matched
        if kind in ("both", "numberMatched") or (kind == "cmr-stac" and of_items):
            counts |= {"numberMatched": matched, "numberReturned": returned}
        if kind in ("both", "context", "cmr-stac"):
            limit = {} if found.limit is None else {"limit": min(found.limit, _LIMIT_SHOWN)}
            counts["context"] = {"returned": returned, **limit, "matched": matched}
        return counts

    def _item(self, row: int) -> Any:
        return self._item_of(self.content.records(np.array([row]))[0])

    def _item_of(self, record: Record) -> Any:
        return item_of(record, self.root, self.quirks.provider, archive=self.quirks.archive)

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
                link("self", url),
                link("root", self.root),
                link("parent", catalog),
                link("items", f"{url}/items", GEOJSON),
            ],
        }


_NEXT = "Next page of results"
_GEOJSON = f"{GEOJSON}; charset=utf-8"


@dataclass(frozen=True)
class _Found:
    """The rows of a page of results, with the page's next link in a list if it has one."""

    rows: Ints
    page: Page
    limit: int | None
    following: list[dict[str, Any]]


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
            link("self", root),
            link("root", root),
            link("child", f"{root}/{provider}", title=provider),
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
            link("self", catalog),
            link("root", root),
            link("conformance", f"{catalog}/conformance"),
            link("data", f"{catalog}/collections"),
            link("search", f"{catalog}/search", GEOJSON, method="GET"),
            link("search", f"{catalog}/search", GEOJSON, method="POST"),
        ],
    }
