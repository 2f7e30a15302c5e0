"""The stored reports of releases: whole or missing, made again, and gone with their releases."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.harness import killed
from tests.harness.servers import plain_client
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.index import renew_index
from zagg_catalog.releases import ReleaseKey, collect_garbage, verify
from zagg_catalog.releases.read import load_release, map_loader
from zagg_catalog.releases.report import try_to_write_report, write_missing_reports, write_report
from zagg_catalog.releases.stored_reports import record_of, report_key, report_problem

HERE = ReleaseKey(*inputs.RELEASE_KEY)


def row(store):
    return renew_index(store).index.rows[0]


def test_a_report_is_linked_from_the_index(store, publish):
    done = publish("first")
    assert [one.report for one in row(store).releases] == [False]
    assert verify(store).without_report == [done.key]
    key = write_report(store, done.release)
    assert [one.report for one in row(store).releases] == [True]
    assert f'href="{key}"' in store.read_pointer("index.html").value.decode()
    found = verify(store)
    assert (found.findings, found.without_report) == ([], [])


@inputs.IN_A_FOLDER
def test_a_report_reads_each_file_of_two_releases_once(store, publish, files, monkeypatch):
    """Also a map that both have, and one that the caller needs, too."""
    read, plain = [], store.download
    monkeypatch.setattr(
        store, "download", lambda key, path: (read.append(key), plain(key, path))[1]
    )
    first, second = publish("first"), publish("next")
    healpix, _ = inputs.builds(files, "next")
    third = publish("next", maps=[healpix])
    for before, after in ((first, second), (second, third)):
        read.clear()
        load = map_loader(store, after.release)
        write_report(store, after.release, load=load)
        assert load("healpix").n_pairs == healpix.shard_map.n_pairs
        whole = {file.key for one in (before, after) for file in one.record.files}
        assert sorted(read) == sorted(key for key in whole if key.endswith(".parquet"))


@inputs.IN_A_FOLDER
@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_a_report_of_maps_in_memory_is_that_of_the_stored_ones(
    store, publish, files, tmp_path, suffix
):
    publish("first")
    builds = inputs.builds(files, "next")
    if suffix == "json":  # as zagg's command takes them
        builds = [as_json_gives(build, tmp_path / "map.json") for build in builds]
    done = publish("next", maps=builds)
    key = write_report(store, done.release)
    stored = store.read_pointer(key).value
    store.delete(key)
    write_report(store, done.release, load={one.name: one.readable_map for one in builds}.get)
    assert store.read_pointer(key).value == stored


def as_json_gives(build, path):
    build.shard_map.to_json(path)
    return replace(build, shard_map=ShardMap.from_json(path))


def test_a_report_does_not_say_which_release_is_the_latest(store, publish):
    done = publish("first")
    before = store.read_pointer(write_report(store, done.release)).value
    assert b"says which release is the latest" in before
    assert b"It is the latest release" not in before


@inputs.IN_A_FOLDER
def test_a_damaged_or_missing_report_is_found_and_made_again(place, store, publish):
    done = publish("first")
    key = write_report(store, done.release)
    whole = store.read_pointer(key).value
    for spoilt in (
        whole[:-1],
        whole.replace(b"<title>", b"<title>x"),
        b"",
        whole[: len(whole) // 2],
    ):
        place.overwrite(key, spoilt)
        assert [one.key for one in verify(store).findings] == [key]
        assert list(write_missing_reports(store)) == []
        assert store.read_pointer(key).value == whole
    store.delete(key)
    assert verify(store).findings == []
    assert list(write_missing_reports(store)) == []
    assert store.read_pointer(key).value == whole


@inputs.IN_A_FOLDER
def test_the_report_of_another_release_is_found(place, store, publish):
    first, second = publish("first"), publish("next")
    write_report(store, first.release)
    key = write_report(store, second.release)
    place.overwrite(key, store.read_pointer(report_key(HERE, first.digest)).value)
    assert [one.key for one in verify(store).findings] == [key]


@inputs.IN_A_FOLDER
def test_a_collection_removes_the_reports_of_releases_that_are_gone(store, publish):
    first, held = publish("first"), publish("next", allow_contraction=False)
    keys = [write_report(store, one.release) for one in (first, held)]
    later = datetime.now(UTC) + timedelta(days=400)
    found = collect_garbage(store, delete=True, releases_after=timedelta(1), clock=lambda: later)
    assert [info.key for info in found.reports] == keys[1:]
    assert [store.exists(key) for key in keys] == [True, False]
    store.swap_pointer("reports/notes.txt", b"of somebody", None)
    assert collect_garbage(store, delete=True, clock=lambda: later).reports == []
    assert store.exists("reports/notes.txt")


def test_a_report_that_cannot_be_made_is_a_sentence(store, publish):
    done = publish("first")
    store.delete(done.record.catalog.key)
    assert "the report of the release is not stored" in try_to_write_report(store, done.release)


def test_a_browser_shows_a_report_on_s3(s3_place, files):
    done = inputs.publish(s3_place.open(), files, "first")
    key = write_report(s3_place.open(), done.release)
    bucket, _, prefix = s3_place.url.removeprefix("s3://").partition("/")
    client = plain_client(s3_place.settings.s3_endpoint)
    facts = client.head_object(Bucket=bucket, Key=f"{prefix}/{key}")
    assert facts["ContentType"] == "text/html; charset=utf-8"


def _write(store, digest):
    write_report(store, load_release(store, HERE, digest))


@pytest.mark.slow
@inputs.IN_A_FOLDER
def test_a_kill_while_a_report_is_written_leaves_the_release_right(place, store, publish, tmp_path):
    done = publish("first")
    key, write = report_key(HERE, done.digest), partial(_write, digest=done.digest)
    code, steps = killed.run(place, write, None, tmp_path)
    assert code == 0
    for step in (one for one in steps if "written" in one or "renamed" in one):
        store.delete(key)
        code, _ = killed.run(place, write, step, tmp_path)
        assert code == -signal.SIGKILL
        assert verify(store).findings == [], step
        # The next publish of the release mends the report.
        assert not publish("first").written
        assert try_to_write_report(store, done.release, unless_stored=True) is None
        assert report_problem(store, key) is None, step


def test_a_report_that_is_stored_is_not_made_again(store, publish, calls):
    done = publish("first")
    key = write_report(store, done.release)
    calls.clear()
    assert try_to_write_report(store, done.release, unless_stored=True) is None
    assert calls == {("exists", key): 1}


def test_only_keys_of_reports_name_a_record():
    digest = "a" * 64
    assert record_of(report_key(HERE, digest)) == HERE.key("releases", digest)
    for other in ("index.html", "reports/x.html", f"reports/release={digest}.html"):
        assert record_of(other) is None
