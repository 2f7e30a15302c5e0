"""Probes against the sandbox: what they count, and how little they ask."""

from datetime import UTC, datetime, timedelta

import pytest

from zagg_catalog.errors import BadResponse
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources.probe import open_probe


@pytest.fixture(scope="module")
def granules():
    """A thirtieth of two neighbouring cycles, and the tracks at their border."""
    return simulate("ATL06", cycle=[21, 22], tracks=[1, *range(30, 1388, 30), 1387], gaps=False)


@pytest.fixture(scope="module")
def server(granules):
    with SandboxServer(granules) as server:
        yield server


def named(granules, cycle):
    return sum(f"{cycle:02d}" == name[25:27] for name in granules.table["id"].to_pylist())


def test_a_stac_api_counts_by_time_so_that_border_granules_may_count_twice(server, granules):
    with open_probe("ATL06_007", server.root_url) as probe:
        assert probe.total() == len(granules)
        for cycle in (21, 22):
            assert 0 <= probe.count(cycle) - named(granules, cycle) <= 2
        assert probe.revised(datetime.now(UTC)) is None
        assert probe.requests == 3


def test_the_last_granule_of_a_cycle_is_not_the_first_of_the_next(server):
    with open_probe("ATL06_007", server.root_url) as probe:
        assert probe.count(23) == 0  # one of cycle 22 reaches over the border
        assert probe.count(20) == 0


def test_an_answer_is_hardly_read(server):
    with open_probe("ATL06_007", server.root_url) as probe:
        probe.total(), probe.count(22)
    limits = [request.query["limit"] for request in server.requests[-2:]]
    assert limits == ["1", "10"]


def test_cmr_counts_exactly_by_name(server, granules):
    with open_probe("ATL06_007", server.cmr_url, api="cmr") as probe:
        assert probe.total() == len(granules)
        assert [probe.count(cycle) for cycle in (21, 22, 23)] == [
            named(granules, 21),
            named(granules, 22),
            0,
        ]


def test_cmr_counts_granules_of_several_cycles_by_time(server):
    """No pattern of names says that a cycle lies between the first and the last."""
    with open_probe("ATL11_007", server.cmr_url, api="cmr") as probe:
        assert probe.count(22) == 0
    asked = server.requests[-1].query
    assert asked["temporal[]"] == "2023-12-18T21:15:55Z,2024-03-18T16:55:41Z"
    assert "readable_granule_name[]" not in asked


def test_cmr_tells_what_was_added_or_replaced(granules):
    early, late = (datetime.now(UTC) + timedelta(hours=n) for n in (1, 3))
    with (
        SandboxServer(simulate("ATL06", cycle=21, tracks=[5])) as server,
        open_probe("ATL06_007", server.cmr_url, api="cmr") as probe,
    ):
        server.add(simulate("ATL06", cycle=22, tracks=[7]), when=early)
        server.add(simulate("ATL06", cycle=22, tracks=[7], regions=[3]), when=late)
        since = late - timedelta(minutes=30)
        assert (probe.revised(since, 22), probe.revised(since, 21)) == (1, 0)
        assert probe.total() == 28


def test_sea_ice_names_are_counted_too():
    with (
        SandboxServer(simulate("ATL07", cycle=22, tracks=[5])) as server,
        open_probe("ATL07_007", server.cmr_url, api="cmr") as probe,
    ):
        assert probe.count(22) == 14


def test_an_api_that_declares_no_count_cannot_be_watched(granules):
    with (
        SandboxServer(granules, counts="none") as server,
        open_probe("ATL06_007", server.root_url) as probe,
        pytest.raises(BadResponse, match="declares no count"),
    ):
        probe.total()


def test_failures_are_retried(granules):
    with (
        SandboxServer(granules, faults=["status=503:times=1"]) as server,
        open_probe("ATL06_007", server.root_url) as probe,
    ):
        assert probe.total() == len(granules)
        assert probe.requests == 2


def test_the_setting_says_which_api_is_asked(server, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_API", "cmr")
    monkeypatch.setenv("ZAGG_CATALOG_CMR_ROOT", server.cmr_url)
    with open_probe("ATL06_007") as probe:
        assert probe.revised(datetime.now(UTC) - timedelta(days=1)) == probe.total()
    assert server.requests[-1].path == "/search/granules.umm_json"
