"""CMR's own search gives the catalog that CMR-STAC gives, and fails as loudly."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import requests
import shapely

from tests.sources.served import WORLD, cycle_22, ids, known_to_both
from tests.sources.stub import Stub, name, ok, quick
from zagg_catalog import ShardMap
from zagg_catalog.catalog import IncompleteCatalog
from zagg_catalog.errors import (
    BadResponse,
    IncompleteHarvest,
    InvalidQuery,
    RequestFailed,
)
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.cmr import name_patterns


def fetch(server, query=None, *, api="cmr", retries=6, timeout=60, **more):
    root = server.cmr_url if api == "cmr" else server.root_url
    with quick(retries=retries, timeout=timeout) as transport:
        source = CMRSource(root_url=root, api=api, transport=transport)
        catalog = source.fetch(query or cycle_22(), **more)
    return catalog, source.last_report


@pytest.fixture(scope="module")
def many():
    """Cycle 22 with its neighbours and older revisions, 60 tracks of each."""
    return simulate(
        cycle=[21, 22, 23], tracks=range(1, 1388, 24), revised=0.1, superseded=0.5, suffixed=0.2
    )


@pytest.fixture(scope="module")
def server(many):
    with SandboxServer(many) as running:
        yield running


@pytest.mark.parametrize(
    "query",
    [
        cycle_22(),
        cycle_22((-180, -90, 180, -60)),
        cycle_22((170, -80, -170, 80)),
        cycle_22(convention="nominal"),
        Query("ATL06", "007", "2024-01-01", "2024-01-20", WORLD),
    ],
    ids=["world", "south", "antimeridian", "nominal", "dates"],
)
def test_both_apis_give_the_same_table(server, query):
    stac, _ = fetch(server, query, api="stac")
    cmr, report = fetch(server, query)
    assert known_to_both(cmr).equals(known_to_both(stac))
    assert cmr.table.schema.equals(stac.table.schema)
    assert report.complete


def test_both_apis_give_the_same_thumbnails(server):
    stac, cmr = (
        fetch(server, cycle_22((-180, -90, 180, -60)), api=api, preserve_thumbnails=True)[0]
        for api in ("stac", "cmr")
    )
    names = [field.name for field in cmr.table.schema.field("assets").type]
    assert names == ["data", "data_s3", "metadata", "browse", "thumbnail_1", "thumbnail_2"]
    assert known_to_both(cmr).equals(known_to_both(stac))


def test_maps_of_either_are_equal_byte_for_byte_but_for_the_metadata(server, tmp_path):
    query = cycle_22((-180, -90, 180, -60))
    maps = [
        ShardMap.build(fetch(server, query, api=api)[0], HealpixGrid(6, 12), edge="region")
        for api in ("stac", "cmr")
    ]
    assert maps[0].n_pairs > 1000
    # Which API was asked and how long the build took is all that differs.
    maps[1].metadata = maps[0].metadata
    for kind in ("json", "parquet"):
        files = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for shard_map, file in zip(maps, files, strict=True):
            getattr(shard_map, f"to_{kind}")(file)
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.realdata
def test_reported_boxes_and_polygons_are_the_same_through_both(real_data):
    """A polygon and a box; the API serves the items, CMR the records of the same granules."""
    items = json.loads((real_data / "reported/box_stac.json").read_text())
    records = json.loads((real_data / "reported/umm_kinds.json").read_text())[: len(items)]
    pages = [
        ("stac", "features", {"context": {"matched": len(items)}}, items),
        ("cmr", "items", {}, records),
    ]
    tables, maps = [], []
    for api, key, more, found in pages:
        script = [ok({key: some, **more}, CMR_Hits=str(len(found))) for some in (found, [])]
        with Stub(*script) as stub, quick() as transport:
            source = CMRSource(root_url=f"{stub.origin}/{api}", api=api, transport=transport)
            catalog = source.fetch(cycle_22())
        tables.append(catalog.table.select(["id", "collection", "geometry", "bbox", "datetime"]))
        maps.append(ShardMap.build(catalog, HealpixGrid(6, 12)))
    assert tables[0].equals(tables[1])
    assert maps[0].shard_keys == maps[1].shard_keys
    assert [len(found) for found in maps[0].granules] == [len(found) for found in maps[1].granules]


def test_parts_of_orbits_lose_no_pair_of_the_polygons():
    granules = simulate("ATL07", version="006", cycle=22, tracks=[1, 700], regions=range(3, 13))
    query = Query.for_cycle("ATL07", "006", 22, WORLD)
    with SandboxServer(granules, orbits=True) as server:
        drawn, report = fetch(server, query)
        real, _ = fetch(server, query, api="stac")
    assert (report.complete, len(drawn), len(real)) == (True, 20, 20)
    wide, narrow = (
        {
            (key, granule["id"])
            for key, found in zip(m.shard_keys, m.granules, strict=True)
            for granule in found
        }
        for m in (ShardMap.build(catalog, HealpixGrid(7, 12)) for catalog in (drawn, real))
    )
    assert len(narrow) > 500
    assert not narrow - wide


def test_boxes_are_bounding_rectangles_in_cmr():
    ring = [[20, -80], [60, -80], [60, -70], [20, -70], [20, -80]]
    boxed = simulate(cycle=22, tracks=[1], regions=[11])
    lons, lats = np.array(ring, dtype=float).T
    boxed = replace(boxed, lats=lats, lons=lons, offsets=np.array([0, 5]))
    with SandboxServer(boxed) as server:
        stac, cmr = (fetch(server, api=api)[0] for api in ("stac", "cmr"))
    assert known_to_both(stac).equals(known_to_both(cmr))
    assert stac.table["bbox"][0].as_py() == {"xmin": 20, "ymin": -80, "xmax": 60, "ymax": -70}


def test_granules_of_the_former_archive_are_named_alike_by_both():
    granules = simulate("ATL06", version="005", cycle=22, tracks=[1], regions=[3, 4])
    query = Query.for_cycle("ATL06", "005", 22, WORLD, provider="NSIDC_ECS")
    with SandboxServer(granules, provider="NSIDC_ECS", archive="ecs") as server:
        catalog, report = fetch(server, query)
        document = requests.get(f"{server.root_url}/NSIDC_ECS/search", timeout=5).json()
    assert report.complete
    assert ids(catalog) == sorted(granules.table["id"].to_pylist())
    # CMR-STAC names the same granules by numbers.
    assert all(item["id"].startswith("SC:ATL06.005:") for item in document["features"])


def test_the_metadata_says_which_api_was_asked(server):
    stac, cmr = (fetch(server, api=api)[0].metadata for api in ("stac", "cmr"))
    assert (stac["source"], cmr["source"]) == ("CMR-STAC", "CMR")
    assert (stac["stac_root"], cmr["cmr_root"]) == (server.root_url, server.cmr_url)
    own = {"source", "stac_root", "cmr_root", "harvest"}
    assert {k: v for k, v in stac.items() if k not in own} == {
        k: v for k, v in cmr.items() if k not in own
    }


def test_links_lead_to_the_concept(server):
    links = fetch(server)[0].table["links"][0].as_py()
    assert [link["rel"] for link in links] == ["via"]
    assert re.fullmatch(r".*/search/concepts/G\d+-NSIDC_CPRD\.umm_json", links[0]["href"])


def test_slices_side_by_side_give_the_same_catalog(many):
    with SandboxServer(many, cmr_page_size=30) as server:
        one, _ = fetch(server)
        source = CMRSource(root_url=server.cmr_url, api="cmr", connections=4)
        catalog = source.fetch(cycle_22())
        assert len(catalog) > 500
        assert catalog.table.equals(one.table)
        assert catalog.metadata == one.metadata
        assert source.last_report.transfer.pages > len(catalog) / 30


def test_a_cycle_is_asked_for_by_name(many):
    with SandboxServer(many) as server:
        _, report = fetch(server)
        asked = server.requests[0].query
    assert asked["readable_granule_name[]"] == "ATL06*_??????????????_????22??_*"
    assert asked["options[readable_granule_name][pattern]"] == "true"
    assert asked["provider"] == "NSIDC_CPRD"
    assert report.outside_cycle == 0
    assert name_patterns(Query.for_cycle("ATL11", "007", 22, WORLD)) == []
    assert name_patterns(cycle_22(convention="nominal")) == []


def test_a_page_is_asked_for_with_the_same_parameters_and_the_header(many):
    with SandboxServer(many, cmr_page_size=400) as server:
        fetch(server)
        asked = [request for request in server.requests if "/granules" in request.path]
    # Granules refer to their collection by its title, which is asked for once.
    assert len(server.requests) == len(asked) + 1
    *pages, count = asked
    assert len(pages) >= 2
    assert len({json.dumps(request.query, sort_keys=True) for request in pages}) == 1
    assert ["cmr-search-after" in request.headers for request in pages] == [
        False,
        *[True] * (len(pages) - 1),
    ]
    assert count.query == pages[0].query | {"page_size": "0"}
    assert all(request.headers["client-id"].startswith("zagg-catalog/") for request in pages)


def umm(granule, **more):
    points = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    ring = [{"Longitude": lon, "Latitude": lat} for lon, lat in points]
    return {
        "meta": {"concept-id": f"G{abs(hash(granule))}-NSIDC_CPRD"},
        "umm": {
            "GranuleUR": granule,
            "CollectionReference": {"ShortName": "ATL06", "Version": "007"},
            "TemporalExtent": {"SingleDateTime": "2024-01-01T00:00:00Z"},
            "SpatialExtent": {
                "HorizontalSpatialDomain": {
                    "Geometry": {"GPolygons": [{"Boundary": {"Points": ring}}]}
                }
            },
            "RelatedUrls": [{"URL": f"https://example.org/{granule}", "Type": "GET DATA"}],
            **more,
        },
    }


def answered(numbers, hits=None, after=None):
    headers = {} if hits is None else {"CMR_Hits": str(hits)}
    headers |= {} if after is None else {"CMR_Search_After": after}
    return ok({"hits": hits, "took": 1, "items": [umm(name(n)) for n in numbers]}, **headers)


def scripted(*script, **more):
    with Stub(*script) as stub, quick(**more) as transport:
        source = CMRSource(root_url=f"{stub.origin}/search", api="cmr", transport=transport)
        catalog = source.fetch(cycle_22())
    return ids(catalog), source.last_report, stub


def test_the_last_page_may_have_a_header_and_lead_nowhere():
    # The count moved while the pages were read, so that the last one is not known as such.
    found, report, stub = scripted(
        answered([1, 2], 3, '["a"]'),
        answered([2, 3], 4, '["b"]'),
        answered([], 4),
        answered([], 3),
    )
    assert found == [name(1), name(2), name(3)]
    assert report.complete
    assert [seen[3].get("cmr-search-after") for seen in stub.seen[:3]] == [None, '["a"]', '["b"]']


def test_when_all_hits_came_the_header_of_the_last_page_is_not_followed():
    found, _, stub = scripted(
        answered([1, 2], 3, '["a"]'), answered([3], 3, '["b"]'), answered([], 3)
    )
    assert len(found) == 3
    assert len(stub.seen) == 3


def test_a_short_page_does_not_end_a_search():
    found, *_ = scripted(
        answered([1], 3, '["a"]'), answered([], 3, '["b"]'), answered([2, 3], 3, '["c"]'),
        answered([], 3),
    )  # fmt: skip
    assert len(found) == 3


def test_without_hits_nothing_is_proven():
    with pytest.raises(IncompleteHarvest, match="declares no count"):
        scripted(answered([1]))


def test_hits_that_move_are_harvested_again():
    found, report, _ = scripted(
        answered([1], 1), answered([], 2), answered([1, 2], 2), answered([], 2)
    )
    assert (found, report.declared_before) == ([name(1), name(2)], 2)


def test_a_partial_answer_after_a_time_out_is_no_answer():
    late = ok({"items": [umm(name(1))]}, CMR_Hits="2", CMR_Time_Out="true", CMR_Request_Id="abc-1")
    found, report, _ = scripted(late, answered([1, 2], 2), answered([], 2))
    assert (len(found), report.transfer.retries) == (2, 1)
    with pytest.raises(RequestFailed, match=r"ran out of time .*\(CMR-Request-Id abc-1\)"):
        scripted(late)


def test_polygons_with_holes_and_several_parts_are_read():
    square = [(0, 0), (9, 0), (9, 9), (0, 9), (0, 0)]
    hole = [(2, 2), (2, 4), (4, 4), (4, 2), (2, 2)]
    points = [[{"Longitude": x, "Latitude": y} for x, y in ring] for ring in (square, hole)]
    with_hole = {
        "Boundary": {"Points": points[0]},
        "ExclusiveZone": {"Boundaries": [{"Points": points[1]}]},
    }

    def extent(*polygons):
        return {"HorizontalSpatialDomain": {"Geometry": {"GPolygons": list(polygons)}}}

    items = [
        umm(name(1), SpatialExtent=extent(with_hole)),
        umm(name(2), SpatialExtent=extent(with_hole, {"Boundary": {"Points": points[1]}})),
    ]
    answer = ok({"items": items}, CMR_Hits="2")
    with Stub(answer, answered([], 2)) as stub, quick() as transport:
        source = CMRSource(root_url=f"{stub.origin}/search", api="cmr", transport=transport)
        table = source.fetch(cycle_22()).table
    one, two = shapely.from_wkb(table["geometry"].to_pylist())
    assert (one.geom_type, len(one.interiors)) == ("Polygon", 1)
    assert (two.geom_type, len(two.geoms)) == ("MultiPolygon", 2)
    assert table["bbox"][0].as_py() == {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 9}


COMPLETE = "complete"
EXPECTED = {
    "cmr-timeout": COMPLETE,
    "cmr-timeout:times=99": RequestFailed,
    "status=429:retry-after=1": COMPLETE,
    "status=503:times=3": COMPLETE,
    "status=503:times=99": RequestFailed,
    "status=400": RequestFailed,
    "reset": COMPLETE,
    "truncated:times=2": COMPLETE,
    "html": COMPLETE,
    "html:times=99": BadResponse,
    "no-features": COMPLETE,
    "empty-page": COMPLETE,
    "short-page=5": COMPLETE,
    "silent-end:times=1": COMPLETE,
    "silent-end": IncompleteHarvest,
    "count-high": IncompleteHarvest,
    "count-low": IncompleteHarvest,
    "count-moves": IncompleteHarvest,
    "no-count": IncompleteHarvest,
    "ingest": COMPLETE,
    "ingest=5:times=3": COMPLETE,
    "duplicates=9": COMPLETE,
    "superseded=3": 3,
    "null-geometry=2": 2,
    "no-geometry": 1,
    "empty-polygon": 1,
    "nan-coordinate=25": 25,
    "few-vertices": 1,
    "missing-id": 1,
    "not-an-item": 1,
    "missing-assets": 1,
    "bad-item": RequestFailed,
    "no-links": COMPLETE,
    "missing-datetime": 0,
}


@pytest.mark.parametrize(("fault", "end"), EXPECTED.items(), ids=EXPECTED.keys())
def test_a_fault_is_ridden_out_or_ends_in_a_named_error(few, few_truth, fault, end):
    with SandboxServer(few, page_size=25, faults=[fault]) as server:
        if isinstance(end, type):
            with pytest.raises(end) as raised:
                fetch(server, timeout=0.5)
            assert f"{server.cmr_url}/granules.umm_json" in str(raised.value)
            return
        lost = end not in (COMPLETE, 0) and not fault.startswith("superseded")
        with pytest.warns(IncompleteCatalog) if lost else nullcontext():
            found, report = fetch(server, timeout=0.5)
    assert report.complete is not lost
    if end == COMPLETE:
        assert known_to_both(found).equals(known_to_both(few_truth))
    else:
        assert len(report.quarantined) + len(report.superseded) == end
        assert len(found) == len(few_truth) - (0 if fault.startswith("superseded") else end)


def test_the_setting_chooses_the_api(few, monkeypatch):
    with SandboxServer(few) as server:
        monkeypatch.setenv("ZAGG_CATALOG_API", "cmr")
        monkeypatch.setenv("ZAGG_CATALOG_CMR_ROOT", server.cmr_url)
        source = CMRSource()
        assert source.api == "cmr"
        assert len(source.fetch(cycle_22())) == 84
        assert CMRSource(root_url=server.root_url, api="stac").root_url == server.root_url


def test_the_default_root_is_nasas():
    assert CMRSource(api="cmr").root_url == "https://cmr.earthdata.nasa.gov/search"


def test_the_provider_is_always_said(few):
    with SandboxServer(few) as server, pytest.raises(InvalidQuery, match="needs a provider"):
        fetch(server, cycle_22(provider=""))


def test_an_unknown_api_is_refused():
    with pytest.raises(InvalidQuery, match="'stac' or 'cmr'"):
        CMRSource(api="opensearch")
