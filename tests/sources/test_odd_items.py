"""An item with anything in it costs nothing but that item, which is named."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
import requests

from zagg_catalog.errors import FetchError
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources.http import (
    ApiRequest,
    RetryableError,
    Transport,
    parse_body,
    server_message,
)
from zagg_catalog.sources.items import count_without_links, item_name, read_items
from zagg_catalog.sources.orbit import swath_of
from zagg_catalog.sources.search import SearchResult
from zagg_catalog.sources.stac import StacSearch
from zagg_catalog.sources.umm import needs_collection, stac_items
from zagg_catalog.sources.umm_collection import CollectionLookup

COLLECTION = "ATL06_007"
ODD = [
    *(None, True, 5, -1, 10**400, -(10**30), 1e308, float("inf"), float("nan")),
    *("", "x" * 300, "\x00", "a\u202eb", "\ud800", "2023-13-45", "99999-01-01T00:00:00Z", "NaN"),
    *([], {}, [[]], [None], {"a": 1}, [1, 2, 3], [[[[[[0]]]]]], {"href": 5}),
]


@pytest.fixture(scope="module")
def features() -> list[dict[str, Any]]:
    """Two items of a page."""
    with SandboxServer(simulate(cycle=22, tracks=[1], regions=[10, 11], gaps=False)) as server:
        asked = {"collections": COLLECTION, "limit": 2}
        page = requests.get(f"{server.root_url}/NSIDC_CPRD/search", params=asked, timeout=600)
    return page.json()["features"]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in an item; of lists the first three."""
    yield path
    inside = value.items() if isinstance(value, dict) else ()
    inside = list(enumerate(value))[:3] if isinstance(value, list) else inside
    for key, part in inside:
        yield from places(part, (*path, key))


def test_an_odd_value_anywhere_costs_its_item_only(features: list[dict[str, Any]]) -> None:
    found = enumerate(places(features[0]))
    every = [(place, odd) for number, place in found for odd in ODD[number % 3 :: 3]]
    assert len(every) > 600
    for place, odd in every:
        page = [copy.deepcopy(features[0]), features[1]]
        within: Any = page
        for key in (0, *place)[:-1]:
            within = within[key]
        within[(0, *place)[-1]] = odd
        rows = read_items(page, COLLECTION)
        ids = rows.table["id"].to_pylist()
        assert features[1]["id"] in ids, (place, odd)
        assert len(ids) + len(rows.quarantined) == 2, (place, odd)


def changed(document: Any, place: tuple[str | int, ...], odd: Any) -> Any:
    """A copy of a document with an odd value at a place."""
    if not place:
        return odd
    whole = copy.deepcopy(document)
    within = whole
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = odd
    return whole


LINK = {"rel": "next", "href": "/search", "method": "POST", "merge": True}
PAGE = {
    "features": [],
    "links": [LINK | {"headers": {"CMR-Search-After": "a"}, "body": {"limit": 5, "bbox": [0]}}],
    "context": {"matched": 3, "returned": 1},
    "numberMatched": 3,
}
SEARCH = StacSearch(
    bbox=(0, 0, 1, 1),
    interval=(datetime(2024, 1, 1), datetime(2024, 1, 2)),
    limit=5,
    url="http://127.0.0.1/search",
    collection=COLLECTION,
)


@pytest.mark.parametrize("url", ["/search?limit=5", "/search?limit=many&bbox=a,b"])
def test_an_odd_value_anywhere_on_a_page_is_no_traceback(url: str) -> None:
    """It is read, or refused in a sentence."""
    request = ApiRequest(f"http://127.0.0.1{url}")
    for place, odd in itertools.product(places(PAGE), ODD):
        page = changed(PAGE, place, odd)
        if not isinstance(page, dict) or not isinstance(page.get("features"), list):
            continue  # refused before
        with suppress(FetchError):
            found = SearchResult(SEARCH)
            read = SEARCH.parse(page, {}, request)
            found.ends_short(read)
            found.add(read)


def test_an_odd_value_in_an_asset_or_a_role_is_counted(features: list[dict[str, Any]]) -> None:
    for place, odd in itertools.product(places(features[0]), ODD):
        if place[:1] == ("assets",):
            assert count_without_links([changed(features[0], place, odd), features[1]]) <= 1


ORBIT = {
    "Orbit": {
        "AscendingCrossing": 10.0,
        "StartLatitude": 27.0,
        "StartDirection": "A",
        "EndLatitude": 59.5,
        "EndDirection": "A",
    }
}


@pytest.mark.parametrize("extent", [None, ORBIT], ids=["polygon", "orbit"])
def test_an_odd_value_anywhere_in_a_record_costs_its_granule_only(extent: Any) -> None:
    """The same for UMM-G."""
    with SandboxServer(simulate(cycle=22, tracks=[1], regions=[10, 11], gaps=False)) as server:
        asked = {"short_name": "ATL06", "version": "007", "page_size": 2}
        url = f"{server.cmr_url}/granules.umm_json"
        records = requests.get(url, params=asked, timeout=600).json()["items"]
        lookup = CollectionLookup(server.cmr_url, "ATL06", "007", "NSIDC_CPRD")
        with Transport() as transport:
            lookup.ask(transport)
    collection = lookup.found
    if extent is not None:
        records[0]["umm"]["SpatialExtent"] = {"HorizontalSpatialDomain": extent}
    good = item_name(stac_items(records, collection, url)[1])
    for number, place in enumerate(places(records[0])):
        for odd in ODD[number % 5 :: 5]:
            items = [changed(records[0], place, odd), records[1]]
            assert needs_collection(items) in (True, False)
            rows = read_items(stac_items(items, collection, url), COLLECTION)
            ids = rows.table["id"].to_pylist()
            assert good in ids, (place, odd)
            assert len(ids) + len(rows.quarantined) == 2, (place, odd)


DEEP = {
    "lists": b"[" * 50_000 + b"]" * 50_000,
    "objects": b'{"a":' * 5_000 + b'"]}"' + b"}" * 5_000,
    "number": b"1" + b"0" * 5_000,
}


@pytest.mark.parametrize("kind", DEEP)
def test_a_value_that_no_parser_reads_costs_its_item_only(
    kind: str, features: list[dict[str, Any]]
) -> None:
    odd = features[0] | {"geometry": "HERE"}
    body = json.dumps({"features": [odd, features[1]]}).encode()
    page = parse_body(body.replace(b'"HERE"', DEEP[kind]), "features")
    rows = read_items(page["features"], COLLECTION)
    assert rows.table["id"].to_pylist() == [features[1]["id"]]
    assert [entry.id for entry in rows.quarantined] == [features[0]["id"]]


def test_a_spoilt_body_with_deep_values_is_not_json() -> None:
    for body in (b"[" * 50_000, b'{"a":' * 5_000 + b"]" * 5_000, b"]" * 9, b'"' + b"[" * 5_000):
        with pytest.raises(RetryableError, match="is not JSON"):
            parse_body(body, "features")


def test_messages_of_servers_are_of_any_depth() -> None:
    for depth in range(0, 1500, 50):
        server_message(b'{"detail":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize("width", ODD, ids=range(len(ODD)))
def test_an_odd_width_of_a_swath_is_none(width: Any) -> None:
    stated = {"SwathWidth": width, "SwathWidthUnit": "Kilometer"}
    swath = swath_of("ATL06", {"SpatialExtent": {"OrbitParameters": stated}})
    assert swath is not None
    assert 0 < swath.width < 1e6
