"""The area of maps, and maps without a pair, on the command line."""

import json

import geopandas
import pytest
import shapely
import yaml

from tests.releases import inputs
from tests.test_catalog import make_catalog
from zagg_catalog import ShardMap, from_config
from zagg_catalog.build import area_of
from zagg_catalog.cli import main
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import SandboxServer, simulate

JAKOBSHAVN = [(-51, 68.6), (-47, 68.6), (-47, 69.9), (-51, 69.9)]
BOX = (0.2, 0.2, 3.8, 3.8)
SQUARE = [(1, 1), (2, 1), (2, 2), (1, 2)]


@pytest.fixture
def folder(tmp_path):
    """A folder with the configs of two grids and the catalog of a box."""
    for name, config in inputs.CONFIGS.items():
        (tmp_path / f"{name}.yaml").write_text(config)
    said = {"complete": True, "bbox": list(BOX), "area": [list(BOX)]}
    make_catalog(SQUARE, metadata=said).to_geoparquet(tmp_path / "c.parquet")
    return tmp_path


@pytest.fixture
def mistakes(real_data, tmp_path):
    """The folder of mistakes; a catalog with a granule over Jakobshavn is in the other folder."""
    said = {"complete": True, "area": [[-60, 60, -40, 75]]}
    make_catalog(JAKOBSHAVN, metadata=said).to_geoparquet(tmp_path / "c.parquet")
    return real_data / "mistakes"


def build(folder, *arguments):
    out = folder / "map.json"
    return main(["build", "--output", str(out), *map(str, arguments)])


def test_a_fetch_asks_for_the_box_of_the_shards(folder, capsys):
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 40))) as server:
        call = ["--config", folder / "healpix.yaml", "--short-name", "ATL06", "--cycle", "22"]
        call += ["--bbox=0,60,20,70", "--stac-root", server.root_url]
        assert build(folder, *call) == 0
        asked = {request.query["bbox"] for request in server.requests}
        assert build(folder, *call, "--edge", "region") == 0
    grid = from_config(folder / "healpix.yaml")
    (area,) = area_of([grid], bbox_region((0, 60, 20, 70)), boxes=[(0, 60, 20, 70)])
    assert [float(side) for side in asked.pop().split(",")] == list(area)
    assert "0,60,20,70" in {request.query["bbox"] for request in server.requests}
    shown = capsys.readouterr().out
    assert f"area      [{area[0]:.10g}, " in shown
    assert "edge      region" in shown


def test_a_catalog_may_be_fetched_for_several_grids(folder):
    """The second map is complete without another fetch."""
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 40))) as server:
        call = ["--config", folder / "plate.yaml", "--also-for", folder / "healpix.yaml"]
        call += ["--short-name", "ATL06", "--cycle", "22", "--bbox=0,-5,20,5"]
        call += ["--stac-root", server.root_url, "--catalog-out", folder / "both.parquet"]
        assert build(folder, *call) == 0
    call = ["--config", folder / "healpix.yaml", "--catalog", folder / "both.parquet"]
    assert build(folder, *call) == 0
    assert build(folder, *call, "--also-for", folder / "plate.yaml") == 2  # it fetches nothing


def metadata(folder):
    return ShardMap.from_json(folder / "map.json").metadata


def test_a_polygon_is_a_file_a_registered_region_wkt_or_a_box(folder, capsys, monkeypatch):
    square = shapely.box(1, 1, 2, 2)
    (folder / "square.wkt").write_text(square.wkt)
    geopandas.GeoDataFrame(geometry=[square], crs=4326).to_file(folder / "square.gpkg")
    (folder / "square.geojson").write_text(shapely.to_geojson(square))
    grid = {"config": "plate.yaml", "products": ["ATL06_007"], "region": "square"}
    registry = {"regions": {"square": {"geojson": "square.geojson"}}, "grids": {"plate": grid}}
    (folder / "registry.yaml").write_text(yaml.safe_dump(registry))
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(folder / "registry.yaml"))
    call = ["--config", folder / "plate.yaml", "--catalog", folder / "c.parquet"]
    digests = set()
    for given in (folder / "square.wkt", folder / "square.gpkg", "square", square.wkt):
        assert build(folder, *call, "--polygon", given, "--edge", "region") == 0
        digests.add(metadata(folder)["region_digest"])
    assert len(digests) == 1
    assert build(folder, *call, "--polygon", "circle") == 2
    shown = capsys.readouterr().err
    assert "There is no region file circle" in shown
    assert "has no region of that name either; it has square" in shown


