"""What an output holds is compared with what zagg reported, and made again where it differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from mortie import MortonIndexArray

from tests.aggregation.real.site import GRIDS, Site
from zagg_catalog.aggregation.output_verify import verify_outputs
from zagg_catalog.releases.batches import BatchRecord
from zagg_catalog.releases.pickups import batch_keys

SHAPES = ("shape", "chunk_shape")


def filled(site: Site, grid: str) -> set[int]:
    """Keys of the shards that zagg wrote, by the records of the newest pick-up."""
    digests = site.acknowledgement(grid).batches
    keys = batch_keys(site.request(grid).release_key, grid, digests)
    records = [BatchRecord.load(site.store.get(key)).shards for key in keys]
    return {key for one in records for key, cells in zip(one.keys, one.cells, strict=True) if cells}


def lose(site: Site, grid: str, key: int) -> None:
    """Delete what zagg wrote of a shard."""
    place = Path(site.place(grid))
    if grid == "healpix":
        words = np.asarray([key], np.uint64)
        shutil.rmtree(place / MortonIndexArray.from_words(words).hive_path()[0])
        return
    shape, chunks = (site.registry.grids[grid].grid.spatial_signature()[name] for name in SHAPES)
    row, column = divmod(key, -(-shape[1] // chunks[1]))
    (place / f"rectilinear/count/c/{row}/{column}").unlink()


@GRIDS
def test_a_shard_that_was_lost_is_named_and_made_again(site, grid):
    """The next release changes other shards, and the whole output is compared."""
    assert site.aggregate(grid).error is None
    written = filled(site, grid)
    site.publish("late")
    site.aggregate(grid, only_changed=True, dry_run=True)
    lost = min(written - set(site.acknowledgement(grid).changes.changed.keys))
    lose(site, grid, lost)
    (found,) = verify_outputs(site.store, registry=site.registry)
    assert found.check.damaged.keys == (lost,)
    failed = site.aggregate(grid, only_changed=True)
    assert "is not what zagg reported" in str(failed.error)
    assert lost in failed.acknowledgement.affected.keys
    again = site.aggregate(grid, only_changed=True)
    assert again.error is None
    assert again.acknowledgement.shards == failed.acknowledgement.affected.count
    verdict = site.judge(grid, "late")
    assert verdict.right, str(verdict)
    assert [one.problems for one in verify_outputs(site.store, registry=site.registry)] == [()]


@GRIDS
def test_an_output_in_a_bucket_is_compared_with_its_companion(make_site, output_bucket, grid):
    site = make_site(output=output_bucket.url)
    site.publish()
    assert site.aggregate(grid).error is None
    check = site.acknowledgement(grid).check
    assert check.clean
    assert check.read == check.shards > 0
    assert check.icechunk is (True if grid == "healpix" else None)
    (found,) = verify_outputs(site.store, registry=site.registry)
    assert found.clean
