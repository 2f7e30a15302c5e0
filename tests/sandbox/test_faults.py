"""Every fault does at the level of HTTP what its text says."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Serve, next_link
from zagg_catalog.cycles import parse_granule_name
from zagg_catalog.sandbox import Fault, Granules
from zagg_catalog.sandbox.fault_kinds import describe_faults, parse_fault
from zagg_catalog.sandbox.faults import KINDS


def test_faults_are_read_from_text() -> None:
    fault = parse_fault("status=429:times=3:every=2:skip=1:page=4:route=any:retry-after=7")
    assert (fault.name, fault.number, fault.times) == ("status", 429, 3)
    assert (fault.every, fault.skip, fault.page, fault.route) == (2, 1, 4, "any")
    assert fault.options == {"retry-after": "7"}


@pytest.mark.parametrize("text", ["earthquake", "status=503:often", "status:times=x"])
def test_bad_fault_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no fault 'earthquake'|503:often|'x'"):
        parse_fault(text)


def test_all_faults_are_described() -> None:
    assert len(describe_faults().splitlines()) == len(KINDS)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_status_bursts_end_after_so_many_times(serve: Serve, status: int) -> None:
    with serve(faults=[f"status={status}:times=2"]) as client:
        assert [client.get().status_code for _ in range(4)] == [status, status, 200, 200]
        assert [r.status for r in client.server.requests] == [status, status, 200, 200]


def test_every_third_request_can_fail(serve: Serve) -> None:
    with serve(faults=[Fault("status", 500, every=3, skip=1, times=9)]) as client:
        statuses = [client.get().status_code for _ in range(6)]
    assert statuses == [200, 500, 200, 200, 500, 200]


def test_one_page_can_fail(serve: Serve) -> None:
    with serve(faults=["status=502:page=2"]) as client:
        first = client.get().json()
        href = next_link(first)["href"]  # type: ignore[index]
        assert client.session.get(href, timeout=60).status_code == 502
        assert client.session.get(href, timeout=60).status_code == 200


def test_faults_spare_other_routes_unless_told(serve: Serve) -> None:
    with serve(faults=["status=500"]) as client:
        assert client.get("").status_code == 200
    with serve(faults=["status=500:route=any"]) as client:
        assert client.get("").status_code == 500


def test_retry_after_comes_as_seconds_or_date(serve: Serve) -> None:
    faults = ["status=429:retry-after=7", "status=503:skip=1:retry-after=date:in=6000"]
    with serve(faults=faults) as client:
        assert client.get().headers["Retry-After"] == "7"
        when = parsedate_to_datetime(client.get().headers["Retry-After"])
    assert 5000 < when.timestamp() - time.time() <= 6000


def test_latency_delays(serve: Serve) -> None:
    with serve(faults=["latency=0.3:times=1"]) as client:
        begin = time.monotonic()
        assert client.get().status_code == 200
        assert time.monotonic() - begin >= 0.3


@pytest.mark.parametrize("name", ["reset", "no-response"])
def test_connections_break(serve: Serve, name: str) -> None:
    with serve(faults=[name]) as client:
        with pytest.raises(requests.ConnectionError) as caught:
            client.get()
        assert ("reset" in str(caught.value)) == (name == "reset")
        assert client.server.requests[0].status == 0
        assert client.get().status_code == 200


def test_timeouts_outlast_the_client_but_not_the_server(serve: Serve) -> None:
    begin = time.monotonic()
    with serve(faults=["timeout=600"]) as client:
        with pytest.raises(requests.Timeout):
            client.session.get(f"{client.url}/search", timeout=0.2)
        assert client.get().status_code == 200
    assert time.monotonic() - begin < 300


def test_bodies_can_be_cut_short(serve: Serve) -> None:
    with serve(faults=["truncated=0.3"]) as client:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            client.get()
        assert client.get().json()["context"]["matched"] == 25


def test_json_can_be_cut_inside_a_whole_body(serve: Serve) -> None:
    with serve(faults=["cut-json=0.9"]) as client:
        reply = client.get()
        assert len(reply.content) == int(reply.headers["Content-Length"])
        with pytest.raises(json.JSONDecodeError):
            json.loads(reply.content)
        client.get().json()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("json-list", []), ("json-null", None), ("no-features", {"type": "FeatureCollection"})],
)
def test_json_can_be_of_another_kind(serve: Serve, name: str, expected: Any) -> None:
    with serve(faults=[name]) as client:
        reply = client.get()
        document = reply.json()
    assert reply.status_code == 200
    if isinstance(document, dict):
        assert "features" not in document
    else:
        assert document == expected


def test_html_comes_with_status_200(serve: Serve) -> None:
    with serve(faults=["html"]) as client:
        reply = client.get()
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.text.startswith("<!DOCTYPE html>")


def test_next_links_can_loop(serve: Serve) -> None:
    with serve(faults=["loop"]) as client:
        pages = list(client.pages(5))
    starts = [page["features"][0]["id"] for page in pages]
    assert len(pages) == 5
    assert starts[1] == starts[2] == starts[3] == starts[4] != starts[0]
    assert next_link(pages[2]) == next_link(pages[3])


def test_next_links_can_cycle(serve: Serve) -> None:
    with serve(faults=["cycle"]) as client:
        starts = [page["features"][0]["id"] for page in client.pages(6)]
    assert len(starts) == 6
    assert starts[0::2] == starts[:1] * 3
    assert starts[1::2] == starts[1:2] * 3


def test_next_links_can_lack_their_href(serve: Serve) -> None:
    with serve(faults=["next-without-href"]) as client:
        link = next_link(client.get().json())
    assert link is not None
    assert "href" not in link


def test_next_links_can_lead_away(serve: Serve) -> None:
    with serve(faults=["next-elsewhere=http://evil.invalid"]) as client:
        link = next_link(client.get().json())
    assert link is not None
    assert link["href"].startswith("http://evil.invalid/stac/NSIDC_CPRD/search?")


@pytest.mark.parametrize("fault", ["empty-page", "empty-page:page=1", "short-page=3"])
def test_odd_pages_lose_nothing(serve: Serve, granules: Granules, fault: str) -> None:
    with serve(faults=[fault]) as client:
        pages = list(client.pages())
    ids = [item["id"] for page in pages for item in page["features"]]
    assert ids == granules.table["id"].to_pylist()
    assert len(pages) > 3
    assert all(page["context"]["matched"] == 25 for page in pages)
    # The last page is always followed by an empty one.
    empty = [number for number, page in enumerate(pages[:-1], 1) if not page["features"]]
    assert empty == ([int(fault[-1]) if "page=" in fault else 2] if "empty" in fault else [])


@pytest.mark.parametrize(("fault", "matched"), [("silent-end", 25), ("silent-end:matched=0", 0)])
def test_a_search_can_end_in_silence(serve: Serve, fault: str, matched: int) -> None:
    with serve(faults=[fault]) as client:
        pages = list(client.pages())
    assert [len(page["features"]) for page in pages] == [10, 0]
    assert pages[1]["context"]["matched"] == matched


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("count-high=2", [27, 27, 27, 27]),
        ("count-low", [24, 24, 24, 24]),
        ("count-moves=3", [25, 28, 31, 34]),
    ],
)
def test_counts_can_be_wrong(serve: Serve, fault: str, counts: list[int]) -> None:
    with serve(faults=[fault]) as client:
        pages = list(client.pages())
    assert [page["context"]["matched"] for page in pages] == counts


def test_counts_can_be_missing(serve: Serve) -> None:
    with serve(faults=["no-count"]) as client:
        page = client.get().json()
    assert "matched" not in page["context"]


def test_granules_can_arrive_between_pages(serve: Serve, granules: Granules) -> None:
    with serve(faults=["ingest=2"]) as client:
        pages = list(client.pages())
        again = client.ids()
    ids = [item["id"] for page in pages for item in page["features"]]
    assert [page["context"]["matched"] for page in pages] == [23, 25, 25, 25]
    assert len(set(ids)) == 23
    assert len(ids) == 25
    assert again == granules.table["id"].to_pylist()


def test_items_can_repeat_across_pages(serve: Serve) -> None:
    with serve(faults=["duplicates=2"]) as client:
        pages = list(client.pages())
    ids = [[item["id"] for item in page["features"]] for page in pages]
    assert ids[1][:2] == ids[0][-2:]
    assert sum(map(len, ids)) == 29
    assert len({i for page in ids for i in page}) == 25


def test_a_newer_revision_can_stand_beside_the_older(serve: Serve) -> None:
    with serve(faults=["superseded=2"]) as client:
        pages = list(client.pages())
    newer, older = (pages[0]["features"][i] for i in (0, 2))
    first, second = parse_granule_name(newer["id"]), parse_granule_name(older["id"])
    assert first is not None
    assert second is not None
    assert (first.rgt, first.region, first.start) == (second.rgt, second.region, second.start)
    assert first.revision == second.revision + 1
    common = {"browse", "thumbnail_0", "thumbnail_1", "metadata"}
    assert set(newer["assets"]) & set(older["assets"]) == common
    assert {page["context"]["matched"] for page in pages} == {27}
    assert sum(len(page["features"]) for page in pages) == 27


def is_nan(value: float) -> bool:
    return value != value


MALFORMED = {
    "null-geometry": lambda item: item["geometry"] is None,
    "no-geometry": lambda item: "geometry" not in item,
    "empty-polygon": lambda item: item["geometry"]["coordinates"] == [],
    "nan-coordinate": lambda item: is_nan(item["geometry"]["coordinates"][0][1][0]),
    "few-vertices": lambda item: len(item["geometry"]["coordinates"][0]) == 2,
    "missing-id": lambda item: "id" not in item,
    "not-an-item": lambda item: isinstance(item, str),
    "missing-assets": lambda item: "assets" not in item,
    "missing-datetime": lambda item: item["properties"] == {},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_items_can_be_malformed(serve: Serve, name: str) -> None:
    with serve(faults=[f"{name}=2:page=2"]) as client:
        clean, spoiled, *_ = client.pages()
        same = list(client.pages())[1]
    assert MALFORMED[name](spoiled["features"][0])
    assert MALFORMED[name](spoiled["features"][1])
    assert spoiled["context"]["matched"] == 25
    assert len(spoiled["features"]) == 10
    good = [*clean["features"], *spoiled["features"][2:]]
    assert all(item["geometry"]["coordinates"][0] and item["assets"] for item in good)
    # Asking again does not heal it.
    assert json.dumps(same["features"]) == json.dumps(spoiled["features"])


def test_one_bad_item_fails_its_page_again_and_again(serve: Serve, granules: Granules) -> None:
    bad = granules.table["id"][12].as_py()
    with serve(faults=[f"bad-item={bad}"]) as client:
        first = client.get(limit=10).json()
        href = next_link(first)["href"]  # type: ignore[index]
        replies = [client.session.get(href, timeout=60) for _ in range(3)]
        others = client.get(limit=10, sortby="-datetime").status_code
    assert [reply.status_code for reply in replies] == [500, 500, 500]
    (message,) = replies[0].json()["errors"]
    assert message.startswith("Oops! Something has gone wrong. We have been alerted")
    assert others == 200


def test_every_page_is_bad_without_a_name(serve: Serve) -> None:
    with serve(faults=["bad-item"]) as client:
        assert client.get().status_code == 500
        assert client.get("/collections").status_code == 200


def test_items_can_come_without_links_and_whole_when_asked_for_again(serve: Serve) -> None:
    with serve(faults=["no-links=0.3"]) as client:
        spoiled, whole = (client.get(limit=10).json()["features"] for _ in range(2))
    for place, (item, full) in enumerate(zip(spoiled, whole, strict=True)):
        if place >= 3:
            assert item == full
            continue
        # Nothing is left of the second request of CMR-STAC, the one for the related URLs.
        assert list(item["assets"]) == ["metadata"]
        assert item["stac_extensions"] == []
        assert "storage:schemes" not in item["properties"]
        own = {"assets": 0, "stac_extensions": 0, "properties": 0}
        assert item | own == full | own


def test_faults_of_content_spare_what_a_status_replaced(serve: Serve) -> None:
    with serve(faults=["status=503", "null-geometry"]) as client:
        assert client.get().status_code == 503
        assert client.get().json()["features"][0]["geometry"] is None
