"""Catalogs, maps and grids as GeoDataFrames."""

import subprocess
import sys
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.errors import SignatureMismatch

GRID = HealpixGrid(6, 10)
OLD = Path(__file__).parent / "releases/fixtures/catalog-v1.parquet"


@pytest.fixture
def catalog():
    far = [(179, 10), (-179, 10), (-179, 12), (179, 12)]
    return make_catalog(SQUARE, far, metadata={"complete": True, "bbox": [-180, -90, 180, 90]})


def test_a_catalog_has_a_row_for_each_granule(catalog, tmp_path):
    frame = catalog.to_geopandas()
    assert frame.crs == "EPSG:4326"
    assert frame.columns.tolist() == ["id", "time_start", "time_end", "https", "s3", "geometry"]
    assert frame["id"].tolist() == catalog.ids
    assert str(frame["time_start"].dt.tz) == "UTC"
    catalog.to_geoparquet(tmp_path / "c.parquet")
    with pytest.warns(UserWarning, match="spherical edges"):
        read = geopandas.read_parquet(tmp_path / "c.parquet")
    assert shapely.equals(frame.geometry.values, read.geometry.values).all()


def test_a_file_joins_with_frames_in_epsg_4326_without_a_warning(catalog, tmp_path):
    catalog.to_geoparquet(tmp_path / "c.parquet")
    with pytest.warns(UserWarning, match="spherical edges") as warned:
        read = geopandas.read_parquet(tmp_path / "c.parquet")
    assert len(warned) == 1
    areas = geopandas.GeoDataFrame(geometry=[shapely.box(0.2, 0.6, 0.3, 0.7)], crs="EPSG:4326")
    # Longitude is first, though EPSG:4326 has latitude first.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joined = read.sjoin(areas)
    assert joined["id"].tolist() == catalog.ids[:1]
    assert read.crs == "EPSG:4326"


def test_a_file_without_a_crs_has_the_same_granules(tmp_path):
    """As older versions wrote them."""
    old = Catalog.from_geoparquet(OLD)
    assert b'"crs"' not in pq.read_schema(OLD).metadata[b"geo"]
    old.to_geoparquet(tmp_path / "new.parquet")
    assert b'"crs"' in pq.read_schema(tmp_path / "new.parquet").metadata[b"geo"]
    assert Catalog.from_geoparquet(tmp_path / "new.parquet") == old


def test_a_map_has_a_row_for_each_shard(catalog):
    shard_map = ShardMap.build(catalog, GRID)
    frame = shard_map.to_geopandas()
    assert frame["shard_key"].dtype == np.uint64
    assert frame["shard_key"].tolist() == shard_map.shard_keys
    assert frame["granules"].tolist() == [len(some) for some in shard_map.granules]
    for row in frame.itertuples():
        assert row.ids == [granule["id"] for granule in shard_map[row.shard_key]]
    assert frame.geometry.is_valid.all()
    joined = frame.sjoin(catalog.to_geopandas().iloc[:1], predicate="intersects")
    assert joined["shard_key"].nunique() == sum(
        "g0" in ids or catalog.ids[0] in ids for ids in frame.ids
    )
    assert frame.equals(shard_map.to_geopandas(GRID))
    with pytest.raises(SignatureMismatch):
        shard_map.to_geopandas(HealpixGrid(5, 10))


def test_a_grid_has_a_row_for_each_key():
    keys = GRID.coverage((-51, 68, -46, 70))
    frame = GRID.to_geopandas(keys)
    assert frame["shard_key"].tolist() == keys.tolist()
    assert shapely.area(frame.geometry.values).min() > 0
    assert len(GRID.to_geopandas([])) == 0


def test_without_geopandas_the_extra_is_named(catalog, tmp_path):
    catalog.to_geoparquet(tmp_path / "c.parquet")
    code = (
        "import sys; sys.modules['geopandas'] = None\n"
        "from zagg_catalog import Catalog, ZaggCatalogError\n"
        f"try: Catalog.from_geoparquet({str(tmp_path / 'c.parquet')!r}).to_geopandas()\n"
        "except ZaggCatalogError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install zagg-catalog[geopandas]" in done.stdout


def test_a_catalog_iterates_over_its_records(catalog):
    assert [record["id"] for record in catalog] == catalog.ids
    assert catalog.bbox == (-180, -90, 180, 90)
    assert Catalog(catalog.table).bbox is None
    assert catalog == Catalog(catalog.table, dict(catalog.metadata))
    assert catalog != make_catalog(SQUARE)
    assert catalog != catalog.ids