def test_wkt_or_wkb_is_the_area_of_the_mask_of_cells(folder, capsys):
    config = yaml.safe_load((folder / "plate.yaml").read_text())
    config["output"]["aoi_mask"] = True
    (folder / "masked.yaml").write_text(yaml.safe_dump(config))
    call = ["--config", folder / "masked.yaml", "--catalog", folder / "c.parquet"]
    call += ["--edge", "region"]
    assert build(folder, *call, "--polygon", shapely.box(1, 1, 2, 2).wkt) == 0
    whole = ShardMap.from_json(folder / "map.json")
    half = shapely.box(1, 1, 1.5, 2)
    (folder / "half.wkb").write_bytes(half.wkb)
    (folder / "half.wkt").write_text(half.wkt)
    masks = []
    for flag, given in (
        ("--aoi-wkt", half.wkt),
        ("--aoi-wkt", folder / "half.wkt"),
        ("--aoi-wkb", folder / "half.wkb"),
    ):
        area = ["--polygon", shapely.box(1, 1, 2, 2).wkt, flag, given]
        assert build(folder, *call, *area) == 0
        masks.append(ShardMap.from_json(folder / "map.json").aoi_mask)
    assert masks[0] == masks[1] == masks[2]
    assert 0 < sum(map(len, masks[0])) < sum(map(len, whole.aoi_mask))
    assert build(folder, *call, "--aoi-wkt", half.wkt, "--aoi-wkb", folder / "half.wkb") == 2
    assert "Give --aoi-wkt or --aoi-wkb, not both" in capsys.readouterr().err


def test_shards_beyond_the_area_end_with_1_and_are_counted(folder, capsys):
    call = ["--config", folder / "plate.yaml", "--catalog", folder / "c.parquet"]
    assert build(folder, *call) == 1
    shown = capsys.readouterr()
    assert "12 of 16 shards of the region reach beyond the area" in shown.out
    assert "12 shards of the region reach beyond the area [0.2, 0.2, 3.8, 3.8]" in shown.err
    assert build(folder, *call, "--partial") == 0
    assert main(["check", str(folder / "map.json"), "--config", str(folder / "plate.yaml")]) == 1
    assert "12 shards of the region reach beyond the area" in capsys.readouterr().err
    main(["show", str(folder / "map.json"), "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["shards_beyond_area"] == 12
    assert summary["area"] == [list(BOX)]


def test_maps_of_stored_catalogs_show_the_number_of_shards_beyond(folder, capsys):
    call = ["map", "--config", str(folder / "plate.yaml"), "--catalog", str(folder / "c.parquet")]
    call += ["--output", str(folder / "maps")]
    assert main([*call, "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["maps"]
    assert (row["beyond_area"], row["complete"]) == (12, False)
    assert main([*call, "--edge", "region"]) == 0
    assert "partial" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("grid", "region", "says"),
    [
        ("right", "swapped.geojson", "would meet with the region's axes swapped"),
        ("right", None, "whose box is [10, 40, 11, 41]"),
    ],
)
def test_a_map_without_a_shard_ends_with_1_and_writes_nothing(
    mistakes, tmp_path, capsys, grid, region, says
):
    area = ["--polygon", mistakes / "regions" / region] if region else ["--bbox=10,40,11,41"]
    config = mistakes / "grids" / f"{grid}.yaml"
    call = ["--config", config, "--catalog", tmp_path / "c.parquet", *area, "--edge", "region"]
    assert build(tmp_path, *call) == 1
    error = capsys.readouterr().err
    assert "The map has no shard" in error
    assert says in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "map.json").exists()
    assert build(tmp_path, *call, "--allow-empty", "--partial") == 0
    assert ShardMap.from_json(tmp_path / "map.json").shard_keys == []
    capsys.readouterr()
    assert main(["check", str(tmp_path / "map.json"), "--config", str(config)]) == 1
    shown = capsys.readouterr()
    assert "belongs to" not in shown.out
    assert "has no pair" in shown.err


def test_a_map_without_a_shard_is_found_before_the_fetch(mistakes, tmp_path, capsys):
    """No server is there to be asked."""
    call = ["--config", mistakes / "grids" / "right.yaml", "--short-name", "ATL06", "--cycle", 22]
    call += ["--polygon", mistakes / "regions" / "swapped.geojson"]
    assert build(tmp_path, *call, "--stac-root", "http://127.0.0.1:9/stac") == 1
    assert "axes swapped" in capsys.readouterr().err


def test_stored_catalogs_without_a_pair_fail_their_maps(mistakes, tmp_path, capsys):
    call = ["map", "--config", str(mistakes / "grids" / "right.yaml"), "--bbox=10,40,11,41"]
    call += ["--catalog", str(tmp_path / "c.parquet"), "--output", str(tmp_path / "maps")]
    call += ["--edge", "region"]
    assert main(call) == 1
    shown = capsys.readouterr()
    assert "failed" in shown.out
    assert "The map has no shard" in shown.err
    assert not list((tmp_path / "maps").iterdir())
    assert main([*call, "--allow-empty", "--partial"]) == 0
    assert len(list((tmp_path / "maps").iterdir())) == 1
    assert main(call) == 1  # the map that was allowed then is not kept now
