"""What is said of a catalog and of a map."""

import json
import re

import pytest

from tests.shardmap.test_model import SOUTH, make_map
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import ShardMap
from zagg_catalog.cli import main
from zagg_catalog.cli.inspect import summarise_catalog, summarise_map


def test_a_catalog_is_counted_by_cycle_region_and_track():
    summary = summarise_catalog(make_catalog(SQUARE, SQUARE))
    assert summary["granules"] == 2
    assert summary["cycles"] == {"22": 2}
    assert summary["regions"] == {"1": 2}
    assert summary["tracks"] == 2
    assert (summary["without_s3"], summary["without_https"]) == (0, 0)
    assert summary["first_granule"].startswith("2023-12-18T21:16:00")


def test_an_empty_catalog_has_no_dates():
    assert summarise_catalog(make_catalog())["first_granule"] is None


def test_a_map_tells_its_fullest_shards():
    summary = summarise_map(make_map(complete=False))
    assert (summary["shards"], summary["pairs"], summary["granules_assigned"]) == (2, 3, 2)
    assert summary["granules_per_shard"] == {"least": 1, "median": 1.5, "most": 2}
    assert next(iter(summary["fullest_shards"].items())) == (str(SOUTH), 2)
    assert summary["complete"] is False


def test_an_empty_map_has_no_spread():
    assert summarise_map(ShardMap({}, [], []))["granules_per_shard"] == {}


def test_a_file_that_does_not_say_whether_it_is_complete_is_unknown(tmp_path, capsys):
    """As those of zagg itself."""
    make_catalog(SQUARE).to_geoparquet(tmp_path / "c.parquet")
    make_map().to_json(tmp_path / "m.json")
    for name in ("c.parquet", "m.json"):
        assert main(["show", str(tmp_path / name)]) == 0
        shown = capsys.readouterr()
        assert re.search(r"^complete +unknown$", shown.out, re.MULTILINE)
        assert "does not say whether it is complete" in shown.err


OTHERS = {
    "granule.h5": (b"\x89HDF\r\n\x1a\n", "is HDF5, as the data of a granule"),
    "region.gpkg": (b"SQLite format 3\x00", "is SQLite, as a GeoPackage"),
    "region.geojson": (b'{"type": "FeatureCollection", "features": []}', "is GeoJSON"),
    "region.json": (b'{"type":"Polygon"}', "is GeoJSON"),
    "grid.yaml": (b"output:", "is YAML, as a config, which `zagg-catalog grid show` describes"),
    "maps.zip": (b"PK\x03\x04", "is a zip file"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_neither_says_what_it_is(tmp_path, capsys, name):
    content, says = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    assert main(["show", str(tmp_path / name)]) == 1
    shown = capsys.readouterr().err
    assert f"{name} {says}" in shown
    assert "neither a catalog (.parquet) nor a shard map (.json, .parquet)." in shown


def test_a_diff_is_json_for_programs(tmp_path, capsys):
    make_catalog(SQUARE).to_geoparquet(tmp_path / "a.parquet")
    make_catalog(SQUARE, SQUARE).to_geoparquet(tmp_path / "b.parquet")
    files = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    assert main(["diff", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is False
    assert len(found["added"]) == 1
    make_map().to_parquet(tmp_path / "m.parquet")
    assert main(["diff", *[str(tmp_path / "m.parquet")] * 2, "--json", "--exit-code"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs_added"] == 0
