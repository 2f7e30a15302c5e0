"""A granule that starts in the last second of the last day is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.served import WORLD, fetch, ids
from tests.sources.stub import quick
from zagg_catalog.errors import EmptyHarvest
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.sandbox.items import from_items
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query_slices import merge_slices, time_slices

LAST = "ATL06_20240131235959_06982211_007_01.h5"
JANUARY = Query("ATL06", "007", "2024-01-01", "2024-01-31", WORLD)


@pytest.fixture(scope="module")
def items(real_data: Path) -> list[Any]:
    """A granule that starts 0.6 s before midnight, and one an hour before."""
    found: list[Any] = json.loads(
        (real_data / "reported" / "lastsecond.json").read_text(encoding="utf-8")
    )
    return found


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stac_api_is_asked_for_the_whole_last_second(items: list[Any], method: str) -> None:
    with SandboxServer(from_items(items)) as server:
        assert LAST in ids(fetch(server, JANUARY, method=method))


def test_cmr_is_asked_for_the_whole_last_second(items: list[Any]) -> None:
    with SandboxServer(from_items(items)) as server, quick() as transport:
        source = CMRSource(root_url=server.cmr_url, api="cmr", transport=transport)
        # The sandbox serves items of STAC as they are, which are no UMM, and counts them.
        with pytest.raises(EmptyHarvest) as refused:
            source.fetch(JANUARY)
        asked = server.requests[0].query
    assert refused.value.matched == len(items)
    assert asked["temporal[]"] == "2024-01-01T00:00:00Z,2024-01-31T23:59:59.999999Z"


def test_the_next_day_does_not_begin_in_it(items: list[Any]) -> None:
    late = json.loads(json.dumps(items[:1]))[0]
    late["id"] = "ATL06_20240201000000_06982211_007_01.h5"
    late["properties"] |= dict.fromkeys(("datetime", "start_datetime"), "2024-02-01T00:00:00.000Z")
    with SandboxServer(from_items([*items, late])) as server:
        assert late["id"] not in ids(fetch(server, JANUARY))


def test_no_granule_is_lost_between_time_slices(items: list[Any]) -> None:
    """One that starts in the last second of a slice's last day is in the next slice as well."""
    whole = Query("ATL06", "007", "2024-01-24", "2024-02-07", WORLD)
    slices = time_slices(whole, 2)
    assert slices[0].end_date == "2024-01-31"
    with SandboxServer(from_items(items)) as server:
        parts = [fetch(server, part) for part in slices]
        assert [LAST in ids(part) for part in parts] == [True, True]
        merged, one = merge_slices(whole, parts), fetch(server, whole)
    assert ids(merged) == ids(one)
    assert merged.metadata == one.metadata
