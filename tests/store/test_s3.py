"""S3 faults end in success after retries or in one clear sentence, and show nothing by halves."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness.servers import SECRET, free_port, plain_client, settings_for
from zagg_catalog.errors import (
    ObjectMissing,
    PointerConflict,
    StoreUnavailable,
    UnsafePointerStore,
)
from zagg_catalog.settings import Settings
from zagg_catalog.store import UnsafeStoreWarning, open_store
from zagg_catalog.store import s3_errors as probe
from zagg_catalog.store.lease import Lease, Leased, LeaseLost, StoredLease

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000  # 8.7 MB: two parts

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.parametrize("stated", ["Fri, 01 May 2026 12:00:00 GMT", "soon", None])
def test_the_time_of_a_server_is_that_of_its_answers(stated):
    """And not that of a machine with a wrong clock."""
    headers = {"date": stated} if stated else {}
    found = probe.time_of({"ResponseMetadata": {"HTTPHeaders": headers}})
    assert found == (datetime(2026, 5, 1, 12, tzinfo=UTC) if stated and "2026" in stated else None)


@pytest.fixture
def store(proxy, bucket):
    settings = settings_for(proxy.endpoint, s3_timeout=1, s3_attempts=4)
    store = open_store(f"s3://{bucket}/prefix", settings=settings)
    yield store
    store._client.close()


def unfinished(endpoint: str, bucket: str) -> list:
    return plain_client(endpoint).list_multipart_uploads(Bucket=bucket).get("Uploads", [])


TRANSIENT = ["500", "503", "reset", "deaf", "hang"]
STEPS = {
    "head": ("^HEAD", SMALL),
    "put": ("^PUT", SMALL),
    "create": (r"^POST .*\?uploads", BIG),
    "part": (r"^PUT .*partNumber=2", BIG),
    "complete": (r"^POST .*uploadId", BIG),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_put_survives_two_faults(store, proxy, kind, step):
    match, content = STEPS[step]
    proxy.fail(kind, match, times=1 if kind == "hang" else 2)
    ref = store.put(FOLDER, content, ".parquet")
    assert store.get(ref) == content
    assert all(fault.times == 0 for fault in proxy.faults)
    assert not store.put(FOLDER, content, ".parquet").written


@pytest.mark.parametrize("kind", [*TRANSIENT, "cut"])
def test_reads_survive_two_faults(store, proxy, kind, tmp_path):
    ref = store.put(FOLDER, BIG, ".parquet")
    proxy.fail(kind, "^GET", times=1 if kind == "hang" else 2)
    assert store.get(ref) == BIG
    proxy.fail(kind, "^GET")
    assert store.download(ref, tmp_path / "copy").read_bytes() == BIG


@pytest.mark.parametrize("kind", ["500", "503", "reset"])
def test_a_server_that_stays_broken_is_said_and_nothing_is_visible(
    store, proxy, kind, moto, bucket
):
    proxy.fail(kind, r"^PUT .*partNumber=2", times=100)
    with pytest.raises(StoreUnavailable, match="after retries") as error:
        store.put(FOLDER, BIG, ".parquet")
    assert proxy.count("partNumber=2") == 4, "the budget is bounded"
    assert_clear(error)
    assert list(store.list()) == []
    assert unfinished(moto.endpoint, bucket) == [], "the upload was aborted"


def test_a_download_that_stays_cut_leaves_no_file(store, proxy, tmp_path):
    ref = store.put(FOLDER, BIG, ".parquet")
    proxy.fail("cut", "^GET", times=100)
    with pytest.raises(StoreUnavailable) as error:
        store.download(ref, tmp_path / "copy")
    assert_clear(error)
    assert list(tmp_path.iterdir()) == []


def test_a_create_whose_answer_was_lost_is_no_loss(store, proxy):
    store.swap_pointer("releases/warm-up.json", b"", None)
    proxy.fail("deaf", "^PUT")
    token = store.swap_pointer(POINTER, b"1", None)
    proxy.fail("deaf", "^PUT")
    store.swap_pointer(POINTER, b"2", token)
    assert store.read_pointer(POINTER).value == b"2"
    assert all(fault.times == 0 for fault in proxy.faults)


def test_a_server_that_is_down_is_said(moto):
    settings = settings_for(f"http://127.0.0.1:{free_port()}", s3_attempts=2, s3_timeout=1)
    store = open_store("s3://bucket", settings=settings)
    for operation in operations(store):
        with pytest.raises(StoreUnavailable, match="did not answer") as error:
            operation()
        assert_clear(error)


def test_a_missing_bucket_is_said(moto):
    store = open_store("s3://no-such-bucket", settings=settings_for(moto.endpoint))
    for operation in operations(store):
        with pytest.raises((StoreUnavailable), match="bucket does not exist") as error:
            operation()
        assert_clear(error)


def test_missing_credentials_are_said(monkeypatch, tmp_path, bucket, moto):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = Settings(_env_file=None, s3_endpoint=moto.endpoint)
    store = open_store(f"s3://{bucket}", settings=settings)
    for operation in [*operations(store), store.arrow_filesystem]:
        with pytest.raises(StoreUnavailable, match="no usable credentials") as error:
            operation()
        assert_clear(error)


def operations(store):
    key = f"{FOLDER}/{'0' * 64}.json"
    return [
        lambda: store.put(FOLDER, SMALL, ".json"),
        lambda: store.put(FOLDER, BIG, ".json"),
        lambda: store.get(key),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: list(store.list()),
        lambda: store.read_pointer(POINTER),
        lambda: store.swap_pointer(POINTER, b"", None),
        store.sweep,
    ]


def assert_clear(error) -> None:
    """One sentence or two, no secret, no signed URL, and no chain that would print one."""
    text = str(error.value)
    assert len(text) < 400
    assert "\n" not in text
    assert SECRET not in text
    assert "Signature=" not in text
    assert error.value.__suppress_context__
    assert error.value.__cause__ is None


def test_a_killed_upload_is_invisible_and_swept(moto, bucket):
    child = f"""
