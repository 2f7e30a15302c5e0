"""Catalogs go both ways between this package and zagg."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sources.served import WORLD, cycle_22, fetch
from zagg_catalog.sandbox import Granules, SandboxServer
from zagg_catalog.sources import Catalog, Query


@pytest.mark.zagg
def test_zagg_reads_our_file(truth: Catalog, tmp_path: Path) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    truth.to_geoparquet(tmp_path / "ours.parquet")
    loaded = theirs.Catalog.from_geoparquet(str(tmp_path / "ours.parquet"))
    assert loaded.metadata == truth.metadata
    assert_same_records(loaded.granule_records(), truth.granule_records())


@pytest.mark.zagg
def test_zagg_fetches_the_same_granules(few: Granules, tmp_path: Path, monkeypatch: Any) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    with SandboxServer(few, page_size=25) as server:
        monkeypatch.setattr(theirs, "_CMR_STAC_ROOT", server.root_url)
        ours = fetch(server)
        query = cycle_22()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fetched = theirs.CMRSource().fetch(
                theirs.Query("ATL06", "007", query.start_date, query.end_date, WORLD)
            )
    fetched.to_geoparquet(str(tmp_path / "zagg.parquet"))
    loaded = Catalog.from_geoparquet(tmp_path / "zagg.parquet")
    by_id = sorted(loaded.granule_records(), key=lambda record: record["id"])
    assert_same_records(by_id, ours.granule_records())
    shared = fetched.metadata.keys()
    assert {k: ours.metadata[k] for k in shared} | {"bbox": None} == fetched.metadata | {
        "bbox": None
    }


@pytest.mark.zagg
@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:output.store_layout:DeprecationWarning")
def test_zagg_builds_a_shard_map_from_our_file(
    few: Granules, real_data: Path, tmp_path: Path
) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    from zagg.catalog.shardmap import ShardMap
    from zagg.config import load_config
    from zagg.grids import from_config

    with SandboxServer(few, page_size=25) as server:
        ours = fetch(server, cycle_22((-100, 20, -60, 50)))
    ours.to_geoparquet(tmp_path / "ours.parquet")
    catalog = theirs.Catalog.from_geoparquet(str(tmp_path / "ours.parquet"))
    grid = from_config(load_config(str(real_data / "healpix_o9.yaml")))
    region = [(np.array([38.0, 38.0, 39.0, 39.0]), np.array([-77.0, -76.0, -76.0, -77.0]))]
    built = ShardMap.build(catalog, grid, region=region, backend="mortie")
    assert built.metadata["total_granules"] == len(ours)
    assert built.metadata["complete"] is True


def assert_same_records(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert [r["id"] for r in one] == [r["id"] for r in other]
    for left, right in zip(one, other, strict=True):
        assert left.keys() >= {"id", "s3", "https", "lats", "lons", "time_start", "time_end"}
        assert left.keys() == right.keys()
        for key in left.keys() - {"lats", "lons"}:
            assert left[key] == right[key]
        for key in ("lats", "lons"):
            np.testing.assert_array_equal(left[key], right[key])


@pytest.mark.realdata
def test_real_granules_come_through_a_fetch_unchanged(real_data: Path) -> None:
    file = real_data / "atl03_007_neon.parquet"
    with SandboxServer(file) as server:
        query = Query("ATL03", "007", "2018-10-13", "2026-03-15", WORLD)
        found = fetch(server, query)
    real = sorted(Catalog.from_geoparquet(file).granule_records(), key=lambda r: r["id"])
    assert len(found) == 2089
    assert found.metadata["harvest"]["superseded"] == found.metadata["harvest"]["quarantined"] == []
    assert_same_records(found.granule_records(), real)
