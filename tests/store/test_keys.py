"""Keys are built from validated names, and read back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidName
from zagg_catalog.store import check_key, check_name, folder_key, object_key, parse_key, pointer_key

DIGEST = "0123456789abcdef" * 4
WHERE = {"product": "ATL06_007", "region": "antarctica", "cycle": 22}

LETTERS = string.ascii_letters + string.digits + "-_."
names = st.text(LETTERS, min_size=1, max_size=128).filter(
    lambda name: not name.startswith(".") and ".." not in name
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
cycles = st.integers(1, 9999)


def test_the_layout():
    catalog = object_key("catalogs", **WHERE, digest=DIGEST, suffix=".parquet")
    shardmap = object_key("shardmaps", **WHERE, grid="hp9", digest=DIGEST, suffix=".json")
    release = object_key("releases", **WHERE, digest=DIGEST, suffix=".json")
    folder = "product=ATL06_007/region=antarctica/cycle=22"
    assert catalog == f"catalogs/{folder}/{DIGEST}.parquet"
    assert shardmap == f"shardmaps/{folder}/grid=hp9/{DIGEST}.json"
    assert release == f"releases/{folder}/{DIGEST}.json"
    assert pointer_key(**WHERE) == f"releases/{folder}/latest.json"


def test_folders_are_as_deep_as_they_are_told():
    assert folder_key("releases") == "releases"
    assert folder_key("releases", product="ATL06_007") == "releases/product=ATL06_007"
    assert folder_key("shardmaps", **WHERE, grid="g").endswith("/cycle=22/grid=g")
    with pytest.raises(InvalidName, match="needs a product before"):
        folder_key("releases", region="antarctica")


@given(names, names, cycles, names, digests, st.sampled_from([".parquet", ".json"]))
def test_shard_map_keys_are_read_back(product, region, cycle, grid, digest, suffix):
    parts = {"product": product, "region": region, "cycle": cycle, "grid": grid}
    key = object_key("shardmaps", **parts, digest=digest, suffix=suffix)
    read = parse_key(key)
    assert (read.product, read.region, read.cycle, read.grid) == (product, region, cycle, grid)
    assert (read.kind, read.digest, read.suffix) == ("shardmaps", digest, suffix)


@given(names, names, cycles)
def test_pointer_keys_are_read_back(product, region, cycle):
    read = parse_key(pointer_key(product=product, region=region, cycle=cycle))
    assert (read.kind, read.product, read.region, read.cycle) == (
        "releases",
        product,
        region,
        cycle,
    )
    assert read.digest is None


@given(st.text(max_size=140))
def test_a_name_is_safe_or_refused(text):
    safe = (
        0 < len(text) <= 128
        and set(text) <= set(LETTERS)
        and not text.startswith(".")
        and ".." not in text
    )
    if safe:
        assert check_name(text) == text
    else:
        with pytest.raises(InvalidName):
            check_name(text)


@given(st.text(max_size=200))
def test_any_text_is_a_key_of_the_layout_or_refused(text):
    try:
        read = parse_key(text)
    except InvalidName:
        return
    assert f"product={read.product}" in text


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
        object_key("catalogs", **(WHERE | {"region": name}), digest=DIGEST, suffix=".parquet")
    assert error.value.exit_code == 2
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "a/.b", "a=b=c", "=a", "a/b="])
def test_unsafe_keys_are_refused(key):
    with pytest.raises(InvalidName):
        check_key(key)


def test_long_keys_are_refused():
    with pytest.raises(InvalidName, match="at most 900"):
        check_key("/".join(["x" * 100] * 10))


@pytest.mark.parametrize(
    "change",
    [
        {"cycle": 0},
        {"cycle": -1},
        {"cycle": "022"},
        {"grid": "hp9"},
        {"digest": DIGEST.upper()},
        {"digest": DIGEST[:-1]},
        {"suffix": ".json"},
        {"suffix": "parquet"},
    ],
)
def test_a_catalog_key_takes_nothing_else(change):
    with pytest.raises(InvalidName):
        object_key("catalogs", **(WHERE | {"digest": DIGEST, "suffix": ".parquet"} | change))


def test_other_kinds_are_refused():
    with pytest.raises(InvalidName, match="none of catalogs, shardmaps, releases"):
        object_key("secrets", **WHERE, digest=DIGEST, suffix=".json")


def test_shard_maps_need_a_grid():
    with pytest.raises(InvalidName, match="per grid"):
        object_key("shardmaps", **WHERE, digest=DIGEST, suffix=".parquet")


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
