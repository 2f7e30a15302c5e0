"""Only what changed: sound only against what the output was made from, and said otherwise."""

import pytest

from tests.aggregation.desk import GRIDS
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import AggregationFailed
from zagg_catalog.releases import diff, find_release


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
    desk.configure("healpix", "count:", "number:")
    picked = everything(desk, "the pipeline config changed")
    assert picked.acknowledgement.changes.config_changed


def test_everything_runs_where_the_output_is_overwritten(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    everything(desk, "overwrite replaces the output", zagg=ZaggOptions(overwrite=True))


def test_everything_runs_where_the_output_holds_parts_of_another_release(desk):
    desk.publish("first")
    desk.aggregate()
    torn = desk.publish("more")
    desk.ending = AggregationFailed("it was killed.")
    desk.aggregate()
    desk.ending = None
    desk.publish("most")
    everything(desk, f"may hold parts of release {torn.digest[:12]}")


def test_a_run_that_failed_is_continued_with_what_changed(desk):
    first = desk.publish("first")
    desk.aggregate()
    second = desk.publish("more")
    desk.ending = AggregationFailed("it was killed.")
    desk.aggregate(only_changed=True)
    desk.ending = None
    picked = desk.aggregate(only_changed=True)
    assert picked.acknowledgement.restricted
    assert desk.handed[-1] == redo(desk, first, second, "healpix")
