"""The store on a JuiceFS gateway: signatures, parts, durability, and conditions it ignores."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store import servers
from tests.store.proxy import proxied
from zagg_catalog.errors import StoreUnavailable, UnsafePointerStore
from zagg_catalog.store import UnsafeStoreWarning, open_store
from zagg_catalog.store import s3_errors as probe

pytestmark = pytest.mark.integration

BUCKET, URL = "mybucket", "s3://mybucket/team/store"
FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.running(servers.juicefs(tmp_path_factory.mktemp("juicefs"))) as server:
        servers.plain_client(server.endpoint).create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def store(server):
    probe.forget()
    return open_store(URL, settings=servers.settings_for(server.endpoint))


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_objects_are_stored_once_and_read_back(store, tmp_path, content):
    ref = store.put(FOLDER, content, ".parquet")
    assert ref.written
    assert not store.put(FOLDER, content, ".parquet").written
    assert store.get(ref) == content
    assert store.download(ref, tmp_path / "copy").read_bytes() == content
    assert [info.key for info in store.list(FOLDER)] == [ref.key]
    store.delete(ref.key)
    assert list(store.list()) == []


def test_ignored_conditions_are_found_out(store, server):
    with pytest.warns(UnsafeStoreWarning), pytest.raises(UnsafePointerStore):
        store.swap_pointer(POINTER, b"1", None)
    left = servers.plain_client(server.endpoint).list_objects_v2(Bucket=BUCKET)
    assert [found["Key"] for found in left.get("Contents", []) if ".probe" in found["Key"]] == []


def test_pointers_move_where_that_is_accepted(server):
    probe.forget()
    settings = servers.settings_for(server.endpoint, accept_last_writer_wins=True)
    store = open_store(URL, settings=settings)
    with pytest.warns(UnsafeStoreWarning):
        token = store.swap_pointer(POINTER, b"1", None)
    store.swap_pointer(POINTER, b"2", token)
    assert store.read_pointer(POINTER).value == b"2"
    store.delete(POINTER)


def test_a_wrong_key_is_said(server):
    probe.forget()
    settings = servers.settings_for(server.endpoint, s3_secret_access_key="wrong-secret")
    store = open_store(URL, settings=settings)
    for operation in (
        lambda: store.put(FOLDER, SMALL, ".json"),
        lambda: list(store.list()),
        lambda: store.read_pointer(POINTER),
        lambda: store.swap_pointer(POINTER, b"", None),
    ):
        with pytest.raises(StoreUnavailable, match="refused the credentials") as error:
            operation()
        assert "wrong-secret" not in str(error.value)


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_a_bit_that_flips_on_the_way_is_refused_by_the_server(server, content):
    with proxied("127.0.0.1", server.port) as proxy:
        store = open_store(URL, settings=servers.settings_for(proxy.endpoint, s3_attempts=1))
        proxy.fail("flip", "^PUT")
        with pytest.raises(StoreUnavailable, match="XAmzContentSHA256Mismatch"):
            store.put(FOLDER, content, ".json")
        assert list(store.list()) == []
        assert store.sweep(timedelta(0)) == []
        store._client.close()


def test_what_was_stored_survives_kill_9(store, server):
    refs = [store.put(FOLDER, content, ".json") for content in (b"one", b"two", BIG)]
    server.kill()
    server.start()
    assert [len(store.get(ref)) for ref in refs] == [3, 3, len(BIG)]
    assert not any(store.put(FOLDER, content, ".json").written for content in (b"one", b"two", BIG))


def test_arrow_reads_objects(store):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    store.put("shardmaps/product=A", sink.getvalue().to_pybytes(), ".parquet")
    table = pq.read_table("shardmaps", filesystem=store.arrow_filesystem())
    assert table["a"].to_pylist() == [1, 2]
