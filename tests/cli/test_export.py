"""The commands export and convert."""

import json

import pytest

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, ShardMap, from_config
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
    assert shown.out == f"{output}: 1 footprint of {catalog}\n"
    assert not shown.err
    assert len(json.loads(output.read_text())["features"]) == 1


def test_an_incomplete_map_says_so(shard_map, tmp_path, capsys):
    output = tmp_path / "out.json"
    assert main(["export", shard_map, str(output)]) == 0
    assert "the map is incomplete: " in capsys.readouterr().err
    assert json.loads(output.read_text())["complete"] == "no"


def test_granules_without_a_shape_are_counted(catalog, tmp_path, capsys):
    assert main(["export", catalog, str(tmp_path / "out.geojson"), "--tracks"]) == 0
    assert "1 track without a shape; the field problem says why." in capsys.readouterr().err


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


@pytest.mark.zagg
def test_a_parquet_map_becomes_one_that_zagg_reads(catalog, tmp_path, capsys):
    from zagg.runner import _load_catalog

    box, compact, plain = "--bbox=-1,-1,2,2", str(tmp_path / "m.parquet"), str(tmp_path / "m.json")
    assert main(["build", "--config", CONFIG, "--catalog", catalog, box, "-o", compact]) == 0
    capsys.readouterr()
    assert main(["check", compact, "--config", CONFIG]) == 0
    said = capsys.readouterr().err
    assert f"reads maps as JSON only; `zagg-catalog convert {compact} {plain}` writes one." in said
    assert main(["convert", compact, plain]) == 0
    assert capsys.readouterr().out.startswith(f"{plain}: ")
    assert main(["check", plain, "--config", CONFIG]) == 0
    assert "JSON" not in capsys.readouterr().err
    theirs, ours = _load_catalog(plain), ShardMap.from_parquet(compact)
    assert theirs["shard_keys"] == [int(key) for key in ours.shards]
    assert [len(granules) for granules in theirs["granules"]] == [len(ours[key]) for key in ours]


def test_a_catalog_is_not_converted(catalog, tmp_path, capsys):
    assert main(["convert", catalog, str(tmp_path / "m.json")]) == 1
    assert f"`zagg-catalog build --config FILE --catalog {catalog}`" in capsys.readouterr().err


def test_an_empty_map_is_answered_before_zagg_does(tmp_path, capsys):
    empty = ShardMap(from_config(CONFIG).spatial_signature(), [], [], {"complete": True})
    empty.to_json(tmp_path / "m.json")
    assert main(["check", str(tmp_path / "m.json"), "--config", CONFIG]) == 1
    assert "m.json has no pair, so zagg has nothing to read" in capsys.readouterr().err
