"""The clock of a sandbox, and what happens in its archive meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox import SandboxServer, Step, Timeline, simulate, story

START = datetime(2024, 3, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


class Archive:
    """The server of a story, and its answers by both APIs."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.move = server.advance

    def umm(self, version: str = "006", **more: Any) -> dict[str, Any]:
        """The records of a release in CMR, by name."""
        given = {"short_name": "ATL06", "version": version, "page_size": 2000, **more}
        reply = requests.get(f"{self.server.cmr_url}/granules.umm_json", given, timeout=60)
        reply.raise_for_status()
        assert int(reply.headers["cmr-hits"]) == len(reply.json()["items"])
        return {item["umm"]["GranuleUR"]: item for item in reply.json()["items"]}

    def since(self, number: float) -> set[str]:
        """The names of granules that were written since a day."""
        return set(self.umm(updated_since=f"{day(number):%Y-%m-%dT%H:%M:%SZ}"))

    def count(self, version: str = "006") -> int:
        """The number of granules that the STAC API declares."""
        url = f"{self.server.root_url}/NSIDC_CPRD/search"
        given: dict[str, str | int] = {"collections": f"ATL06_{version}", "limit": 1}
        reply = requests.get(url, given, timeout=60)
        reply.raise_for_status()
        matched: int = reply.json()["context"]["matched"]
        return matched

    def clock(self, method: str = "POST", **given: str) -> requests.Response:
        url = self.server.root_url.replace("/stac", "/sandbox/clock")
        return requests.request(method, url, params=given, timeout=60)


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Cycle 22 is published: 100 granules; 20, 21 are whole, 200 more."""
    content = story(cycle=22, regions=[10], tracks=range(1, 101), share=0.03, start=START)
    with SandboxServer(content) as server:
        yield Archive(server)


def test_a_cycle_fills_over_six_weeks_and_late_granules_follow(archive: Archive) -> None:
    assert archive.count() == 200
    counts = []
    for week in range(7):
        archive.move(to=day(7 * week + 2))
        counts.append(archive.count())
    assert counts == [217, 233, 249, 265, 281, 297, 297]
    assert archive.move(to=day(50)) == ["3 late granules of ATL06_006 arrive"]
    assert archive.count() == 300


def test_revision_dates_follow_the_clock(archive: Archive) -> None:
    archive.move(to=day(10))
    assert len(archive.since(0)) == 233  # CMR counts what is as old as the date
    assert len(archive.since(1)) == 33
    assert len(archive.since(8)) == 16
    (name, *_) = archive.since(8)
    assert archive.umm()[name]["meta"]["revision-date"] == "2024-03-09T00:00:00.000Z"
    archive.server.add(simulate("ATL06", version="006", cycle=23, regions=[10], tracks=[1]))
    assert len(archive.since(10)) == 1


def test_an_outage_is_answered_503_by_both_apis(archive: Archive) -> None:
    archive.move(to=day(17.5))
    for ask in (archive.count, archive.umm):
        with pytest.raises(requests.HTTPError, match="503"):
            ask()
    archive.move(to=day(18))
    assert archive.count() == 249


def test_a_reprocessed_granule_has_the_next_revision_in_its_name(archive: Archive) -> None:
    archive.move(to=day(62))
    before = archive.umm()
    archive.move(to=day(63))
    after = archive.umm()
    assert archive.count() == len(after) == len(before)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    assert len(new) == 3
    assert {name.replace("_02.h5", "_01.h5") for name in new} == gone
    assert archive.since(63) == new


def test_a_corrected_granule_keeps_its_name_and_concept(archive: Archive) -> None:
    archive.move(to=day(69))
    before = archive.umm()
    archive.move(to=day(70))
    after = archive.umm()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert archive.since(70) == changed
    assert len(changed) == 3
    for name in changed:
        old, new = before[name], after[name]
        assert new["meta"]["concept-id"] == old["meta"]["concept-id"]
        assert new["meta"]["revision-id"] == 2
        assert new["umm"]["SpatialExtent"] != old["umm"]["SpatialExtent"]


def test_granules_are_deleted_and_the_next_release_takes_the_place_of_all(
    archive: Archive,
) -> None:
    archive.move(to=day(76))
    assert archive.move(to=day(77)) == ["3 granules of ATL06_006 are deleted"]
    assert archive.count() == 297
    assert archive.since(77) == set()
    archive.move(to=day(84))
    assert (archive.count("006"), archive.count("007")) == (297, 300)
    archive.move(to=day(112))
    assert (archive.count("006"), archive.count("007")) == (0, 300)


def test_another_process_moves_the_clock_by_a_request(archive: Archive) -> None:
    found = archive.clock(days="9").json()
    assert found["now"].startswith("2024-03-10")
    assert found["happened"] == [
        "17 granules of ATL06_006 arrive",
        "16 granules of ATL06_006 arrive",
    ]
    assert found["size"] == 233
    assert found["next"] == "2024-03-16: 16 granules of ATL06_006 arrive"
    assert archive.clock(to="2024-03-18").json()["happened"] == [
        "16 granules of ATL06_006 arrive",
        "an outage begins",
    ]
    assert archive.clock("GET").json()["happened"] == []
    for wrong in ({}, {"days": "x"}, {"days": "nan"}, {"days": "-1"}, {"weeks": "1"}):
        reply = archive.clock(**wrong)
        assert reply.status_code == 400
        assert reply.json()["errors"]


def test_a_clock_does_not_go_back() -> None:
    with SandboxServer(Timeline(start=START)) as server:
        with pytest.raises(InvalidQuery, match="moves forward only, not to 2024-02-20"):
            server.advance(to=datetime(2024, 2, 20))
        assert server.advance() == []


def test_steps_of_your_own_happen_in_the_order_of_their_times() -> None:
    first, then = (simulate(cycle=22, regions=[10], tracks=[track]) for track in (1, 2))
    steps = [
        Step(when=day(2), what="second", add=then, remove=tuple(first.table["id"].to_pylist())),
        Step(when=day(1), what="first", add=first),
    ]
    with SandboxServer(Timeline(steps=steps, start=START)) as server:
        assert server.api.size == 0
        assert server.advance(days=3) == ["first", "second"]
        assert server.api.size == 1
        assert server.advance(days=300) == []
