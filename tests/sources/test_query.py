"""A query says what, when and where, and is checked when it is made."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import InvalidQuery, InvalidRegion
from zagg_catalog.sources import Query

ANTARCTICA = (-180, -90, 180, -60)


def query(**more: object) -> Query:
    given = {
        "short_name": "ATL06",
        "version": "007",
        "start_date": "2024-01-01",
        "end_date": "2024-01-31",
        "region": ANTARCTICA,
    }
    return Query(**(given | more))  # type: ignore[arg-type]


def test_takes_the_documented_arguments_in_their_order() -> None:
    made = Query("ATL03", "007", "2025-01-01", "2025-12-31", (-77, 38, -76, 39), "NSIDC_CPRD")
    assert made.collection == "ATL03_007"
    assert made.bbox == (-77.0, 38.0, -76.0, 39.0)
    assert made.datetime == "2025-01-01T00:00:00Z/2025-12-31T23:59:59.999999Z"
    assert made.provider == "NSIDC_CPRD"
    assert made.cycle is None


def test_is_a_value() -> None:
    assert query() == query(version=7, short_name="atl06", start_date=date(2024, 1, 1))
    assert len({query(), query()}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        query().version = "006"  # type: ignore[misc]


@pytest.mark.parametrize("version", ["7", "07", "007", 7, " 007 "])
def test_versions_have_three_digits(version: str | int) -> None:
    assert query(version=version).collection == "ATL06_007"


@pytest.mark.parametrize("day", [date(2024, 1, 31), datetime(2024, 1, 31, 12), "2024-01-31"])
def test_days_are_text_or_dates(day: object) -> None:
    assert query(end_date=day).end_date == "2024-01-31"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start_date": "2024-02-01"}, "is after end_date 2024-01-31"),
        ({"start_date": "01.01.2024"}, "start_date is a day, YYYY-MM-DD, not '01.01.2024'"),
        ({"end_date": "2024-02-30"}, "end_date is a day"),
        ({"end_date": None}, "end_date is a day"),
        ({"end_date": "20240131"}, "end_date is a day"),
        ({"short_name": ""}, "short_name is made of letters"),
        ({"short_name": "ATL06,ATL03"}, "short_name is made of letters"),
        ({"version": None}, "version is made of"),
        ({"version": True}, "version is a release"),
        ({"version": ""}, "version is made of"),
        ({"provider": "../../x"}, "provider is made of"),
        ({"provider": ".."}, "provider is made of"),
        ({"convention": "lunar"}, "convention is 'mission' or 'nominal'"),
        ({"cycle": 0}, "from 1 to 99"),
        ({"cycle": "22x"}, "from 1 to 99"),
        ({"cycle": True}, "from 1 to 99"),
    ],
)
def test_what_cannot_be_understood_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidQuery, match=said):
        query(**wrong)


@pytest.mark.parametrize(
    "region", [(1, 2, 3), (0, 10, 10, 0), (0, 0, float("nan"), 1), ("a", 0, 1, 1), None, 5]
)
def test_a_region_that_is_no_box_is_refused(region: object) -> None:
    with pytest.raises(InvalidRegion):
        query(region=region)


def test_a_box_over_the_antimeridian_has_west_above_east() -> None:
    assert query(region=(170, -80, -170, -60)).bbox == (170.0, -80.0, -170.0, -60.0)


def test_a_polygon_file_gives_its_box(tmp_path: Path) -> None:
    ring = [[170, -70], [-170, -70], [-170, -60], [170, -60], [170, -70]]
    path = tmp_path / "ross.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    made = query(region=path)
    west, _south, east, north = made.bbox
    assert (west, east, north) == (170.0, -170.0, -60.0)
    assert made.region == str(path)


def test_a_missing_polygon_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRegion, match=r"nowhere\.geojson"):
        query(region=str(tmp_path / "nowhere.geojson"))


def test_a_cycle_gives_the_days_it_touches_and_a_filter_by_name() -> None:
    made = Query.for_cycle("ATL06", "007", 22, ANTARCTICA)
    assert (made.start_date, made.end_date) == ("2023-12-18", "2024-03-18")
    assert (made.cycle, made.name_cycle, made.convention) == (22, 22, "mission")


def test_a_nominal_cycle_is_91_days_whatever_the_names_say() -> None:
    made = Query.for_cycle("ATL06", "007", 22, ANTARCTICA, convention="nominal")
    assert (made.start_date, made.end_date) == ("2024-01-06", "2024-04-05")
    assert made.name_cycle is None


@pytest.mark.parametrize("cycle", [0, -1, True, "22x", "22", 22.0, None, 100])
def test_what_is_no_cycle_is_refused(cycle: object) -> None:
    with pytest.raises(InvalidQuery, match="from 1 to 99"):
        Query.for_cycle("ATL06", "007", cycle, ANTARCTICA)  # type: ignore[arg-type]


@given(st.integers(1, 99), st.sampled_from(["mission", "nominal"]))
def test_the_days_hold_the_whole_cycle(cycle: int, convention: str) -> None:
    made = Query.for_cycle("ATL06", "007", cycle, ANTARCTICA, convention=convention)  # type: ignore[arg-type]
    start, end = cycle_to_dates(cycle, convention=convention)  # type: ignore[arg-type]
    assert f"{start:%Y-%m-%d}" >= made.start_date
    assert f"{end:%Y-%m-%dT%H:%M:%SZ}" <= f"{made.end_date}T24:00:00Z" or end.hour == 0


def test_the_area_to_search_is_the_box_of_the_region_unless_another_is_given() -> None:
    made = query(region=(170, -80, -170, -70))
    assert made.area == made.boxes == ((170, -80, -170, -70),)
    wider = dataclasses.replace(made, area=[[169, -81, -169, -69], [0, 1, 2, 3]])
    assert wider.area == ((169, -81, -169, -69), (0, 1, 2, 3))
    assert wider.bbox == made.bbox
    assert Query.for_cycle("ATL06", "007", 22, (1, 2, 3, 4), area=[(0, 1, 4, 5)]).area == (
        (0, 1, 4, 5),
    )


@pytest.mark.parametrize("area", [[], [(1, 2, 3)], [(0, 5, 1, 4)]])
def test_an_area_is_a_list_of_boxes(area: object) -> None:
    with pytest.raises(InvalidQuery):
        query(area=area)
