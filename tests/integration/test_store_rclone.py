"""The store on ``rclone serve s3``, which answers differently and ignores conditions too."""

from __future__ import annotations

import pytest

from tests.store import servers
from zagg_catalog.errors import StoreUnavailable, UnsafePointerStore
from zagg_catalog.store import UnsafeStoreWarning, open_store
from zagg_catalog.store import s3_errors as probe

pytestmark = pytest.mark.integration

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.running(servers.rclone(tmp_path_factory.mktemp("rclone"))) as server:
        yield server


@pytest.fixture
def url(server) -> str:
    return f"s3://{servers.new_bucket(server.endpoint)}/team"


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_objects_are_stored_once_and_read_back(server, url, tmp_path, content):
    store = open_store(url, settings=servers.settings_for(server.endpoint))
    ref = store.put(FOLDER, content, ".parquet")
    assert ref.written
    assert not store.put(FOLDER, content, ".parquet").written
    assert store.get(ref) == content
    assert store.download(ref, tmp_path / "copy").read_bytes() == content
    assert [info.key for info in store.list(FOLDER)] == [ref.key]
    store.delete(ref.key)
    assert list(store.list()) == []


def test_ignored_conditions_are_found_out_or_accepted(server, url):
    probe.forget()
    settings = servers.settings_for(server.endpoint)
    store = open_store(url, settings=settings)
    with pytest.warns(UnsafeStoreWarning), pytest.raises(UnsafePointerStore):
        store.swap_pointer(POINTER, b"1", None)
    accepting = open_store(url, settings=settings.model_copy(update=ACCEPT))
    token = accepting.swap_pointer(POINTER, b"1", None)
    accepting.swap_pointer(POINTER, b"2", token)
    assert store.read_pointer(POINTER).value == b"2"


ACCEPT = {"accept_last_writer_wins": True}


def test_a_wrong_key_and_a_missing_bucket_are_said(server, url):
    settings = servers.settings_for(server.endpoint, s3_secret_access_key="wrong-secret")
    with pytest.raises(StoreUnavailable, match="refused the credentials"):
        open_store(url, settings=settings).put(FOLDER, SMALL, ".json")
    lost = open_store("s3://no-such-bucket", settings=servers.settings_for(server.endpoint))
    for operation in (lambda: lost.put(FOLDER, SMALL, ".json"), lambda: lost.exists("a")):
        with pytest.raises(StoreUnavailable, match="bucket does not exist"):
            operation()
