"""Garbage: what no release refers to goes; what latest or its history refers to stays."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.releases import inputs
from zagg_catalog.errors import CorruptObject, InvalidOption, InvalidRelease, StoreError
from zagg_catalog.releases import (
    ReleaseKey,
    ReleaseRecord,
    collect_garbage,
    remove_garbage,
    rollback,
    verify,
)
from zagg_catalog.releases import gc as module
from zagg_catalog.releases.publication import read_latest
from zagg_catalog.releases.read import load_release
from zagg_catalog.releases.report import write_report
from zagg_catalog.releases.stored_reports import report_key
from zagg_catalog.store import open_store

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
    publish("first")
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


@pytest.fixture
def interrupted(store, publish, files):
    """A publish of `next` that was killed before it stored its record; returns its files."""
    publish("first")
    healpix, plate = inputs.builds(files, "next")
    failed = type(plate)("plate", plate.config, error="It failed.")
    part = publish("next", maps=[healpix, failed])
    store.delete(part.key)
    return {file.key for file in part.record.files}


def test_a_release_that_appears_meanwhile_keeps_its_old_files(
    store, publish, interrupted, monkeypatch
):
    """A publish that was killed long ago left its files; it runs again while they are removed."""
    remove = module._remove

    def overtaken(*arguments):
        publish("next")
        return remove(*arguments)

    found = collect_garbage(store, grace=NOW, clock=later(1)).objects
    assert {info.key for info in found} == interrupted
    monkeypatch.setattr(module, "_remove", overtaken)
    garbage = collect_garbage(store, delete=True, grace=NOW, clock=later(1))
    assert garbage.objects == []
    assert verify(store).clean


def test_files_that_vanish_while_they_are_published_are_stored_again(
    store, publish, interrupted, monkeypatch
):
    """The other way round: the files were found, and removed before the record was there."""
    put = store.put_object

    def overtaken(key, content):
        if key.startswith("releases/"):
            collect_garbage(store, delete=True, grace=NOW, clock=later(1))
        return put(key, content)

    monkeypatch.setattr(store, "put_object", overtaken)
    again = publish("next")
    assert interrupted <= set(again.written)
    assert verify(store).clean


EVERYTHING = {"grace": NOW, "releases_after": NOW, "clock": later(400)}
"""All that may be removed at all."""


def check_untouched(store, match, **options):
    """It refuses, and nothing is gone."""
    before = keys(store)
    with pytest.raises(InvalidRelease, match=match) as caught:
        collect_garbage(store, delete=True, **(EVERYTHING | options))
    assert "Nothing was removed." in str(caught.value)
    assert keys(store) == before


@inputs.IN_A_FOLDER
def test_a_folder_of_releases_behind_a_symbolic_link_stops_it(store, publish, tmp_path):
    """Reads by key follow it; lists have the link itself."""
    release = publish("first")
    place = Path(store.url) / "releases/product=ATL06_007"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    check_untouched(store, "releases/product=ATL06_007 lies among the releases")
    assert {file.key for file in release.record.files} <= keys(store)


@pytest.mark.parametrize("part", ["record", "pointer"])
@inputs.IN_A_FOLDER
def test_a_list_that_lacks_something_stops_it(store, publish, monkeypatch, part):
    done = publish("first")
    hidden = done.key if part == "record" else done.record.release_key.pointer()
    listed = store.list

    def short(folder=""):
        return (info for info in listed(folder) if info.key != hidden)

    with monkeypatch.context() as patch:
        patch.setattr(store, "list", short)
        check_untouched(store, f"{hidden}, and does not list it")
    assert store.exists(hidden)


@inputs.IN_A_FOLDER
def test_a_release_that_appears_while_it_looks_is_read(store, publish, monkeypatch):
    """The list is older than the pointer: it looks again."""
    publish("first")
    listed, published = store.list, []

    def late(folder=""):
        yield from list(listed(folder))
        if folder == "pickups" and not published:
            published.append(publish("next"))

    monkeypatch.setattr(store, "list", late)
    collect_garbage(store, delete=True, **EVERYTHING)
    assert published
    assert verify(store).clean


@pytest.mark.parametrize("name", ["first", "next"])
@inputs.IN_A_FOLDER
def test_a_lost_record_that_a_pointer_or_its_history_names_stops_it(store, publish, name):
    """It may come back from a backup, with its files."""
    done = {one: publish(one) for one in ("first", "next")}
    lost = done[name]
    content = store.get(lost.key)
    store.delete(lost.key)
    check_untouched(store, f"Release record {lost.key} is missing")
    if name == "first":
        garbage = collect_garbage(store, accept_lost=True, **EVERYTHING)
        assert {info.key for info in garbage.objects} <= {file.key for file in lost.record.files}
    else:
        check_untouched(store, "is missing", accept_lost=True)
    store.put_object(lost.key, content)
    assert collect_garbage(store, delete=True, **EVERYTHING).objects == []
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_releases_without_a_pointer_stay(store, publish):
    done = publish("first")
    pointer = done.record.release_key.pointer()
    store.delete(pointer)
    check_untouched(store, f"no {pointer}")
    check_untouched(store, f"no {pointer}", releases_after=None)


@inputs.IN_A_FOLDER
def test_a_release_key_without_a_pointer_keeps_its_files_and_stops_no_other(store, publish, files):
    """It has partial releases only, or its pointer was lost: nobody can tell."""
    healpix, plate = inputs.builds(files, "first")
    failed = type(plate)("plate", plate.config, error="It failed.")
    part = publish("first", maps=[healpix, failed], region="greenland")
    killed = store.put(FOLDER.replace("antarctica", "greenland"), b"an orphan", ".parquet").key
    publish("next")
    orphan = store.put(FOLDER, b"an orphan", ".parquet").key
    before = keys(store)
    garbage = collect_garbage(store, delete=True, **EVERYTHING)
    assert keys(store) == before - {orphan}
    assert {part.key, killed} <= keys(store)
    (left,) = garbage.left
    assert left.startswith("All of ATL06_007, greenland, cycle 22 stays: there is no releases/")


def test_ages_are_those_of_the_store_and_not_of_this_machine(store, publish, monkeypatch):
    publish("first")
    store.put(FOLDER, b"an orphan", ".parquet")
    monkeypatch.setattr("zagg_catalog.messages.utc_now", later(400))
    assert collect_garbage(store).young == 1
    monkeypatch.setattr(store, "now", later(8))
    assert len(collect_garbage(store).objects) == 1


@inputs.IN_A_FOLDER
def test_it_reads_nothing_that_it_removes_and_nothing_twice(store, publish, files, calls):
    healpix, plate = inputs.builds(files, "next")
    failed = type(plate)("plate", plate.config, error="It failed.")
    for region in ("antarctica", "greenland"):
        publish("first", region=region)
        publish("next", region=region, maps=[healpix, failed])
    stored = {info.key for info in store.list("releases")}
    calls.clear()
    garbage = collect_garbage(store, **EVERYTHING)
    assert (len(garbage.releases), len(garbage.objects)) == (2, 6)
    kept = stored.difference(info.key for info in garbage.releases)
    assert {key for method, key in calls if method in ("get", "read_pointer")} == kept
    assert {method for method, _ in calls} == {"list", "get", "read_pointer"}
    assert set(calls.values()) == {1}
    calls.clear()
    remove_garbage(store, garbage)
    each = Counter(method for method, _ in calls.elements())
    # The pointer is read and marked before, and marked after; a folder reads it before a write.
    # Records and pick-ups are listed once more.
    assert each == {"list": 4, "read_pointer": 6, "swap_pointer": 4, "delete": 8}


@inputs.IN_A_FOLDER
def test_a_store_without_its_releases_stays_as_it_is(store, publish):
    """They may be on a disk of their own, or may come back from a backup."""
    publish("first")
    for info in list(store.list("releases")):
        store.delete(info.key)
    check_untouched(store, "has 5 files, and no pointer to a latest release")


@inputs.IN_A_FOLDER
def test_pickups_without_a_pointer_stay(store, publish):
    publish("first")
    folder = ReleaseKey(*inputs.RELEASE_KEY).folder("pickups", "plate")
    store.put(folder, b"an acknowledgement", ".json")
    check_untouched(store, f"no {folder}/latest.json")


@pytest.mark.parametrize("name", ["copy.json", "product=A/notes.txt", "latest.json"])
@inputs.IN_A_FOLDER
def test_a_strange_name_among_the_releases_stops_it(store, publish, name):
    publish("first")
    path = Path(store.url) / "releases" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    check_untouched(store, f"Object releases/{name} lies among the releases")


HERE = ReleaseKey(*inputs.RELEASE_KEY)
NAMES = tuple(inputs.CATALOGS)
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(NAMES)),
    st.tuples(st.just("roll back"), st.integers(0, 9)),
    st.tuples(st.just("report"), st.integers(0, 9)),
    st.tuples(st.just("lose"), st.integers(0, 99)),
    st.tuples(st.just("restore"), st.just(0)),
    st.tuples(st.just("collect"), st.floats(-2000, 2000)),
)


@given(st.lists(STEPS, min_size=2, max_size=9))
@settings(max_examples=15, deadline=None)
def test_what_latest_and_its_history_name_is_never_collected(files, steps):
    """Under any clock, after the loss of any object."""
    with TemporaryDirectory() as folder:
        store, backup = open_store(folder), dict[str, bytes]()
        records: dict[str, ReleaseRecord] = {}
        named: list[str] = []
        for act, what in [("publish", "first"), *steps]:
            before = keys(store)
            if act == "publish":
                with suppress(InvalidRelease, StoreError):
                    done = inputs.publish(store, files, what)
                    records[done.digest] = done.record
            elif act == "roll back":
                with suppress(InvalidRelease, StoreError):
                    rollback(store, *inputs.RELEASE_KEY, sorted(records)[what % len(records)])
            elif act == "report":
                with suppress(InvalidRelease, StoreError):
                    digest = sorted(records)[what % len(records)]
                    write_report(store, load_release(store, HERE, digest))
            elif act == "lose" and before:
                lost = sorted(before)[what % len(before)]
                backup[lost] = Path(folder, lost).read_bytes()
                store.delete(lost)
            elif act == "restore":
                for key, content in backup.items():
                    Path(folder, key).parent.mkdir(parents=True, exist_ok=True)
                    Path(folder, key).write_bytes(content)
                backup.clear()
            elif act == "collect":
                options = {"grace": NOW, "releases_after": NOW, "clock": later(what)}
                with suppress(InvalidRelease, StoreError):
                    collect_garbage(store, delete=True, **options)
                for digest in named:
                    record = HERE.key("releases", digest)
                    whole = {record, *(file.key for file in records[digest].files)}
                    whole |= {report_key(HERE, digest)} if record in before else set()
                    assert whole & before <= keys(store)
            latest = read_latest(store, HERE).publication
            named = latest.digests if latest else named


@pytest.mark.parametrize(
    "depth", ["releases", "product=ATL06_007", "region=antarctica", "cycle=22"]
)
@inputs.IN_A_FOLDER
def test_a_link_to_a_folder_that_is_not_there_stops_it(store, publish, tmp_path, depth):
    """The disk of the releases may be unmounted for now."""
    publish("first")
    root = Path(store.url)
    (folder,) = [root / depth] if depth == "releases" else (root / "releases").rglob(depth)
    folder.rename(tmp_path / "unmounted")
    folder.symlink_to(tmp_path / "mounted")
    before = sorted(root.rglob("*"))
    with pytest.raises((InvalidRelease, StoreError)):
        collect_garbage(store, delete=True, **EVERYTHING)
    assert sorted(root.rglob("*")) == before


@inputs.IN_A_FOLDER
def test_a_release_that_is_not_named_yet_stays_for_the_grace(store, publish, files):
    """A publish at work stores its record before the pointer names it."""
    publish("first")
    healpix, plate = inputs.builds(files, "next")
    part = publish("next", maps=[healpix, type(plate)("plate", plate.config, error="It failed.")])
    for day, found in ((6, []), (8, [part.key])):
        garbage = collect_garbage(store, releases_after=NOW, clock=later(day))
        assert [info.key for info in garbage.releases] == found


@pytest.mark.parametrize("moment", ["record", "pointer"])
@inputs.IN_A_FOLDER
def test_a_collection_with_a_wrong_clock_takes_nothing_from_a_running_publish(
    store, publish, monkeypatch, moment
):
    """Its new files look years old, before the record or the pointer names them."""
    publish("first")
    name = {"record": "put_object", "pointer": "swap_pointer"}[moment]
    call, collected = getattr(store, name), []

    def overtaken(key, *arguments):
        if key.startswith("releases/") and not collected:
            collected.append(key)
            collect_garbage(store, delete=True, **EVERYTHING)
        return call(key, *arguments)

    monkeypatch.setattr(store, name, overtaken)
    assert publish("next").latest
    assert verify(store).clean
