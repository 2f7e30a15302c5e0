"""A margin widens the box that a query asks for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.sources.stub import Stub, name, ok, page
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.regions import check_bbox
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.margin import check_margin, widened

BOX = (10.0, 60.0, 12.0, 61.0)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        (BOX, None, BOX),
        (BOX, 0, BOX),
        (BOX, 0.5, (9.5, 59.5, 12.5, 61.5)),
        (BOX, "0.5 deg", (9.5, 59.5, 12.5, 61.5)),
        ((179.0, -1.0, 179.5, 1.0), 1, (178.0, -2.0, -179.5, 2.0)),
        ((-179.5, 0.0, -179.0, 1.0), "1°", (179.5, -1.0, -178.0, 2.0)),
        ((179.0, 0.0, -179.0, 1.0), 1, (178.0, -1.0, -178.0, 2.0)),
        ((-179.0, 0.0, 179.5, 1.0), 1, (-180.0, -1.0, 180.0, 2.0)),
        ((-180.0, -90.0, 180.0, -60.0), 2, (-180.0, -90.0, 180.0, -58.0)),
        ((-179.0, 0.0, 10.0, 1.0), 1, (-180.0, -1.0, 11.0, 2.0)),
        ((10.0, 88.0, 20.0, 89.0), "200km", (-180.0, 86.2014, 180.0, 90.0)),
    ],
)
def test_a_box_is_widened_on_all_sides(box, margin, expected) -> None:
    found = widened(box, margin)
    assert found == pytest.approx(expected, abs=1e-4)
    assert check_bbox(found) == pytest.approx(found)


def test_every_point_within_the_kilometres_is_inside() -> None:
    west, south, east, north = widened(BOX, "10 km")
    assert (north - BOX[3]) * math.radians(1) * 6371.0088 == pytest.approx(10, abs=0.01)
    angle = 10 / 6371.0088
    for bearing in range(360):
        turn, lat = math.radians(bearing), math.radians(BOX[3])
        found = math.asin(
            math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(turn)
        )
        step = math.atan2(
            math.sin(turn) * math.sin(angle) * math.cos(lat),
            math.cos(angle) - math.sin(lat) * math.sin(found),
        )
        assert BOX[2] + math.degrees(step) <= east + 1e-6
        assert BOX[0] + math.degrees(step) >= west - 1e-6
        assert south < math.degrees(found) <= north + 1e-6


def test_margins_have_one_form() -> None:
    assert [check_margin(m) for m in (1, "1", "1deg", "10KM", " .5 km ")] == [
        "1 deg",
        "1 deg",
        "1 deg",
        "10 km",
        "0.5 km",
    ]


@pytest.mark.parametrize("margin", [-1, "ten", "1 mile", True, 91, "20000km", "", float("nan")])
def test_what_is_no_margin_is_refused(margin) -> None:
    with pytest.raises(InvalidQuery, match="A margin is a number of degrees or kilometres"):
        widened(BOX, margin)


def test_the_area_of_a_query_is_its_box_with_the_margin() -> None:
    query = Query.for_cycle("ATL06", "007", 22, BOX, margin="1deg")
    assert query.boxes == ((9.0, 59.0, 13.0, 62.0),)
    assert query.bbox == BOX
    # A margin is not added to an area twice.
    assert replace(query, area=query.boxes).boxes == query.boxes


def test_a_fetch_asks_for_the_margin_and_says_so() -> None:
    query = Query("ATL06", "007", "2024-01-01", "2024-01-31", BOX, margin=0.5)
    with Stub(ok(page([name(1)], numberMatched=1))) as stub:
        catalog = CMRSource(root_url=f"{stub.origin}/stac", connections=1).fetch(query)
    assert "bbox=9.5,59.5,12.5,61.5" in stub.seen[0][1]
    assert catalog.metadata["area"] == [[9.5, 59.5, 12.5, 61.5]]
    assert catalog.metadata["bbox"] == list(BOX)
