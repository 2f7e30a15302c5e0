"""The collection of a search is asked for once, when a record does not name it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.sources.stub import Stub, ok, quick
from tests.sources.test_umm import POINT, record
from zagg_catalog.errors import BadResponse
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import Catalog, CMRSource, HarvestReport, Query
from zagg_catalog.sources.umm_collection import CollectionLookup

QUERY = Query("ATL06", "007", "2024-01-01", "2024-01-31", (-180, -90, 180, 90))


def collections(*titles: str, **spatial: Any) -> bytes:
    """A page of a search of collections."""
    items = [
        {
            "meta": {"concept-id": f"C{number}-NSIDC_CPRD"},
            "umm": {"EntryTitle": title, "SpatialExtent": spatial},
        }
        for number, title in enumerate(titles, 1)
    ]
    return ok({"hits": len(items), "items": items}, CMR_Hits=str(len(items)))


def granules(*records: Any) -> bytes:
    return ok({"items": [*records]}, CMR_Hits=str(len(records)))


def count(hits: int) -> bytes:
    return ok({"items": []}, CMR_Hits=str(hits))


def fetch(
    *script: bytes, query: Query = QUERY, partial: bool = False
) -> tuple[Catalog, HarvestReport, Stub]:
    with Stub(*script) as stub, quick() as transport:
        source = CMRSource(root_url=f"{stub.origin}/search", api="cmr", transport=transport)
        catalog = source.fetch(query, partial=partial)
    assert source.last_report is not None
    return catalog, source.last_report, stub


def name(number: int) -> str:
    return f"ATL06_20240110000000_{number:04d}2211_007_01.h5"


def test_it_is_asked_for_once_by_name_version_and_provider() -> None:
    catalog, report, stub = fetch(
        granules(record(name(1)), record(name(2))), collections("Land Ice Height V007"), count(2)
    )
    assert (len(catalog), report.quarantined) == (2, ())
    paths = [path for _, path, *_ in stub.seen]
    assert paths[1] == (
        "/search/collections.umm_json?short_name=ATL06&version=007&provider=NSIDC_CPRD"
    )
    assert ["collections" in path for path in paths] == [False, True, False]


def test_a_granule_of_another_collection_is_named() -> None:
    other = {"EntryTitle": "Sea Ice Height V006"}
    _, report, _ = fetch(
        granules(record(name(1)), record(name(2), CollectionReference=other)),
        collections("Land Ice Height V007"),
        count(2),
        partial=True,
    )
    ((entry,), kept) = report.quarantined, report.kept
    assert (entry.id, kept) == (name(2), 1)
    assert entry.reason == "it belongs to collection 'Sea Ice Height V006', not 'ATL06_007'"


def test_the_concept_id_decides_before_the_title() -> None:
    _, report, _ = fetch(
        granules(record(name(1), concept="C1-NSIDC_CPRD"), record(name(2), concept="C9-OTHER")),
        collections("Renamed since"),
        count(2),
        partial=True,
    )
    assert [entry.id for entry in report.quarantined] == [name(2)]


def test_a_collection_that_cannot_be_found_is_an_error() -> None:
    with pytest.raises(BadResponse, match=r"collections\.umm_json.* finds no collection"):
        fetch(granules(record(name(1))), collections())


def test_threads_share_one_question() -> None:
    with Stub(collections("Land Ice Height V007")) as stub, quick() as transport:
        lookup = CollectionLookup(f"{stub.origin}/search", "ATL06", "007", "NSIDC_CPRD")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: lookup.ask(transport), range(8)))
        assert len(stub.seen) == 1
    assert lookup.found.titles == {"Land Ice Height V007"}


def test_the_width_of_a_swath_is_that_of_the_collection() -> None:
    orbit = {
        "AscendingCrossing": 0.0,
        "StartLatitude": 63.0,
        "StartDirection": "A",
        "EndLatitude": 64.0,
        "EndDirection": "A",
    }
    widths = []
    for stated in (36.0, 72.0):
        parameters = {"SwathWidth": stated, "SwathWidthUnit": "Kilometer"}
        catalog, *_ = fetch(
            granules(record(name(1), domain={"Orbit": orbit})),
            collections("Land Ice Height V007", OrbitParameters=parameters),
            count(1),
        )
        box = catalog.table["bbox"][0].as_py()
        widths.append(box["xmax"] - box["xmin"])
    assert 1.5 < widths[1] / widths[0] < 2.0


def test_a_point_is_quarantined_through_a_whole_fetch() -> None:
    point = {"Geometry": {"Points": [POINT]}}
    _, report, _ = fetch(
        granules(record(name(1)), record(name(2), domain=point)),
        collections("Land Ice Height V007"),
        count(2),
        partial=True,
    )
    assert report.quarantined[0].reason == "a footprint is an area, and this granule has a Point"


@pytest.mark.realdata
def test_sea_ice_granules_of_version_006_are_fetched(real_data: Path) -> None:
    """ATL07 has orbits only, which CMR-STAC gives without a footprint."""
    records = json.loads((real_data / "recorded/umm_atl07_orbit.json").read_text())["items"]
    query = Query("ATL07", "006", "2022-07-25", "2022-07-27", (-180, -90, 180, 90))
    catalog, report, _ = fetch(
        granules(*records), collections("ATLAS/ICESat-2 L3A Sea Ice Height V006"), count(2),
        query=query,
    )  # fmt: skip
    assert report.quarantined == ()
    north, south = (row.as_py() for row in catalog.table["bbox"])
    assert north["ymin"] == pytest.approx(27.0, abs=0.3)
    assert south["ymax"] == pytest.approx(-27.0, abs=0.3)


def test_the_sandbox_answers_offline() -> None:
    with SandboxServer(simulate(cycle=22, tracks=[1])) as server, quick() as transport:
        lookup = CollectionLookup(server.cmr_url, "ATL06", "007", "NSIDC_CPRD")
        lookup.ask(transport)
        assert re.match(r"C\d+-NSIDC_CPRD", *lookup.found.concepts)
        assert lookup.found.swath is not None
