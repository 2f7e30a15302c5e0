"""Only what changed: sound only against what the output was made from, and said otherwise."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tests.aggregation.desk import GRIDS, RELEASE_KEY
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import AggregationFailed
from zagg_catalog.releases import collect_garbage, diff, find_release, verify
from zagg_catalog.releases.pickups import batch_keys, read_pickup_history


def redo(desk, old, new, grid):
    """Shards to aggregate again, as ``release diff`` has them."""
    releases = [
        find_release(desk.store, "ATL06_007", "antarctica", 22, digest=one.digest)
        for one in (old, new)
    ]
    return next(one for one in diff(desk.store, *releases).grids if one.name == grid).map.redo


@pytest.mark.parametrize("grid", GRIDS)
def test_zagg_gets_the_shards_that_changed_in_one_call(desk, grid):
    first = desk.publish("first")
    desk.aggregate(grid)
    second = desk.publish("more")
    picked = desk.aggregate(grid, only_changed=True)
    assert desk.handed[1] == redo(desk, first, second, grid)
    said = picked.acknowledgement
    assert said.restricted
    assert said.shards == len(desk.handed[1]) < len(desk.handed[0])
    assert said.changes.base == first.digest
    changed = said.changes.added.keys + said.changes.changed.keys
    assert sorted(changed) == desk.handed[1]
    assert (said.changes.granules_added, said.changes.granules_revised) == (1, 1)


def test_the_changes_are_handed_along_also_where_everything_runs(desk):
    first = desk.publish("first")
    desk.pick()
    desk.publish("more")
    said = desk.pick().acknowledgement
    assert (said.restricted, said.shards) == (False, len(desk.handed[1]))
    assert said.changes.base == first.digest
    assert said.changes.added.count


def test_a_shard_is_compared_with_what_the_output_holds_not_with_the_release_before(desk):
    """The release in between was never aggregated."""
    first = desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    third = desk.publish("most")
    desk.aggregate(only_changed=True)
    assert desk.handed[1] == redo(desk, first, third, "healpix")


def test_nothing_runs_where_nothing_changed(desk):
    """A release that differs in another grid only."""
    desk.publish("first")
    desk.aggregate()
    desk.publish("first", failed=("plate",), partial_latest=True)
    picked = desk.aggregate(only_changed=True, allow_partial=True)
    assert picked.acknowledgement.outcome == "unchanged"
    assert len(desk.calls) == 1
    assert desk.aggregate(allow_partial=True).status == "already"


def everything(desk, words, **changes):
    """Check that everything runs, and that it is said why."""
    picked = desk.aggregate(only_changed=True, **changes)
    assert not picked.acknowledgement.restricted
    assert len(desk.handed[-1]) == picked.acknowledgement.shards
    assert any(words in note for note in picked.notes), picked.notes
    return picked


def test_everything_runs_where_no_aggregation_is_known(desk):
    desk.publish("first")
    everything(desk, "no finished aggregation into")


def test_a_dry_run_before_is_not_what_the_output_was_made_from(desk):
    desk.publish("first")
    desk.pick()
    desk.publish("more")
    preview = desk.pick(only_changed=True)
    assert preview.acknowledgement.restricted
    assert any("Preview only" in note for note in preview.notes)
    everything(desk, "no finished aggregation into")


def test_everything_runs_into_another_output(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    everything(desk, "no finished aggregation into", output=str(desk.folder / "other"))


def test_everything_runs_where_the_config_changed(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    desk.configure("healpix", "driver: s3", "driver: https")
    picked = everything(desk, "the pipeline config changed")
    assert picked.acknowledgement.changes.config_changed


def test_everything_runs_where_the_output_is_overwritten(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    everything(desk, "overwrite replaces the output", zagg=ZaggOptions(overwrite=True))


def test_everything_runs_where_a_run_of_another_release_touched_everything(desk):
    desk.publish("first")
    desk.aggregate()
    torn = desk.publish("more")
    desk.ending = AggregationFailed("it was killed.")
    desk.aggregate()
    desk.ending = None
    desk.publish("most")
    everything(desk, f"may hold parts of release {torn.digest[:12]}")


def test_shards_that_an_unfinished_run_of_another_release_made_right_are_kept(desk):
    """By what each shard was made from, not by the release."""
    first = desk.publish("first")
    desk.aggregate()
    second = desk.publish("more")
    touched = redo(desk, first, second, "healpix")
    desk.results[touched[0]] = {"state": "unread"}
    desk.aggregate(only_changed=True)
    desk.results.clear()
    third = desk.publish("most")
    picked = desk.aggregate(only_changed=True)
    expected = {touched[0], *redo(desk, second, third, "healpix")}
    assert desk.handed[-1] == sorted(expected)
    assert picked.acknowledgement.restricted


def test_a_run_that_failed_is_continued_with_what_changed(desk):
    """Also by the catch-up, which does not know that the run was restricted."""
    first = desk.publish("first")
    desk.aggregate()
    second = desk.publish("more")
    desk.ending = AggregationFailed("it was killed.")
    desk.aggregate(only_changed=True)
    desk.ending = None
    bad = redo(desk, first, second, "healpix")
    for only_changed in (True, False):
        desk.results[bad[0]] = {"state": "unread"}
        picked = desk.aggregate(only_changed=only_changed)
        assert picked.acknowledgement.restricted
        assert desk.handed[-1] == bad
        bad = bad[:1]


def test_a_shard_that_has_no_value_any_more_fails_since_zagg_keeps_its_cells(desk):
    first = desk.publish("first")
    desk.aggregate()
    second = desk.publish("more")
    changed = [key for key in redo(desk, first, second, "healpix") if key in desk.shards("first")]
    desk.results[changed[0]] = {"state": "empty", "cells": 0, "observations": 0}
    failed = desk.aggregate(only_changed=True)
    assert failed.acknowledgement.outcome == "failed"
    assert "zagg leaves its old cells" in str(failed.error)
    assert desk.aggregate().acknowledgement.affected.keys == (changed[0],)
    shutil.rmtree(failed.acknowledgement.output)
    assert desk.aggregate(force=True).acknowledgement.outcome == "aggregated"


def test_a_release_that_lacks_shards_of_the_output_is_refused(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("fewer")
    gone = set(desk.shards("first")) - set(desk.shards("fewer"))
    for options in ({}, {"only_changed": True}, {"force": True}):
        refused = desk.aggregate(allow_contraction=True, **options)
        assert refused.acknowledgement.outcome == "refused"
        assert str(min(gone)) in str(refused.error)
        assert "another output" in str(refused.error)
    assert not desk.aggregate(allow_contraction=True, output=str(desk.folder / "other")).failed


def test_an_aggregation_from_before_batches_is_what_the_output_holds(desk):
    """Its acknowledgement has no batch records, so the whole map of its release counts."""
    first = desk.publish("first")
    desk.aggregate()
    forget_batches(desk)
    second = desk.publish("more")
    picked = desk.aggregate(only_changed=True)
    assert desk.handed[-1] == redo(desk, first, second, "healpix")
    assert len(picked.acknowledgement.batches) == 2, "the map of old, and the batch of now"
    third = desk.publish("most")
    desk.aggregate(only_changed=True)
    assert desk.handed[-1] == redo(desk, second, third, "healpix")


def test_gc_keeps_the_records_of_a_pick_up_that_had_nothing_to_do(desk):
    """It alone names the record of an output from before batches."""
    desk.publish("first")
    desk.aggregate()
    forget_batches(desk)
    desk.publish("first", failed=("plate",), partial_latest=True)
    picked = desk.aggregate(only_changed=True, allow_partial=True).acknowledgement
    assert picked.outcome == "unchanged"
    collect_garbage(desk.store, delete=True, clock=lambda: datetime.now(UTC) + timedelta(days=400))
    keys = batch_keys(RELEASE_KEY, "healpix", picked.batches)
    assert keys
    assert all(map(desk.store.exists, keys))
    assert verify(desk.store).clean


def test_a_failure_from_before_batches_leaves_the_output_in_doubt(desk):
    desk.publish("first")
    desk.ending = AggregationFailed("it was killed.")
    desk.aggregate()
    desk.ending = None
    forget_batches(desk)
    everything(desk, "may hold parts of release")


def forget_batches(desk):
    """Make the newest acknowledgement one from before batches."""
    history, token = read_pickup_history(desk.store, RELEASE_KEY, "healpix")
    old = desk.acknowledgement().model_copy(update={"batches": (), "states": None})
    folder = RELEASE_KEY.folder("pickups", "healpix")
    entry = history.entries[0].model_copy(
        update={"key": desk.store.put(folder, old.to_bytes(), ".json").key}
    )
    changed = history.model_copy(update={"entries": (entry, *history.entries[1:])})
    pointer = RELEASE_KEY.pointer("pickups", "healpix")
    desk.store.swap_pointer(pointer, changed.to_bytes(), token)
