"""From a query to a catalog, over a simulated CMR-STAC."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sources.served import WORLD, cycle_22, fetch, ids, same
from tests.sources.stub import Stub, answer, name, ok, page, quick
from zagg_catalog.errors import InvalidQuery, PagingError
from zagg_catalog.sandbox import Granules, SandboxServer
from zagg_catalog.sources import Catalog, CMRSource, Query
from zagg_catalog.sources.http import ApiRequest
from zagg_catalog.sources.stac import declared_count, next_request

# --- what a fetch gives


def test_a_cycle_is_exactly_the_granules_whose_names_carry_it(
    server: SandboxServer, granules: Granules
) -> None:
    source = CMRSource(root_url=server.root_url)
    truth = source.fetch(cycle_22())
    names = granules.table["id"].to_pylist()
    assert ids(truth) == sorted(n for n in names if re.match(r"ATL06_\d{14}_\d{4}22", n))
    assert source.last_report.outside_cycle > 0
    assert truth.metadata["harvest"]["outside_cycle"] == 0
    assert truth.complete


def test_a_nominal_cycle_is_all_granules_between_its_dates(server: SandboxServer) -> None:
    found = ids(fetch(server, cycle_22(convention="nominal")))
    cycles = {n.split("_")[2][4:6] for n in found}
    assert cycles == {"22", "23"}
    query = Query("ATL06", "007", "2024-01-06", "2024-04-05", WORLD)
    assert ids(fetch(server, query)) == found


@pytest.mark.realdata
def test_granules_of_the_former_archive_have_the_names_of_their_files(real_data: Path) -> None:
    """Their ids, SC:ATL21.003:281280776, say neither cycle nor revision."""
    recorded = json.loads((real_data / "recorded/atl21_box_items.json").read_text())
    assert all(item["id"].startswith("SC:") for item in recorded["features"])
    query = Query("ATL21", "003", "2018-11-01", "2018-12-31", WORLD, provider="")
    with Stub(ok(recorded)) as stub, quick() as transport:
        catalog = CMRSource(root_url=f"{stub.origin}/stac", transport=transport).fetch(query)
    assert ids(catalog) == [
        "ATL21-01_20181101001332_05100101_003_01.h5",
        "ATL21-01_20181201013224_09690101_003_01.h5",
    ]


def test_provenance_says_what_was_asked_and_what_came(
    server: SandboxServer, truth: Catalog
) -> None:
    metadata = truth.metadata
    assert metadata == json.loads(json.dumps(metadata))
    harvest = metadata["harvest"]
    assert {k: v for k, v in metadata.items() if k != "harvest"} == {
        "source": "CMR-STAC",
        "stac_root": server.root_url,
        "provider": "NSIDC_CPRD",
        "collection": "ATL06_007",
        "short_name": "ATL06",
        "version": "007",
        "start_date": "2023-12-18",
        "end_date": "2024-03-18",
        "bbox": [-180.0, -90.0, 180.0, 90.0],
        "area": [[-180.0, -90.0, 180.0, 90.0]],
        "cycle": 22,
        "cycle_convention": "mission",
        "preserve_thumbnails": False,
        "total_granules": len(truth),
        "complete": True,
        "quarantined": [],
    }
    assert harvest["declared_before"] == harvest["harvested"]
    assert harvest["kept"] == len(truth)
    assert harvest["quarantined"] == harvest["superseded"] == []


def test_the_columns_hold_hrefs_times_and_boxes(truth: Catalog) -> None:
    row = truth.table.slice(0, 1).to_pylist()[0]
    file = re.match(r".*\.h5", row["id"])[0]  # type: ignore[index]
    assert row["assets"]["data"]["href"].startswith("https://")
    assert row["assets"]["data"]["href"].endswith(file)
    assert row["assets"]["data_s3"]["href"].startswith("s3://")
    assert row["assets"]["data"]["roles"] == ["data"]
    assert row["start_datetime"] == row["datetime"] < row["end_datetime"]
    assert set(row["bbox"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert truth.table["geometry"].null_count == 0


@pytest.mark.parametrize(
    "style",
    [
        {"page_size": 7},
        {"page_size": 2000},
        {"relative": True},
        {"next_method": "POST"},
        {"next_method": "POST-merge"},
        {"counts": "numberMatched"},
        {"counts": "context"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_same_content_gives_the_same_catalog(
    granules: Granules, style: dict[str, Any], method: str
) -> None:
    with SandboxServer(granules, **style) as other, SandboxServer(granules) as plain:
        query = cycle_22((-60, 60, 60, 90))
        assert same(fetch(other, query, method=method), fetch(plain, query))


def test_two_fetches_give_equal_files(server: SandboxServer, tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for limit, path in zip((2000, 50), paths, strict=True):
        fetch(server, limit=limit).to_geoparquet(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("limit", "sent"), [(1, "1"), (50, "50"), (5000, "5000"), (10**6, "5000")])
def test_the_limit_is_a_hint(granules: Granules, limit: int, sent: str) -> None:
    query = Query("ATL06", "007", "2023-12-19", "2023-12-19", WORLD)
    with SandboxServer(granules) as server:
        assert len(fetch(server, query, limit=limit)) > 10
        assert server.requests[0].query["limit"] == sent


@pytest.mark.parametrize("limit", [0, -5, 1.5, "10", True])
def test_a_limit_that_is_none_is_refused(server: SandboxServer, limit: Any) -> None:
    with pytest.raises(InvalidQuery, match="limit is a whole number"):
        fetch(server, limit=limit)


def test_thumbnails_come_on_request(server: SandboxServer) -> None:
    query = Query("ATL06", "007", "2023-12-19", "2023-12-19", WORLD)
    plain, kept = fetch(server, query), fetch(server, query, preserve_thumbnails=True)
    names = [field.name for field in kept.table.schema.field("assets").type]
    assert [f.name for f in plain.table.schema.field("assets").type] == names[:3]
    assert any(re.fullmatch(r"browse|thumbnail_1", n) for n in names[3:])
    assert kept.metadata["preserve_thumbnails"] is True


# --- regions


def test_a_box_over_the_antimeridian_is_asked_for_in_halves(granules: Granules) -> None:
    with SandboxServer(granules) as server:
        source = CMRSource(root_url=server.root_url)
        whole = source.fetch(cycle_22((170, -80, -170, 80)))
        asked = {r.query["bbox"] for r in server.requests}
        halves = [fetch(server, cycle_22(b)) for b in [(170, -80, 180, 80), (-180, -80, -170, 80)]]
    assert asked == {"170,-80,180,80", "-180,-80,-170,80"}
    assert ids(whole) == sorted({*ids(halves[0]), *ids(halves[1])})
    report = source.last_report
    assert report.shared > 0
    assert [part.bbox[0] for part in report.slices] == [170, -180]
    assert whole.metadata["bbox"] == [170, -80, -170, 80]
    assert whole.complete


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("south", "north"), [(-90, -80), (80, 90)])
def test_both_poles(
    server: SandboxServer, granules: Granules, south: int, north: int, method: str
) -> None:
    found = fetch(server, cycle_22((-180, south, 180, north)), method=method)
    regions = {n.split("_")[2][6:8] for n in ids(found)}
    assert regions >= ({"11"} if south < 0 else {"04"})
    assert regions <= ({"10", "11", "12"} if south < 0 else {"03", "04", "05"})
    tracks = {n.split("_")[2][:4] for n in ids(found)}
    assert len(tracks) == len({n.split("_")[2][:4] for n in granules.table["id"].to_pylist()})


def test_a_polygon_file_is_asked_for_by_its_box(granules: Granules, tmp_path: Path) -> None:
    ring = [[-70, 60], [-10, 60], [-10, 80], [-70, 80], [-70, 60]]
    path = tmp_path / "greenland.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with SandboxServer(granules) as server:
        found = fetch(server, cycle_22(path))
        west, south, east, north = map(float, server.requests[0].query["bbox"].split(","))
    assert (west, south, east) == (-70, 60, -10)
    assert north >= 80
    assert 0 < len(found) < 1000


# --- where the API is


def test_the_root_and_the_provider_make_the_address(few: Granules) -> None:
    with SandboxServer(few, page_size=25, provider="OTHER") as server, quick() as transport:
        source = CMRSource("OTHER", root_url=server.root_url + "/", transport=transport)
        assert source.fetch(cycle_22()).metadata["provider"] == "OTHER"
        assert server.requests[0].path == "/stac/OTHER/search"
        query = cycle_22(provider="OTHER")
        assert len(CMRSource(root_url=server.root_url, transport=transport).fetch(query)) == 84


def test_an_api_without_sub_catalogs_has_an_empty_provider() -> None:
    with Stub(ok(page([name(1)], numberMatched=1))) as stub, quick() as transport:
        source = CMRSource(provider="", root_url=stub.origin, transport=transport)
        assert len(source.fetch(cycle_22())) == 1
    assert stub.seen[0][1].startswith("/search?collections=ATL06_007&bbox=-180,-90,180,90&")


def test_the_settings_give_root_and_method(few: Granules, monkeypatch: pytest.MonkeyPatch) -> None:
    with SandboxServer(few, page_size=25) as server:
        monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", server.root_url)
        monkeypatch.setenv("ZAGG_CATALOG_STAC_METHOD", "POST")
        assert len(CMRSource(timeout=5).fetch(cycle_22())) == 84
        # Next links of CMR-STAC are GETs; the search and the count are asked for by POST.
        assert [r.method for r in server.requests] == ["POST", "GET", "GET", "GET", "POST"]
        assert server.requests[0].body == {
            "collections": ["ATL06_007"],
            "bbox": [-180, -90, 180, 90],
            "datetime": "2023-12-18T00:00:00Z/2024-03-18T23:59:59.999999Z",
            "limit": 2000,
        }


def test_the_default_root_is_cmr_stac() -> None:
    assert CMRSource().root_url == "https://cmr.earthdata.nasa.gov/stac"


@pytest.mark.parametrize(
    "root", ["", "cmr.earthdata.nasa.gov", "ftp://x/", "http://", "http://x:y/", "http://h/?a=1"]
)
def test_a_root_that_is_no_address_is_refused(root: str) -> None:
    with pytest.raises(InvalidQuery, match="The root of a STAC API is an address"):
        CMRSource(root_url=root)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="GET or POST"):
        CMRSource(method="PUT")  # type: ignore[arg-type]


def test_a_login_in_the_root_is_sent_but_never_written() -> None:
    with Stub(ok(page([name(1)], numberMatched=1))) as stub, quick() as transport:
        root = stub.origin.replace("//", "//me:hunter2@")
        found = CMRSource("", root_url=root, transport=transport).fetch(cycle_22())
    assert stub.seen[0][3]["authorization"].startswith("Basic ")
    assert found.metadata["stac_root"] == stub.origin
    assert "hunter2" not in json.dumps(found.metadata)


def test_last_report_has_the_figures_of_the_transfer(few: Granules) -> None:
    with (
        SandboxServer(few, page_size=25, faults=["status=503:times=2"]) as server,
        quick() as transport,
    ):
        source = CMRSource(root_url=server.root_url, transport=transport)
        assert source.last_report is None
        found = source.fetch(cycle_22())
        assert source.last_report is not None
        assert source.last_report.to_dict() == found.metadata["harvest"]
        transfer = source.last_report.transfer
        assert (transfer.pages, transfer.requests, transfer.retries) == (4, 7, 2)
        assert len(server.requests) == 7


def test_progress_is_told(few: Granules) -> None:
    told: list[tuple[int, int | None]] = []
    with SandboxServer(few, page_size=25) as server:
        fetch(server, progress=lambda done, total: told.append((done, total)))
    assert told == [(25, 84), (50, 84), (75, 84), (84, 84)]


# --- next links, which are not trusted

ASKED = ApiRequest("https://api.org/stac/search?limit=2&x=1")
POSTED = ApiRequest("https://api.org/stac/search", "POST", {"limit": 2, "bbox": [0]}, {"X-A": "1"})


def link(href: Any = "https://api.org/stac/search?cursor=2", **more: Any) -> dict[str, Any]:
    return {"rel": "next", "href": href, **more}


def test_the_last_page_has_no_next_link() -> None:
    assert next_request(page(), ASKED) is None
    assert next_request(page([], {"rel": "prev", "href": "x"}), ASKED) is None
    assert next_request({"features": []}, ASKED) is None
    assert next_request({"features": [], "links": None}, ASKED) is None


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://api.org/stac/search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("https://API.org:443/stac/search?cursor=2", "https://API.org:443/stac/search?cursor=2"),
        ("/stac/search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("search?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("?cursor=2", "https://api.org/stac/search?cursor=2"),
        ("//api.org/stac/search?cursor=2#x", "https://api.org/stac/search?cursor=2"),
        ("https://me:pw@api.org/s", "https://api.org/s"),
    ],
)
def test_links_are_absolute_or_relative_to_their_page(href: str, url: str) -> None:
    assert next_request(page([], link(href)), ASKED) == ApiRequest(url)


def test_a_post_link_brings_its_body() -> None:
    following = next_request(
        page([], link(method="post", body={"token": "a"}, headers={"X-B": "2", "X-C": 3})), POSTED
    )
    assert following == ApiRequest(
        "https://api.org/stac/search?cursor=2", "POST", {"token": "a"}, {"X-B": "2"}
    )


def test_a_post_link_may_merge_into_what_was_sent() -> None:
    following = next_request(
        page([], link(method="POST", body={"token": "a", "limit": 3}, merge=True)), POSTED
    )
    assert following is not None
    assert following.body == {"limit": 3, "bbox": [0], "token": "a"}
    assert following.headers == {"X-A": "1"}


def test_a_post_link_may_merge_into_a_get_search() -> None:
    asked = ApiRequest("https://api.org/s?collections=A,B&bbox=-1,2,3,4.5&datetime=a/b&limit=2")
    following = next_request(page([], link(method="POST", body={"token": 1}, merge=True)), asked)
    assert following is not None
    assert following.body == {
        "collections": ["A", "B"],
        "bbox": [-1, 2, 3, 4.5],
        "datetime": "a/b",
        "limit": 2,
        "token": 1,
    }


def test_a_get_link_on_a_posted_search_has_no_body() -> None:
    following = next_request(page([], link()), POSTED)
    assert following is not None
    assert (following.method, following.body) == ("GET", None)


@pytest.mark.parametrize(
    "href",
    [
        "http://api.org/stac/search?cursor=2",
        "https://api.org:8443/stac/search",
        "https://evil.org/stac/search",
        "https://api.org.evil.org/",
        "https://api.org@evil.org/",
        "//evil.org/stac/search",
        "ftp://api.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://api.org:99999/",
        "https://[bad",
    ],
)
def test_a_link_to_another_origin_is_refused(href: str) -> None:
    with pytest.raises(PagingError, match="another origin"):
        next_request(page([], link(href)), ASKED)


@pytest.mark.parametrize("redirect", [True, False])
def test_an_at_sign_in_a_path_leads_to_no_other_server(redirect: bool) -> None:
    """Nor does the login of the root go there."""
    with Stub(ok(page([]))) as planted:
        with Stub(ok(page([]))) as stub, quick(retries=0) as transport:
            href = f"{stub.origin}/x@{planted.origin.removeprefix('http://')}/y"
            to_there = answer(302, Location=href) if redirect else ok(page([], link(href)))
            stub.script.insert(0, to_there)
            transport.session.auth = ("someone", "hunter2")
            read = transport.get_json(ApiRequest(stub.url))
            if not redirect:
                transport.get_json(next_request(read, ApiRequest(stub.url)))
            assert [path for _, path, _, _ in stub.seen][1].startswith("/x@127.0.0.1")
        assert planted.seen == []


@pytest.mark.parametrize("href", [None, "", "  ", 5, {"a": 1}])
def test_a_link_without_href_is_refused(href: Any) -> None:
    with pytest.raises(PagingError, match="has no href"):
        next_request(page([], link(href)), ASKED)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "DELETE"}, {"method": "POST", "body": [1]}, {"method": "POST", "body": "x"}],
)
def test_a_link_that_is_not_understood_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PagingError, match="unknown method, headers or body"):
        next_request(page([], link(**wrong)), ASKED)


def test_links_that_are_no_list_are_refused() -> None:
    with pytest.raises(PagingError, match="not a list"):
        next_request({"features": [], "links": {"next": "x"}}, ASKED)


# --- counts


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({"numberMatched": 5}, 5),
        ({"context": {"matched": 5}}, 5),
        ({"numberMatched": 5, "context": {"matched": 7}}, 7),
        ({"numberMatched": 7, "context": {"matched": 5}}, 7),
        ({"numberMatched": 0}, 0),
        ({"numberMatched": None, "context": {"matched": 5}}, 5),
        ({"numberMatched": "5"}, None),
        ({"numberMatched": True}, None),
        ({"numberMatched": -1}, None),
        ({"context": {"returned": 5}}, None),
        ({"context": [5]}, None),
        ({}, None),
    ],
)
def test_the_count_is_declared_in_either_of_two_places(said: Any, count: int | None) -> None:
    assert declared_count(said) == count
