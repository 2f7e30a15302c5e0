"""Keys of the layout are built from a release key, and read back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidName
from zagg_catalog.releases.layout import ReleaseKey, folder_key, parse_key

DIGEST = "0123456789abcdef" * 4
KEY = ReleaseKey("ATL06_007", "antarctica", 22)

LETTERS = string.ascii_letters + string.digits + "-_."
names = st.text(LETTERS, min_size=1, max_size=128).filter(
    lambda name: not name.startswith(".") and ".." not in name
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
release_keys = st.builds(ReleaseKey, names, names, st.integers(1, 9999))


def test_the_layout():
    folder = "product=ATL06_007/region=antarctica/cycle=22"
    assert KEY.key("catalogs", DIGEST) == f"catalogs/{folder}/{DIGEST}.parquet"
    shard_map = f"shardmaps/{folder}/grid=hp9/{DIGEST}"
    assert KEY.key("shardmaps", DIGEST, grid="hp9") == f"{shard_map}.parquet"
    assert KEY.key("shardmaps", DIGEST, ".json", "hp9") == f"{shard_map}.json"
    assert KEY.key("releases", DIGEST) == f"releases/{folder}/{DIGEST}.json"
    assert KEY.pointer() == f"releases/{folder}/latest.json"
    assert KEY.pointer("pickups", "hp9") == f"pickups/{folder}/grid=hp9/latest.json"


def test_folders_are_as_deep_as_their_parts_are_given():
    assert folder_key("releases") == "releases"
    assert folder_key("releases", "ATL06_007") == "releases/product=ATL06_007"
    assert KEY.folder("shardmaps").endswith("/cycle=22")
    assert KEY.folder("shardmaps", "g").endswith("/cycle=22/grid=g")
    with pytest.raises(InvalidName, match="needs a product before"):
        folder_key("releases", region="antarctica")


@given(release_keys, names, digests, st.sampled_from([".parquet", ".json"]))
def test_shard_map_keys_are_read_back(release_key, grid, digest, suffix):
    read = parse_key(release_key.key("shardmaps", digest, suffix, grid))
    assert (read.release_key, read.grid) == (release_key, grid)
    assert (read.kind, read.digest, read.suffix) == ("shardmaps", digest, suffix)


@given(release_keys)
def test_pointer_keys_are_read_back(release_key):
    read = parse_key(release_key.pointer())
    assert (read.kind, read.release_key, read.digest) == ("releases", release_key, None)


@given(st.text(max_size=200))
def test_any_text_is_a_key_of_the_layout_or_refused(text):
    try:
        read = parse_key(text)
    except InvalidName:
        return
    assert f"product={read.release_key.product}" in text


BAD = [
    "",
    ".",
    "..",
    "a..b",
    ".hidden",
    "a/b",
    "a\\b",
    "a b",
    "a=b",
    "a\n",
    "a\x00",
    "a\x7f",
    "é",
    "\uff0e\uff0e",
    "a%2fb",
    "a:b",
    "x" * 129,
]


@pytest.mark.parametrize("name", BAD)
def test_unsafe_names_are_refused(name):
    with pytest.raises(InvalidName, match="not usable") as error:
        ReleaseKey("ATL06_007", name, 22)
    assert error.value.exit_code == 2
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("cycle", [0, -1, "022", 10_000])
def test_unsafe_cycles_are_refused(cycle):
    with pytest.raises(InvalidName, match="from 1 to 9999"):
        ReleaseKey("ATL06_007", "antarctica", cycle)


@pytest.mark.parametrize(
    "change",
    [
        {"grid": "hp9"},
        {"digest": DIGEST.upper()},
        {"digest": DIGEST[:-1]},
        {"suffix": ".json"},
        {"suffix": "parquet"},
    ],
)
def test_a_catalog_key_takes_nothing_else(change):
    with pytest.raises(InvalidName):
        KEY.key("catalogs", **{"digest": DIGEST, "suffix": ".parquet"} | change)


def test_other_kinds_are_refused():
    with pytest.raises(InvalidName, match="not one of catalogs, shardmaps, releases"):
        KEY.key("secrets", DIGEST)


def test_shard_maps_need_a_grid():
    with pytest.raises(InvalidName, match="per grid"):
        KEY.key("shardmaps", DIGEST)


@pytest.mark.parametrize(
    "key",
    [
        f"releases/product=A/region=b/cycle=022/{DIGEST}.json",
        f"releases/region=b/product=A/cycle=22/{DIGEST}.json",
        f"releases/product=A/region=b/{DIGEST}.json",
        f"catalogs/product=A/region=b/cycle=22/{DIGEST}.json",
        "catalogs/product=A/region=b/cycle=22/latest.json",
        f"other/product=A/region=b/cycle=22/{DIGEST}.json",
    ],
)
def test_only_keys_of_the_layout_are_read(key):
    with pytest.raises(InvalidName, match="layout"):
        parse_key(key)
