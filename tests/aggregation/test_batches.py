"""Batches: consecutive shards, each in a zagg of its own, with a record of its own."""

import pickle
import threading
from datetime import timedelta

import numpy as np
import pytest

from tests.aggregation.desk import RELEASE_KEY
from zagg_catalog import ShardMap
from zagg_catalog.aggregation import batches
from zagg_catalog.aggregation.batches import BatchResult, LeaseWatch, run_batch, run_in_turn, split
from zagg_catalog.aggregation.hand_over import GIVE_UP
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import AggregationFailed, CorruptObject, PickupRefused, StoreUnavailable
from zagg_catalog.releases.batches import BatchRecord
from zagg_catalog.releases.pickups import batch_keys


def a_map(*sizes):
    """A map whose shards have so many granules."""
    rows = [row for size in sizes for row in range(size)]
    names = [
        {"id": f"g{number}", "s3": f"s3://g{number}"} for number in range(max(sizes, default=0))
    ]
    whole = ShardMap({"type": "healpix"}, range(len(sizes)), [names[:size] for size in sizes])
    assert whole.rows.tolist() == rows
    return whole


def parts(*sizes, pairs):
    return [part.tolist() for part in split(a_map(*sizes), pairs)]


def test_batches_are_consecutive_shards_of_at_most_so_many_pairs():
    assert parts(2, 2, 2, 1, 3, pairs=4) == [[0, 1], [2, 3], [4]]


def test_a_shard_with_more_pairs_is_a_batch_of_its_own():
    assert parts(1, 9, 1, pairs=4) == [[0], [1], [2]]


def test_a_batch_has_at_most_a_thousand_shards_and_none_is_lost():
    found = split(a_map(*[1] * 2500), 10**9)
    assert [len(part) for part in found] == [1000, 1000, 500]
    assert np.concatenate(found).tolist() == list(range(2500))


def test_an_empty_map_has_no_batch():
    assert parts(pairs=4) == []


@pytest.fixture
def jobs(desk):
    """The jobs of a pick-up whose batches are run by nobody."""
    desk.publish("first")
    taken = []

    def take(jobs, stop):
        taken.extend(jobs)
        return iter(())

    assert desk.aggregate(batch=4, run_batches=take).failed
    return taken


def test_a_pick_up_hands_over_every_shard_once_in_batches(desk, jobs):
    assert [key for job in jobs for key in job.keys] == desk.shards("first")
    assert all(job.pairs <= 4 or len(job.keys) == 1 for job in jobs)
    assert len({job.folder for job in jobs}) == len(jobs) > 2
    assert [job.number for job in jobs] == list(range(1, len(jobs) + 1))


def test_a_job_and_its_result_travel_to_another_machine(desk, jobs):
    job = pickle.loads(pickle.dumps(jobs[0]))
    assert job == jobs[0]
    result = run_batch(job)
    assert pickle.loads(pickle.dumps(result)) == result
    (key,) = batch_keys(RELEASE_KEY, "healpix", [result.digest])
    assert BatchRecord.load(desk.store.get(key)) == result.record
    assert result.record.shards.keys == job.keys
    assert set(result.record.shards.states) == {"done"}
    assert desk.handed == [list(job.keys)]


def test_a_job_holds_no_secret_and_is_small(jobs):
    assert len(pickle.dumps(jobs[0])) < 10_000


def test_an_error_of_zagg_is_recorded_and_not_raised(desk, jobs):
    desk.ending = AggregationFailed("it was killed by signal 9.", granules=("ATL06_a.h5",))
    result = run_batch(jobs[0])
    assert set(result.record.shards.states) == {"failed"}
    assert result.record.unread.names == ("ATL06_a.h5",)
    assert result.reason == "it was killed by signal 9."


