"""The STAC API over HTTP: documents, search semantics, paging, quirks of CMR-STAC."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pystac_client
import pytest
import requests

from tests.sandbox.conftest import Serve, next_link
from zagg_catalog.sandbox import Granules, SandboxServer, simulate


def test_documents_lead_from_the_root_to_an_item(serve: Serve, granules: Granules) -> None:
    with serve() as client:
        root = client.session.get(client.server.root_url, timeout=60).json()
        assert [v["href"] for v in root["links"] if v["rel"] == "child"] == [client.url]
        landing = client.get("").json()
        assert landing["type"] == "Catalog"
        assert any(c.endswith("/item-search") for c in landing["conformsTo"])
        search = [link["method"] for link in landing["links"] if link["rel"] == "search"]
        assert sorted(search) == ["GET", "POST"]
        listed = client.get("/collections").json()["collections"]
        assert [c["id"] for c in listed] == ["ATL06_007"]
        assert client.get("/collections/ATL06_007").json() == listed[0]
        item = client.get().json()["features"][0]
        assert client.get(f"/collections/ATL06_007/items/{item['id']}").json() == item


def test_the_items_of_a_collection_are_a_page_of_another_form(
    serve: Serve, granules: Granules
) -> None:
    with serve() as client:
        page = client.get("/collections/ATL06_007/items", limit=10).json()
        found = client.get(limit=10).json()["features"]
        ids = [item["id"] for item in page["features"]]
        while (link := next_link(page)) and page["features"]:
            page = client.session.get(link["href"], timeout=60).json()
            ids += [item["id"] for item in page["features"]]
        first = client.get("/collections/ATL06_007/items", limit=10).json()
    assert ids == granules.table["id"].to_pylist()
    assert (first["numberMatched"], first["numberReturned"]) == (25, 10)
    assert first["context"] == {"returned": 10, "limit": 10, "matched": 25}
    assert (first["id"], first["stac_version"]) == ("ATL06_007-items", "1.1.0")
    assert [link["rel"] for link in first["links"]] == ["self", "root", "parent", "next"]
    for item, same in zip(first["features"], found, strict=True):
        assert [link["rel"] for link in item["links"]] == ["self"]
        assert item["links"][0]["title"] == item["id"]
        assert {**item, "links": []} == {**same, "links": []}


@pytest.mark.parametrize("path", ["/collections/ATL99_007", "/nothing", "/collections/x/items/y"])
def test_unknown_paths_are_404(serve: Serve, path: str) -> None:
    with serve() as client:
        assert client.get(path).status_code == 404
        assert client.session.get(f"{client.server.root_url}/OTHER", timeout=60).status_code == 404


def test_items_have_the_shape_of_cmr_stac(serve: Serve) -> None:
    with serve() as client:
        item = client.get(limit=1).json()["features"][0]
    assert item["collection"] == "ATL06_007"
    times = {"datetime", "start_datetime", "end_datetime"}
    assert set(item["properties"]) == times | {"storage:schemes"}
    assert item["properties"]["datetime"] == item["properties"]["start_datetime"]
    rels = {link["rel"] for link in item["links"]}
    assert rels == {"self", "parent", "collection", "root", "provider", "via"}
    assert any("/concepts/G" in link["href"] for link in item["links"])
    stem = item["id"].split(".h5")[0]
    own = [key for key in item["assets"] if stem in key]
    assert len(own) == 2
    assert set(item["assets"]) - set(own) == {"browse", "thumbnail_0", "thumbnail_1", "metadata"}
    data = [a["href"] for a in item["assets"].values() if a["roles"] == ["data"]]
    assert sorted(href.split(":")[0] for href in data) == ["https", "s3"]
    assert all(href.endswith(f"{stem}.h5") for href in data)


@pytest.mark.parametrize("options", [{}, {"relative": True}, {"next_method": "GET"}])
def test_get_pages_follow_next(serve: Serve, granules: Granules, options: dict[str, Any]) -> None:
    with serve(**options) as client:
        first = client.get().json()
        href = next_link(first)["href"]  # type: ignore[index]
        assert href.startswith("/stac/" if options.get("relative") else client.url)
        if not options.get("relative"):
            assert client.ids() == granules.table["id"].to_pylist()


@pytest.mark.parametrize("sortby", ["-id", [{"field": "id", "direction": "desc"}]], ids=str)
@pytest.mark.parametrize("method", ["GET", "same"])
def test_a_next_link_repeats_the_whole_search(
    serve: Serve, granules: Granules, method: str, sortby: Any
) -> None:
    world = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    for area in ({"bbox": [-180.0, -90, 180, 90]}, {"intersects": {
        "type": "Polygon", "coordinates": [world]}}):  # fmt: skip
        body: Any = {"collections": ["ATL06_007"], "limit": 10, "sortby": sortby, **area}
        with serve(next_method=method) as client:
            page = client.post(**body).json()
            ids = [item["id"] for item in page["features"]]
            while (link := next_link(page)) is not None:
                if method == "GET":
                    assert "method" not in link
                    page = client.session.get(link["href"], timeout=60).json()
                else:
                    page = client.post(**link["body"]).json()
                ids += [item["id"] for item in page["features"]]
        assert ids == sorted(granules.table["id"].to_pylist(), reverse=True)


@pytest.mark.parametrize("method", ["same", "POST", "POST-merge"])
def test_post_pages_follow_next(serve: Serve, granules: Granules, method: str) -> None:
    with serve(next_method=method) as client:
        body: dict[str, Any] = {"collections": ["ATL06_007"], "limit": 10}
        ids = []
        while True:
            page = client.post(**body).json()
            ids += [item["id"] for item in page["features"]]
            if (link := next_link(page)) is None:
                break
            assert link["method"] == "POST"
            body = {**body, **link["body"]} if link.get("merge") else link["body"]
    assert ids == granules.table["id"].to_pylist()


def test_pages_are_clamped_whatever_the_limit_says(serve: Serve) -> None:
    with serve() as client:
        page = client.get(limit=5000).json()
        assert len(page["features"]) == 10
        # As in CMR-STAC, the limit as it was asked for.
        assert page["context"] == {"limit": 5000, "matched": 25, "returned": 10}
        assert len(client.get(limit=3).json()["features"]) == 3
        none = client.get(limit=0).json()
        assert (none["features"], none["context"]["matched"], next_link(none)) == ([], 25, None)


@pytest.mark.parametrize(
    ("counts", "present"),
    [
        ("cmr-stac", {"context"}),
        ("numberMatched", {"numberMatched"}),
        ("context", {"context"}),
        ("both", {"context", "numberMatched"}),
        ("none", set()),
    ],
)
def test_counts_are_declared_where_asked(serve: Serve, counts: str, present: set[str]) -> None:
    with serve(counts=counts) as client:
        assert {"numberMatched", "context"} & set(client.get().json()) == present


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 5001),
        ("limit", "many"),
        ("bbox", "170,-10,-170,10"),
        ("bbox", "0,10,1,-10"),
        ("bbox", "1,2,3"),
        ("bbox", "-181,0,1,1"),
        ("datetime", "yesterday"),
        ("datetime", "../.."),
        ("datetime", "2024-01-02/2024-01-01"),
        ("intersects", '{"type": "Feature"}'),
        ("intersects", "land"),
        ("cursor", "mine"),
        ("sortby", "cloud_cover"),
    ],
)
def test_bad_parameters_are_refused(serve: Serve, name: str, value: Any) -> None:
    with serve() as client:
        reply = client.get(**{name: value})
        assert reply.status_code == 400
        assert reply.json()["errors"]


def test_only_searches_take_post(serve: Serve) -> None:
    with serve() as client:
        assert client.session.post(f"{client.url}/collections", json={}).status_code == 405
        assert client.session.post(f"{client.url}/search", data="no").status_code == 400


def test_boxes_and_polygons_select(serve: Serve) -> None:
    ring = [[-180, -66], [0, -66], [0, -65], [-180, -65], [-180, -66]]
    with serve() as client:
        box = client.post(bbox=[-180, -66, 0, -65]).json()
        assert 0 < box["context"]["matched"] < 25
        assert client.get(bbox="-180,-66,0,0,-65,9000").json()["features"] == box["features"]
        polygon = client.post(intersects={"type": "Polygon", "coordinates": [ring]}).json()
        assert polygon["context"]["matched"] >= box["context"]["matched"]
        assert client.post(bbox=[-180, 10, 180, 20]).json()["context"]["matched"] == 0


def test_times_select_what_overlaps(serve: Serve, granules: Granules) -> None:
    records = granules.table.to_pylist()
    third = records[2]
    inside = f"{third['end'].isoformat()}Z"
    with serve() as client:
        assert client.ids(datetime=inside) == [third["id"]]
        assert len(client.ids(datetime=f"{inside}/..")) == 23
        assert len(client.ids(datetime=f"../{third['start'].isoformat()}Z")) == 3
        day = f"{third['start']:%Y-%m-%d}"
        of_day = [r["id"] for r in records if f"{r['start']:%Y-%m-%d}" == day]
        assert client.ids(datetime=f"{day}/{day}") == of_day


def test_ids_and_collections_select(serve: Serve, granules: Granules) -> None:
    wanted = granules.table["id"].to_pylist()[3:5]
    with serve() as client:
        assert client.ids(ids=",".join(wanted)) == wanted
        assert [i["id"] for i in client.post(ids=wanted).json()["features"]] == wanted
        assert client.ids(collections="ATL03_007") == []


def test_sorting_goes_both_ways(serve: Serve, granules: Granules) -> None:
    ids = granules.table["id"].to_pylist()
    with serve() as client:
        assert client.ids(sortby="-properties.datetime") == ids[::-1]
        assert client.ids(sortby="id") == sorted(ids)
        body = {"sortby": [{"field": "id", "direction": "desc"}]}
        assert client.post(**body).json()["features"][0]["id"] == max(ids)


def test_every_request_is_logged(serve: Serve) -> None:
    with serve() as client:
        client.get(limit=5)
        client.post(limit=6001)
        first, second = client.server.requests
    assert (first.method, first.query, first.status) == ("GET", {"limit": "5"}, 200)
    assert (second.method, second.body, second.status) == ("POST", {"limit": 6001}, 400)
    assert first.path == "/stac/NSIDC_CPRD/search"
    assert "user-agent" in first.headers


def test_item_dicts_are_served_as_they_are(serve: Serve) -> None:
    item = {"type": "Feature", "id": "a", "collection": "C_001", "geometry": None, "mine": 1}
    with serve([item, "nonsense"]) as client:
        page = client.get(collections="C_001", bbox="0,0,1,1", datetime="2020-01-01").json()
    assert page["features"] == [item, "nonsense"]


def test_pystac_client_pages_it(serve: Serve, granules: Granules) -> None:
    with serve() as client:
        catalog = pystac_client.Client.open(client.url)
        assert [c.id for c in catalog.get_collections()] == ["ATL06_007"]
        for method in ("GET", "POST"):
            search = catalog.search(collections=["ATL06_007"], method=method, limit=2000)
            assert search.matched() == 25
            assert [i.id for i in search.items()] == granules.table["id"].to_pylist()


def test_many_clients_at_once(serve: Serve) -> None:
    with serve(faults=["latency=0.02"]) as client:

        def count(_: int) -> int:
            reply = requests.get(f"{client.url}/search", timeout=60)
            return int(reply.json()["context"]["matched"])

        with ThreadPoolExecutor(32) as pool:
            assert set(pool.map(count, range(100))) == {25}
    assert len(client.server.requests) == 100


def test_a_full_cycle_is_searched_by_region() -> None:
    with SandboxServer(simulate(cycle=22)) as server:
        body = {"collections": ["ATL06_007"], "bbox": [-180, -90, 180, -60], "limit": 2000}
        page = requests.post(f"{server.root_url}/NSIDC_CPRD/search", json=body, timeout=60).json()
    # Regions 10, 11 and 12 of every track.
    assert page["context"]["matched"] == 3 * 1387
    assert page["context"]["returned"] == 100


@pytest.mark.realdata
def test_real_items_get_keys_of_their_own(serve: Serve, real_data: Path) -> None:
    with serve(real_data / "atl03_007_neon.parquet") as client:
        page = client.get(collections="ATL03_007").json()
    assert page["context"]["matched"] == 2089
    keys = [key for item in page["features"] for key in item["assets"] if "ATL03" in key]
    assert len(keys) == len(set(keys)) == 2 * 10


def test_added_granules_are_found_in_order_of_start(serve: Serve, granules: Granules) -> None:
    between = simulate(cycle=22, regions=[10], tracks=[30])
    before = simulate(cycle=21, regions=[10], tracks=[5])
    with serve() as client:
        client.server.add(between)
        client.server.add(before)
        ids = client.ids()
        assert len(ids) == client.server.api.size == 27
        assert ids[0] == before.table["id"][0].as_py()
        assert ids[1:-1] == granules.table["id"].to_pylist()


def test_a_collection_that_is_new_is_listed(serve: Serve) -> None:
    with serve() as client:
        client.server.add(simulate("ATL03", cycle=22, regions=[10], tracks=[1]))
        listed = client.get("/collections").json()["collections"]
        assert [entry["id"] for entry in listed] == ["ATL03_007", "ATL06_007"]
        assert client.get(collections="ATL03_007").json()["context"]["matched"] == 1


def test_records_keep_their_concept(serve: Serve, granules: Granules) -> None:
    def concepts() -> dict[str, str]:
        items = [item for page in client.pages() for item in page["features"]]
        return {item["id"]: item["links"][-1]["href"] for item in items}

    with serve() as client:
        before = concepts()
        client.server.add(simulate(cycle=21, regions=[10], tracks=[5]))
        client.server.add(granules)
        after = concepts()
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after) == 26


def test_an_answer_is_of_one_moment(granules: Granules) -> None:
    parts = [simulate(cycle=22, regions=[10], tracks=[track]) for track in range(30, 60)]
    with SandboxServer(granules, page_size=100) as server, requests.Session() as session:
        adding = threading.Thread(target=lambda: [server.add(part) for part in parts])
        adding.start()
        seen = []
        while adding.is_alive():
            page = session.get(f"{server.root_url}/NSIDC_CPRD/search", timeout=60).json()
            assert page["context"]["matched"] == len(page["features"])
            seen.append(page["context"]["matched"])
        adding.join()
    assert seen == sorted(seen)


def test_another_process_may_add_by_a_request(serve: Serve) -> None:
    with serve() as client:
        door = client.server.root_url.replace("/stac", "/sandbox/granules")
        asked = {"cycle": "23", "regions": "10", "tracks": "1-3,7"}
        assert client.session.post(door, params=asked, timeout=60).json() == {
            "added": 4,
            "size": 29,
        }
        assert client.session.get(door, timeout=60).json()["size"] == 29
        for wrong in ({"cycle": "0"}, {"tracks": "x"}, {"colour": "red"}):
            reply = client.session.post(door, params=wrong, timeout=60)
            assert reply.status_code == 400
            assert reply.json()["errors"]
        assert client.server.api.size == 29
