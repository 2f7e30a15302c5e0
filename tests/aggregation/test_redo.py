"""Whatever batches end in, the next runs do what is left, and no more, until all is right."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.aggregation.desk import Desk, write_output
from zagg_catalog.aggregation.batches import BatchResult, run_batch
from zagg_catalog.aggregation.zagg import ShardResult, ZaggAnswer
from zagg_catalog.errors import AggregationFailed

RELEASES = ("first", "more", "most")
BATCH = 6  # pairs, so that a run has several batches


class Output:
    """What a zagg that may die has written, and what it has put into the overviews."""

    def __init__(self, desk):
        self.desk = desk
        self.shards, self.overviews, self.handed = {}, {}, []
        self.ends, self.flow_ends = [], "goes on"
        self.now = datetime(2026, 5, 1, tzinfo=UTC)

    def zagg(self, call, folder, **_):
        if call.step == "close":
            self.overviews |= {key: self.shards[key] for key in call.keys}
            return ZaggAnswer(version="0.61.0", signature=call.signature, summary={})
        document = json.loads(Path(call.catalog).read_text())
        inputs = {
            key: frozenset(granule["id"] for granule in granules)
            for key, granules in zip(document["shard_keys"], document["granules"], strict=True)
        }
        self.handed += inputs
        write_output(call)
        end, self.flow_ends = self.ends.pop(0) if self.ends else ("done", "goes on")
        written = dict(list(inputs.items())[: 1 if end == "killed" else None])
        torn = dict(list(inputs.items())[1:2]) if end == "killed" else {}
        self.shards |= written | dict.fromkeys(torn, "torn")
        if end == "killed":
            raise AggregationFailed("zagg did not finish: it was killed by signal 9.")
        return ZaggAnswer(
            version="0.61.0",
            signature=call.signature,
            summary={},
            shards=tuple(self.results(inputs, unread=end == "unread")),
        )

    def results(self, inputs, *, unread):
        for number, key in enumerate(inputs):
            if unread and number == 0:
                self.shards[key] = "lacks a granule"
                yield ShardResult(key=key, state="unread", cells=1, unread=("ATL06_a.h5",))
            else:
                yield ShardResult(key=key, state="done", cells=1, observations=1)

    def run_batches(self, jobs, stop):
        for job in jobs:
            result = run_batch(job)
            if self.flow_ends == "dies":
                raise KeyboardInterrupt
            lost = self.flow_ends == "loses it"
            yield BatchResult.lost(job, "its worker was killed") if lost else result

    def aggregate(self, release, ends=(), **options):
        """Run once; what was handed over is in `handed`."""
        self.ends, self.flow_ends, self.handed = list(ends), "goes on", []
        self.now += timedelta(hours=1)  # any lease is over
        options |= {"release": release, "batch": BATCH, "clock": lambda: self.now}
        try:
            return self.desk.aggregate(run_batches=self.run_batches, **options)
        except KeyboardInterrupt:
            return None


@pytest.fixture(scope="module")
def published(pickup_inputs, tmp_path_factory):
    """A store with the releases, and the granules of each shard in each of them."""
    desk = Desk(pickup_inputs, tmp_path_factory.mktemp("redo"))
    digests = {name: desk.publish(name).digest for name in RELEASES}
    return desk, digests, {name: right(desk, name) for name in RELEASES}


def right(desk, name):
    """What an undisturbed run writes."""
    found = {}
    for pair in desk.map(name).pairs().to_pylist():
        found.setdefault(pair["shard_key"], set()).add(pair["id"])
    return {key: frozenset(ids) for key, ids in found.items()}


# How a batch ends for zagg, and for the flow that waits for it.
ENDS = st.tuples(
    st.sampled_from(["done", "unread", "killed"]), st.sampled_from(["goes on", "loses it", "dies"])
)
MODES = st.sampled_from([{}, {"only_changed": True}, {"force": True}])
# Whether the release is a newer one, the options of the run, and how its batches end.
RUNS = st.lists(st.tuples(st.booleans(), MODES, st.lists(ENDS, max_size=4)), max_size=5)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(runs=RUNS, only_changed=st.booleans())
def test_any_past_is_mended(published, tmp_path_factory, runs, only_changed):
    template, digests, fresh = published
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(template.folder, folder, dirs_exist_ok=True)
    output = Output(Desk(template.inputs, folder))
    with pytest.MonkeyPatch.context() as patch:
        output.desk.watch(patch, output.zagg)
        at, done = 0, set()
        for newer, options, ends in runs:
            newer &= at < len(RELEASES) - 1
            at, done = at + newer, set() if newer or options.get("force") else done
            name = RELEASES[at]
            step(output, digests[name], fresh[name], done, ends, **options)
        for _ in count():
            name = RELEASES[at]
            picked = step(output, digests[name], fresh[name], done, only_changed=only_changed)
            if picked is not None and not picked.failed:
                break
    assert output.shards == fresh[name], "every shard was written last from this release"
    assert output.overviews == fresh[name]


def step(output, release, fresh, done, ends=(), **options):
    """Run once, and check that what is handed over is what is not right, and nothing done."""
    before = dict(output.shards)
    picked = output.aggregate(release, ends, **options)
    handed = set(output.handed)
    assert not handed & done, "what this release has completed is not done again"
    if picked is None or picked.status == "already":
        return picked
    said = picked.acknowledgement
    wrong = {key for key, ids in fresh.items() if before.get(key) != ids}
    if said.outcome == "aggregated":
        assert handed >= wrong
    assert len(output.handed) == len(handed), "no shard is in two batches"
    done |= handed - set(said.affected.keys)
    return picked