def test_shards_that_zagg_does_not_name_are_failed(desk, jobs, monkeypatch):
    def forgets(call, folder, **options):
        answer = desk.zagg(call, folder)
        return type(answer)(
            version=answer.version,
            signature=answer.signature,
            summary={},
            shards=answer.shards[1:],
        )

    monkeypatch.setattr(batches, "run_zagg", forgets)
    result = run_batch(jobs[0])
    assert result.record.shards.states[0] == "failed"
    assert result.reason == f"zagg has no result of shard {jobs[0].keys[0]}."


def test_an_input_that_zagg_refuses_has_no_record(desk, jobs):
    desk.ending = PickupRefused("zagg: it cannot read the config")
    result = run_batch(jobs[0])
    assert (result.refusal, result.record, result.digest) == ("inputs", None, None)


def test_batches_in_turn_end_when_there_is_a_reason_to_stop(desk, jobs):
    stop = threading.Event()
    found = []
    for result in run_in_turn(jobs, lambda: "cancelled" if stop.is_set() else None):
        found.append(result.number)
        stop.set()
    assert found == [1]


class Watched:
    """A watch on the lease of a running pick-up, with a clock that moves by hand."""

    def __init__(self, store, job):
        self.now = 0.0
        self.watch = LeaseWatch(store, job, clock=lambda: self.now)

    def after(self, seconds):
        self.now += seconds
        return self.watch()


def test_a_batch_goes_on_while_its_pick_up_has_the_lease_and_then_stops(desk):
    desk.publish("first")
    watches = []

    def look(jobs, stop):
        watches.append(Watched(desk.store, jobs[0]))
        assert watches[0].after(0) is None
        return iter(())

    desk.aggregate(run_batches=look)
    assert watches[0].after(9) is None, "it is read every third of its duration, 10 s"
    assert watches[0].after(1) == "another run has taken over, or the pick-up has ended"


def test_a_batch_goes_on_without_the_store_for_the_duration_of_the_lease(desk, monkeypatch):
    desk.publish("first")
    watches = []

    def look(jobs, stop):
        watches.append(Watched(desk.store, jobs[0]))
        return iter(())

    def gone(*arguments):
        raise StoreUnavailable("The store does not answer.")

    desk.aggregate(run_batches=look)
    monkeypatch.setattr(batches, "read_pickup_history", gone)
    assert watches[0].after(15) is None
    assert watches[0].after(16) == "the lease of the pick-up cannot be read"


def test_the_lease_names_the_batches_that_ended(desk):
    desk.publish("first")
    seen = []

    def run(jobs, stop):
        for job in jobs:
            if job.step == "part":
                seen.append(desk.history().claim)
            yield run_batch(job)

    said = desk.aggregate(batch=4, run_batches=run).acknowledgement
    assert [len(claim.batches) for claim in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].states.done == seen[-1].shards - len(desk.handed[-1])
    assert said.batches == (*seen[-1].batches[1:], said.batches[-1])


def test_a_batch_that_is_lost_costs_that_batch_only(desk):
    desk.publish("first")

    def lose(jobs, stop):
        for job in jobs:
            if job.number == 2:
                yield BatchResult.lost(job, "its worker was killed")
            else:
                yield run_batch(job)

    failed = desk.aggregate(batch=4, run_batches=lose)
    assert "Batch 2 ended without a record: its worker was killed" in str(failed.error)
    lost = failed.acknowledgement.affected.keys
    assert failed.acknowledgement.outcome == "failed"
    assert desk.aggregate().acknowledgement.outcome == "aggregated"
    assert desk.handed[-1] == list(lost)


def test_healpix_is_overwritten_and_a_rectilinear_output_is_never(desk):
    desk.publish("first")
    for grid in ("healpix", "plate"):
        desk.aggregate(grid, batch=4)
    overwritten = {(call.signature["type"], call.overwrite) for call in desk.calls}
    assert overwritten == {("healpix", True), ("rectilinear", False)}


