"""A release is partial if the reader of a config drops granules, and refused if it drops all."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.releases import inputs
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.errors import UnreadableGranules
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.releases import MapToPublish, verify

pytestmark = inputs.IN_A_FOLDER


def without_s3(catalog: Catalog, count: int) -> Catalog:
    """A catalog whose first granules have no S3 address."""
    rows = catalog.table.to_pylist()
    for row in rows[:count]:
        row["assets"]["data_s3"] = None
    return Catalog(pa.Table.from_pylist(rows, schema=catalog.table.schema), catalog.metadata)


def published(publish, folder, count: int):
    """Publish a map of a grid without a config, so that its build compares no addresses."""
    catalog = without_s3(inputs.make(dict.fromkeys(range(8), 1)), count)
    catalog.to_geoparquet(folder / "catalog.parquet")
    built = ShardMap.build(catalog, HealpixGrid(5, 8), region=[([-1, -1, 2, 2], [-1, 28, 28, -1])])
    (folder / "healpix.yaml").write_text(inputs.CONFIGS["healpix"])
    build = MapToPublish("healpix", folder / "healpix.yaml", shard_map=built)
    return publish("first", catalog=folder / "catalog.parquet", maps=[build])


def test_a_map_of_which_some_granules_are_dropped_is_partial(store, publish, tmp_path):
    done = published(publish, tmp_path, 3)
    (grid,) = done.record.grids
    assert (done.record.status, grid.status, grid.quarantined) == ("partial", "partial", 3)
    assert not done.moved
    assert verify(store).findings == []


def test_a_map_of_which_all_are_dropped_is_refused_and_nothing_is_written(store, publish, tmp_path):
    with pytest.raises(UnreadableGranules, match="Grid healpix: None of the 8 granules"):
        published(publish, tmp_path, 8)
    assert list(store.list()) == []
