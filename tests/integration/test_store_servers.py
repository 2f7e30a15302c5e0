"""The store on S3 servers that check signatures, keep data on disk, and ignore conditions."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.harness import servers
from tests.harness.proxy import proxied
from zagg_catalog.errors import StoreUnavailable, UnsafePointerStore
from zagg_catalog.store import UnsafeStoreWarning, open_store, s3_errors

pytestmark = pytest.mark.integration

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000
CONTENTS = pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
ON_JUICEFS = pytest.mark.parametrize("disk_server", ["juicefs"], indirect=True)


@pytest.fixture
def url(disk_server) -> str:
    s3_errors.forget()
    return f"s3://{servers.new_bucket(disk_server.endpoint)}/team/store"


@pytest.fixture
def store(disk_server, url):
    return open_store(url, settings=servers.settings_for(disk_server.endpoint))


@CONTENTS
def test_objects_are_stored_once_and_read_back(store, tmp_path, content):
    ref = store.put(FOLDER, content, ".parquet")
    assert ref.written
    assert not store.put(FOLDER, content, ".parquet").written
    assert store.get(ref) == content
    assert store.download(ref, tmp_path / "copy").read_bytes() == content
    assert [info.key for info in store.list(FOLDER)] == [ref.key]
    store.delete(ref.key)
    assert list(store.list()) == []


def test_ignored_conditions_are_found_out_or_accepted(store, disk_server, url):
    with pytest.warns(UnsafeStoreWarning), pytest.raises(UnsafePointerStore):
        store.swap_pointer(POINTER, b"1", None)
    client = servers.plain_client(disk_server.endpoint)
    left = client.list_objects_v2(Bucket=url.split("/")[2]).get("Contents", [])
    assert [found["Key"] for found in left if ".probe" in found["Key"]] == []
    settings = servers.settings_for(disk_server.endpoint, accept_last_writer_wins=True)
    accepting = open_store(url, settings=settings)
    token = accepting.swap_pointer(POINTER, b"1", None)
    accepting.swap_pointer(POINTER, b"2", token)
    assert store.read_pointer(POINTER).value == b"2"


def test_a_wrong_key_is_said(disk_server, url):
    settings = servers.settings_for(disk_server.endpoint, s3_secret_access_key="wrong-secret")
    store = open_store(url, settings=settings)
    for operation in (
        lambda: store.put(FOLDER, SMALL, ".json"),
        lambda: list(store.list()),
        lambda: store.read_pointer(POINTER),
        lambda: store.swap_pointer(POINTER, b"", None),
    ):
        with pytest.raises(StoreUnavailable, match="refused the credentials") as error:
            operation()
        assert "wrong-secret" not in str(error.value)


@pytest.mark.parametrize("disk_server", ["rclone"], indirect=True)
def test_a_missing_bucket_is_said(disk_server):
    lost = open_store("s3://no-such-bucket", settings=servers.settings_for(disk_server.endpoint))
    for operation in (lambda: lost.put(FOLDER, SMALL, ".json"), lambda: lost.exists("a")):
        with pytest.raises(StoreUnavailable, match="bucket does not exist"):
            operation()


@ON_JUICEFS
@CONTENTS
def test_a_bit_that_flips_on_the_way_is_refused_by_the_server(disk_server, url, content):
    with proxied("127.0.0.1", disk_server.port) as proxy:
        store = open_store(url, settings=servers.settings_for(proxy.endpoint, s3_attempts=1))
        proxy.fail("flip", "^PUT")
        with pytest.raises(StoreUnavailable, match="XAmzContentSHA256Mismatch"):
            store.put(FOLDER, content, ".json")
        assert list(store.list()) == []
        assert store.sweep(timedelta(0)) == []
        store._client.close()


@ON_JUICEFS
def test_what_was_stored_survives_kill_9(store, disk_server):
    contents = (b"one", b"two", BIG)
    refs = [store.put(FOLDER, content, ".json") for content in contents]
    disk_server.kill()
    disk_server.start()
    assert [len(store.get(ref)) for ref in refs] == [3, 3, len(BIG)]
    assert not any(store.put(FOLDER, content, ".json").written for content in contents)


@ON_JUICEFS
def test_arrow_reads_objects(store):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    store.put("shardmaps/product=A", sink.getvalue().to_pybytes(), ".parquet")
    table = pq.read_table("shardmaps", filesystem=store.arrow_filesystem())
    assert table["a"].to_pylist() == [1, 2]