import os, signal
from unittest import mock
from tests.harness.servers import settings_for
from zagg_catalog.store import open_store
store = open_store("s3://{bucket}/prefix", settings=settings_for("{moto.endpoint}"))
send = store._client.upload_part
def die(**part):
    send(**part)
    os.kill(os.getpid(), signal.SIGKILL)
store._client.upload_part = die
store.put("{FOLDER}", b"x" * 20_000_000, ".parquet")
"""
    ran = subprocess.run([sys.executable, "-c", child], capture_output=True, timeout=600)
    assert ran.returncode == -9, ran.stderr.decode()
    store = open_store(f"s3://{bucket}/prefix", settings=settings_for(moto.endpoint))
    assert list(store.list()) == []
    assert len(unfinished(moto.endpoint, bucket)) == 1
    (swept,) = store.sweep(timedelta(0))
    assert swept.startswith(FOLDER)
    assert unfinished(moto.endpoint, bucket) == []
    assert store.put(FOLDER, b"x" * 20_000_000, ".parquet").written


def test_an_object_that_another_program_copied_is_recognised(moto, bucket):
    store = open_store(f"s3://{bucket}", settings=settings_for(moto.endpoint))
    ref = store.put(FOLDER, SMALL, ".json")
    client = plain_client(moto.endpoint)
    client.put_object(Bucket=bucket, Key=ref.key, Body=SMALL)
    assert not store.put(FOLDER, SMALL, ".json").written
    client.put_object(Bucket=bucket, Key=ref.key, Body=b"c0ntent")
    assert store.put(FOLDER, SMALL, ".json").written
    assert store.get(ref) == SMALL


def test_a_server_is_probed_once_and_only_for_pointers(store, proxy, moto, bucket):
    store.put(FOLDER, SMALL, ".json")
    store.read_pointer(POINTER)
    assert proxy.count(r"\.probe") == 0
    token = store.swap_pointer(POINTER, b"1", None)
    probed = proxy.count(r"\.probe")
    assert probed > 0
    store.swap_pointer(POINTER, b"2", token)
    assert proxy.count(r"\.probe") == probed
    client = plain_client(moto.endpoint)
    names = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert [name for name in names if ".probe" in name] == []


@pytest.fixture
def ignorant(store, monkeypatch):
    """A store on a server that answers 200 to conditional writes and overwrites."""
    sent = store._client.put_object

    def put(IfNoneMatch=None, IfMatch=None, **request):  # noqa: N803
        return sent(**request)

    monkeypatch.setattr(store._client, "put_object", put)
    probe.forget()
    return store


def test_a_server_that_overwrites_is_found_out_and_refused(ignorant):
    with pytest.warns(UnsafeStoreWarning, match="ignores or refuses If-None-Match"):
        assert_refused(ignorant)
    assert_refused(ignorant)  # and no second warning, which would be an error here
    assert ignorant.read_pointer(POINTER) is None
    ref = ignorant.put(FOLDER, SMALL, ".json")
    assert ignorant.get(ref) == SMALL, "objects are safe: their content is their name"


def assert_refused(store) -> None:
    with pytest.raises(UnsafePointerStore, match="ACCEPT_LAST_WRITER_WINS"):
        store.swap_pointer(POINTER, b"1", None)


def test_last_writer_wins_is_accepted_on_request(ignorant):
    ignorant._settings.accept_last_writer_wins = True
    with pytest.warns(UnsafeStoreWarning):
        token = ignorant.swap_pointer(POINTER, b"1", None)
    assert ignorant.swap_pointer(POINTER, b"1", None) == token
    ignorant.swap_pointer(POINTER, b"2", token)
    with pytest.raises(PointerConflict):
        ignorant.swap_pointer(POINTER, b"3", token)
    assert ignorant.read_pointer(POINTER).value == b"2"


def test_of_two_runs_that_take_a_lease_at_once_one_finds_out(ignorant, monkeypatch):
    """Without conditional writes both believe at first that they hold it."""
    ignorant._settings.accept_last_writer_wins = True
    first, second = (
        Lease(ignorant, POINTER, Leased[StoredLease], StoredLease, what="cycle 22") for _ in "12"
    )
    written = ignorant._write

    def write(*arguments):
        monkeypatch.setattr(ignorant, "_write", written)
        second.acquire({"by": "second"}, wait=0)  # after the first one has looked
        return written(*arguments)

    monkeypatch.setattr(ignorant, "_write", write)
    with pytest.warns(UnsafeStoreWarning):
        first.acquire({"by": "first"}, wait=0)
    first.update()
    with pytest.raises(LeaseLost, match="Another run has taken over"):
        second.update()


def test_a_server_without_conditions_still_takes_objects(store, monkeypatch):
    from botocore.exceptions import ClientError

    sent = store._client.put_object

    def put(**request):
        if "IfNoneMatch" in request or "IfMatch" in request:
            facts = {"Error": {"Code": "NotImplemented"}}
            facts["ResponseMetadata"] = {"HTTPStatusCode": 501}
            raise ClientError(facts, "PutObject")
        return sent(**request)

    monkeypatch.setattr(store._client, "put_object", put)
    probe.forget()
    assert store.get(store.put(FOLDER, SMALL, ".json")) == SMALL
    with pytest.warns(UnsafeStoreWarning):
        assert_refused(store)


def test_a_server_that_hangs_is_given_up(store, proxy):
    proxy.fail("hang", "^GET", times=100)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
        store.read_pointer(POINTER)
    assert time.monotonic() - started < 10


def test_reading_what_is_not_there_is_no_outage(store):
    with pytest.raises(ObjectMissing):
        store.get(f"{FOLDER}/{'0' * 64}.json")
