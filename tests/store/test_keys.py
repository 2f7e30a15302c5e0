"""Keys consist of validated names."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidName
from zagg_catalog.store import check_key, check_name
from zagg_catalog.store.keys import check_digest, check_suffix, digest_in

DIGEST = "0123456789abcdef" * 4
LETTERS = string.ascii_letters + string.digits + "-_."


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


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "a/.b", "a=b=c", "=a", "a/b="])
def test_unsafe_keys_are_refused(key):
    with pytest.raises(InvalidName):
        check_key(key)


def test_long_keys_are_refused():
    with pytest.raises(InvalidName, match="at most 900"):
        check_key("/".join(["x" * 100] * 10))


def test_a_digest_is_64_lower_case_hex_digits():
    assert check_digest(DIGEST) == DIGEST
    for digest in (DIGEST.upper(), DIGEST[:-1], f"{DIGEST}0"):
        with pytest.raises(InvalidName, match="SHA-256"):
            check_digest(digest)


def test_a_suffix_begins_with_a_dot():
    assert check_suffix(".json.gz") == ".json.gz"
    for suffix in ("parquet", ".", ".a.b.c", ".PARQUET", ""):
        with pytest.raises(InvalidName, match=r"'\.parquet'"):
            check_suffix(suffix)


def test_the_key_of_an_object_ends_with_its_digest():
    assert digest_in(f"a/b=c/{DIGEST}.parquet") == DIGEST
    assert digest_in(f"{DIGEST}.json") == DIGEST
    for key in ("a/latest.json", f"a/{DIGEST}", f"{DIGEST}.json/b", f"a/{DIGEST[1:]}.json"):
        assert digest_in(key) is None
