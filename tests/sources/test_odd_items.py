"""An item with anything in it costs nothing but that item, which is named."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources.items import read_items

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