def test_a_rectilinear_output_is_emptied_by_the_first_batch_when_that_is_asked_for(desk):
    desk.publish("first")
    desk.aggregate("plate")
    desk.calls.clear()
    said = desk.aggregate(
        "plate", batch=4, force=True, zagg=ZaggOptions(overwrite=True)
    ).acknowledgement
    assert [call.overwrite for call in desk.calls] == [True] + [False] * (len(desk.calls) - 1)
    assert len(desk.calls) == len(said.batches) > 2
    assert not any("overwrite" in call.options for call in desk.calls)


def test_the_overviews_are_made_once_after_all_batches(desk):
    desk.publish("first")
    desk.aggregate(batch=4)
    assert {call.step for call in desk.calls} == {"part"}
    assert desk.steps == [("close", desk.shards("first"))]
    assert desk.acknowledgement().closed


def test_a_rectilinear_output_is_prepared_before_the_batches(desk):
    desk.publish("first")
    desk.aggregate("plate", batch=4)
    assert {call.step for call in desk.calls} == {"run"}
    assert desk.steps == [("open", [])]


def test_overviews_that_could_not_be_made_are_made_by_the_next_run_alone(desk):
    desk.publish("first")
    desk.step_ending = AggregationFailed("zagg could not write the overviews of order 2.")
    failed = desk.aggregate(batch=4)
    assert failed.acknowledgement.outcome == "failed"
    assert "Every shard is complete, and the overviews are not" in str(failed.error)
    desk.step_ending = None
    desk.calls.clear()
    assert desk.aggregate().acknowledgement.outcome == "aggregated"
    assert desk.calls == []
    assert desk.steps == [("close", desk.shards("first"))] * 2
    assert desk.aggregate().status == "already"


def test_shards_of_a_run_that_died_get_into_the_overviews_too(desk):
    desk.publish("first")

    def dies(jobs, stop):
        yield run_batch(jobs[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.aggregate(batch=4, run_batches=dies, lease=timedelta(seconds=0.1))
    assert desk.steps == []
    desk.aggregate()
    assert desk.handed[1] == desk.shards("first")[len(desk.handed[0]) :]
    assert desk.steps == [("close", desk.shards("first"))]


def test_shards_that_are_in_the_overviews_are_not_put_there_again(desk):
    desk.publish("first")
    bad = desk.shards("first")[0]
    desk.results[bad] = {"state": "unread"}
    desk.aggregate()
    desk.results.clear()
    desk.aggregate()
    assert desk.steps == [("close", desk.shards("first")[1:]), ("close", [bad])]


def test_an_output_that_cannot_be_prepared_fails_with_the_reason(desk):
    desk.publish("first")
    desk.step_ending = AggregationFailed("the bucket does not exist.")
    failed = desk.aggregate("plate")
    assert "the bucket does not exist" in str(failed.error)
    assert desk.calls == []


def test_no_more_batches_are_started_when_several_in_a_row_were_in_vain(desk):
    """Such as while the server of the granules is down."""
    desk.publish("first")
    desk.ending = AggregationFailed("no granule was read for 600 s.")
    failed = desk.aggregate(batch=1)
    assert len(desk.calls) == GIVE_UP
    assert "no granule was read for 600 s" in str(failed.error)
    assert failed.acknowledgement.affected.count == len(desk.shards("first"))
    desk.ending = None
    assert desk.aggregate().acknowledgement.outcome == "aggregated"


def test_an_error_of_this_program_keeps_the_batches_that_ended(desk):
    desk.publish("first")

    def breaks(jobs, stop):
        yield run_batch(jobs[0])
        raise CorruptObject("Object x has another digest.")

    said = desk.aggregate(batch=4, run_batches=breaks).acknowledgement
    assert (said.outcome, said.started) == ("failed", True)
    assert said.states.done == len(desk.handed[0])
    assert desk.aggregate().acknowledgement.outcome == "aggregated"
    assert desk.handed[1] == desk.shards("first")[len(desk.handed[0]) :]
