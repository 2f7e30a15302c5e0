"""Outputs that are verified later, from the records in the store."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.aggregation.desk import RELEASE_KEY
from tests.aggregation.test_output_check import Output, load
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.aggregation.output import MARKER, OutputMarker
from zagg_catalog.aggregation.output_verify import verify_outputs
from zagg_catalog.aggregation.semantics import aggregation_core, core_digest
from zagg_catalog.cli.main import main
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.releases import Acknowledgement, MapToPublish, publish
from zagg_catalog.releases.batches import BatchRecord, BatchShards
from zagg_catalog.releases.pickups import PickupHistory, PickupSummary
from zagg_catalog.store import Store, open_store

pytestmark = pytest.mark.zagg
THEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def output(made, tmp_path) -> Output:
    shutil.copytree(made / "plate", tmp_path / "out")
    found = load(made, "plate", tmp_path / "out")
    mark(found, cycle=RELEASE_KEY.cycle)
    return found


def mark(output: Output, cycle: int) -> None:
    core = aggregation_core(output.config)
    marker = OutputMarker(
        product=RELEASE_KEY.product,
        region=RELEASE_KEY.region,
        cycle=cycle,
        grid="plate",
        store="store",
        signature_digest=canonical_digest(output.signature),
        aggregation_digest=core_digest(core),
        aggregation=core,
        by="me",
        claimed_at=THEN,
    )
    path = output.folder / MARKER
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(marker.to_group())


@pytest.fixture
def release(store, made, output, pickup_inputs) -> str:
    """A release with the grid of the output; returns its digest."""
    build = MapToPublish("plate", made / "plate.yaml", shard_map=ShardMap(output.signature, [], []))
    catalog = pickup_inputs / "first.parquet"
    return publish(store, catalog=catalog, maps=[build], region=inputs.REGION).digest


@pytest.fixture
def picked(store, release, output):
    """Record a pick-up of the release into the output, as a function of how it ended."""

    def record(outcome="aggregated", *, batches=True, **changes) -> None:
        facts = {"release": release, "output": output.url, "by": "me", "began_at": THEN}
        facts |= {"ended_at": THEN} | dict(
            zip(("product", "region", "cycle"), inputs.RELEASE_KEY, strict=True)
        )
        keys = output.keys
        shards = BatchShards(
            keys=tuple(keys),
            inputs=(1,) * len(keys),
            states=("done",) * len(keys),
            observations=tuple(output.reported[key][0] for key in keys),
            cells=tuple(output.reported[key][1] for key in keys),
            stale=(False,) * len(keys),
        )
        batch = BatchRecord(**facts, grid="plate", number=1, config_digest="c" * 64, shards=shards)
        folder = RELEASE_KEY.folder("pickups", "plate")
        digest = store.put(folder, batch.to_bytes(), ".json").digest
        ended = Acknowledgement(
            **facts
            | {"grid": "plate", "dry_run": False, "started": True, "outcome": outcome}
            | {"batches": (digest,) if batches else ()}
            | changes
        )
        key = store.put(folder, ended.to_bytes(), ".json").key
        history = PickupHistory(entries=(PickupSummary.of(ended, key),))
        store.swap_pointer(RELEASE_KEY.pointer("pickups", "plate"), history.to_bytes(), None)

    return record


def test_a_whole_output_is_well(store, picked, output, release):
    picked()
    (found,) = verify_outputs(store)
    assert (found.output, found.release, found.problems) == (output.url, release, ())
    assert found.check.read == len(output.keys)
    assert found.clean


def test_a_damaged_shard_is_named(store, picked, output):
    picked()
    lost = output.keys[0]
    row, column = divmod(lost, output.signature["shape"][1] // 64)
    Path(output.url, f"rectilinear/count/c/{row}/{column}").unlink()
    (found,) = verify_outputs(store, RELEASE_KEY.product)
    assert found.check.damaged.keys == (lost,)
    assert not found.clean


def test_an_output_whose_pick_up_did_not_finish_is_not_whole(store, picked):
    picked("unread", reason="A granule could not be read.")
    (found,) = verify_outputs(store)
    assert "ended as unread (A granule could not be read); run aggregate again" in found.problem


def test_an_output_that_is_gone_is_said(store, picked, output):
    picked()
    shutil.rmtree(output.url)
    (found,) = verify_outputs(store)
    assert found.problem == "The folder does not exist here."


def test_an_output_that_another_cycle_uses_now_is_said(store, picked, output):
    picked()
    mark(output, cycle=23)
    (found,) = verify_outputs(store)
    assert "It holds ATL06_007, antarctica, cycle 23, grid plate" in found.problem


def test_without_marker_and_registry_nothing_can_be_counted(store, picked, output):
    picked()
    shutil.rmtree((output.folder / MARKER).parent)
    (found,) = verify_outputs(store)
    assert "name the registry" in found.problem


def test_a_pick_up_of_an_earlier_version_cannot_be_compared(store, picked):
    picked(batches=False)
    (found,) = verify_outputs(store)
    assert "no record of its shards" in found.problem


def test_dry_runs_and_other_releases_have_no_output(store, picked):
    picked("checked", dry_run=True)
    assert list(verify_outputs(store)) == []
    assert list(verify_outputs(store, "ATL03_007")) == []


def test_the_command_names_the_shard_and_ends_with_1(store, picked, output, capsys):
    picked()
    command = ["release", "verify", "--output", "--store", store.url]
    assert main(command) == 0
    assert "shards compared, 0 overviews: all is well." in capsys.readouterr().out
    shutil.rmtree(Path(output.url, "rectilinear/count"))
    assert main([*command, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["clean"]  # the files of the store
    assert not facts["outputs"][0]["clean"]
    assert "rectilinear/count is missing" in facts["outputs"][0]["check"]["problems"][0]


def test_the_command_without_output_does_not_read_outputs(store, picked, output, capsys):
    picked()
    shutil.rmtree(output.url)
    assert main(["release", "verify", "--store", store.url]) == 0
    assert output.url not in capsys.readouterr().out
