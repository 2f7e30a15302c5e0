"""Slots: the record in a pointer stands for the stored one where a listing shows that it is."""

from __future__ import annotations

import json

import pytest

from tests.releases import inputs
from zagg_catalog.releases import ReleaseKey, publication, verify
from zagg_catalog.releases.slots import read_release, read_slots
from zagg_catalog.store import ObjectInfo

KEY = ReleaseKey(*inputs.RELEASE_KEY)


def read(store, calls):
    """The latest release, and the objects that were read for it beside the pointer."""
    slot = read_slots(store)[KEY]
    calls.clear()
    found = read_release(store, slot, slot.latest.digest)
    return found, [key for method, key in calls if method == "get"]


def as_older(store, edit=lambda content: None):
    """Make the pointer one of schema version 1, without a record."""
    pointer = store.read_pointer(KEY.pointer())
    content = pointer.json()
    assert content.pop("record")
    content["schema_version"] = 1
    edit(content)
    store.swap_pointer(KEY.pointer(), json.dumps(content).encode(), pointer.token)


def test_the_latest_record_is_read_only_where_a_listing_does_not_show_it(
    place, store, publish, calls
):
    """S3 lists the MD5 of each object; a folder lists no digest."""
    done = publish("first")
    found, read_now = read(store, calls)
    assert (found.record, found.key, found.digest) == (done.record, done.key, done.digest)
    assert read_now == ([] if place.url.startswith("s3://") else [done.key])


def test_a_record_that_was_damaged_at_equal_size_is_noticed(place, store, publish, calls):
    done = publish("first")
    content = store.get(done.key)
    place.overwrite(done.key, content[:-2] + b" \n")
    assert read(store, calls) == (None, [done.key])


def test_a_record_that_is_missing_is_noticed(store, publish, calls):
    done = publish("first")
    store.delete(done.key)
    assert read(store, calls) == (None, [done.key])


def test_a_pointer_of_an_older_version_costs_one_more_read(store, publish, calls):
    done = publish("first")
    as_older(store)
    found, read_now = read(store, calls)
    assert (found.record, read_now) == (done.record, [done.key])
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_a_pointer_of_an_older_version_stays_one_until_the_next_publication(store, publish):
    """So that the other programs of its version read it."""
    publish("first")
    as_older(store)
    assert publish("small", allow_contraction=False).held_back
    assert read_slots(store)[KEY].publication.schema_version == 1
    publish("next")
    assert read_slots(store)[KEY].publication.schema_version == 2


@inputs.IN_A_FOLDER
def test_a_long_record_is_not_in_the_pointer(store, publish, calls, monkeypatch):
    monkeypatch.setattr(publication, "MAX_RECORD", 1000)
    done = publish("first")
    assert read_slots(store)[KEY].publication.record is None
    assert read(store, calls)[0].record == done.record


@inputs.IN_A_FOLDER
@pytest.mark.parametrize("field", ["cycle", "status"])
def test_a_pointer_with_another_record_is_refused(store, publish, field):
    """Its digest is that of the record, so the two cannot differ."""
    publish("first")
    pointer = store.read_pointer(KEY.pointer())
    content = pointer.json()
    if field == "cycle":
        text = json.dumps(content["record"]).replace("cycle=22", "cycle=21")
        content["record"] = json.loads(text) | {"cycle": 21}
    else:
        content["record"]["catalog"]["complete"] = False
        content["record"]["status"] = "partial"
    store.swap_pointer(KEY.pointer(), json.dumps(content).encode(), pointer.token)
    problem = f"its record is not that of {content['key']}"
    assert problem in read_slots(store)[KEY].latest.problem
    (finding,) = verify(store).findings
    assert (finding.key, problem in finding.problem) == (KEY.pointer(), True)


def test_a_listing_shows_only_what_its_version_proves():
    shown = "5d41402abc4b2a76b9719d911017c592"  # of hello

    def info(size: int, version: str) -> ObjectInfo:
        return ObjectInfo("releases/x.json", size, inputs.NOON, version)

    assert info(5, f'"{shown}"').shows(b"hello")
    assert not info(5, f'"{shown}"').shows(b"world")
    assert not info(6, f'"{shown}"').shows(b"hello")
    assert not info(5, f'"{shown}-2"').shows(b"hello")
    assert not info(5, "").shows(b"hello")
