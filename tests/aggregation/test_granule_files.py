"""Reads of granules: what a server sends is the file, or an error that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from zagg_catalog.aggregation import granule_files
from zagg_catalog.aggregation.granule_files import (
    SIGNATURE,
    checked_read,
    end_of_file,
    granule_file,
    s3_driver,
    why_unread,
)
from zagg_catalog.aggregation.granule_reads import GranuleReads

SOURCE = {
    "groups": ["gt1l", "gt1r"],
    "coordinates": {"latitude": "/{group}/seg/lat", "longitude": "/{group}/seg/lon"},
}
FAILED = TypeError("object of type 'NoneType' has no len()")


def superblock(version: int, end: int) -> bytes:
    """The first bytes of an HDF5 file that is `end` bytes long."""
    words = [(0).to_bytes(8, "little"), b"\xff" * 8, end.to_bytes(8, "little"), bytes(8)]
    head = {
        0: bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8),
        1: bytes([1, 0, 0, 0, 0, 8, 8, 0]) + bytes(12),
        2: bytes([2, 8, 8, 0]),
        3: bytes([3, 8, 8, 0]),
    }
    return (SIGNATURE + head[version] + b"".join(words)).ljust(200, b"\0")


def answer(data: bytes | None, **said):
    """A driver's read that gets an answer."""

    def read(offset: int, size: int) -> bytes | None:
        for name, value in said.items():
            setattr(granule_files._ANSWER, name, value)
        return data

    return read


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_the_length_of_a_file_is_in_its_superblock(version):
    assert end_of_file(superblock(version, 123_456)) == 123_456


@pytest.mark.parametrize("head", [b"", SIGNATURE, b"<html>" * 100, superblock(0, 1)[:50]])
def test_no_superblock_no_length(head):
    assert end_of_file(head) is None


def test_h5py_writes_what_is_read_here(tmp_path):
    h5py = pytest.importorskip("h5py")
    for number, version in enumerate(["earliest", "v108", "latest"]):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w", libver=version) as file:
            file["values"] = range(1000)
        assert end_of_file(path.read_bytes()) == path.stat().st_size


def test_a_whole_answer_is_passed_on():
    assert checked_read(answer(b"12345", total=100), 10, 5) == b"12345"
    assert checked_read(answer(b"12345", total=15), 10, 1000) == b"12345", "the end of the file"
    assert checked_read(answer(superblock(0, 200), total=200), 0, 4096).startswith(SIGNATURE)


@pytest.mark.parametrize(
    ("why", "read", "offset"),
    [
        ("AccessDenied", answer(None, said="AccessDenied"), 10),
        ("sent nothing, and gave no reason", answer(None), 10),
        ("sent 5 bytes instead of 20", answer(b"12345", total=100), 10),
        ("sent 0 bytes instead of 20", answer(b""), 10),
        ("a web page", answer(b"12345", page=True), 10),
        ("a web page", answer(b"\n<!DOCTYPE html><html>"), 0),
        ("from its start, although asked for a part", answer(b"1" * 20, whole=True), 10),
        ("cut short: it has 150 bytes of 200", answer(superblock(0, 200)[:150], total=150), 0),
    ],
)
def test_anything_else_is_an_error_with_the_words_of_the_server(why, read, offset):
    with pytest.raises(OSError, match=why):
        checked_read(read, offset, 20 if offset else 4096)


def test_the_error_of_a_driver_has_what_it_logged():
    def read(offset: int, size: int) -> bytes:
        granule_files._ANSWER.said = "HTTP error 404 - Failed to read"
        raise RuntimeError("Failed to read range 0-9 after retries")

    with pytest.raises(OSError, match=r"^HTTP error 404"):
        checked_read(read, 0, 10)


@pytest.mark.zagg
@pytest.mark.parametrize("own", [None, "http://127.0.0.1:9000"])
def test_granules_are_not_read_from_the_server_of_outputs(monkeypatch, own):
    driver = pytest.importorskip("h5coro.s3driver").S3Driver
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    keys = dict.fromkeys(["aws_access_key_id", "aws_secret_access_key", "aws_session_token"], "x")
    opened = s3_driver(driver, own)("bucket/key", keys)
    assert opened.client.meta.endpoint_url.endswith(own or "amazonaws.com")
    copy = opened.copy()
    assert copy.client.meta.endpoint_url == opened.client.meta.endpoint_url
    opened.close()
    copy.close()


