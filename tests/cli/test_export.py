"""The command export."""

import json

import pytest

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.cli import main

CONFIG = "deployments/grids/atl06-antarctica-healpix.yaml"


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "catalog.parquet"
    make_catalog(SQUARE, metadata={"complete": True}).to_geoparquet(path)
    return str(path)


@pytest.fixture
def shard_map(tmp_path):
    path = tmp_path / "map.json"
    made = ShardMap.build(make_catalog(SQUARE, metadata={"complete": False}), HealpixGrid(6, 12))
    made.metadata["complete"] = False
    made.to_json(path)
    return str(path)


def test_a_catalog_becomes_geojson(catalog, tmp_path, capsys):
    output = tmp_path / "out.geojson"
    assert main(["export", catalog, str(output)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{output}: 1 footprints of {catalog}\n"
    assert not shown.err
    assert len(json.loads(output.read_text())["features"]) == 1


def test_an_incomplete_map_says_so(shard_map, tmp_path, capsys):
    output = tmp_path / "out.json"
    assert main(["export", shard_map, str(output)]) == 0
    assert "the map is incomplete: " in capsys.readouterr().err
    assert json.loads(output.read_text())["complete"] == "no"


def test_granules_without_a_shape_are_counted(catalog, tmp_path, capsys):
    assert main(["export", catalog, str(tmp_path / "out.geojson"), "--tracks"]) == 0
    assert "1 tracks have no shape; their field problem says why." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "flags", "says"),
    [
        ("map", ["--tracks"], "is a map, which has no tracks"),
        ("catalog", ["--config", CONFIG], "is a catalog, which has no grid"),
        ("map", ["--config", CONFIG], "is of another grid"),
    ],
)
def test_a_wrong_call_is_a_sentence(kind, flags, says, catalog, shard_map, tmp_path, capsys):
    file = {"map": shard_map, "catalog": catalog}[kind]
    assert main(["export", file, str(tmp_path / "out.geojson"), *flags])
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.geojson").exists()


def test_the_ending_is_checked_before_the_file_is_read(tmp_path, capsys):
    assert main(["export", "no.parquet", str(tmp_path / "out.shp")]) == 2
    assert "out.shp" in capsys.readouterr().err


def test_a_map_without_a_known_grid_asks_for_its_config(tmp_path, capsys):
    ShardMap({"type": "hexagons"}, [], []).to_parquet(tmp_path / "map.parquet")
    assert main(["export", str(tmp_path / "map.parquet"), str(tmp_path / "out.json")]) == 2
    assert "pass the grid's config" in capsys.readouterr().err
