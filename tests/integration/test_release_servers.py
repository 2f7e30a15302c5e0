"""Releases on S3 servers that keep their data on disk and ignore conditional writes."""

from __future__ import annotations

import pytest

from tests.harness import servers
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.errors import CorruptObject, UnsafePointerStore
from zagg_catalog.releases import (
    collect_garbage,
    diff,
    find_release,
    list_releases,
    resolve,
    rollback,
    verify,
)
from zagg_catalog.store import UnsafeStoreWarning, open_store
from zagg_catalog.store import s3_errors as probe

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::zagg_catalog.store.UnsafeStoreWarning"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    for name, numbers in inputs.CATALOGS.items():
        inputs.write(folder, name, numbers)
    return folder


@pytest.fixture
def opened(disk_server):
    """Open a store of this test's own, with the last writer allowed to win or not."""
    probe.forget()
    url = f"s3://{servers.new_bucket(disk_server.endpoint)}/team"

    def call(*, accept=True):
        settings = servers.settings_for(disk_server.endpoint, accept_last_writer_wins=accept)
        return open_store(url, settings=settings)

    return call


def test_publish_resolve_verify_and_roll_back(opened, files, tmp_path):
    store = opened()
    first = inputs.publish(store, files, "first")
    again = inputs.publish(store, files, "first")
    assert (first.moved, again.unchanged) == (True, True)
    second = inputs.publish(store, files, "next")
    assert second.contraction.ids == (inputs.granule(0),)
    assert {one.digest for one in list_releases(store)} == {first.digest, second.digest}
    for grid in inputs.CONFIGS:
        path = resolve(store, *inputs.RELEASE_KEY, grid, folder=tmp_path / "m")
        assert len(ShardMap.from_json(path)) == second.record.grid(grid).shards
    old = find_release(store, *inputs.RELEASE_KEY, digest=first.digest[:12])
    assert len(diff(store, old, find_release(store, *inputs.RELEASE_KEY)).grids[1].map.redo) == 18
    assert rollback(store, *inputs.RELEASE_KEY, first.digest).supersedes == second.digest
    assert collect_garbage(store, delete=True).objects == []
    found = verify(store)
    assert (found.findings, found.releases, found.files) == ([], 2, 10)


def test_without_leave_the_files_are_stored_and_the_pointer_is_not(opened, files):
    store = opened(accept=False)
    with pytest.warns(UnsafeStoreWarning), pytest.raises(UnsafePointerStore):
        inputs.publish(store, files, "first")
    assert verify(store).clean
    assert [one.latest for one in list_releases(store)] == [False]
    done = inputs.publish(opened(), files, "first")
    assert (done.moved, done.written) == (True, [])


def test_a_release_survives_kill_9_of_the_server(opened, disk_server, files):
    store = opened()
    done = inputs.publish(store, files, "first")
    disk_server.kill()
    disk_server.start()
    assert find_release(store, *inputs.RELEASE_KEY).digest == done.digest
    assert verify(store).clean


def test_a_flipped_byte_is_refused_by_name(opened, disk_server, files, tmp_path):
    store = opened()
    key = inputs.publish(store, files, "first").record.grid("plate").manifest.document.key
    content = store.get(key)
    client = servers.plain_client(disk_server.endpoint)
    where = {"Bucket": store.bucket, "Key": store.prefix + key}
    client.put_object(**where, Body=content[:-5] + b"x" + content[-4:])
    with pytest.raises(CorruptObject, match=key):
        resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    assert [finding.key for finding in verify(store).findings] == [key]
    # What publish sees is not what it would write, so it puts that right.
    assert inputs.publish(store, files, "first").written == [key]
    assert verify(store).clean
