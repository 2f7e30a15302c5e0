"""The index of a store: it has what the store has, whoever writes, ends or is killed meanwhile."""

from __future__ import annotations

import itertools
import shutil
import signal
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.harness import killed
from tests.harness.servers import plain_client
from tests.harness.turns import Call, run
from tests.releases import inputs
from zagg_catalog.errors import PointerConflict, StoreUnavailable, UnsafePointerStore
from zagg_catalog.index import INDEX_KEY, check_index, renew, renew_index, try_to_renew_index
from zagg_catalog.index.page import index_of
from zagg_catalog.releases import ReleaseKey, collect_garbage, list_releases, rollback
from zagg_catalog.releases.report import write_missing_reports
from zagg_catalog.store import LocalStore

HERE = ReleaseKey(*inputs.RELEASE_KEY)
THERE = ReleaseKey("ATL06_007", "greenland", 22)


def publish(store, files, name, region=inputs.REGION, *, renewed=True):
    """Publish the map of one grid, and renew the index as commands and flows do."""
    maps = inputs.builds(files, name, ["healpix"])
    done = inputs.publish(store, files, name, maps=maps, region=region, json_manifests=False)
    if renewed:
        renew_index(store)
    return done


def stored(store):
    """The index as the page has it now; None without one."""
    pointer = store.read_pointer(INDEX_KEY)
    if pointer is None:
        return None
    found = index_of(pointer.value)
    assert found is not None
    return found


def latest_in(index):
    return {row.key: row.latest.digest for row in index.rows if row.latest}


def test_the_index_has_every_release_of_the_store(store, files):
    first, second = publish(store, files, "first"), publish(store, files, "next")
    other = publish(store, files, "small", "greenland")
    index = stored(store)
    assert latest_in(index) == {HERE: second.digest, THERE: other.digest}
    in_index = [(row.key, one.digest) for row in index.rows for one in row.releases]
    in_store = [(one.release_key, one.digest) for one in list_releases(store)]
    assert sorted(in_index) == sorted(in_store)
    row = index.rows[0]
    assert {one.digest: one.granules for one in row.releases} == {
        first.digest: 8,
        second.digest: 8,
    }
    assert [(one.grid, one.status, store.exists(one.parquet)) for one in row.latest.maps] == [
        ("healpix", "complete", True)
    ]
    assert check_index(store).current


def test_a_release_that_is_held_back_is_listed_and_is_not_the_latest(store, files):
    first = publish(store, files, "first")
    held = inputs.publish(store, files, "next", allow_contraction=False)
    assert not held.latest
    renew_index(store)
    row = stored(store).rows[0]
    assert row.latest.digest == first.digest
    # S3 counts seconds, so their order may be either.
    assert {one.digest for one in row.releases} == {held.digest, first.digest}


def test_a_rollback_changes_the_row(store, files):
    first = publish(store, files, "first")
    publish(store, files, "next")
    rollback(store, *inputs.RELEASE_KEY, first.digest)
    assert check_index(store).differing == [HERE]
    renew_index(store)
    latest = stored(store).rows[0].latest
    assert (latest.digest, latest.action) == (first.digest, "rollback")


@inputs.IN_A_FOLDER
def test_only_what_has_changed_is_read(store, files, calls):
    for number, region in enumerate("abcdefghij"):
        publish(store, files, list(inputs.CATALOGS)[number % 3], region, renewed=False)
    assert renew_index(store).read == 10
    publish(store, files, "next", "a", renewed=False)
    calls.clear()
    assert renew_index(store).read == 1
    read = {what for (method, what) in calls if method in ("get", "read_pointer")}
    a, cursors = ReleaseKey("ATL06_007", "a", 22), "watch/product=ATL06_007/"
    assert {one for one in read if not one.startswith(cursors)} == {
        INDEX_KEY,
        a.pointer(),
        a.key("releases", latest_in(stored(store))[a]),
    }
    assert [what for (method, what) in calls if method == "list"] == [
        "releases",
        "pickups",
        "watch",
        "reports",
    ]
    calls.clear()
    assert renew_index(store).read == 0
    assert renew_index(store, whole=True).read == 10


