"""A season is the same days of several years, each searched and proven complete by itself."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from tests.sources.served import WORLD, ids
from zagg_catalog.catalog.season import season_days
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query_slices import time_slices


def days(season: str, first: str, last: str) -> list[str]:
    found = season_days(season, date.fromisoformat(first), date.fromisoformat(last))
    return [f"{a}..{b}" for a, b in found]


@pytest.mark.parametrize(
    ("season", "expected"),
    [
        ("06..08", ["2019-06-01..2019-08-31", "2020-06-01..2020-08-31"]),
        ("02", ["2019-02-01..2019-02-28", "2020-02-01..2020-02-29"]),
        ("06-15..06-15", ["2019-06-15..2019-06-15", "2020-06-15..2020-06-15"]),
        (
            "12-01..02-28",
            ["2019-01-01..2019-02-28", "2019-12-01..2020-02-28", "2020-12-01..2020-12-31"],
        ),
        ("12..01", ["2019-01-01..2019-01-31", "2019-12-01..2020-01-31", "2020-12-01..2020-12-31"]),
        ("01..03,03..12", ["2019-01-01..2020-12-31"]),
        (
            "01,03",
            [
                "2019-01-01..2019-01-31",
                "2019-03-01..2019-03-31",
                "2020-01-01..2020-01-31",
                "2020-03-01..2020-03-31",
            ],
        ),
    ],
)
def test_a_season_has_days_in_each_year(season: str, expected: list[str]) -> None:
    assert days(season, "2019-01-01", "2020-12-31") == expected


@pytest.mark.parametrize(
    "text", ["", "13", "summer", "02-30..03-01", "6..8", "06-01", "06..08-01", "06-00..07-01"]
)
def test_text_that_is_no_season_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="A season has days of the year"):
        days(text, "2019-01-01", "2020-12-31")


def test_a_query_searches_each_year() -> None:
    query = Query("ATL06", "007", "2019-01-01", "2020-12-31", WORLD, season="07-01..07-31")
    assert [start for start, _ in query.intervals] == [datetime(2019, 7, 1), datetime(2020, 7, 1)]
    with pytest.raises(InvalidQuery, match="No day of the season 07 is between"):
        Query("ATL06", "007", "2019-01-01", "2019-02-01", WORLD, season="07")


def test_each_year_is_proven_complete() -> None:
    granules = simulate(cycle=[18, 20, 22], tracks=range(1, 200, 40))
    query = Query("ATL06", "007", "2022-01-01", "2024-12-31", WORLD, season="12..01")
    with SandboxServer(granules) as server:
        for api, root in (("stac", server.root_url), ("cmr", server.cmr_url)):
            source = CMRSource(root_url=root, api=api)
            catalog = source.fetch(query)
            slices = source.last_report.slices
            assert len(slices) == 4
            assert catalog.complete
            months = {name[10:12] for name in ids(catalog)}
            assert months <= {"12", "01"}
            assert sum(part.harvested for part in slices) == len(catalog)
            whole = source.fetch(Query("ATL06", "007", "2022-01-01", "2024-12-31", WORLD))
            assert ids(catalog) == [n for n in ids(whole) if n[10:12] in months]


def test_slices_without_a_day_of_the_season_are_not_searched() -> None:
    query = Query("ATL06", "007", "2019-01-01", "2019-12-31", WORLD, season="06")
    parts = time_slices(query, 4)
    assert [part.start_date for part in parts] == ["2019-04-02"]
