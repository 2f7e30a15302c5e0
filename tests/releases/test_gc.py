"""Garbage: what no release refers to goes; what latest or its history refers to stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.releases import inputs
from zagg_catalog.errors import CorruptObject, InvalidOption, InvalidRelease
from zagg_catalog.releases import collect_garbage, rollback, verify
from zagg_catalog.releases import gc as module

NOW = timedelta(0)
FOLDER = "catalogs/product=ATL06_007/region=antarctica/cycle=22"


def later(days):
    return lambda: datetime.now(UTC) + timedelta(days=days)


def keys(store):
    return {info.key for info in store.list()}


def test_unreferenced_objects_are_listed_and_removed_only_on_request(store, publish):
    publish("first")
    orphan = store.put(FOLDER, b"an orphan", ".parquet").key
    shown = collect_garbage(store, clock=later(8))
    assert [info.key for info in shown.objects] == [orphan]
    assert (shown.deleted, shown.size) == (False, 9)
    assert orphan in keys(store)
    removed = collect_garbage(store, clock=later(8), delete=True)
    assert removed.deleted
    assert orphan not in keys(store)
    assert verify(store).clean


def test_young_orphans_stay(store, publish):
    """A publish at work stores its files before the record that refers to them."""
    store.put(FOLDER, b"an orphan", ".parquet")
    before = keys(store)
    garbage = collect_garbage(store, delete=True)
    assert (garbage.objects, garbage.young) == ([], 1)
    assert collect_garbage(store, delete=True, clock=later(6)).objects == []
    assert keys(store) == before
    assert collect_garbage(store, delete=True, clock=later(7)).objects


def test_releases_stay_unless_they_are_old_and_no_pointer_leads_to_them(store, publish):
    first, second = publish("first"), publish("next")
    failed = publish("small", maps=[], region="antarctica")
    rollback(store, *inputs.RELEASE_KEY, first.digest)
    assert failed.moved
    garbage = collect_garbage(store, delete=True, grace=NOW, releases_after=NOW, clock=later(1))
    assert (garbage.releases, garbage.objects) == ([], [])
    assert {first.key, second.key, failed.key} <= keys(store)
    assert verify(store).clean


def test_an_old_partial_release_and_its_files_are_removed_on_request(store, publish, files):
    whole = publish("first")
    healpix, plate = inputs.builds(files, "next")
    failed = type(plate)("plate", plate.config, error="It failed.")
    part = publish("next", maps=[healpix, failed])
    assert not part.moved
    assert collect_garbage(store, clock=later(100)).releases == []
    garbage = collect_garbage(
        store, delete=True, releases_after=timedelta(days=30), clock=later(31)
    )
    assert [info.key for info in garbage.releases] == [part.key]
    assert {info.key for info in garbage.objects} == {file.key for file in part.record.files}
    assert keys(store) == {*whole.written, whole.record.release_key.pointer()}
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_files_that_two_releases_share_stay(store, publish, files):
    """A partial release with the catalog and one map of the complete one."""
    healpix, plate = inputs.builds(files, "first")
    failed = type(plate)("plate", plate.config, error="It failed.")
    part = publish("first", maps=[healpix, failed])
    publish("first")
    garbage = collect_garbage(store, delete=True, grace=NOW, releases_after=NOW, clock=later(1))
    assert [info.key for info in garbage.releases] == [part.key]
    assert garbage.objects == []
    assert verify(store).clean


def test_a_damaged_record_or_pointer_stops_it(place, publish):
    """What they refer to is not known, so everything stays."""
    done = publish("first")
    store = place.open()
    store.put(FOLDER, b"an orphan", ".parquet")
    before = keys(store)
    content = store.get(done.key)
    place.overwrite(done.key, content.replace(b"mission", b"nominal"))
    with pytest.raises(CorruptObject):
        collect_garbage(store, delete=True, grace=NOW, clock=later(1))
    place.overwrite(done.key, content)
    pointer = done.record.release_key.pointer()
    store.swap_pointer(pointer, b"{", store.read_pointer(pointer).token)
    with pytest.raises(InvalidRelease):
        collect_garbage(store, delete=True, grace=NOW, releases_after=NOW, clock=later(1))
    assert keys(store) == before


@inputs.IN_A_FOLDER
def test_strange_files_and_negative_times_are_left_alone(store):
    strange = store.put("catalogs/mine", b"x", ".parquet").key
    collect_garbage(store, delete=True, grace=NOW, clock=later(1))
    assert strange in keys(store)
    for options in ({"grace": timedelta(-1)}, {"releases_after": timedelta(-1)}):
        with pytest.raises(InvalidOption):
            collect_garbage(store, **options)


def test_a_release_that_appears_meanwhile_keeps_its_old_files(store, publish, monkeypatch):
    """A publish that was killed long ago left its files; it runs again while they are removed."""
    publish("first")
    for info in list(store.list("releases")):
        store.delete(info.key)
    remove = module._remove

    def overtaken(*arguments):
        publish("first")
        remove(*arguments)

    monkeypatch.setattr(module, "_remove", overtaken)
    garbage = collect_garbage(store, delete=True, grace=NOW, clock=later(1))
    assert len(garbage.objects) == 5
    assert verify(store).clean


def test_files_that_vanish_while_they_are_published_are_stored_again(store, publish, monkeypatch):
    """The other way round: the files were found, and removed before the record was there."""
    first = publish("first")
    for info in list(store.list("releases")):
        store.delete(info.key)
    put = store.put_object

    def overtaken(key, content):
        if key == first.key:
            collect_garbage(store, delete=True, grace=NOW, clock=later(1))
        return put(key, content)

    monkeypatch.setattr(store, "put_object", overtaken)
    again = publish("first")
    assert set(again.written) == set(first.written)
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_a_loss_that_could_not_be_prevented_is_reported(store, publish, monkeypatch):
    """The record appears between the last look at the records and the removal."""
    first = publish("first")
    kept = {}
    for info in list(store.list("releases")):
        if info.key == first.key:
            kept[info.key] = store.get(info.key)
        store.delete(info.key)
    delete = store.delete

    def overtaken(key):
        for name, content in kept.items():
            store.put_object(name, content)
        delete(key)

    monkeypatch.setattr(store, "delete", overtaken)
    with pytest.raises(InvalidRelease, match="publish it again"):
        collect_garbage(store, delete=True, grace=NOW, clock=later(1))
