"""A map says which of its granules the reader of its config drops."""

import pytest

from tests.shardmap.test_copies import NEAR, listed
from tests.test_catalog import SQUARE
from zagg_catalog import ShardMap, from_config
from zagg_catalog.errors import UnreadableGranules
from zagg_catalog.reader import ReaderNeeds
from zagg_catalog.shardmap import merge_maps
from zagg_catalog.shardmap.readable import mark_unreadable, unreadable_granules

A, B = (f"ATL06_20231218211600_{n:04d}2201_007_01.h5" for n in (1, 2))
BOTH = listed((A, f"s3://b/{A}", f"https://h/{A}"), (B, f"s3://b/{B}", f"https://h/{B}"))
ONE = listed((A, f"s3://b/{A}", f"https://h/{A}"), (B, None, f"https://h/{B}"))
NONE = listed((A, None, f"https://h/{A}"), (B, None, f"https://h/{B}"), rings=(SQUARE, NEAR))
WHY = "it has no S3 address, which the driver s3 reads"


def grid(**data_source):
    return from_config(
        {
            "data_source": {"reader": "h5coro", **data_source},
            "aggregation": {"variables": {}},
            "output": {"grid": {"type": "healpix", "parent_order": 6, "child_order": 12}},
        }
    )


def test_a_granule_without_the_drivers_address_makes_the_map_incomplete():
    found = ShardMap.build(ONE, grid())
    assert found.table["id"].to_pylist() == [A, B]
    assert found.metadata["unreadable"] == [{"id": B, "reason": WHY}]
    assert found.metadata["complete"] is False
    assert found.quarantined == [{"id": B, "reason": WHY}]


def test_all_is_well_where_the_driver_reads_every_granule():
    for catalog, config in ((BOTH, grid()), (ONE, grid(driver="https"))):
        found = ShardMap.build(catalog, config)
        assert "unreadable" not in found.metadata
        assert mark_unreadable(found, config.config.needs) is found


def test_a_map_of_which_nothing_can_be_read_is_refused():
    with pytest.raises(UnreadableGranules, match=r"None of the 2 granules can be read, ATL06_"):
        ShardMap.build(NONE, grid())


def test_a_reader_of_rasters_needs_no_address():
    config = {"reader": "raster", "bands": {"red": {}}}
    assert "unreadable" not in ShardMap.build(NONE, grid(**config)).metadata


def test_granules_of_another_product_are_refused():
    photons = grid(coordinates={"latitude": "/{group}/heights/lat_ph"})
    with pytest.raises(UnreadableGranules, match="groups of ATL03, and the granules are ATL06"):
        ShardMap.build(BOTH, photons)


def test_merged_maps_list_the_granules_of_all():
    maps = [
        ShardMap.build(ONE, grid()),
        ShardMap.build(listed(("c", "s3://b/c.h5", "https://h/c.h5")), grid()),
    ]
    merged = merge_maps(maps)
    assert merged.metadata["unreadable"] == [{"id": B, "reason": WHY}]
    assert merged.metadata["quarantined"] == []
    assert merged.metadata["complete"] is False


def test_the_driver_of_a_run_decides():
    found = ShardMap.build(ONE, grid())
    needs = ReaderNeeds.of({}).with_driver("https")
    assert unreadable_granules(found, needs) == []
