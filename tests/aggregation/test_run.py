"""A pick-up: verified, handed to zagg, acknowledged, and not done twice."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.aggregation.desk import GRIDS, RELEASE_KEY, alter
from zagg_catalog.aggregation import run
from zagg_catalog.aggregation import zagg as aggregator
from zagg_catalog.aggregation.pending import ATTEMPTS, pending, pending_releases
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import AggregationFailed, MissingAggregator, ObjectMissing
from zagg_catalog.releases import rollback


@pytest.mark.zagg
@pytest.mark.parametrize("grid", GRIDS)
def test_a_dry_run_of_the_real_zagg_is_acknowledged(real_desk, grid):
    pytest.importorskip("zagg")
    published = real_desk.publish("first")
    picked = real_desk.pick(grid)
    assert (picked.status, picked.error) == ("done", None)
    said = real_desk.acknowledgement(grid)
    assert said == picked.acknowledgement
    assert (said.outcome, said.dry_run, said.release) == ("checked", True, published.digest)
    record = published.record.grid(grid)
    assert said.summary["total_cells"] == said.shards == record.shards
    assert said.signature_digest == record.signature_digest
    assert said.manifest == record.manifest.parquet
    assert said.zagg_version == version("zagg")
    assert said.by == "someone@somewhere"
    assert said.began_at <= said.ended_at
    assert not list((real_desk.folder / "work").rglob("*.json"))


def test_what_was_picked_up_is_left_alone_and_nothing_is_written(desk):
    desk.publish("first")
    desk.pick()
    before = desk.files()
    again = desk.pick()
    assert again.status == "already"
    assert again.entry == desk.history().entries[0]
    assert desk.files() == before
    assert len(desk.calls) == 1


def test_force_does_it_again(desk):
    desk.publish("first")
    desk.pick()
    assert desk.pick(force=True).status == "done"
    assert len(desk.calls) == 2


def test_each_release_is_picked_up_once(desk):
    desk.publish("first")
    desk.pick()
    second = desk.publish("more")
    assert desk.pick().acknowledgement.release == second.digest
    assert desk.pick().status == "already"
    assert len(desk.calls) == 2


def test_a_dry_run_does_not_stand_for_an_aggregation_but_the_other_way_round(desk):
    desk.publish("first")
    desk.pick()
    assert desk.aggregate().acknowledgement.outcome == "aggregated"
    assert desk.aggregate().status == "already"
    assert desk.pick().status == "already"
    assert [call.dry_run for call in desk.calls] == [True, False]


def test_another_output_is_another_aggregation(desk):
    desk.publish("first")
    desk.aggregate()
    other = str(desk.folder / "elsewhere")
    assert desk.aggregate(output=other).status == "done"
    assert desk.aggregate().status == desk.aggregate(output=other).status == "already"


def test_after_a_rollback_the_older_release_is_aggregated_again(desk):
    first = desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    desk.aggregate()
    rollback(
        desk.store, *(RELEASE_KEY.product, RELEASE_KEY.region, RELEASE_KEY.cycle), first.digest
    )
    assert "lacks granules" in str(desk.aggregate().error)
    refused = desk.aggregate(allow_contraction=True)
    assert "has cells of shards that have no granules in this release" in str(refused.error)
    shutil.rmtree(refused.acknowledgement.output)
    picked = desk.aggregate(allow_contraction=True, force=True)
    assert (picked.release, picked.acknowledgement.outcome) == (first.digest, "aggregated")
    assert desk.handed[-1] == desk.shards("first")


def test_zagg_gets_config_manifest_output_and_options(desk):
    desk.publish("first")
    desk.aggregate(zagg=ZaggOptions(backend="lambda", max_workers=7, region="eu-west-1"))
    (call,) = desk.calls
    layout = "product=ATL06_007/region=antarctica/cycle=22/grid=healpix"
    assert call.store == str(desk.folder / "out" / layout)
    assert call.options == {"backend": "lambda", "max_workers": 7, "region": "eu-west-1"}
    assert call.signature["parent_order"] == 5


def test_a_failure_of_zagg_is_acknowledged_and_done_again_the_next_time(desk):
    desk.publish("first")
    desk.ending = AggregationFailed("zagg did not finish: it was killed by signal 9.")
    failed = desk.aggregate()
    assert failed.failed
    said = desk.acknowledgement()
    assert (said.outcome, said.started) == ("failed", True)
    assert "signal 9" in said.reason
    assert Path(desk.calls[0].catalog).is_file(), "its inputs are kept after a failure"
    desk.ending = None
    assert desk.aggregate().acknowledgement.outcome == "aggregated"


@pytest.mark.parametrize("bad", [{"cells_error": 2}, {"cells_refused": 1}])
def test_failures_that_zagg_counts_and_does_not_name_fail_the_whole_batch(desk, bad):
    desk.publish("first")
    desk.summary = bad
    said = desk.aggregate().acknowledgement
    assert said.outcome == "failed"
    assert said.states.failed == said.shards
    assert "does not name all" in said.reason


@pytest.mark.parametrize(
    ("state", "outcome"), [("failed", "failed"), ("refused", "failed"), ("unread", "unread")]
)
def test_a_shard_that_is_not_complete_fails_the_grid_and_is_done_again_alone(desk, state, outcome):
    desk.publish("first")
    bad = desk.shards("first")[1]
    desk.results[bad] = {"state": state, "reason": "HTTP 404: Not Found"}
    desk.results[bad] |= {"unread": ("ATL06_a.h5",)} if state == "unread" else {}
    failed = desk.aggregate()
    said = failed.acknowledgement
    assert failed.failed
    assert said == desk.acknowledgement()
    assert said.outcome == outcome
    assert getattr(said.states, state) == 1
    assert said.states.done == said.shards - 1
    assert said.affected.keys == (bad,)
    assert said.observations > said.cells > 0
    assert "HTTP 404: Not Found" in said.reason
    assert ("ATL06_a.h5" in said.reason) == (said.unread.count == 1) == (state == "unread")
    desk.results.clear()
    again = desk.aggregate()
    assert desk.handed[-1] == [bad]
    assert (again.acknowledgement.outcome, again.acknowledgement.shards) == ("aggregated", 1)
    assert desk.aggregate().status == "already"


def test_shards_without_a_cell_fail_the_grid_unless_zagg_says_that_they_are_empty(desk):
    desk.publish("first")
    desk.results = {key: {"cells": 0, "observations": 0} for key in desk.shards("first")}
    for _ in range(2):
        failed = desk.aggregate()
        assert "No cell of " in str(failed.error)
        assert failed.acknowledgement.affected.count == len(desk.handed[-1]) == len(desk.results)
    desk.results = {key: {"state": "empty"} | zero for key, zero in desk.results.items()}
    said = desk.aggregate().acknowledgement
    assert said.outcome == "aggregated"
    assert "found no value in them" in said.notes[-1]


def test_a_bug_is_acknowledged_too(desk):
    desk.publish("first")
    desk.ending = ZeroDivisionError("one by none")
    failed = desk.pick()
    assert isinstance(failed.error, ZeroDivisionError)
    assert desk.acknowledgement().reason == "ZeroDivisionError: one by none"


def test_without_zagg_it_stops_with_the_command_to_run(real_desk, monkeypatch):
    monkeypatch.setattr(aggregator, "find_spec", lambda name: None)
    published = real_desk.publish("first")
    stopped = real_desk.pick()
    assert isinstance(stopped.error, MissingAggregator)
    command = str(stopped.error).split(": ", 1)[1]
    assert command.startswith("python -m zagg --config ")
    assert command.endswith(" --dry-run")
    words = dict(zip(command.split()[3:9:2], command.split()[4:10:2], strict=True))
    document = json.loads(Path(words["--catalog"]).read_text())
    assert len(document["shard_keys"]) == published.record.grid("healpix").shards
    assert Path(words["--config"]).read_bytes() == (real_desk.folder / "healpix.yaml").read_bytes()
    assert real_desk.acknowledgement().outcome == "prepared"
    before = real_desk.history().entries
    real_desk.pick()
    assert real_desk.history().entries == before, "the same is not said twice"


def test_a_prepared_pick_up_continues_once_zagg_is_installed(desk, monkeypatch):
    desk.publish("first")
    with monkeypatch.context() as patch:
        patch.setattr(aggregator, "find_spec", lambda name: None)
        desk.pick()
    assert pending(desk.store, RELEASE_KEY, desk.request(), desk.registry).grids == GRIDS
    assert desk.pick().acknowledgement.outcome == "checked"


def test_a_config_that_changed_with_the_same_grid_runs_as_it_is_now(desk):
    desk.publish("first")
    desk.configure("healpix", "count:", "number:")
    picked = desk.pick()
    assert picked.acknowledgement.outcome == "checked"
    assert "config changed" in picked.notes[0]


def test_a_read_plan_that_may_lose_values_is_noted(desk):
    desk.publish("first")
    levels = "{photons: {path: /a}, segments: {path: /b, coordinates: {latitude: a, longitude: b},"
    levels += " link: {to: photons, index_beg: /c, count: /d}}}"
    plan = f"  base_level: photons\n  levels: {levels}\n  read_plan: {{spatial_index: segments}}\n"
    desk.configure("healpix", "  driver: s3\n", f"  driver: s3\n{plan}")
    assert "can be missing along the sides of shards" in desk.aggregate().acknowledgement.notes[1]


def test_nothing_is_picked_up_where_there_is_no_release(desk):
    with pytest.raises(ObjectMissing, match="no latest release"):
        desk.pick()


@pytest.fixture
def any_output(monkeypatch):
    """Let a pick-up take outputs in buckets that do not exist."""
    monkeypatch.setattr(run, "claim_output", lambda _: ())


@pytest.mark.usefixtures("any_output")
def test_an_output_without_fields_gets_the_layout_and_a_template_is_filled(desk):
    desk.publish("first")
    desk.aggregate(output="s3://bucket/out")
    desk.aggregate(output="s3://bucket/{grid}/c{cycle}")
    layout = "product=ATL06_007/region=antarctica/cycle=22/grid=healpix"
    assert [call.store for call in desk.calls] == [
        f"s3://bucket/out/{layout}",
        "s3://bucket/healpix/c22",
    ]


@pytest.mark.usefixtures("any_output")
def test_without_an_output_an_aggregation_is_refused_and_the_config_may_name_one(desk):
    desk.publish("first")
    refused = desk.aggregate(output=None)
    assert "has no output" in str(refused.error)
    desk.configure("healpix", "output:\n", "output:\n  store: s3://bucket/own.zarr\n")
    assert desk.aggregate(output=None).acknowledgement.output == "s3://bucket/own.zarr"


def waiting(desk, **changes):
    return pending(desk.store, RELEASE_KEY, desk.request(**changes), desk.registry)


def test_a_release_waits_until_every_grid_is_picked_up(desk):
    published = desk.publish("first")
    every = pending_releases(desk.store, desk.request(), desk.registry)
    assert [one.release_key for one in every] == [RELEASE_KEY]
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
    assert "defines another grid" in found.needs_attention[0]
    desk.configure("healpix", "parent_order: 6", "parent_order: 5")
    assert waiting(desk).grids == ("healpix",)


def test_a_contraction_is_left_to_a_person(desk):
    desk.publish("first")
    desk.pick("healpix")
    desk.publish("fewer")
    desk.pick("healpix")
    found = waiting(desk)
    assert "healpix" not in found.grids
    assert found.needs_attention[0].startswith("healpix: refused, Release ")
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
    assert "failed 3 times, it was killed." in found.needs_attention[0]


def test_granules_that_cannot_be_read_are_tried_again_until_nothing_helps_but_a_change(desk):
    desk.publish("first")
    desk.pick("plate")
    unread = {"state": "unread", "reason": "HTTP 403: Forbidden"}
    desk.results = dict.fromkeys(desk.shards("first"), unread)
    real = {"dry_run": False, "output": str(desk.folder / "out")}
    for _ in range(ATTEMPTS):
        assert "healpix" in waiting(desk, **real).grids
        assert desk.aggregate().acknowledgement.outcome == "unread"
    found = waiting(desk, **real)
    assert "healpix" not in found.grids
    assert any("HTTP 403: Forbidden" in one for one in found.needs_attention)
    desk.configure("healpix", "driver: s3", "driver: https")
    assert "healpix" in waiting(desk, **real).grids
    desk.configure("healpix", "driver: https", "driver: s3")
    assert "healpix" not in waiting(desk, **real).grids
    desk.publish("more")
    assert "healpix" in waiting(desk, **real).grids


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
