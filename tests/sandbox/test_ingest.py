"""Granules that are ingested while the server runs."""

from __future__ import annotations

import threading

import requests

from tests.sandbox.conftest import Serve
from zagg_catalog.sandbox import Granules, SandboxServer, simulate


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
        assert client.get(collections="ATL03_007").json()["numberMatched"] == 1


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
            page = session.get(f"{server.root_url}/NSIDC_CPRD/search", timeout=5).json()
            assert page["numberMatched"] == len(page["features"])
            seen.append(page["numberMatched"])
        adding.join()
    assert seen == sorted(seen)


def test_another_process_may_add_by_a_request(serve: Serve) -> None:
    with serve() as client:
        door = client.server.root_url.replace("/stac", "/sandbox/granules")
        asked = {"cycle": "23", "regions": "10", "tracks": "1-3,7"}
        assert client.session.post(door, params=asked, timeout=5).json() == {"added": 4, "size": 29}
        assert client.session.get(door, timeout=5).json()["size"] == 29
        for wrong in ({"cycle": "0"}, {"tracks": "x"}, {"colour": "red"}):
            reply = client.session.post(door, params=wrong, timeout=5)
            assert reply.status_code == 400
            assert reply.json()["errors"]
        assert client.server.api.size == 29
