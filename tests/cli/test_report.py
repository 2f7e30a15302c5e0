"""The command report."""

import json

import pytest

from tests.releases import inputs
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import HealpixGrid, ShardMap
from zagg_catalog.cli import main
from zagg_catalog.store import open_store


@pytest.fixture
def files(tmp_path):
    """A catalog, and its map."""
    made = make_catalog(SQUARE, metadata={"complete": True})
    made.to_geoparquet(tmp_path / "catalog.parquet")
    ShardMap.build(made, HealpixGrid(6, 12), region=(-1, -1, 2, 2)).to_json(tmp_path / "map.json")
    return tmp_path


def test_a_catalog_and_a_map_become_pages(files, capsys):
    output, catalog = files / "out.html", str(files / "catalog.parquet")
    for call in ([catalog], [str(files / "map.json"), "--catalog", catalog]):
        assert main(["report", *call, "-o", str(output)]) == 0
        assert capsys.readouterr().out.startswith(f"{output}: 0.0")
        assert output.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_only_a_map_has_a_catalog(files, capsys):
    catalog, shard_map = str(files / "catalog.parquet"), str(files / "map.json")
    assert main(["report", catalog, "--catalog", catalog, "-o", str(files / "x.html")]) == 2
    assert main(["report", shard_map, "--catalog", shard_map, "-o", str(files / "x.html")]) == 2
    assert "needs the map's catalog" in capsys.readouterr().err
    assert not (files / "x.html").exists()


def test_a_release_becomes_a_page_and_facts_are_json(tmp_path, capsys):
    store = tmp_path / "store"
    inputs.write(tmp_path, "first", inputs.CATALOGS["first"])
    inputs.publish(open_store(str(store)), tmp_path, "first")
    place = ["--product", "ATL06_007", "--region", "antarctica", "--cycle", "22"]
    call = ["report", "release", *place, "--store", str(store), "-o", str(tmp_path / "r.html")]
    assert main([*call, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["title"] == "ATL06_007, antarctica, cycle 22"
    assert facts["size"] == (tmp_path / "r.html").stat().st_size
    assert main([*call, "--grid", "other"]) == 1
    assert "it has healpix, plate" in capsys.readouterr().err


def test_the_output_is_checked_before_the_work(files, capsys):
    missing = ["-o", str(files / "no" / "out.html")]
    assert main(["report", "nothing.json", *missing]) == 2
    place = ["--product", "ATL06_007", "--region", "antarctica", "--cycle", "22"]
    assert main(["report", "release", *place, "--store", str(files / "s"), *missing]) == 2
    assert capsys.readouterr().err.count("its folder must exist") == 2
