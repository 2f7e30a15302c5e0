"""The sandbox's records and headers of CMR have the form of recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import shapely

from tests.sources.stub import quick
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sandbox.granules import with_boxes
from zagg_catalog.sources import Catalog, CMRSource, Query

GIVEN = {"provider": "NSIDC_CPRD", "page_size": "5"}
WORLD = (-180, -90, 180, 90)


@pytest.fixture(scope="module")
def few() -> Granules:
    """One track: 14 granules, one of each along-track region."""
    return simulate(cycle=22, tracks=[335], suffixed=0.0)


def reply_of(server: SandboxServer, kind: str = "umm_json", **given: Any) -> requests.Response:
    headers = {"CMR-Search-After": given.pop("after")} if "after" in given else {}
    url = f"{server.cmr_url}/granules.{kind}"
    return requests.get(url, params=GIVEN | given, headers=headers, timeout=60)


def form(value: Any) -> Any:
    """Names and types of all members of a JSON value; numbers are one type."""
    if isinstance(value, dict):
        return {name: form(member) for name, member in value.items()}
    if isinstance(value, list):
        return form(value[0]) if value else "empty"
    return "number" if isinstance(value, int | float) else type(value).__name__


def missing(real: Any, ours: Any, place: str = "") -> list[str]:
    """What the real form has and ours has not, or has with another type."""
    if isinstance(real, dict) and isinstance(ours, dict):
        return [
            found
            for name, member in real.items()
            for found in missing(member, ours.get(name), f"{place}.{name}")
        ]
    return [] if real == ours else [place]


@pytest.mark.realdata
@pytest.mark.parametrize("product", ["atl03", "atl06", "atl08"])
def test_records_of_the_former_archive_are_those_of_cmr(
    few: Granules, real_data: Path, product: str
) -> None:
    path = real_data / "recorded" / f"umm_{product}_v005_orbit_ecs.json"
    real = json.loads(path.read_text())
    with SandboxServer(few, archive="ecs") as server:
        ours = reply_of(server).json()
    assert set(ours) == set(real)
    assert missing(form(real["items"][0]), form(ours["items"][0])) == []
    # CMR names the concept of the collection since then.
    assert missing(form(ours["items"][0]), form(real["items"][0])) == [
        ".meta.collection-concept-id"
    ]
    umm = ours["items"][0]["umm"]
    assert umm["GranuleUR"].startswith("SC:ATL06.007:")
    assert umm["DataGranule"]["Identifiers"][0]["Identifier"] == few.table["id"][0].as_py()
    kinds = [url["Type"] for url in umm["RelatedUrls"]]
    assert kinds == [url["Type"] for url in real["items"][0]["umm"]["RelatedUrls"]]


@pytest.mark.realdata
def test_orbits_in_the_cloud_are_those_of_cmr(few: Granules, real_data: Path) -> None:
    path = real_data / "recorded" / "umm_atl07_orbit.json"
    real = json.loads(path.read_text())["items"][0]
    with SandboxServer(few, orbits=True) as server:
        ours = reply_of(server).json()["items"][0]
    assert missing(form(real), form(ours)) == []


@pytest.mark.realdata
def test_every_kind_of_extent_and_link_is_that_of_cmr(few: Granules, real_data: Path) -> None:
    real = json.loads((real_data / "reported" / "umm_kinds.json").read_text())
    polygon, box = (item["umm"]["SpatialExtent"] for item in real[:2])
    with SandboxServer(few) as server:
        umm = reply_of(server).json()["items"][0]["umm"]
    with SandboxServer(with_boxes(few)) as server:
        boxed = reply_of(server).json()["items"][0]["umm"]
    assert form(umm["SpatialExtent"]) == form(polygon)
    assert form(boxed["SpatialExtent"]) == form(box)
    kinds = [url["Type"] for url in umm["RelatedUrls"]]
    assert kinds.count("EXTENDED METADATA") == 2


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("recorded", "kind", "given"),
    [
        ("page_size=0", "umm_json", {"page_size": "0"}),
        ("only page, all in", "umm_json", {}),
        ("no hits", "json", {"short_name": "ATL99"}),
    ],
)
def test_headers_are_those_of_cmr(
    few: Granules, real_data: Path, recorded: str, kind: str, given: dict[str, str]
) -> None:
    known = json.loads((real_data / "recorded" / "cmr_headers.json").read_text())
    real = known[recorded]["headers"]
    with SandboxServer(few) as server:
        ours = reply_of(server, kind, **given).headers
    # Those of the proxies before CMR, and of the connection.
    others = {"connection", "transfer-encoding", "server", "vary", "strict-transport-security"}
    names = {n for n in real if not n.startswith(("x-", "content-md5", "content-sha1"))} - others
    assert {name.lower() for name in ours} - {"server", "date"} == names
    assert ours["content-type"] == real["content-type"]
    assert ours["access-control-expose-headers"] == real["access-control-expose-headers"]


def test_search_after_is_where_the_page_ends_and_never_without_items(few: Granules) -> None:
    with SandboxServer(few) as server:
        whole = reply_of(server, page_size="14")
        after = whole.headers["cmr-search-after"]
        last = reply_of(server, page_size="14", after=after)
        assert "cmr-search-after" not in reply_of(server, page_size="0").headers
    provider, start, number = json.loads(after)
    assert (provider, type(start), type(number)) == ("nsidc_cprd", int, int)
    expected = few.table["start"].to_numpy().max().astype("datetime64[ms]").astype(int)
    assert start == expected
    assert last.json()["items"] == []
    assert last.headers["cmr-hits"] == "14"
    assert "cmr-search-after" not in last.headers


def test_a_granule_that_arrives_meanwhile_moves_none_to_another_page(few: Granules) -> None:
    earlier = simulate(cycle=22, tracks=[334])
    with SandboxServer(few) as server:
        first = reply_of(server, page_size="10")
        server.add(earlier)
        second = reply_of(server, page_size="10", after=first.headers["cmr-search-after"])
    names = [item["umm"]["GranuleUR"] for page in (first, second) for item in page.json()["items"]]
    assert names == few.table["id"].to_pylist()


def fetch(server: SandboxServer, api: str = "cmr") -> Catalog:
    root = server.cmr_url if api == "cmr" else server.root_url
    with quick() as transport:
        query = Query.for_cycle("ATL06", "007", 22, WORLD)
        return CMRSource(root_url=root, api=api, transport=transport).fetch(query)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"archive": "ecs"}, {"orbits": True}], ids=str)
def test_the_client_draws_orbits_where_the_polygons_are(
    few: Granules, options: dict[str, Any]
) -> None:
    with SandboxServer(few) as server:
        polygons = fetch(server)
    with SandboxServer(few, **options) as server:
        swaths = fetch(server)
    assert swaths.table["id"].equals(polygons.table["id"])
    assert swaths.complete
    for place in range(len(few)):
        inner, outer = (
            shapely.from_wkb(catalog.table["geometry"][place].as_py())
            for catalog in (polygons, swaths)
        )
        # Where a map is no good, near poles and the antimeridian, boxes are not compared.
        if max(np.ptp(shapely.get_coordinates(s)[:, 0]) for s in (inner, outer)) < 90:
            assert inner.intersection(outer).area > 0.9 * inner.area


def test_both_apis_serve_the_same_boxes(few: Granules) -> None:
    with SandboxServer(with_boxes(few)) as server:
        stac, cmr = fetch(server, "stac"), fetch(server)
    for column in ("id", "geometry", "bbox", "start_datetime"):
        assert cmr.table[column].equals(stac.table[column])
    first = stac.table["bbox"][0].as_py()
    assert (first["xmin"], first["ymin"]) == tuple(min(side) for side in with_boxes(few).ring(0).T)


def test_names_of_the_former_archive_are_those_of_files(few: Granules) -> None:
    with SandboxServer(few, archive="ecs") as server:
        page = requests.get(f"{server.root_url}/NSIDC_CPRD/search", timeout=60).json()
        found = fetch(server, "stac")
    assert {item["id"].partition(":")[0] for item in page["features"]} == {"SC"}
    assert found.table["id"].to_pylist() == sorted(few.table["id"].to_pylist())


def test_an_unknown_archive_is_refused(few: Granules) -> None:
    with pytest.raises(ValueError, match="archive is one of"):
        SandboxServer(few, archive="tape")
