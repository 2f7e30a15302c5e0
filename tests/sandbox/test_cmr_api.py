"""CMR's own search, as the sandbox serves it beside STAC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import requests

from zagg_catalog.sandbox import Granules, SandboxServer, simulate

PINNED = {"provider": "NSIDC_CPRD", "short_name": "ATL06", "version": "007"}


class Cmr:
    """A server and one connection to its search."""

    def __init__(self, server: SandboxServer, session: requests.Session) -> None:
        self.server = server
        self.session = session

    def get(self, *, after: str | None = None, kind: str = "umm_json", **given: Any) -> Any:
        headers = {} if after is None else {"CMR-Search-After": after}
        url = f"{self.server.cmr_url}/granules.{kind}"
        given = {name.replace("__", "[]"): value for name, value in given.items()}
        return self.session.get(url, params=PINNED | given, headers=headers, timeout=60)

    def hits(self, **given: Any) -> int:
        reply = self.get(page_size=0, **given)
        assert reply.json()["items"] == []
        return int(reply.headers["CMR-Hits"])


@pytest.fixture
def cmr(granules: Granules) -> Iterator[Cmr]:
    with SandboxServer(granules, page_size=10) as server, requests.Session() as session:
        yield Cmr(server, session)


def test_records_are_umm_g(cmr: Cmr, granules: Granules) -> None:
    reply = cmr.get(page_size=1)
    assert reply.headers["Content-Type"].startswith("application/vnd.nasa.cmr.umm_results+json")
    document = reply.json()
    assert document["hits"] == int(reply.headers["CMR-Hits"]) == 25
    item = document["items"][0]
    assert item["meta"]["provider-id"] == "NSIDC_CPRD"
    assert item["meta"]["concept-id"].endswith("-NSIDC_CPRD")
    assert item["umm"]["GranuleUR"] == granules.table["id"][0].as_py()
    # As of ICESat-2: by the title and the concept id of the collection only.
    assert item["umm"]["CollectionReference"] == {"EntryTitle": "ATLAS/ICESat-2 ATL06 V007"}
    assert item["meta"]["collection-concept-id"].startswith("C")
    assert [url["Type"] for url in item["umm"]["RelatedUrls"]] == [
        "GET DATA",
        "GET DATA VIA DIRECT ACCESS",
        "EXTENDED METADATA",
        "EXTENDED METADATA",
        "GET RELATED VISUALIZATION",
        "GET RELATED VISUALIZATION",
    ]
    domain = item["umm"]["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]
    points = domain["GPolygons"][0]["Boundary"]["Points"]
    assert points[0] == points[-1]


def test_the_header_leads_through_all_pages_and_the_last_one_to_an_empty_one(
    cmr: Cmr, granules: Granules
) -> None:
    found, after, sizes = [], None, []
    while True:
        reply = cmr.get(after=after, page_size=10)
        items = reply.json()["items"]
        found += [item["umm"]["GranuleUR"] for item in items]
        sizes.append(len(items))
        after = reply.headers.get("CMR-Search-After")
        if after is None:
            break
    assert found == granules.table["id"].to_pylist()
    assert sizes == [10, 10, 5, 0]


def test_conditions_select(cmr: Cmr) -> None:
    assert cmr.hits() == 25
    assert cmr.hits(provider="NSIDC_ECS") == 0
    assert cmr.hits(short_name="ATL03") == 0
    assert cmr.hits(version="006") == 0
    assert 0 < cmr.hits(temporal__="2023-12-18T00:00:00Z,2023-12-19T00:00:00Z") < 25
    assert cmr.hits(temporal__="2024-06-01T00:00:00Z,") == 0
    west, east = "-180,-90,0,90", "0,-90,180,90"
    assert cmr.hits(bounding_box__=west) + cmr.hits(bounding_box__=east) >= 25


def test_a_box_with_west_above_east_crosses_the_antimeridian(cmr: Cmr) -> None:
    def names(box: str) -> set[str]:
        items = cmr.get(bounding_box__=box, page_size=2000).json()["items"]
        return {item["umm"]["GranuleUR"] for item in items}

    halves = names("160,-80,180,-60") | names("-180,-80,-160,-60")
    assert names("160,-80,-160,-60") == halves != set()


def test_names_are_matched_by_patterns(cmr: Cmr, granules: Granules) -> None:
    first = granules.table["id"][0].as_py()
    wild = {"options[readable_granule_name][pattern]": "true"}
    assert cmr.hits(readable_granule_name__=first) == 1
    assert cmr.hits(readable_granule_name__=first.lower()) == 1
    assert cmr.hits(readable_granule_name__="ATL06_*") == 0
    assert cmr.hits(readable_granule_name__="ATL06_??????????????_????22??_*", **wild) == 25
    assert cmr.hits(readable_granule_name__="ATL06_??????????????_????23??_*", **wild) == 0


def test_updates_since_a_time_are_counted(cmr: Cmr, granules: Granules) -> None:
    later = simulate(cycle=23, regions=[10], tracks=[1, 2])
    cmr.server.add(later, when=datetime(2100, 1, 1))
    assert cmr.hits() == 27
    assert cmr.hits(updated_since="2099-01-01T00:00:00Z") == 2
    # The same granules written again are updates of themselves.
    cmr.server.add(later, when=datetime(2101, 1, 1))
    assert cmr.hits() == 27
    assert cmr.hits(updated_since="2100-06-01T00:00:00Z") == 2
    items = cmr.get(updated_since="2100-06-01T00:00:00Z").json()["items"]
    assert [item["meta"]["revision-id"] for item in items] == [2, 2]


def test_results_are_sorted_on_request(cmr: Cmr) -> None:
    def starts(key: str) -> list[str]:
        items = cmr.get(sort_key__=key, page_size=10).json()["items"]
        ranges = [item["umm"]["TemporalExtent"]["RangeDateTime"] for item in items]
        return [span["BeginningDateTime"] for span in ranges]

    assert starts("start_date") == sorted(starts("start_date"))
    assert starts("-start_date") == sorted(starts("-start_date"), reverse=True)


def test_the_short_form_has_times(cmr: Cmr) -> None:
    entry = cmr.get(kind="json", page_size=1).json()["feed"]["entry"][0]
    assert entry["time_start"] < entry["time_end"]


@pytest.mark.parametrize(
    "given",
    [
        {"page_size": 2001},
        {"page_size": "many"},
        {"bounding_box__": "1,2,3"},
        {"bounding_box__": "0,10,1,-10"},
        {"temporal__": "yesterday"},
        {"sort_key__": "cloud"},
        {"polygone": "1"},
        {"provider": "", "short_name": "", "version": ""},
    ],
    ids=str,
)
def test_what_cmr_refuses_is_refused(cmr: Cmr, given: dict[str, Any]) -> None:
    reply = cmr.get(**given)
    assert reply.status_code == 400
    assert reply.json()["errors"]
    assert cmr.get(after="mine").status_code == 400
    assert cmr.get(kind="xml").status_code == 404


def test_a_form_is_searched_as_a_query_is(cmr: Cmr) -> None:
    url = f"{cmr.server.cmr_url}/granules.umm_json"
    reply = cmr.session.post(url, data=PINNED | {"page_size": 0}, timeout=60)
    assert reply.headers["CMR-Hits"] == "25"


@pytest.mark.parametrize("name", ["CMR-Timed-Out", "CMR-Time-Out"])
def test_a_time_out_is_a_part_with_a_header(granules: Granules, name: str) -> None:
    faults = [f"cmr-timeout:header={name}"]
    with SandboxServer(granules, faults=faults) as server, requests.Session() as session:
        cmr = Cmr(server, session)
        late, whole = cmr.get(page_size=20), cmr.get(page_size=20)
    assert late.status_code == 200
    assert late.headers[name] == "true"
    assert len(late.json()["items"]) == 10
    assert name not in whole.headers


def test_a_collection_is_found_by_name_version_and_provider(cmr: Cmr) -> None:
    def search(**given: str) -> Any:
        url = f"{cmr.server.cmr_url}/collections.umm_json"
        return cmr.session.get(url, params=PINNED | given, timeout=60).json()["items"]

    (item,) = search()
    assert item["umm"]["EntryTitle"] == "ATLAS/ICESat-2 ATL06 V007"
    assert item["meta"]["concept-id"].endswith("-NSIDC_CPRD")
    assert item["umm"]["SpatialExtent"]["OrbitParameters"]["SwathWidth"] == 36.0
    assert search(version="006") == search(provider="LPDAAC") == []
