"""Completeness: what the metadata of a catalog or a map says about missing granules."""

import pytest

from tests.harness.odd_catalogs import report
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.catalog.completeness import (
    all_complete,
    completeness,
    name_set_aside,
    set_aside,
)

AREA = {"bbox": [-1, -1, 2, 2], "area": [[-10, -10, 10, 10]]}
BAD = {"id": "a.h5", "reason": "no geometry"}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"complete": True}, True),
        ({"complete": True, "quarantined": [], "harvest": {"quarantined": []}}, True),
        ({"complete": False}, False),
        ({}, "unknown"),
        ({"complete": "unknown"}, "unknown"),
        ({"complete": None, "harvest": None}, "unknown"),
        ({"quarantined": [BAD]}, False),
        ({"complete": True, "quarantined": [BAD]}, False),
        ({"complete": True, "harvest": {"complete": True, "quarantined": [BAD]}}, False),
    ],
)
def test_only_what_says_so_and_lists_no_unusable_granule_is_complete(metadata, expected):
    assert completeness(metadata) == expected
    catalog = make_catalog(SQUARE, metadata=metadata)
    assert catalog.completeness == expected
    assert catalog.complete is (expected is True)


def test_granules_that_only_the_harvest_report_lists_are_set_aside_too():
    other = {"id": "b.h5", "reason": "no data asset"}
    metadata = {"quarantined": [BAD], "harvest": {"quarantined": [other, BAD]}}
    assert set_aside(metadata) == [BAD, other]


def test_the_whole_is_as_complete_as_its_worst_part():
    assert all_complete([]) is True
    assert all_complete([True, True]) is True
    assert all_complete([True, "unknown"]) == "unknown"
    assert all_complete(["unknown", False, True]) is False


def test_a_message_names_five_granules_and_the_number_of_the_others():
    entries = [{"id": f"{n}.h5", "reason": "no geometry"} for n in range(7)]
    assert name_set_aside(entries[:1]) == "1 granule cannot be used, 0.h5: no geometry"
    assert name_set_aside(entries).startswith("7 granules cannot be used, 0.h5: no geometry; 1.h5")
    assert name_set_aside(entries).endswith("4.h5: no geometry; and 2 more")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [({"complete": True}, True), ({"complete": False}, False), ({}, "unknown")],
)
def test_a_map_is_as_complete_as_its_catalog(metadata, expected):
    catalog = make_catalog(SQUARE, metadata=metadata | AREA)
    shard_map = ShardMap.build(catalog, HealpixGrid(5, 8))
    assert shard_map.metadata["complete"] == shard_map.completeness == expected


def test_a_map_lists_the_granules_that_only_its_catalog_knows():
    metadata = {"complete": True, "harvest": report(quarantined=[BAD])} | AREA
    catalog = make_catalog(SQUARE, None, metadata=metadata)
    found = ShardMap.build(catalog, HealpixGrid(5, 8)).metadata
    assert found["complete"] is False
    assert found["quarantined"][0] == BAD
    assert found["quarantined"][1]["id"] == catalog.table["id"][1].as_py()
