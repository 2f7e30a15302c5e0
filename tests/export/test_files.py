"""Exported files, read again by GDAL, GeoPandas and shapely."""

import json
import sys

import pytest
import shapely

from tests.export.test_features import ACROSS, POLAR, swaths
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.errors import InvalidOption, MissingPackage
from zagg_catalog.export import catalog_features, map_features, write_features
from zagg_catalog.regions import bbox_region

ENDINGS = ["geojson", "gpkg"]


def features_of(kind):
    catalog = make_catalog(SQUARE, ACROSS, POLAR, None, metadata={"complete": False})
    if kind == "tracks":
        return catalog_features(swaths(), tracks=True)
    if kind == "footprints":
        return catalog_features(catalog)
    region = bbox_region((-180, -90, 180, 10))
    return map_features(ShardMap.build(catalog, HealpixGrid(5, 8), region=region))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["footprints", "tracks", "shards"])
def test_geopandas_reads_the_same_shapes_and_attributes(tmp_path, kind, ending):
    geopandas = pytest.importorskip("geopandas")
    features = features_of(kind)
    write_features(features, tmp_path / f"file.{ending}")
    frame = geopandas.read_file(tmp_path / f"file.{ending}")
    assert frame.crs == "EPSG:4326"
    known = ~shapely.is_missing(features.shapes)
    assert (~frame.geometry.isna() == known).all()
    same = shapely.equals(shapely.normalize(frame.geometry.values[known]), features.shapes[known])
    assert same.all()
    for name in set(features.table.column_names) - {"time_start", "time_end", "problem"}:
        found = [None if value != value else value for value in frame[name].tolist()]
        assert found == features.table[name].to_pylist(), name


@pytest.mark.parametrize("ending", ENDINGS)
def test_times_are_times(tmp_path, ending):
    geopandas = pytest.importorskip("geopandas")
    write_features(features_of("footprints"), tmp_path / f"file.{ending}")
    frame = geopandas.read_file(tmp_path / f"file.{ending}")
    assert frame["time_start"].dt.tz is not None
    assert frame["time_start"].iloc[1].isoformat() == "2023-12-18T21:16:00.250000+00:00"


def test_geojson_keeps_to_rfc_7946(tmp_path):
    write_features(features_of("footprints"), tmp_path / "file.geojson")
    content = json.loads((tmp_path / "file.geojson").read_text())
    assert "crs" not in content
    assert content["type"] == "FeatureCollection"
    *shapes, last = (feature["geometry"] for feature in content["features"])
    assert last is None
    for shape in map(shapely.geometry.shape, shapes):
        assert shape.is_valid
        west, south, east, north = shape.bounds
        assert -180 <= west <= east <= 180
        assert -90 <= south <= north <= 90
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))


def test_what_is_missing_is_in_the_file(tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    features = features_of("footprints")
    for ending in ENDINGS:
        write_features(features, tmp_path / f"file.{ending}")
    content = json.loads((tmp_path / "file.geojson").read_text())
    info = pyogrio.read_info(tmp_path / "file.gpkg")
    for described in (
        content,
        *(json.loads(info[f"{part}_metadata"]["zagg_catalog"]) for part in ("layer", "dataset")),
    ):
        assert described["complete"] == "no"
        assert described["metadata"]["collection"] == "ATL06_007"
    assert [feature["properties"]["complete"] for feature in content["features"]] == ["no"] * 4


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_feature_is_a_file_too(tmp_path, ending):
    pyogrio = pytest.importorskip("pyogrio")
    write_features(catalog_features(make_catalog()), tmp_path / f"file.{ending}")
    assert pyogrio.read_info(tmp_path / f"file.{ending}")["features"] == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failed_write_leaves_the_old_file(tmp_path, ending, monkeypatch):
    pytest.importorskip("pyogrio")
    path = tmp_path / f"file.{ending}"
    path.write_text("old")
    features = features_of("footprints")
    features.metadata[("a", "tuple")] = 1
    with pytest.raises(TypeError):
        write_features(features, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_pyogrio_the_error_has_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(MissingPackage, match=r"pip install 'zagg-catalog\[export\]'"):
        write_features(features_of("footprints"), tmp_path / "file.gpkg")
    write_features(features_of("footprints"), tmp_path / "file.geojson")


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match=r"ends in \.geojson, \.json"):
        write_features(features_of("footprints"), tmp_path / "file.shp")
