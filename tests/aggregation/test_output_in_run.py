"""A pick-up takes its output before zagg starts, and compares it with zagg's report afterwards."""

from pathlib import Path

import pytest

from tests.aggregation.desk import Desk
from zagg_catalog.aggregation import hand_over, run
from zagg_catalog.aggregation.output import MARKER
from zagg_catalog.errors import AggregationFailed, OutputUnavailable, PickupRefused
from zagg_catalog.releases.batches import ShardList

pytest.importorskip("obstore", reason="obstore comes with the extra aggregator")


@pytest.fixture
def damaged(desk):
    """Let the comparison of an output find shards that differ, as a function of their keys."""

    def find(*keys: int) -> None:
        update = {"problem_count": 1, "problems": ("Shard 7: it is missing.",)}
        desk.check = Desk.check.model_copy(update=update | {"damaged": ShardList.of(keys)})

    return find


def test_an_output_that_another_cycle_uses_is_refused_before_zagg_starts(desk):
    desk.publish("first")
    place = str(desk.folder / "x/{grid}")
    taken = desk.folder / "x/healpix" / MARKER
    desk.aggregate(output=place)
    taken.write_text(taken.read_text().replace('"cycle": 22', '"cycle": 21'))
    picked = desk.aggregate(output=place, force=True)
    assert isinstance(picked.error, PickupRefused)
    assert (picked.entry.outcome, picked.entry.started) == ("refused", False)
    assert "holds ATL06_007, antarctica, cycle 21, grid healpix" in picked.entry.reason
    assert len(desk.calls) == 1


def test_a_dry_run_says_it_and_takes_nothing(desk):
    desk.publish("first")
    desk.pick(output=str(desk.folder / "out"))
    assert not (desk.folder / "out").exists()
    place = desk.folder / "x/healpix"
    place.mkdir(parents=True)
    place.rmdir()
    place.write_text("a file")
    picked = desk.aggregate(output=str(desk.folder / "x/{grid}"))
    assert "is a file" in picked.entry.reason
    assert (picked.entry.outcome, picked.entry.started) == ("refused", False)


def test_a_dry_run_without_access_to_the_output_is_a_note(desk, monkeypatch):
    def unreachable(_):
        raise OutputUnavailable("Output x cannot be read: no route.")

    monkeypatch.setattr(run, "claim_output", unreachable)
    desk.publish("first")
    picked = desk.pick(output="s3://bucket/out")
    assert picked.entry.outcome == "checked"
    assert any("no route" in note for note in picked.notes)
    failed = desk.aggregate(output="s3://bucket/out")
    assert (failed.entry.outcome, failed.entry.started) == ("failed", False)


def test_the_acknowledgement_has_the_comparison(desk):
    desk.publish("first")
    desk.aggregate()
    assert desk.acknowledgement().check == Desk.check


def test_an_output_that_differs_fails_and_its_shards_are_done_again(desk, damaged):
    desk.publish("first")
    keys = desk.shards("first")
    damaged(keys[1])
    picked = desk.aggregate()
    assert isinstance(picked.error, AggregationFailed)
    assert "is not what zagg reported" in picked.entry.reason
    record = desk.acknowledgement()
    assert (record.outcome, record.affected.keys) == ("failed", (keys[1],))
    assert record.states.failed == 1
    desk.check = Desk.check
    assert desk.aggregate().entry.outcome == "aggregated"
    assert desk.handed == [keys, [keys[1]]]


def test_damage_that_is_too_much_to_list_redoes_all(desk, damaged):
    desk.publish("first")
    keys = desk.shards("first")
    damaged(keys[0])
    many = desk.check.damaged.model_copy(update={"count": len(keys)})
    desk.check = desk.check.model_copy(update={"damaged": many})
    desk.aggregate()
    assert desk.acknowledgement().affected.keys == tuple(keys)


def test_damage_of_an_earlier_release_is_found_and_mended(desk, damaged):
    """The whole output is compared, not only the shards of this run."""
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    before = set(desk.shards("first"))
    changed = {key for key in desk.shards("more") if key not in before}
    kept = sorted(before)[0]
    damaged(kept)
    desk.aggregate(only_changed=True)
    assert kept in desk.acknowledgement().affected.keys
    desk.check = Desk.check
    desk.aggregate(only_changed=True)
    assert kept in desk.handed[-1]
    assert changed.isdisjoint(desk.handed[-1])


def test_an_output_that_cannot_be_compared_is_a_note(desk, monkeypatch):
    def unreachable(*_, **__):
        raise OutputUnavailable("Output x cannot be read: no route.")

    monkeypatch.setattr(hand_over, "compare_output", unreachable)
    desk.publish("first")
    picked = desk.aggregate()
    assert picked.entry.outcome == "aggregated"
    assert any("was not compared" in note for note in picked.notes)
    assert desk.acknowledgement().check is None


def test_the_marker_is_written_before_zagg_starts(desk, monkeypatch):
    there = []

    def zagg(call, folder, **options):
        there.append(Path(call.store, MARKER).exists())
        return desk.zagg(call, folder, **options)

    desk.watch(monkeypatch, zagg)
    desk.publish("first")
    desk.aggregate()
    assert there
    assert all(there)
