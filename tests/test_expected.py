"""Granules that the tracks give, compared with those of the simulated instrument."""

import pytest

from zagg_catalog import CMRSource, Query
from zagg_catalog.cycles import REGIONS, TRACKS
from zagg_catalog.expected import expected_granules, tracks_in
from zagg_catalog.sandbox import SandboxServer, simulate

GLOBE = ((-180.0, -90.0, 180.0, 90.0),)
EVERY = 20


@pytest.fixture(scope="module")
def source():
    tracks = range(1, TRACKS + 1, EVERY)
    content = simulate("ATL03", cycle=22, tracks=tracks, superseded=0.0, revised=0.0)
    with SandboxServer(content) as server:
        yield CMRSource(root_url=server.root_url, api="stac")


@pytest.mark.parametrize(
    "box",
    [
        (-180.0, -90.0, 180.0, -60.0),
        (-74.0, 59.0, -10.0, 84.0),
        (-80.0, 35.0, -70.0, 45.0),
        (170.0, -60.0, -170.0, 60.0),
    ],
)
def test_the_tracks_give_exactly_the_granules_that_a_search_finds(source, box):
    found = source.fetch(Query.for_cycle("ATL03", "007", 22, box), progress=False)
    assert tracks_in((box,))[::EVERY].sum() == len(found)


def test_the_globe_has_every_granule_of_every_track():
    found = expected_granules("ATL06_007", 22, GLOBE)
    assert (found.count, found.in_gaps, found.gaps) == (TRACKS * REGIONS, 0, ())


def test_days_without_data_are_left_out_and_named():
    found = expected_granules("ATL06_007", 23, GLOBE)
    assert found.count + found.in_gaps == TRACKS * REGIONS
    assert found.in_gaps / (TRACKS * REGIONS) == pytest.approx(0.424, abs=0.01)
    assert found.gaps == ("2024-05-10 to 2024-06-21",)


def test_filters_leave_granules_out():
    found = expected_granules("ATL06_007", 22, GLOBE, {"tracks": "1-100", "granule_regions": "10"})
    assert found.count == 100
    climbing = expected_granules("ATL06_007", 22, GLOBE, {"direction": "ascending"})
    assert climbing.count == TRACKS * 8
    january = expected_granules("ATL06_007", 22, GLOBE, {"season": "01-01..01-31"})
    assert january.count == pytest.approx(TRACKS * REGIONS * 31 / 90.82, rel=0.01)


@pytest.mark.parametrize(
    ("product", "filters"),
    [("ATL07_007", None), ("ATL11_007", None), ("ATL06_007", {"granules": ["x"]})],
)
def test_what_the_tracks_do_not_say_is_not_known(product, filters):
    assert expected_granules(product, 22, GLOBE, filters) is None
