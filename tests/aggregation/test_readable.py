"""A pick-up compares the granules' addresses with the driver of the run."""

from __future__ import annotations

import pyarrow as pa

from tests.aggregation.desk import CONFIGS, REGION
from tests.releases import inputs
from zagg_catalog import Catalog, ShardMap, from_config
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.releases import MapToPublish
from zagg_catalog.releases import publish as publish_release

HTTPS = ZaggOptions(driver="https")
CONFIG = CONFIGS["healpix"].replace("driver: s3", "driver: https")


def publish(desk, folder, s3):
    """A complete release for a config that reads over HTTPS; the last granules have `s3`."""
    made = inputs.make(dict.fromkeys(range(6), 1))
    rows = made.table.to_pylist()
    for row in rows[: 6 - s3]:
        row["assets"]["data_s3"] = None
    catalog = Catalog(pa.Table.from_pylist(rows, schema=made.table.schema), made.metadata)
    catalog.to_geoparquet(folder / "catalog.parquet")
    (folder / "https.yaml").write_text(CONFIG)
    grid = from_config(folder / "https.yaml")
    build = MapToPublish(
        "healpix", folder / "https.yaml", shard_map=ShardMap.build(catalog, grid, region=REGION)
    )
    catalog_file = folder / "catalog.parquet"
    done = publish_release(desk.store, catalog=catalog_file, maps=[build], region=inputs.REGION)
    assert done.record.status == "complete"


def test_a_config_whose_driver_changed_since_is_refused_by_name(desk, tmp_path):
    publish(desk, tmp_path, s3=4)
    result = desk.pick()
    assert result.entry.outcome == "refused"
    reason = desk.acknowledgement().reason
    assert "2 granules cannot be used" in reason
    assert f"{inputs.granule(0)}: it has no S3 address" in reason
    assert desk.calls == []


def test_the_granules_that_zagg_drops_are_noted_if_a_partial_release_is_allowed(desk, tmp_path):
    publish(desk, tmp_path, s3=4)
    assert desk.pick(allow_partial=True).entry.outcome == "checked"
    assert any("zagg leaves them out" in note for note in desk.acknowledgement().notes)


def test_the_driver_of_the_run_counts(desk, tmp_path):
    publish(desk, tmp_path, s3=0)
    assert desk.pick(allow_partial=True).entry.outcome == "refused"
    assert "None of the 6 granules can be read" in desk.acknowledgement().reason
    assert desk.pick(zagg=HTTPS).entry.outcome == "checked"
