"""A harvest is proven complete against what the server declares, or fails."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.sources.stub import Stub, item, name, ok, page, quick, stac_search
from zagg_catalog.catalog.filters import NameFilters
from zagg_catalog.catalog.harvest_report import HarvestReport
from zagg_catalog.errors import EmptyHarvest, IncompleteHarvest, PagingError, RequestFailed
from zagg_catalog.sources.harvest import harvest
from zagg_catalog.sources.progress import Progress
from zagg_catalog.sources.search import BoxSearch
from zagg_catalog.sources.spool import Spool


def following(number: int) -> dict[str, Any]:
    return {"rel": "next", "href": f"?p={number}"}


def counted(numbers: Iterable[int], matched: int | None, *links: dict[str, Any]) -> bytes:
    more = {} if matched is None else {"numberMatched": matched}
    return ok(page([name(n) for n in numbers], *links, **more))


def run(
    *script: bytes | None,
    cycle: int | None = None,
    partial: bool = False,
    boxes: int = 1,
    **more: Any,
) -> tuple[list[str], HarvestReport, Stub]:
    with Stub(*script) as stub, quick(**more) as transport, Spool("ATL06_007") as spool:
        found = harvest(
            transport,
            searches(stub, boxes),
            spool,
            filters=NameFilters(cycle=cycle),
            partial=partial,
        )
        return found.table()["id"].to_pylist(), found.report, stub


def searches(stub: Stub, boxes: int = 1) -> list[BoxSearch]:
    return [
        stac_search(
            stub,
            f"box={n}/search",
            bbox=(float(n), 0.0, n + 1.0, 1.0),
            label=f"box {n + 1} " if boxes > 1 else "",
        )
        for n in range(boxes)
    ]


def test_all_pages_are_harvested_and_the_count_is_asked_for_again() -> None:
    ids, report, stub = run(
        counted([3, 1], 3, following(2)), counted([2], 3), counted([1], 3, following(9))
    )
    assert ids == [name(1), name(2), name(3)]
    assert report.complete
    assert (report.declared_before, report.declared_after, report.harvested) == (3, 3, 3)
    assert (report.transfer.requests, report.transfer.pages, report.transfer.retries) == (3, 2, 0)
    assert stub.seen[-1][1].endswith("limit=1")


def test_items_that_come_twice_count_once() -> None:
    ids, report, _ = run(counted([1, 2], 3, following(2)), counted([2, 3], 3), counted([1], 3))
    assert ids == [name(1), name(2), name(3)]
    assert report.complete
    assert report.transfer.duplicates == 1
    assert report.superseded == ()


def test_too_few_granules_are_an_incomplete_harvest_that_says_so() -> None:
    script = [counted([1, 2], 5)]
    with pytest.raises(
        IncompleteHarvest, match="declared 5 granules, but 2 were received"
    ) as raised:
        run(*script)
    assert "GET http://127.0.0.1" in str(raised.value)
    assert "partial=True" in str(raised.value)


def test_too_many_granules_are_an_incomplete_harvest() -> None:
    with pytest.raises(IncompleteHarvest, match="declared 1 granules, but 2 were received"):
        run(counted([1, 2], 1))


def test_partial_results_are_given_on_request_and_say_so() -> None:
    ids, report, _ = run(counted([1, 2], 5), partial=True)
    assert ids == [name(1), name(2)]
    assert not report.complete
    assert report.to_dict()["complete"] is False


def test_an_empty_answer_where_results_are_declared_is_asked_for_again() -> None:
    ids, report, _ = run(counted([], 2), counted([], 2), counted([1, 2], 2), counted([1], 2))
    assert ids == [name(1), name(2)]
    assert report.transfer.retries == 2


def test_an_empty_answer_where_results_are_declared_fails() -> None:
    with pytest.raises(IncompleteHarvest, match="declared 2 granules, but 0 were received"):
        run(counted([], 2))


def test_an_empty_answer_where_results_are_declared_is_an_empty_partial_result() -> None:
    ids, report, _ = run(counted([], 2), partial=True)
    assert ids == []
    assert not report.complete


def test_a_harvest_that_ends_early_goes_on_where_it_stopped() -> None:
    ids, report, stub = run(
        counted([1, 2], 3, following(2)), counted([], 3), counted([3], 3), counted([1], 3)
    )
    assert ids == [name(1), name(2), name(3)]
    assert report.transfer.retries == 1
    assert [path.rpartition("?")[2] for _, path, _, _ in stub.seen[1:3]] == ["p=2", "p=2"]


def test_a_count_that_moves_is_harvested_again() -> None:
    ids, report, _ = run(counted([1], 1), counted([1], 2), counted([1, 2], 2), counted([1], 2))
    assert ids == [name(1), name(2)]
    assert report.complete
    assert report.declared_before == 2


def test_a_count_that_keeps_moving_fails() -> None:
    with pytest.raises(
        IncompleteHarvest, match="2 granules before the harvest and 3 granules after"
    ):
        run(counted([1], 1), counted([1], 2), counted([1, 2], 2), counted([1], 3))


def test_a_count_that_is_declared_only_once_proves_nothing() -> None:
    script = [counted([1], None), counted([1], 1)] * 2
    with pytest.raises(IncompleteHarvest, match="no count before the harvest and 1 granules after"):
        run(*script)


def test_without_a_count_nothing_is_proven() -> None:
    with pytest.raises(IncompleteHarvest, match="declares no count"):
        run(counted([1], None))
    ids, report, _ = run(counted([1], None), partial=True)
    assert ids == [name(1)]
    assert not report.complete


def test_a_query_that_matches_nothing_says_so() -> None:
    with pytest.raises(EmptyHarvest, match="No granules match GET http"):
        run(counted([], 0))


def test_nothing_now_but_something_later_is_harvested() -> None:
    ids, *_ = run(counted([], 0), counted([1], 1), counted([1], 1), counted([1], 1))
    assert ids == [name(1)]


def test_a_page_that_cannot_be_read_fails_also_where_partial_results_would_do() -> None:
    with pytest.raises(RequestFailed, match="p=2"):
        run(counted([1], 2, following(2)), None, partial=True)


def test_pages_that_bring_nothing_new_end() -> None:
    script = [counted([1], 2, following(n)) for n in range(2, 200)]
    with pytest.raises(PagingError, match="100 pages in a row brought no new granule"):
        run(*script)


def test_granules_without_end_are_refused() -> None:
    script = [counted(range(n * 300, n * 300 + 300), 10, following(n)) for n in range(1, 9)]
    with pytest.raises(IncompleteHarvest, match="and further pages"):
        run(*script)


def test_useless_items_are_named_and_count_as_received() -> None:
    features = [item(name(1)), item(name(2), geometry=None), {"type": "Feature"}]
    answer = ok({**page(), "features": features, "numberMatched": 3})
    ids, report, _ = run(answer)
    assert ids == [name(1)]
    assert not report.complete
    assert {q.id: q.reason for q in report.quarantined} == {
        name(2): "no geometry",
        "page 1 item 3": "it has no id",
    }


def test_an_unusable_copy_of_a_usable_item_is_not_a_missing_granule() -> None:
    features = [item(name(1)), item(name(1), geometry=None)]
    _, report, _ = run(ok({**page(), "features": features, "numberMatched": 1}))
    assert (report.harvested, report.kept, report.quarantined) == (1, 1, ())
    assert report.complete


def test_an_unusable_item_is_superseded_by_a_usable_newer_revision() -> None:
    old, new = name(1, revision=1), name(1, revision=2)
    features = [item(old, geometry=None), item(new)]
    ids, report, _ = run(ok({**page(), "features": features, "numberMatched": 2}))
    assert ids == [new]
    assert report.complete
    assert report.to_dict()["superseded"] == [{"id": old, "by": new}]


def test_a_usable_item_does_not_replace_an_unusable_newer_revision() -> None:
    old, new = name(1, revision=1), name(1, revision=2)
    features = [item(old), item(new, geometry=None)]
    ids, report, _ = run(ok({**page(), "features": features, "numberMatched": 2}))
    assert ids == [old]
    assert not report.complete
    assert [entry.id for entry in report.quarantined] == [new]


def test_where_nothing_is_usable_the_first_reason_is_said() -> None:
    answer = ok({**page(), "features": [item(name(1), geometry=None)], "numberMatched": 1})
    reason = r"1 cannot be used, first ATL06_.*: no geometry\. CMR-STAC gives .*--api cmr"
    with pytest.raises(EmptyHarvest, match=reason):
        run(answer)


def test_a_cycle_is_kept_by_name_and_the_rest_is_counted() -> None:
    names = [name(1), name(2, cycle=21), name(3, cycle=23), "unreadable.h5"]
    ids, report, _ = run(ok(page(names, numberMatched=4)), cycle=22)
    assert ids == [name(1)]
    assert (report.harvested, report.outside_cycle, report.kept) == (4, 2, 1)
    assert [q.id for q in report.quarantined] == ["unreadable.h5"]
    assert not report.complete


def test_a_useless_item_of_another_cycle_is_not_this_cycles_trouble() -> None:
    features = [item(name(n, cycle=20 + n), geometry=None) for n in (1, 2)] + [item(name(3))]
    _, report, _ = run(ok({**page(), "features": features, "numberMatched": 3}), cycle=22)
    assert [q.id for q in report.quarantined] == [name(2, cycle=22)]
    assert (report.harvested, report.kept, report.outside_cycle) == (3, 1, 1)


def test_a_cycle_without_granules_says_how_many_others_there_are() -> None:
    with pytest.raises(EmptyHarvest, match=r"left of 2 that match .*: 2 are not of cycle 7"):
        run(counted([1, 2], 2), cycle=7)


def test_older_revisions_are_left_out_and_named() -> None:
    names = [name(1, revision=1), name(1, revision=2), name(2)]
    ids, report, _ = run(ok(page(names, numberMatched=3)))
    assert ids == [name(1, revision=2), name(2)]
    assert (report.harvested, report.kept) == (3, 2)
    assert report.to_dict()["superseded"] == [{"id": names[0], "by": names[1]}]


def test_each_box_is_proven_on_its_own_and_what_both_hold_is_kept_once() -> None:
    ids, report, stub = run(
        counted([1, 2], 2), counted([1], 2), counted([2, 3], 2), counted([2], 2), boxes=2
    )
    assert ids == [name(1), name(2), name(3)]
    assert (report.harvested, report.shared, report.declared_before) == (3, 1, 4)
    assert [part.harvested for part in report.slices] == [2, 2]
    assert report.superseded == ()
    assert report.complete
    assert ["box=0" in path for _, path, _, _ in stub.seen] == [True, True, False, False]


def test_one_incomplete_box_spoils_the_harvest() -> None:
    with pytest.raises(IncompleteHarvest, match="box=1"):
        run(counted([1], 1), counted([1], 1), counted([3], 2), boxes=2)


def test_items_without_id_are_told_apart_by_their_box() -> None:
    answer = ok({**page([name(1)]), "features": [item(name(1)), "x"], "numberMatched": 2})
    _, report, _ = run(answer, boxes=2)
    assert [q.id for q in report.quarantined] == ["box 1 page 1 item 2", "box 2 page 1 item 2"]
    # A stored report names them by their content, wherever they came.
    (stored,) = report.to_dict()["quarantined"]
    assert stored["id"].startswith("item without an id ")


def test_the_report_does_not_depend_on_pages() -> None:
    one = run(counted([1, 2, 3], 3))
    many = run(counted([3], 3, following(2)), counted([], 3, following(3)), counted([2, 1], 3))
    assert one[0] == many[0]
    assert one[1].to_dict() == many[1].to_dict()
    assert json.loads(json.dumps(one[1].to_dict())) == one[1].to_dict()


def test_progress_counts_over_all_boxes() -> None:
    told: list[tuple[int, int | None]] = []
    script = [counted([1, 2], 2), counted([1], 2), counted([3], 1), counted([3], 1)]
    progress = Progress(lambda done, total: told.append((done, total)))
    with Stub(*script) as stub, quick() as transport, Spool("ATL06_007") as spool:
        harvest(transport, searches(stub, 2), spool, progress=progress)
    assert told == [(2, 2), (3, 3)]


def test_figures_of_a_shared_transport_are_this_harvests_own() -> None:
    with Stub(counted([1], 1)) as stub, quick() as transport, Spool("ATL06_007") as spool:
        for _ in range(2):
            found = harvest(transport, searches(stub), spool)
        assert found.report.transfer.requests == 2
