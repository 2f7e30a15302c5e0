"""Results of finished tasks lie in the store, in a folder or on S3."""

import pytest

from flows.results import (
    Session,
    collect_maps,
    content_key,
    map_key,
    read_result,
    read_slice,
    write_result,
)
from zagg_catalog.releases import ReleaseKey

RELEASE_KEY = ReleaseKey("ATL06_007", "greenland", 22)
LATER = ReleaseKey("ATL06_007", "greenland", 23)
FOLDER = "results/product=ATL06_007/region=greenland/cycle=22"


def put_slice(store, key):
    """Store a fetched slice, as a task does; return its parquet object."""
    ref = store.put(f"{FOLDER}/slices", b"PAR1", ".parquet")
    fetched = {"state": "fetched", "catalog": ref.key, "granules": 3, "fetch": {}}
    write_result(store, key, fetched)
    return ref


def keys(store):
    return {info.key for info in store.list()}


def test_a_session_is_continued_until_it_ends(store):
    first = Session(store, RELEASE_KEY)
    whole, part, other = (first.key({"a": number}) for number in (1, 2, 3))
    assert not first.is_begun(whole)
    put_slice(store, whole)
    store.put(part.removesuffix(".json"), b"rows", ".arrow")
    second = Session(store, RELEASE_KEY)
    assert [second.key({"a": number}) for number in (1, 2, 3)] == [whole, part, other]
    assert [second.is_begun(key) for key in (whole, part, other)] == [True, True, False]
    second.end()
    assert not keys(store)
    third = Session(store, RELEASE_KEY)
    assert third.key({"a": 1}) != whole


def test_a_slice_of_one_api_is_not_taken_for_that_of_the_other(store):
    session = Session(store, RELEASE_KEY)
    found = {session.key({"query": {}, "root": "x", "api": api}) for api in ("stac", "cmr")}
    assert len(found) == 2


@pytest.mark.parametrize("why", ["unwanted", "old", "torn", "of the future"])
def test_a_session_is_not_continued_when_it_is(store, monkeypatch, why):
    """Its slices are removed."""
    first = Session(store, RELEASE_KEY)
    put_slice(store, first.key({"a": 1}))
    pointer = store.read_pointer(f"{FOLDER}/session.json")
    if why == "old":
        monkeypatch.setenv("ZAGG_CATALOG_FLOW_SESSION_HOURS", "0")
    elif why != "unwanted":
        content = b'{"token": "a' if why == "torn" else b'{"token": "a", "started": 1e11}'
        store.swap_pointer(pointer.key, content, pointer.token)
    second = Session(store, RELEASE_KEY, force=why == "unwanted")
    assert not second.is_begun(first.key({"a": 1}))
    assert second.key({"a": 1}) != first.key({"a": 1})
    assert keys(store) == {pointer.key}


@pytest.mark.parametrize("slice_", [{"state": "unusable", "why": "x"}, {"state": "empty"}])
def test_a_slice_without_granules_is_read_as_it_was_written(store, slice_):
    key = Session(store, RELEASE_KEY).key({})
    assert read_slice(store, key) is None
    write_result(store, key, slice_)
    write_result(store, key, slice_)
    assert read_slice(store, key) == slice_


@pytest.mark.parametrize("content", [b"", b"PAR", b'{"state": "fetched"', b"[]", b"{}"])
@pytest.mark.parametrize("damaged", ["record", "granules"])
def test_a_slice_that_is_not_whole_is_fetched_again(place, damaged, content):
    store = place.open()
    key = Session(store, RELEASE_KEY).key({})
    ref = put_slice(store, key)
    assert read_slice(store, key)["catalog"] == ref.key
    place.overwrite(key if damaged == "record" else ref.key, content)
    assert read_slice(place.open(), key) is None


def test_a_slice_whose_granules_are_gone_is_fetched_again(store):
    key = Session(store, RELEASE_KEY).key({})
    store.delete(put_slice(store, key).key)
    assert read_slice(store, key) is None


def test_results_are_named_by_all_that_they_depend_on(monkeypatch):
    key = content_key("map", {"a": 1})
    assert key == content_key("map", {"a": 1})
    assert key != content_key("map", {"a": 2})
    monkeypatch.setattr("flows.results.package_versions", lambda: {"mortie": "2"})
    assert key != content_key("map", {"a": 1})


def test_results_of_replaced_maps_are_collected(store):
    """Those of the release and of other cycles stay, and a fetch under way does."""
    old, new = (map_key(RELEASE_KEY, "polar", {"a": number}) for number in (1, 2))
    later = map_key(LATER, "polar", {"a": 1})
    for key in (old, new, later):
        write_result(store, key, {"manifest": "x"})
    session = Session(store, RELEASE_KEY)
    put_slice(store, session.key({}))
    before = keys(store)
    assert collect_maps(store, RELEASE_KEY, [new]) == [old]
    assert keys(store) == before - {old}
    assert read_result(store, new) == {"manifest": "x"}