def test_a_release_that_nobody_told_the_index_of_is_in_it_after_the_next_one(store, files):
    """Its publisher was killed before it renewed the index."""
    publish(store, files, "first")
    lost = publish(store, files, "next", renewed=False)
    assert check_index(store).differing == [HERE]
    other = publish(store, files, "small", "greenland")
    assert latest_in(stored(store)) == {HERE: lost.digest, THERE: other.digest}
    assert check_index(store).current


def test_a_store_of_an_earlier_version_gets_an_index_and_reports(tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(Path(__file__).parents[1] / "store_versions/0.1.0/store", folder)
    store = LocalStore(folder)
    renew_index(store)
    (row,) = stored(store).rows
    old, new = sorted(list_releases(store), key=lambda one: one.latest)
    # Its pointer says nothing of the release before, whose facts are not guessed.
    granules = {old.digest: None, new.digest: new.summary.granules}
    assert {one.digest: one.granules for one in row.releases} == granules
    assert row.latest.digest == new.digest
    assert [one.report for one in row.releases] == [False, False]
    assert check_index(store).current
    assert list(write_missing_reports(store)) == []
    renew_index(store)
    (row,) = stored(store).rows
    assert [one.report for one in row.releases] == [True, True]


@pytest.mark.parametrize("first", ["one", "other"])
def test_two_publishers_end_with_an_index_that_has_both(files, tmp_path, first):
    """The first takes some steps, then the other one all that it can."""
    start = tmp_path / "start"
    publish(LocalStore(start), files, "first")
    publish(LocalStore(start), files, "first", "greenland")
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        shutil.copytree(start, folder)
        store = LocalStore(folder)
        publish(store, files, "next", renewed=False)
        publish(store, files, "small", "greenland", renewed=False)
        calls = [Call(name, str(folder), renew_index) for name in ("one", "other")]
        if first == "other":
            calls.reverse()
        order = itertools.chain(itertools.repeat(0, steps), itertools.repeat(1, 40))
        run(calls, order, lambda store=store: stored(store))
        assert [one.error for one in calls] == [None, None]
        assert check_index(store).current
        if calls[0].steps <= steps:
            break
    assert steps > 5


def test_a_release_that_is_published_while_the_index_is_renewed_is_not_lost(files, tmp_path):
    """The publisher renews at any step of the other renewal; the last writer has both."""
    start = tmp_path / "start"
    publish(LocalStore(start), files, "first")
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        shutil.copytree(start, folder)
        store = LocalStore(folder)
        slow = Call("slow", str(folder), renew_index)
        slow.start()
        for _ in range(steps):
            if not slow.ended:
                slow.step()
        done = slow.ended
        published = publish(store, files, "next")
        while not slow.ended:
            slow.step()
        assert slow.error is None
        assert latest_in(stored(store)) == {HERE: published.digest}
        assert check_index(store).current
        if done:
            break
    assert steps > 5


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_an_index_that_the_next_publish_mends(place, files, tmp_path):
    store = place.open()
    publish(store, files, "first")
    publish(store, files, "next", renewed=False)
    before = place.open().read_pointer(INDEX_KEY).value
    code, steps = killed.run(place, renew_index, None, tmp_path)
    assert code == 0
    wrote = steps.index(
        next(step for step in steps if "renamed" in step or step.endswith("PutObject is answered"))
    )
    changing = [step for step in steps if not any(w in step for w in ("Get", "Head", "List"))]
    for step in changing:
        place.open().delete(INDEX_KEY)
        place.open().swap_pointer(INDEX_KEY, before, None)
        assert killed.run(place, renew_index, step, tmp_path)[0] == -signal.SIGKILL
        # The old page or the new one, never less.
        value = store.read_pointer(INDEX_KEY).value
        assert index_of(value) is not None
        if steps.index(step) < wrote and "probe" not in step:
            assert value == before
        renew_index(store)
        assert check_index(store).current


def test_a_store_whose_index_is_lost_or_spoilt_has_all_of_it_after_the_next_publish(place, files):
    store = place.open()
    publish(store, files, "first")
    publish(store, files, "next", "greenland")
    for spoilt in (None, b"", b"<!doctype html>", b'{"schema_version": 1}'):
        token = store.read_pointer(INDEX_KEY).token
        if spoilt is None:
            store.delete(INDEX_KEY)
        else:
            store.swap_pointer(INDEX_KEY, spoilt, token)
        assert check_index(store).problem is not None
        publish(store, files, "small")
        assert set(latest_in(stored(store))) == {HERE, THERE}
        assert check_index(store).current


def test_a_page_that_somebody_edited_is_not_current(place, files):
    store = place.open()
    publish(store, files, "first")
    pointer = store.read_pointer(INDEX_KEY)
    edited = pointer.value.replace(b">8<", b">9<")
    assert edited != pointer.value
    store.swap_pointer(INDEX_KEY, edited, pointer.token)
    assert "is not what this version makes" in check_index(store).problem
    renew_index(store)
    assert check_index(store).current


@inputs.IN_A_FOLDER
def test_an_index_of_a_newer_version_is_replaced_as_a_whole(store, files):
    publish(store, files, "first")
    pointer = store.read_pointer(INDEX_KEY)
    newer = pointer.value.replace(b'"schema_version":1', b'"schema_version":2')
    store.swap_pointer(INDEX_KEY, newer, pointer.token)
    assert renew_index(store).read == 1
    assert check_index(store).current


@inputs.IN_A_FOLDER
def test_damage_is_in_the_index_and_does_not_stop_it(place, store, files):
    publish(store, files, "first")
    done = publish(store, files, "first", "greenland")
    place.overwrite(HERE.pointer(), b"{}")
    place.overwrite(done.key, b"{}")
    renew_index(store)
    here, there = stored(store).rows
    assert here.latest is None
    assert "latest.json" in here.problem
    assert (there.latest.readable, there.complete) == (False, False)
    page = store.read_pointer(INDEX_KEY).value.decode()
    assert "latest is damaged" in page
    assert "its record is damaged" in page


def test_pages_on_s3_have_the_type_that_a_browser_shows(s3_place, files):
    publish(s3_place.open(), files, "first")
    bucket, _, prefix = s3_place.url.removeprefix("s3://").partition("/")
    client = plain_client(s3_place.settings.s3_endpoint)
    facts = client.head_object(Bucket=bucket, Key=f"{prefix}/{INDEX_KEY}")
    assert facts["ContentType"] == "text/html; charset=utf-8"
    assert facts["CacheControl"] == "no-cache"


@inputs.IN_A_FOLDER
@pytest.mark.parametrize(
    "error", [UnsafePointerStore("no conditions"), StoreUnavailable("refused"), OSError("full")]
)
def test_what_stops_the_index_is_a_sentence_for_the_user(store, files, monkeypatch, error):
    publish(store, files, "first")
    monkeypatch.setattr(store, "swap_pointer", partial(_raise, error))
    problem = try_to_renew_index(store)
    assert problem.startswith(f"the index of the store is not renewed: {error}.")
    assert "release index renews" in problem


def _raise(error, *_):
    raise error


@inputs.IN_A_FOLDER
def test_an_index_that_others_write_all_the_time_is_given_up(store, files, monkeypatch):
    publish(store, files, "first", renewed=False)
    monkeypatch.setattr(renew.time, "sleep", lambda _: None)
    monkeypatch.setattr(store, "swap_pointer", partial(_raise, PointerConflict("another run")))
    with pytest.raises(PointerConflict, match="other runs wrote it 12 times"):
        renew_index(store)


@inputs.IN_A_FOLDER
def test_verify_and_gc_leave_the_index_alone(store, files):
    publish(store, files, "first")
    before = store.read_pointer(INDEX_KEY)
    found = collect_garbage(store, delete=True, grace=timedelta(0))
    assert found.files == []
    assert store.read_pointer(INDEX_KEY) == before


@inputs.IN_A_FOLDER
def test_a_store_without_releases_has_an_empty_index(store):
    renew_index(store)
    assert stored(store).rows == ()
    assert "The store has no release" in store.read_pointer(INDEX_KEY).value.decode()
    assert check_index(store).current
