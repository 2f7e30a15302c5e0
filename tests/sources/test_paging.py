"""Pages follow each other along next links, and the links are not trusted."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.sources.stub import Stub, name, ok, page, quick
from zagg_catalog.errors import PagingError
from zagg_catalog.sources.http import ApiRequest
from zagg_catalog.sources.paging import next_request, pages

ASKED = ApiRequest("https://api.org/stac/search?limit=2&x=1")
POSTED = ApiRequest("https://api.org/stac/search", "POST", {"limit": 2, "bbox": [0]}, {"X-A": "1"})


def link(href: Any = "https://api.org/stac/search?cursor=2", **more: Any) -> dict[str, Any]:
    return {"rel": "next", "href": href, **more}


def test_the_last_page_has_no_next_link() -> None:
    assert next_request(page(), ASKED) is None
    assert next_request(page([], {"rel": "prev", "href": "x"}), ASKED) is None
    assert next_request({"features": []}, ASKED) is None
    assert next_request({"features": [], "links": None}, ASKED) is None


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://api.org/stac/search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("https://API.org:443/stac/search?cursor=2", "https://API.org:443/stac/search?cursor=2"),
        ("/stac/search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("//api.org/stac/search?cursor=2#x", "https://api.org/stac/search?cursor=2"),
        ("https://me:pw@api.org/s", "https://api.org/s"),
    ],
)
def test_links_are_absolute_or_relative_to_their_page(href: str, url: str) -> None:
    assert next_request(page([], link(href)), ASKED) == ApiRequest(url)


def test_a_post_link_brings_its_body() -> None:
    following = next_request(
        page([], link(method="post", body={"token": "a"}, headers={"X-B": "2", "X-C": 3})), POSTED
    )
    assert following == ApiRequest(
        "https://api.org/stac/search?cursor=2", "POST", {"token": "a"}, {"X-B": "2"}
    )


def test_a_post_link_may_merge_into_what_was_sent() -> None:
    following = next_request(
        page([], link(method="POST", body={"token": "a", "limit": 3}, merge=True)), POSTED
    )
    assert following is not None
    assert following.body == {"limit": 3, "bbox": [0], "token": "a"}
    assert following.headers == {"X-A": "1"}


def test_a_post_link_may_merge_into_a_get_search() -> None:
    asked = ApiRequest("https://api.org/s?collections=A,B&bbox=-1,2,3,4.5&datetime=a/b&limit=2")
    following = next_request(page([], link(method="POST", body={"token": 1}, merge=True)), asked)
    assert following is not None
    assert following.body == {
        "collections": ["A", "B"],
        "bbox": [-1, 2, 3, 4.5],
        "datetime": "a/b",
        "limit": 2,
        "token": 1,
    }


def test_a_get_link_on_a_posted_search_has_no_body() -> None:
    following = next_request(page([], link()), POSTED)
    assert following is not None
    assert (following.method, following.body) == ("GET", None)


@pytest.mark.parametrize(
    "href",
    [
        "http://api.org/stac/search?cursor=2",
        "https://api.org:8443/stac/search",
        "https://evil.org/stac/search",
        "https://api.org.evil.org/",
        "https://api.org@evil.org/",
        "//evil.org/stac/search",
        "ftp://api.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://api.org:99999/",
        "https://[bad",
    ],
)
def test_a_link_to_another_origin_is_refused(href: str) -> None:
    with pytest.raises(PagingError, match="another origin"):
        next_request(page([], link(href)), ASKED)


@pytest.mark.parametrize("href", [None, "", "  ", 5, {"a": 1}])
def test_a_link_without_href_is_refused(href: Any) -> None:
    with pytest.raises(PagingError, match="has no href"):
        next_request(page([], link(href)), ASKED)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "DELETE"}, {"method": "POST", "body": [1]}, {"method": "POST", "body": "x"}],
)
def test_a_link_that_is_not_understood_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PagingError, match="not understood"):
        next_request(page([], link(**wrong)), ASKED)


def test_links_that_are_no_list_are_refused() -> None:
    with pytest.raises(PagingError, match="not a list"):
        next_request({"features": [], "links": {"next": "x"}}, ASKED)


def test_short_and_empty_pages_do_not_end_the_search() -> None:
    script = [
        ok(page([name(1), name(2)], link("?p=2"))),
        ok(page([name(3)], link("?p=3"))),
        ok(page([], link("?p=4"))),
        ok(page([name(4)])),
    ]
    with Stub(*script) as stub, quick() as transport:
        found = [len(p["features"]) for p in pages(transport, ApiRequest(stub.url))]
    assert found == [2, 1, 0, 1]
    assert [path.partition("?")[2] for _, path, _, _ in stub.seen[1:]] == ["p=2", "p=3", "p=4"]


def test_a_link_to_its_own_page_is_a_loop() -> None:
    with Stub(ok(page([name(1)], link("?p=2")))) as stub, quick() as transport:
        with pytest.raises(PagingError, match=r"read already.*p=2"):
            list(pages(transport, ApiRequest(stub.url)))
        assert len(stub.seen) == 2


def test_links_in_a_circle_are_a_loop() -> None:
    circle = [ok(page([name(n)], link(f"?p={n}"))) for n in (1, 2, 3, 1)]
    with Stub(*circle) as stub, quick() as transport:
        with pytest.raises(PagingError, match="read already"):
            list(pages(transport, ApiRequest(stub.url)))
        assert len(stub.seen) == 4


def test_posts_to_one_address_differ_by_their_bodies() -> None:
    script = [
        ok(page([name(1)], link("?", method="POST", body={"token": 2}, merge=True))),
        ok(page([name(2)], link("?", method="POST", body={"token": 3}, merge=True))),
        ok(page([name(3)], link("?", method="POST", body={"token": 2}, merge=True))),
    ]
    with Stub(*script) as stub, quick() as transport:
        with pytest.raises(PagingError, match="read already"):
            list(pages(transport, ApiRequest(stub.url, "POST", {"limit": 1})))
        assert [seen[2].get("token") for seen in stub.seen] == [None, 2, 3]


def test_empty_pages_without_end_are_refused() -> None:
    numbers = itertools.count(2)
    with Stub(ok(page())) as stub, quick() as transport:
        stub.script = [ok(page([], link(f"?p={next(numbers)}"))) for _ in range(200)]
        with pytest.raises(PagingError, match="100 empty pages in a row"):
            list(pages(transport, ApiRequest(stub.url)))
        assert len(stub.seen) == 100


def test_a_page_may_be_asked_for_again() -> None:
    script = [ok(page([name(1)], link("?p=2"))), ok(page()), ok(page()), ok(page([name(2)]))]
    with Stub(*script) as stub, quick() as transport:
        found = pages(transport, ApiRequest(stub.url), ask_again=lambda p, last: not p["features"])
        assert [len(p["features"]) for p in found] == [1, 1]
        assert transport.retries_used == 2


def test_asking_again_ends() -> None:
    with Stub(ok(page())) as stub, quick() as transport:
        found = list(pages(transport, ApiRequest(stub.url), ask_again=lambda p, last: last))
        assert (len(found), len(stub.seen)) == (1, 4)
