"""Of one granule the newest revision is kept; a cycle's granules are known by their names."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.catalog.filters import KEPT, UNREADABLE, NameFilters
from zagg_catalog.catalog.harvest_report import Superseded
from zagg_catalog.sources.revisions import newest_revisions

A1 = "ATL06_20240101000000_01232203_007_01.h5"
A2 = "ATL06_20240101000007_01232203_007_02.h5"
A3 = "ATL06_20240101000009_01232203_007_03.h5_dpyQXxz6"


def kept(*ids: str) -> list[str]:
    keep, _ = newest_revisions(pa.array(ids, pa.string()))
    return [ids[i] for i in keep]


def test_the_newest_revision_is_kept_and_the_others_are_named() -> None:
    keep, superseded = newest_revisions(pa.array([A2, A3, "other", A1]))
    assert keep.tolist() == [1, 2]
    assert superseded == [Superseded(id=A1, by=A3), Superseded(id=A2, by=A3)]


def test_a_granule_is_its_product_track_cycle_region_and_release() -> None:
    others = [
        A1.replace("ATL06", "ATL03"),
        A1.replace("_0123", "_0124"),
        A1.replace("012322", "012323"),
        A1.replace("2203_", "2204_"),
        A1.replace("_007_", "_006_"),
    ]
    assert kept(A2, *others) == [A2, *others]


def test_sea_ice_granules_also_differ_by_hemisphere_and_start() -> None:
    north = "ATL07-01_20240101000000_01232201_007_01.h5"
    south = "ATL07-02_20240101000000_01232201_007_01.h5"
    later = "ATL07-01_20240101004500_01232201_007_01.h5"
    newer = "ATL07-01_20240101000000_01232201_007_02.h5"
    assert kept(north, south, later, newer) == [south, later, newer]


def test_of_the_editions_of_a_multi_cycle_granule_the_longest_is_kept() -> None:
    old, new = "ATL11_012311_0321_006_01.h5", "ATL11_012311_0321_006_02.h5"
    more = "ATL11_012311_0322_006_01.h5"
    assert kept(old, new) == [new]
    assert kept(old, new, more) == [more]


def test_of_the_releases_of_an_atl24_granule_the_newest_is_kept() -> None:
    first = "ATL24_20181014001920_02350103_006_02_001_02.h5"
    second = "ATL24_20181014001920_02350103_006_02_002_01.h5"
    assert kept(first, second) == [second]


def test_two_files_of_one_revision_are_both_kept() -> None:
    later = A1.replace("000000", "000500")
    assert kept(A1, later) == [A1, later]


def test_one_file_under_two_ids_is_kept_once() -> None:
    _, superseded = newest_revisions(pa.array([A1 + "_dpyQXxz6", A1]))
    assert kept(A1 + "_dpyQXxz6", A1) == [A1]
    assert superseded == [Superseded(id=A1 + "_dpyQXxz6", by=A1)]


def test_names_that_are_not_granules_are_kept() -> None:
    assert kept("b", "a", "") == ["b", "a", ""]
    assert kept() == []


names = st.builds(
    "ATL06_2024010100000{}_{:04d}220{}_007_0{}.h5{}".format,
    st.integers(0, 1),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from(["", "_x"]),
)


@given(st.lists(names, unique=True, max_size=12))
def test_every_id_is_kept_or_named_and_the_order_does_not_matter(ids: list[str]) -> None:
    keep, superseded = newest_revisions(pa.array(ids, pa.string()))
    winners = {ids[i] for i in keep}
    assert winners | {entry.id for entry in superseded} == set(ids)
    assert winners.isdisjoint(entry.id for entry in superseded)
    assert {entry.by for entry in superseded} <= winners
    assert set(kept(*sorted(ids))) == winners


def test_a_name_carries_its_cycle() -> None:
    ids = [A1, A1.replace("012322", "012321"), "ATL11_012311_0322_006_01.h5", "other.h5", A3]
    verdict = NameFilters(cycle=22).judge(pa.array(ids))
    assert (verdict == KEPT).tolist() == [True, False, True, False, True]
    assert (verdict != UNREADABLE).tolist() == [True, True, True, False, True]
