"""Earthdata on the loopback: its login, its credentials, its files, and no other host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from zagg_catalog.sandbox.earthdata import (
    DATA_HOST,
    LOGIN_HOST,
    PASSWORD,
    TOKEN,
    USER,
    EarthdataServer,
)

pytest.importorskip("trustme", reason="trustme comes with the extra sandbox")

CONTENT = bytes(range(256)) * 40
NAME = "some.h5"
FILE = f"https://{DATA_HOST}/bucket/ATLAS/{NAME}"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def earthdata(tmp_path) -> Iterator[EarthdataServer]:
    file = tmp_path / "data/bucket/ATLAS" / NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    (tmp_path / "secret.h5").write_bytes(b"outside")
    with EarthdataServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
def client(earthdata) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": earthdata.environment["HTTPS_PROXY"]}
        session.verify = earthdata.environment["REQUESTS_CA_BUNDLE"]
        yield session


def test_a_range_of_a_file_is_sent(client) -> None:
    reply = client.get(FILE, headers=BEARER | {"Range": "bytes=100-199"})
    assert reply.status_code == 206
    assert reply.content == CONTENT[100:200]
    assert reply.headers["Content-Range"] == f"bytes 100-199/{len(CONTENT)}"


def test_a_whole_file_is_sent(client) -> None:
    assert client.get(FILE, headers=BEARER).content == CONTENT
    assert client.head(FILE, headers=BEARER).headers["Content-Length"] == str(len(CONTENT))


def test_a_range_may_end_after_the_file_and_not_begin_there(client) -> None:
    size = len(CONTENT)
    past = {"Range": f"bytes={size - 10}-{size + 10}"}
    assert client.get(FILE, headers=BEARER | past).content == CONTENT[-10:]
    assert client.get(FILE, headers=BEARER | {"Range": f"bytes={size}-"}).status_code == 416


def test_files_need_a_login(client, earthdata) -> None:
    assert client.get(FILE).status_code == 401
    assert client.get(FILE, headers={"Authorization": "Bearer other"}).status_code == 401
    assert [read.status for read in earthdata.reads] == [401, 401]


def test_no_file_outside_the_folder_is_sent(client) -> None:
    for path in ("/bucket/none.h5", "/%2e%2e/secret.h5", "/"):
        assert client.get(f"https://{DATA_HOST}{path}", headers=BEARER).status_code == 404, path


def test_s3_credentials_need_a_login_and_are_new_each_time(client, earthdata) -> None:
    address = f"https://{DATA_HOST}/s3credentials"
    assert client.get(address).status_code == 401
    first, second = (client.get(address, headers=BEARER).json() for _ in range(2))
    assert first.keys() == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
    assert [one["sessionToken"] for one in (first, second)] == earthdata.sessions
    assert first["sessionToken"] != second["sessionToken"]


def test_user_and_password_get_the_token(client) -> None:
    address = f"https://{LOGIN_HOST}/api/users/find_or_create_token"
    assert client.post(address, auth=(USER, "wrong")).status_code == 401
    assert client.post(address, auth=(USER, PASSWORD)).json()["access_token"] == TOKEN


def test_another_host_is_refused_and_noted(client, earthdata) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        client.get("https://cmr.earthdata.nasa.gov/search")
    assert earthdata.refused == ["cmr.earthdata.nasa.gov"]


@pytest.mark.parametrize(
    ("refusal", "status"), [("denied", 403), ("missing", 404), ("broken", 503), ("page", 200)]
)
def test_a_file_is_refused_by_name(client, earthdata, refusal, status) -> None:
    earthdata.refusals[NAME] = refusal
    reply = client.get(FILE, headers=BEARER)
    assert reply.status_code == status
    assert reply.content != CONTENT
    assert earthdata.reads[-1].status == status
    del earthdata.refusals[NAME]
    assert client.get(FILE, headers=BEARER).content == CONTENT


def test_every_file_is_refused_by_a_star(client, earthdata) -> None:
    earthdata.refusals["*"] = "reset"
    with pytest.raises(requests.exceptions.ConnectionError):
        client.get(FILE, headers=BEARER)


def test_a_test_may_refuse_single_reads(client, earthdata) -> None:
    refusals = iter([None, "denied", None])
    earthdata.on_read = lambda _: next(refusals)
    assert [client.get(FILE, headers=BEARER).status_code for _ in range(3)] == [200, 403, 200]


def test_a_read_that_hangs_ends_with_the_server(earthdata, client) -> None:
    asked = threading.Event()

    def hang(_: str) -> str:
        asked.set()
        return "hang"

    earthdata.on_read = hang
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(client.get, FILE, headers=BEARER)
        assert asked.wait(600)
        earthdata.stop()
        assert isinstance(reply.exception(600), requests.exceptions.ConnectionError)


def test_granules_are_written_when_they_are_asked_for(tmp_path) -> None:
    pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
    path = "bucket/ATLAS/ATL06_20231218222221_00012211_007_01.h5"
    with EarthdataServer(tmp_path, create=True) as earthdata:
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(earthdata.file_of, [f"/{path}"] * 4))
        assert found == {tmp_path / path}
        assert (tmp_path / path).read_bytes()[1:4] == b"HDF"
        assert earthdata.file_of("/bucket/ATLAS/other.h5") is None
    assert Path(tmp_path, path).parent.name == "ATLAS"
    assert len(list((tmp_path / path).parent.iterdir())) == 1