class Tree:
    """A file with some paths; stands for h5coro's classes of files and datasets."""

    damaged: ClassVar[set[str]] = set()
    sizes: ClassVar[dict[str, int]] = {}

    def __init__(self, *paths: str) -> None:
        self.paths, self.pathAddresses = paths, {}

    @classmethod
    def describe(cls, file, path: str, **_: object):
        path = path.strip("/")
        if path in cls.damaged:
            raise RuntimeError(f"invalid signature in {path}")
        depth = path.count("/") + 2 if path else 1
        for known in file.paths:
            if known.startswith(f"{path}/" if path else ""):
                file.pathAddresses["/".join(known.split("/")[:depth])] = 0
        meta = type("Meta", (), {"dimensions": [cls.sizes.get(path, 10)]})
        return type("Dataset", (), {"meta": meta})


@pytest.fixture
def tree():
    class Fresh(Tree):
        damaged: ClassVar[set[str]] = set()
        sizes: ClassVar[dict[str, int]] = {}

    return Fresh


def beam(name: str) -> list[str]:
    return [f"{name}/seg/lat", f"{name}/seg/lon"]


def reason(tree, file, error=FAILED):
    return why_unread(tree.describe, file, "gt1r", SOURCE, error)


def test_a_beam_that_is_not_there_is_no_reason(tree):
    assert reason(tree, tree(*beam("gt1l"))) is None
    assert reason(tree, tree(*beam("gt1l"), "gt1r/other")) is None, "a beam without segments"


def test_a_beam_without_points_is_no_reason(tree):
    tree.sizes.update(dict.fromkeys(beam("gt1r"), 0))
    assert reason(tree, tree(*beam("gt1l"), *beam("gt1r"))) is None


def test_a_beam_that_the_config_does_not_name_shows_that_the_file_is_of_the_product(tree):
    assert reason(tree, tree(*beam("gt3l"))) is None


def test_a_beam_that_is_there_has_zagg_s_reason(tree):
    assert reason(tree, tree(*beam("gt1l"), *beam("gt1r"))) is FAILED


def test_a_file_without_any_beam_has_zagg_s_reason(tree):
    """A granule of another product, or a path in the config that no granule has."""
    assert reason(tree, tree("orbit_info/rgt")) is FAILED


@pytest.mark.parametrize("place", ["", "gt1r"])
def test_a_file_that_cannot_be_walked_is_damaged(tree, place):
    tree.damaged.add(place)
    file = tree(*beam("gt1l"), *beam("gt1r"))
    assert "the file is damaged (invalid signature" in str(reason(tree, file))
    lost = OSError("HTTP error 403")
    assert reason(tree, file, lost) is lost, "the server's words say more"


def test_names_that_are_noise_are_no_list_of_beams(tree):
    assert "damaged" in str(reason(tree, tree(*beam("gt1l"), "g\x01\xff1r/seg/lat")))


class Bytes:
    """h5coro's class of a file, over some bytes."""

    def __init__(self, resource: str, content: bytes) -> None:
        if not content:
            raise OSError("HTTP error 404")
        self.resource, self.content = resource, content

    def ioRequest(self, pos, size, caching=True, prefetch=False):  # noqa: N802
        return None if prefetch else self.content[pos : pos + size]

    def close(self):
        pass


def test_a_file_is_being_read_from_its_opening_to_its_closing(tmp_path: Path):
    written = tmp_path / "reading.json"
    reads = GranuleReads(written)
    opened = granule_file(Bytes, reads)("https://host/a/ATL06_a.h5?x=1", b"12345")

    def being_read() -> list[str]:
        return json.loads(written.read_text())["granules"]

    assert being_read() == ["ATL06_a.h5"]
    again = granule_file(Bytes, reads)("bucket/ATL06_a.h5", b"12345")
    opened.close()
    opened.close()
    assert being_read() == ["ATL06_a.h5"], "for another shard"
    again.close()
    assert being_read() == []


def test_a_file_that_cannot_be_opened_is_kept_with_its_reason(tmp_path: Path):
    reads = GranuleReads(tmp_path / "reading.json")
    with pytest.raises(OSError, match="404"):
        granule_file(Bytes, reads)("bucket/ATL06_a.h5", b"")
    assert reads.not_opened == {"ATL06_a.h5": "HTTP error 404"}
    assert json.loads((tmp_path / "reading.json").read_text()) == {"granules": []}


def test_a_place_after_the_end_of_a_file_is_an_error_where_h5coro_would_read_for_ever(tmp_path):
    file = granule_file(Bytes, GranuleReads(tmp_path / "reading.json"))("bucket/a.h5", b"12345")
    assert file.ioRequest(1, 4) == b"2345"
    assert file.ioRequest(1, 4, prefetch=True, caching=False) is None
    with pytest.raises(OSError, match="refers to byte 10, beyond its end"):
        file.ioRequest(3, 7)
