"""What a config's reader needs of granules: an address, and a product that has its groups."""

from typing import Any

import pytest

from zagg_catalog.reader import ReaderNeeds, note_of_plan

ATL06 = {"coordinates": {"latitude": "/{group}/land_ice_segments/latitude"}}
ATL03 = {"levels": {"photons": {"path": "/{group}/heights"}}}


@pytest.mark.parametrize(
    ("section", "slot"),
    [
        ({}, "s3"),
        ({"driver": "s3"}, "s3"),
        ({"driver": "https"}, "https"),
        ({"reader": "h5coro", "driver": "https"}, "https"),
        ({"reader": "raster"}, None),
        ("nothing", None),
    ],
)
def test_the_driver_is_s3_unless_the_config_says_otherwise(section: Any, slot: str | None) -> None:
    assert ReaderNeeds.of(section).slot == slot


def test_a_run_may_choose_another_driver() -> None:
    needs = ReaderNeeds.of(ATL06)
    assert needs.with_driver("https").slot == "https"
    assert needs.with_driver(None) == needs
    assert ReaderNeeds.of({"reader": "raster"}).with_driver("https").slot is None


@pytest.mark.parametrize(
    ("section", "product", "refused"),
    [
        (ATL06, "ATL06", None),
        (ATL06, "ATL03", "ATL03"),
        (ATL03, "ATL06", "ATL06"),
        (ATL06, "ATL08QL", "ATL08"),
        ({"filters": [{"dataset": "/{group}/land_segments/x"}]}, "ATL08QL", None),
        ({"variables": {"a": "/{group}/own/a"}}, "ATL06", None),
        ({"short_name": "ATL08", **ATL06}, "ATL06", "ATL06"),
        (ATL06, "GEDI_L4A", None),
    ],
)
def test_a_product_is_known_by_its_groups(section: Any, product: str, refused: str | None) -> None:
    needs = ReaderNeeds.of(section)
    assert needs.refuses({"short_name": product}) == refused
    assert needs.refuses({"collection": f"{product}_007"}) == refused
    assert needs.refuses({}) is None


@pytest.mark.parametrize("section", [{}, {"read_plan": {}}, {"read_plan": None}, "nothing"])
def test_granules_that_are_read_whole_lack_nothing(section: Any) -> None:
    assert note_of_plan(section) is None


def test_a_read_plan_may_lose_values_along_the_sides_of_shards() -> None:
    note = note_of_plan({"read_plan": {"spatial_index": "segments", "pad": 40}})
    assert note is not None
    assert "by the index 'segments' (data_source.read_plan)" in note
