"""A store keeps immutable objects under their digest; the same in a folder and on S3."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from zagg_catalog.errors import CorruptObject, InvalidName, ObjectMissing, StoreError
from zagg_catalog.store import ObjectRef

FOLDER = "catalogs/product=ATL06_007/region=antarctica/cycle=22"
MANY = bytes(range(256)) * 34_000  # 8.7 MB: two parts on S3


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"", b"abc", MANY], ids=["empty", "small", "many parts"])
def test_what_is_put_is_got(store, tmp_path, content):
    ref = store.put(FOLDER, content, ".parquet")
    assert ref == ObjectRef(f"{FOLDER}/{sha(content)}.parquet", sha(content), len(content), True)
    assert store.get(ref) == store.get(ref.key) == content
    assert store.download(ref, tmp_path / "copy" / "a.parquet").read_bytes() == content


@pytest.mark.parametrize("content", [b"abc", MANY], ids=["small", "many parts"])
def test_a_file_is_put(store, tmp_path, content):
    path = tmp_path / "source.parquet"
    path.write_bytes(content)
    assert store.get(store.put(FOLDER, path, ".parquet")) == content
    assert not store.put(FOLDER, str(path), ".parquet").written


@pytest.mark.parametrize("content", [b"abc", MANY], ids=["small", "many parts"])
def test_putting_again_writes_nothing(store, place, content):
    first = store.put(FOLDER, content, ".parquet")
    (before,) = store.list(FOLDER)
    again = place.open().put(FOLDER, content, ".parquet")
    (after,) = store.list(FOLDER)
    assert (first.written, again.written) == (True, False)
    assert after == before
    assert again.key == first.key


def test_a_torn_object_is_put_right(store, place):
    ref = store.put(FOLDER, b"the whole", ".parquet")
    place.overwrite(ref.key, b"the wh")
    assert store.put(FOLDER, b"the whole", ".parquet").written
    assert store.get(ref) == b"the whole"


def test_a_key_that_names_another_digest_is_refused(store):
    key = f"{FOLDER}/{sha(b'other')}.parquet"
    with pytest.raises(CorruptObject, match=sha(b"abc")):
        store.put_object(key, b"abc")
    assert not store.exists(key)
    assert store.put_object(f"{FOLDER}/{sha(b'abc')}.parquet", b"abc").written


def test_one_changed_byte_is_noticed(store, place, tmp_path):
    ref = store.put(FOLDER, b"content", ".parquet")
    place.overwrite(ref.key, b"c0ntent")
    target = tmp_path / "copy.parquet"
    for read in (lambda: store.get(ref), lambda: store.download(ref, target)):
        with pytest.raises(CorruptObject) as error:
            read()
        for said in (ref.key, sha(b"content"), sha(b"c0ntent")):
            assert said in str(error.value)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_missing_object_is_said_to_be_missing(store, tmp_path):
    key = f"{FOLDER}/{sha(b'never')}.parquet"
    assert not store.exists(key)
    for read in (lambda: store.get(key), lambda: store.download(key, tmp_path / "x")):
        with pytest.raises(ObjectMissing, match=sha(b"never")):
            read()
    assert not (tmp_path / "x").exists()


def test_a_download_keeps_a_file_that_is_right_and_replaces_one_that_is_not(store, tmp_path):
    ref = store.put(FOLDER, b"content", ".parquet")
    path = store.download(ref, tmp_path / "copy")
    before = path.stat().st_ino
    assert store.download(ref, path).stat().st_ino == before
    path.write_bytes(b"c0ntent")
    assert store.download(ref, path).read_bytes() == b"content"


def test_listing_shows_objects_below_a_folder(store):
    assert list(store.list()) == list(store.list("nothing/here")) == []
    one = store.put("catalogs/product=A", b"one", ".parquet")
    two = store.put("catalogs/product=AB", b"three", ".json")
    pointer = "releases/latest.json"
    store.swap_pointer(pointer, b"{}", None)
    found = {info.key: info.size for info in store.list()}
    assert found == {one.key: 3, two.key: 5, pointer: 2}
    (info,) = store.list("catalogs/product=A")
    assert info.key == one.key
    assert abs(info.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_deleting_is_repeatable(store):
    ref = store.put(FOLDER, b"content", ".parquet")
    assert store.exists(ref.key)
    store.delete(ref.key)
    store.delete(ref.key)
    assert not store.exists(ref.key)


@pytest.mark.parametrize("key", ["../x", "a/../b", "/etc/passwd", ".lock", "a//b", "a\x00"])
def test_no_operation_takes_an_unsafe_key(store, key, tmp_path):
    for operation in (
        lambda: store.put(key, b"", ".json"),
        lambda: store.put_object(key, b""),
        lambda: store.get(key),
        lambda: store.get(ObjectRef(key, sha(b""), 0)),
        lambda: store.download(key, tmp_path / "x"),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: list(store.list(key)),
        lambda: store.read_pointer(key),
        lambda: store.swap_pointer(key, b"", None),
        lambda: store.uri(key),
    ):
        with pytest.raises(InvalidName):
            operation()


@pytest.mark.parametrize("suffix", ["", "parquet", ".", "./x", ".a.b.c", ".PARQUET", ".json\n"])
def test_unsafe_suffixes_are_refused(store, suffix):
    with pytest.raises(InvalidName, match="Suffix"):
        store.put(FOLDER, b"", suffix)


def test_objects_and_pointers_are_not_mixed_up(store):
    store.swap_pointer("releases/latest.json", b"{}", None)
    with pytest.raises(InvalidName, match="read_pointer"):
        store.get("releases/latest.json")


def test_a_source_that_cannot_be_read_is_said(store, tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        store.put(FOLDER, tmp_path / "none", ".parquet")


@pytest.mark.parametrize("content", [b"a" * 1000, MANY], ids=["small", "many parts"])
def test_a_source_that_changes_meanwhile_is_not_stored(store, tmp_path, monkeypatch, content):
    path = tmp_path / "source"
    path.write_bytes(content)
    blocks = "zagg_catalog.files.Content.checked_blocks"
    from zagg_catalog.files import Content

    original = Content.checked_blocks

    def changed(self, *length):
        path.write_bytes(content[:-1] + b"!")
        return original(self, *length)

    monkeypatch.setattr(blocks, changed)
    with pytest.raises(StoreError, match="changed while"):
        store.put(FOLDER, path, ".parquet")
    assert list(store.list()) == []
    assert list(store.sweep(timedelta(0))) == []


def test_its_clock_is_the_one_that_stamps_objects(store):
    before = store.now()
    key = store.put(FOLDER, b"content", ".json").key
    (info,) = [info for info in store.list() if info.key == key]
    # S3 has whole seconds.
    assert before - timedelta(seconds=1) <= info.modified <= store.now()
    assert [info.key for info in store.list()] == [key]


def test_threads_share_a_store(store):
    contents = [bytes([number]) * 1000 for number in range(8)] * 4
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda content: store.put(FOLDER, content, ".json"), contents))
        read = list(pool.map(store.get, refs))
    assert read == contents
    assert sum(ref.written for ref in refs) == 8


def test_arrow_reads_objects(store):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    ref = store.put(FOLDER, sink.getvalue().to_pybytes(), ".parquet")
    table = pq.read_table(FOLDER.split("/")[0], filesystem=store.arrow_filesystem())
    assert table["a"].to_pylist() == [1, 2]
    assert table["cycle"].to_pylist() == [22, 22]
    assert store.uri(ref.key) == f"{store.url}/{ref.key}"
