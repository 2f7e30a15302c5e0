"""The Catalog: its table, its file, and what zagg makes of both."""

import json
import os
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from zagg_catalog import Catalog
from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.catalog.table import GranulesSkipped, granule_entries
from zagg_catalog.errors import InvalidCatalog


def make_catalog(*rings, metadata=None):
    """A catalog of polygons, as the harvest makes it."""
    rows = []
    for number, coordinates in enumerate(rings):
        name = f"ATL06_20231218211600_{number + 1:04d}2201_007_01.h5"
        geometry = None if coordinates is None else shapely.Polygon(coordinates)
        when = datetime(2023, 12, 18, 21, 16, 0, 250_000 * (number % 2), tzinfo=UTC)
        rows.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "stac_extensions": [],
                "id": name,
                "collection": "ATL06_007",
                "geometry": None if geometry is None else geometry.wkb,
                "bbox": dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), (0.0, 0.0, 1.0, 1.0), strict=True)
                ),
                "links": [],
                "assets": {
                    "data": {"href": f"https://host/{name}", "roles": ["data"]},
                    "data_s3": {"href": f"s3://bucket/{name}", "roles": ["data"]},
                },
                "datetime": when,
                "start_datetime": when,
                "end_datetime": when,
            }
        )
    table = pa.Table.from_pylist(rows, schema=catalog_schema())
    return Catalog(table, {"collection": "ATL06_007", "bbox": [0, 0, 1, 1]} | (metadata or {}))


SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]


def same_records(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert set(a) == set(b)
        for key in a:
            assert np.array_equal(a[key], b[key]), key


def test_the_file_gives_back_the_table_and_its_provenance(tmp_path):
    catalog = make_catalog(SQUARE, SQUARE)
    catalog.to_geoparquet(tmp_path / "c.parquet")
    again = Catalog.from_geoparquet(tmp_path / "c.parquet")
    assert again.table.equals(catalog.table)
    assert again.metadata == catalog.metadata
    assert repr(again) == "<Catalog ATL06_007: 2 granules, completeness unknown>"


def test_equal_catalogs_make_equal_bytes(tmp_path):
    for name in "ab":
        make_catalog(SQUARE).to_geoparquet(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_geoparquet_with_a_bbox_column(tmp_path):
    make_catalog(SQUARE).to_geoparquet(tmp_path / "c.parquet")
    schema = pq.read_schema(tmp_path / "c.parquet")
    geo = json.loads(schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert column["edges"] == "spherical"
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert schema.field("geometry").metadata[b"ARROW:extension:name"] == b"geoarrow.wkb"
    assert json.loads(schema.metadata[b"stac-geoparquet"]) == {"version": "1.0.0"}


def test_the_stac_library_reads_items_back(tmp_path):
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    make_catalog(SQUARE).to_geoparquet(tmp_path / "c.parquet")
    (item,) = arrow.stac_table_to_items(pq.read_table(tmp_path / "c.parquet"))
    assert item["geometry"]["type"] == "Polygon"
    assert item["properties"]["start_datetime"].startswith("2023-12-18T21:16:00")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "c.parquet"
    make_catalog(SQUARE).to_geoparquet(path)
    before = path.read_bytes()
    broken = make_catalog(SQUARE)
    broken.table = broken.table.append_column("x", pa.array([{}], pa.struct([])))
    with pytest.raises((pa.ArrowException, OSError)):
        broken.to_geoparquet(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.parquet"]


def test_a_written_file_is_readable_by_others(tmp_path):
    old = os.umask(0o022)
    try:
        make_catalog(SQUARE).to_geoparquet(tmp_path / "c.parquet")
    finally:
        os.umask(old)
    assert (tmp_path / "c.parquet").stat().st_mode & 0o777 == 0o644


def test_records_have_a_ring_and_both_hrefs():
    (record,) = make_catalog(SQUARE).granule_records()
    name = "ATL06_20231218211600_00012201_007_01.h5"
    assert record["id"] == name
    assert (record["s3"], record["https"]) == (f"s3://bucket/{name}", f"https://host/{name}")
    assert record["lats"].tolist() == [0, 0, 1, 1, 0]
    assert record["lons"].tolist() == [0, 1, 1, 0, 0]
    assert record["time_start"] == "2023-12-18T21:16:00+00:00"


def test_times_are_written_as_isoformat_does():
    entries = granule_entries(make_catalog(SQUARE, SQUARE).table)
    assert entries["time_start"].to_pylist() == [
        "2023-12-18T21:16:00+00:00",
        "2023-12-18T21:16:00.250000+00:00",
    ]


def test_a_granule_without_footprint_is_left_out_by_name():
    with pytest.warns(GranulesSkipped, match="1 granules .*_00022201_"):
        records = make_catalog(SQUARE, None).granule_records()
    assert len(records) == 1


def test_of_several_parts_the_largest_gives_the_ring():
    catalog = make_catalog(SQUARE)
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 9, 9)])
    geometry = pa.array([parts.wkb], pa.binary())
    place = catalog.table.schema.get_field_index("geometry")
    catalog.table = catalog.table.set_column(place, "geometry", geometry)
    assert catalog.granule_records()[0]["lats"].min() == 3


def test_a_granule_without_data_hrefs_carries_its_assets():
    catalog = make_catalog(SQUARE)
    assets = pa.array([{"B04": {"href": "s3://b/red.tif"}}])
    place = catalog.table.schema.get_field_index("assets")
    catalog.table = catalog.table.set_column(place, "assets", assets)
    (record,) = catalog.granule_records()
    assert record["assets"] == {"B04": "s3://b/red.tif"}
    assert record["datetime"] == "2023-12-18T21:16:00+00:00"
    assert record["s3"] is None


@pytest.mark.parametrize("missing", ["id", "geometry", "assets"])
def test_a_table_that_is_no_catalog_is_refused(tmp_path, missing):
    table = make_catalog(SQUARE).table.drop_columns(missing)
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(InvalidCatalog, match=rf"c\.parquet: .*missing: {missing}"):
        Catalog.from_geoparquet(tmp_path / "c.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "c.parquet").write_text("hello")
    with pytest.raises(InvalidCatalog, match="not a readable parquet"):
        Catalog.from_geoparquet(tmp_path / "c.parquet")
    with pytest.raises(InvalidCatalog, match="no catalog file"):
        Catalog.from_geoparquet(tmp_path / "nowhere.parquet")


@pytest.mark.zagg
def test_zagg_reads_our_file_as_we_do(tmp_path):
    zagg = pytest.importorskip("zagg.catalog.sources")
    ours = make_catalog(SQUARE, [(178, 0), (-178, 0), (-178, 1), (178, 1)])
    ours.to_geoparquet(tmp_path / "c.parquet")
    theirs = zagg.Catalog.from_geoparquet(str(tmp_path / "c.parquet"))
    assert theirs.metadata == ours.metadata
    same_records(ours.granule_records(), theirs.granule_records())


@pytest.mark.zagg
def test_we_read_zaggs_file_as_zagg_does(tmp_path, real_data):
    zagg = pytest.importorskip("zagg.catalog.sources")
    real = zagg.Catalog.from_geoparquet(str(real_data / "atl03_007_neon.parquet"))
    real.to_geoparquet(str(tmp_path / "zagg.parquet"))
    ours = Catalog.from_geoparquet(tmp_path / "zagg.parquet")
    assert ours.metadata == real.metadata
    same_records(ours.granule_records(), real.granule_records())
