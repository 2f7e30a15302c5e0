"""Acknowledgements in a store: what verify, gc, rollback, show and list make of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.aggregation.desk import GRIDS, RELEASE_KEY, alter
from tests.releases import inputs
from zagg_catalog.aggregation.lease import GridLease
from zagg_catalog.cli import main
from zagg_catalog.errors import InvalidRelease
from zagg_catalog.releases import BatchRecord, collect_garbage, rollback, verify
from zagg_catalog.releases.batches import ShardCounts
from zagg_catalog.releases.pickups import PickupAttempt

LATER = datetime.now(UTC) + timedelta(days=400)


def sweep(desk, **options):
    return collect_garbage(desk.store, delete=True, clock=lambda: LATER, **options)


def command(desk, name, *arguments):
    return main(["release", name, *arguments, "--store", desk.store_url])


def batch_key(digest, grid="plate"):
    return RELEASE_KEY.key("pickups", digest, grid=grid)


KEY_FLAGS = [
    "--product",
    RELEASE_KEY.product,
    "--region",
    RELEASE_KEY.region,
    "--cycle",
    str(RELEASE_KEY.cycle),
]


def test_a_store_with_pickups_verifies_and_holds_no_garbage_but_superseded_batches(desk):
    """The record of the shards that were handed over counts until their batches ended."""
    desk.publish("first")
    desk.pick()
    desk.aggregate("plate", batch=2)
    assert verify(desk.store).clean
    assert verify(desk.store, *inputs.RELEASE_KEY).clean
    before = desk.files()
    (garbage,) = collect_garbage(desk.store, clock=lambda: LATER).objects
    assert BatchRecord.load(desk.store.get(garbage.key)).number == 0
    sweep(desk)
    assert desk.files() == {key: at for key, at in before.items() if key != garbage.key}
    assert sweep(desk).objects == []
    assert verify(desk.store).clean


def test_batch_records_of_a_failed_and_of_a_running_pick_up_are_kept(desk):
    desk.publish("first")
    desk.results[desk.shards("first", "plate")[0]] = {"state": "unread", "unread": ("ATL06_a.h5",)}
    desk.aggregate("plate", batch=2)
    said = desk.acknowledgement("plate")
    assert len(said.batches) > 2
    now = datetime.now(UTC)
    attempt = PickupAttempt(release=said.release, dry_run=False, by="me", began_at=now)
    lease = GridLease(desk.store, RELEASE_KEY, "plate").acquire_for(attempt, wait=0)
    loose = BatchRecord.load(desk.store.get(batch_key(said.batches[-1])))
    loose = loose.model_copy(update={"by": "the running one"})
    ref = desk.store.put(RELEASE_KEY.folder("pickups", "plate"), loose.to_bytes(), ".json")
    lease.update(started=True, batches=(*said.batches, ref.digest))
    sweep(desk)
    assert desk.store.exists(ref.key)
    assert all(desk.store.exists(batch_key(digest)) for digest in said.batches)
    assert verify(desk.store).clean


def test_a_missing_batch_record_is_found(desk):
    desk.publish("first")
    desk.aggregate("plate")
    key = batch_key(desk.acknowledgement("plate").batches[0])
    Path(desk.store_url, key).unlink()
    (finding,) = verify(desk.store).findings
    assert finding.key == desk.history("plate").entries[0].key
    assert f"{key}, which does not exist" in finding.problem


def test_an_altered_or_missing_acknowledgement_is_found(desk):
    desk.publish("first")
    desk.pick()
    desk.pick("plate")
    first, second = (Path(desk.store_url, desk.history(grid).entries[0].key) for grid in GRIDS)
    alter(first)
    second.unlink()
    found = {finding.key: finding.problem for finding in verify(desk.store).findings}
    assert first.name.split(".")[0] in found[desk.history().entries[0].key]
    assert "which does not exist" in found[RELEASE_KEY.pointer("pickups", "plate")]


def test_a_history_that_cannot_be_read_is_found_and_stops_gc(desk):
    desk.publish("first")
    desk.pick()
    Path(desk.store_url, RELEASE_KEY.pointer("pickups", "healpix")).write_text("{}")
    assert "no schema_version" in verify(desk.store).findings[0].problem
    with pytest.raises(InvalidRelease, match="no schema_version"):
        sweep(desk)


def test_acknowledgements_that_no_pointer_names_are_garbage(desk):
    """Of a run that was killed between the two writes."""
    desk.publish("first")
    picked = desk.pick()
    loose = picked.acknowledgement.model_copy(update={"by": "someone else"})
    ref = desk.store.put(RELEASE_KEY.folder("pickups", "healpix"), loose.to_bytes(), ".json")
    assert verify(desk.store).clean
    assert [info.key for info in sweep(desk).objects] == [ref.key]
    assert desk.store.exists(picked.entry.key)


def test_gc_keeps_what_an_output_was_made_from_and_what_is_being_picked_up(desk):
    desk.publish("first")
    partial = desk.publish("first", failed=("plate",))
    claimed = desk.publish("more", failed=("plate",))
    old = desk.publish("most", failed=("plate",))
    desk.aggregate(release=partial.digest, allow_partial=True)
    now = datetime.now(UTC)
    attempt = PickupAttempt(release=claimed.digest, dry_run=True, by="me", began_at=now)
    GridLease(desk.store, RELEASE_KEY, "plate").acquire_for(attempt, wait=0)
    garbage = sweep(desk, releases_after=timedelta(days=1))
    assert [info.key for info in garbage.releases] == [old.key]
    assert desk.store.exists(partial.key)
    assert desk.store.exists(claimed.key)


def test_a_rollback_leaves_pickups_as_they_are(desk):
    first = desk.publish("first")
    desk.pick()
    before = desk.history()
    desk.publish("more")
    rollback(desk.store, *inputs.RELEASE_KEY, first.digest)
    assert desk.history() == before
    assert verify(desk.store).clean


def test_show_tells_whether_a_release_was_picked_up(desk, capsys):
    desk.publish("first")
    desk.pick()
    desk.configure("plate", "resolution: 0.1", "resolution: 0.2")
    desk.pick("plate")
    assert command(desk, "show", *KEY_FLAGS) == 0
    lines = capsys.readouterr().out.splitlines()
    healpix = next(line for line in lines if line.startswith("healpix"))
    assert "dry run 20" in healpix
    assert any("refused 20" in line for line in lines)
    assert command(desk, "show", *KEY_FLAGS, "--json") == 0
    pickups = json.loads(capsys.readouterr().out)["pickups"]
    assert pickups["healpix"]["outcome"] == "checked"
    assert not pickups["healpix"]["picked_up"], "a dry run aggregates nothing"
    assert pickups["plate"]["outcome"] == "refused"
    assert "defines another grid" in pickups["plate"]["reason"]
    assert desk.aggregate().status == "done"
    command(desk, "show", *KEY_FLAGS, "--json")
    said = json.loads(capsys.readouterr().out)["pickups"]["healpix"]
    assert (said["picked_up"], said["outcome"]) == (True, "aggregated")
    assert (said["by"], said["under_way"]) == ("someone@somewhere", None)
    assert desk.store.exists(said["acknowledgement"])


def test_show_names_who_is_running(desk, capsys):
    published = desk.publish("first")
    now = datetime.now(UTC)
    attempt = PickupAttempt(release=published.digest, dry_run=False, by="me@here", began_at=now)
    with GridLease(desk.store, RELEASE_KEY, "healpix").acquire_for(attempt, wait=0):
        command(desk, "show", *KEY_FLAGS)
    assert "under way, by me@here" in capsys.readouterr().out


def test_show_says_which_shards_and_granules_are_missing_and_why(desk, capsys):
    desk.publish("first")
    first, second, *others = desk.shards("first", "plate")
    name, why = "ATL06_20240101000000_02222203_007_01.h5", "HTTPError: 404 Not Found"
    desk.results[first] = {"state": "unread", "unread": (name,), "reason": f"{name}: {why}"}
    desk.results[second] = {"state": "failed", "reason": "no space left"}
    desk.aggregate("plate", batch=2)
    command(desk, "show", *KEY_FLAGS)
    out = capsys.readouterr().out
    plate = next(line for line in out.splitlines() if line.startswith("plate "))
    total = len(others) + 2
    assert f"{len(others)} of {total} shards done, 1 unread, 1 failed" in plate
    assert "granules not read" in plate
    assert "plate: granules not read" in out
    assert why in out
    assert name in out
    command(desk, "show", *KEY_FLAGS, "--json")
    said = json.loads(capsys.readouterr().out)["pickups"]["plate"]
    assert (said["states"]["unread"], said["states"]["failed"]) == (1, 1)
    assert (said["unread"], said["unread_count"]) == ([name], 1)
    command(desk, "list")
    assert "1 not, 2 shards left" in capsys.readouterr().out
    desk.results.clear()
    desk.aggregate("plate")
    command(desk, "show", *KEY_FLAGS)
    out = capsys.readouterr().out
    assert "2 of 2 shards done" in out
    assert f"{len(others)} shards were done before" in out
    assert "plate: granules" not in out


def test_show_tells_how_far_a_run_is(desk, capsys):
    published = desk.publish("first")
    now = datetime.now(UTC)
    attempt = PickupAttempt(release=published.digest, dry_run=False, by="me@here", began_at=now)
    lease = GridLease(desk.store, RELEASE_KEY, "healpix")
    with lease.acquire_for(attempt, wait=0):
        lease.update(started=True, shards=13)
        command(desk, "show", *KEY_FLAGS)
        assert "under way, by me@here: 0 of 13 shards done" in capsys.readouterr().out
        lease.update(states=ShardCounts(done=9, empty=1, unread=2))
        command(desk, "show", *KEY_FLAGS)
        assert "10 of 13 shards done, 2 unread" in capsys.readouterr().out


def test_list_tells_of_each_release(desk, capsys):
    desk.publish("first")
    desk.aggregate()
    desk.aggregate("plate")
    second = desk.publish("more")
    desk.pick()
    assert command(desk, "list") == 0
    out = capsys.readouterr().out
    assert "2 of 2" in out
    assert "dry run 1 of 2" in out
    command(desk, "list", "--json")
    listed = {one["digest"]: one["pickups"] for one in json.loads(capsys.readouterr().out)}
    assert listed[second.digest]["healpix"]["outcome"] == "checked"
    assert listed[second.digest]["plate"]["outcome"] is None
