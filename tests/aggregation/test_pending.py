"""Catching up: what waits in the store, whatever became of the events."""

from tests.aggregation.desk import GRIDS, SLOT, alter
from zagg_catalog.aggregation.pending import ATTEMPTS, latest_slots, pending
from zagg_catalog.errors import AggregationFailed


def waiting(desk, **changes):
    return pending(desk.store, SLOT, desk.order(**changes), desk.registry)


def test_a_release_waits_until_every_grid_is_picked_up(desk):
    published = desk.publish("first")
    assert list(latest_slots(desk.store)) == [SLOT]
    assert waiting(desk).grids == GRIDS
    desk.pick("plate")
    assert waiting(desk).grids == ("healpix",)
    desk.pick("healpix")
    assert (waiting(desk).grids, waiting(desk).release) == ((), published.digest)


def test_a_dry_run_leaves_the_aggregation_waiting(desk):
    desk.publish("first")
    for grid in GRIDS:
        desk.pick(grid)
    assert waiting(desk).grids == ()
    assert waiting(desk, dry_run=False, output="out").grids == GRIDS


def test_a_newer_release_waits_again_and_looking_writes_nothing(desk):
    desk.publish("first")
    for grid in GRIDS:
        desk.pick(grid)
    desk.publish("more")
    before = desk.files()
    assert waiting(desk).grids == GRIDS
    assert desk.files() == before


def test_a_refusal_waits_for_another_config_or_release(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    desk.pick("healpix")
    desk.pick("plate")
    found = waiting(desk)
    assert found.grids == ()
    assert "defines another grid" in found.left[0]
    desk.configure("healpix", "parent_order: 6", "parent_order: 5")
    assert waiting(desk).grids == ("healpix",)


def test_a_contraction_is_left_to_a_person(desk):
    desk.publish("first")
    desk.pick("healpix")
    desk.publish("fewer")
    desk.pick("healpix")
    found = waiting(desk)
    assert "healpix" not in found.grids
    assert found.left[0].startswith("healpix: refused, Release ")
    desk.publish("more")
    assert "healpix" in waiting(desk).grids


def test_a_failure_is_tried_again_but_not_for_ever(desk):
    desk.publish("first")
    desk.ending = AggregationFailed("it was killed.")
    for _ in range(ATTEMPTS):
        assert "healpix" in waiting(desk).grids
        desk.pick("healpix")
    found = waiting(desk)
    assert "healpix" not in found.grids
    assert "failed 3 times, it was killed." in found.left[0]


def test_retired_grids_and_those_without_a_map_are_left_out(desk):
    desk.publish("first", failed=("plate",), partial_latest=True)
    assert waiting(desk).grids == ("healpix",)
    desk.register("plate")
    assert waiting(desk).grids == ()
    desk.pick("healpix")
    desk.register("healpix", "plate")
    assert waiting(desk).grids == ("healpix",), "the release is partial, but may be allowed"


def test_a_damaged_slot_is_reported_and_does_not_stop_others(desk):
    published = desk.publish("first")
    alter(desk.folder / "store" / published.key)
    assert published.digest in waiting(desk).problem
