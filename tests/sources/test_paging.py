"""A search is read page after page until it is complete, or fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sources.stub import Stub, item, name, ok, page, quick, stac_search
from zagg_catalog.errors import PagingError
from zagg_catalog.sources.items import count_without_links
from zagg_catalog.sources.paging import read_pages
from zagg_catalog.sources.search import SearchResult


def link(href: str, **more: Any) -> dict[str, Any]:
    return {"rel": "next", "href": href, **more}


def read(stub: Stub, **more: Any) -> tuple[list[int], SearchResult]:
    """Read a search; return how many items each page has, and the result."""
    found = SearchResult(stac_search(stub, **more))
    with quick() as transport:
        sizes = [len(page.features) for page in read_pages(transport, found)]
    return sizes, found


def test_short_and_empty_pages_do_not_end_the_search() -> None:
    script = [
        ok(page([name(1), name(2)], link("?p=2"))),
        ok(page([name(3)], link("?p=3"))),
        ok(page([], link("?p=4"))),
        ok(page([name(4)])),
    ]
    with Stub(*script) as stub:
        sizes, found = read(stub)
    assert sizes == [2, 1, 0, 1]
    assert (found.pages, found.received, found.harvested) == (4, 4, 4)
    assert [path.partition("?")[2] for _, path, _, _ in stub.seen[1:]] == ["p=2", "p=3", "p=4"]


def test_a_link_to_its_own_page_is_a_loop() -> None:
    with Stub(ok(page([name(1)], link("?p=2")))) as stub:
        with pytest.raises(PagingError, match=r"read already.*p=2"):
            read(stub)
        assert len(stub.seen) == 2


def test_links_in_a_circle_are_a_loop() -> None:
    circle = [ok(page([name(n)], link(f"?p={n}"))) for n in (1, 2, 3, 1)]
    with Stub(*circle) as stub:
        with pytest.raises(PagingError, match="read already"):
            read(stub)
        assert len(stub.seen) == 4


def test_posts_to_one_address_differ_by_their_bodies() -> None:
    script = [
        ok(page([name(1)], link("?", method="POST", body={"token": 2}, merge=True))),
        ok(page([name(2)], link("?", method="POST", body={"token": 3}, merge=True))),
        ok(page([name(3)], link("?", method="POST", body={"token": 2}, merge=True))),
    ]
    with Stub(*script) as stub:
        with pytest.raises(PagingError, match="read already"):
            read(stub, method="POST")
        assert [seen[2].get("token") for seen in stub.seen] == [None, 2, 3]


@pytest.mark.parametrize("names", [[], [name(1)]], ids=["empty", "the same"])
def test_pages_without_end_that_bring_nothing_new_are_refused(names: list[str]) -> None:
    first = ok(page([name(1)], link("?p=1")))
    with Stub(first, *(ok(page(names, link(f"?p={n}"))) for n in range(2, 300))) as stub:
        with pytest.raises(PagingError, match="100 pages in a row brought no new granule"):
            read(stub)
        assert len(stub.seen) == 101


def test_a_page_that_ends_the_search_short_is_asked_for_again() -> None:
    script = [
        ok(page([name(1)], link("?p=2"), numberMatched=2)),
        ok(page(numberMatched=2)),
        ok(page([name(1)], numberMatched=2)),
        ok(page([name(2)], numberMatched=2)),
    ]
    with Stub(*script) as stub:
        sizes, found = read(stub)
    assert sizes == [1, 1]
    assert found.steady
    assert [path.partition("?")[2] for _, path, _, _ in stub.seen[1:]] == ["p=2"] * 3


def test_asking_again_ends() -> None:
    with Stub(ok(page(numberMatched=1))) as stub:
        sizes, _ = read(stub)
        assert (sizes, len(stub.seen)) == ([0], 4)


def test_without_a_count_the_last_page_ends_the_search() -> None:
    with Stub(ok(page())) as stub:
        assert read(stub)[0] == [0]
        assert len(stub.seen) == 1


def pages_of(*sizes: int, matched: int) -> list[bytes]:
    """Pages of these sizes, each with a next link, as CMR-STAC's pages with items have one."""
    numbers = iter(range(1, sum(sizes) + 1))
    return [
        ok(
            page(
                [name(next(numbers)) for _ in range(size)],
                link(f"?p={place}"),
                context={"matched": matched},
            )
        )
        for place, size in enumerate(sizes, 2)
    ]


@pytest.mark.parametrize("sizes", [(2,), (2, 1), (2, 2, 1)])
def test_a_last_page_that_is_alone_or_not_full_is_not_followed(sizes: tuple[int, ...]) -> None:
    with Stub(*pages_of(*sizes, matched=sum(sizes))) as stub:
        found = read(stub)[1]
        assert (found.harvested, found.steady) == (sum(sizes), True)
        assert len(stub.seen) == len(sizes)


def test_a_count_that_a_full_page_reaches_may_be_a_limit_of_the_server() -> None:
    with Stub(*pages_of(2, 2, 2, matched=4), ok(page(context={"matched": 4}))) as stub:
        found = read(stub)[1]
    assert (found.harvested, found.steady) == (6, False)


@pytest.mark.parametrize(("whole", "requests"), [(5, 2), (4, 3)])
def test_a_slice_below_the_count_of_the_whole_is_no_limit(whole: int, requests: int) -> None:
    with Stub(*pages_of(2, 2, matched=4), ok(page(context={"matched": 4}))) as stub:
        found = SearchResult(stac_search(stub), whole)
        with quick() as transport:
            list(read_pages(transport, found))
        assert (found.harvested, len(stub.seen)) == (4, requests)


def without_links(*names: str) -> bytes:
    """A last page whose items have metadata only, as CMR-STAC sends them after a time-out."""
    metadata = {"metadata": {"href": "https://example.org/a.xml", "roles": ["metadata"]}}
    features = [item(one, assets=metadata) for one in names]
    return ok(page(numberMatched=len(names)) | {"features": features})


def test_a_page_with_items_without_links_is_asked_for_again() -> None:
    whole = ok(page([name(1), name(2)], numberMatched=2))
    with Stub(without_links(name(1), name(2)), without_links(name(1), name(2)), whole) as stub:
        search = SearchResult(stac_search(stub))
        with quick() as transport:
            (found,) = read_pages(transport, search)
        assert len(stub.seen) == 3
    assert count_without_links(found.features) == 0
    assert (search.pages, search.received, search.harvested) == (1, 2, 2)


def test_of_several_answers_without_links_the_best_one_counts() -> None:
    better = ok(page(numberMatched=2) | {"features": [item(name(1)), item(name(2), assets={})]})
    script = [without_links(name(1), name(2)), better, without_links(name(1), name(2))]
    with Stub(*script) as stub:
        with quick() as transport:
            (found,) = read_pages(transport, SearchResult(stac_search(stub)))
        assert len(stub.seen) == 4
    assert count_without_links(found.features) == 1


def test_a_server_whose_items_never_have_links_is_believed_sooner_and_sooner() -> None:
    pages = [
        ok(page(links=[link(f"?p={n + 1}")]) | {"features": [item(name(n), assets={})]})
        for n in range(6)
        for _ in range(max(4 - n, 1))
    ]
    with Stub(*pages, without_links(name(6))) as stub:
        sizes, found = read(stub)
        assert len(stub.seen) == 4 + 3 + 2 + 1 + 1 + 1 + 1
    assert (sizes, found.harvested) == ([1] * 7, 7)
