"""``zagg-catalog grid``: new configs, and what a config's grid is."""

import json

import numpy as np
import pytest
import shapely
import yaml

from zagg_catalog import from_config
from zagg_catalog.cli import main
from zagg_catalog.regions import as_region

JAK = "POLYGON ((-51 68.6, -47 68.6, -46.5 69.2, -47 69.9, -51 69.9, -51 68.6))"
SIZES = ["--resolution", "5000", "--shard", "25000"]


def new(folder, *arguments):
    return main(["grid", "new", *map(str, arguments), "-o", str(folder / "g.yaml")])


@pytest.mark.parametrize(
    ("region", "crs"),
    [
        (JAK, "EPSG:3413"),
        ("-180,-90,180,-80", "EPSG:3031"),
        ("-77,38,-76,39", "EPSG:32618"),
        ("-77,-39,-76,-38", "EPSG:32718"),
        ("-20,-10,20,10", "EPSG:6933"),
        ("179,-20,-179,-19", "EPSG:32701"),
    ],
)
def test_a_new_grid_covers_its_region_in_the_usual_crs(tmp_path, region, crs, capsys):
    area = f"--region={region}" if region == JAK else f"--bbox={region}"
    assert new(tmp_path, *SIZES, area) == 0
    grid = from_config(tmp_path / "g.yaml")
    assert grid.crs == crs
    assert (grid.res_x, grid.chunk_shape) == (5000, (5, 5))
    rings = as_region(region)
    lats, lons = (np.concatenate(part) for part in zip(*rings, strict=True))
    touched = np.unique(grid.shard_at(lats * (1 - 1e-9), lons))
    assert np.isin(touched, grid.coverage(rings)).all()
    assert f"in the region  {len(grid.coverage(rings)):,} shards" in capsys.readouterr().out


def test_bounds_are_whole_shards(tmp_path):
    new(tmp_path, *SIZES, "--region", JAK, "--crs", "EPSG:3413")
    section = yaml.safe_load((tmp_path / "g.yaml").read_text())["output"]["grid"]
    assert section["bounds"] == [-250000, -2350000, -50000, -2175000]
    outline = shapely.box(*from_config(tmp_path / "g.yaml").extent())
    assert outline.contains(shapely.from_wkt(JAK))


def test_a_new_healpix_grid_has_the_nearest_orders(tmp_path, capsys):
    assert new(tmp_path, "--healpix", "--resolution", "400", "--shard", "25000") == 0
    grid = from_config(tmp_path / "g.yaml")
    assert (grid.parent_order, grid.child_order) == (8, 14)
    assert "sides of about 25.5 km" in capsys.readouterr().out


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("product", ["ATL03", "ATL06", "ATL08"])
@pytest.mark.parametrize("kind", [["--healpix"], ["--region", JAK]], ids=["healpix", "polar"])
def test_zagg_accepts_a_new_config_and_makes_the_same_grid(tmp_path, product, kind):
    zagg_config = pytest.importorskip("zagg.config")
    from zagg.grids import from_config as zagg_grid

    assert new(tmp_path, *SIZES, *kind, "--product", product) == 0
    theirs = zagg_grid(zagg_config.load_config(str(tmp_path / "g.yaml")))
    assert theirs.spatial_signature() == from_config(tmp_path / "g.yaml").spatial_signature()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*SIZES], "The area is missing; give --region FILE or --bbox"),
        (["--resolution", "3000", "--shard", "25000", "--region", JAK], "24000 or 27000?"),
        ([*SIZES, "--region", JAK, "--crs", "EPSG:34130"], "PROJ does not know the CRS EPSG:34130"),
        ([*SIZES, "--healpix", "--crs", "EPSG:3413"], "A HEALPix grid has no CRS"),
        (["--healpix", "--resolution", "5000", "--shard", "500"], "is smaller than a cell"),
        (["--healpix", "--resolution", "0", "--shard", "500"], "are positive numbers"),
        (["--resolution", "five", "--shard", "25km", "--region", JAK], "such as 5000 or 5km"),
        ([*SIZES, "--bbox=0,80,10,89", "--crs", "EPSG:3395"], ""),
    ],
)
def test_a_grid_that_cannot_be_gets_a_sentence(tmp_path, arguments, says, capsys):
    code = new(tmp_path, *arguments)
    if says:
        assert code == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "g.yaml").exists()
    else:
        assert code == 0


def test_an_existing_file_is_not_replaced(tmp_path, capsys):
    (tmp_path / "g.yaml").write_text("mine")
    assert new(tmp_path, *SIZES, "--region", JAK) == 2
    assert (tmp_path / "g.yaml").read_text() == "mine"
    assert "exists; give another file" in capsys.readouterr().err


def test_show_says_what_zagg_needs(tmp_path, capsys):
    section = {"type": "healpix", "parent_order": 6, "child_order": 12}
    path = tmp_path / "only.yaml"
    path.write_text(json.dumps({"output": {"grid": section}}))
    assert main(["grid", "show", str(path), "--bbox=-51,68,-46,70", "--json"]) == 1
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert facts["kind"] == "healpix"
    assert facts["shards_in_region"] > 0
    assert facts["cells_per_shard"] == 4**6
    assert "data_source and aggregation are missing" in facts["needs"][0]
    assert "zagg cannot aggregate with" in shown.err


def test_sizes_may_have_a_unit(tmp_path):
    assert new(tmp_path, "--resolution", "5km", "--shard", "25000 m", "--region", JAK) == 0
    grid = from_config(tmp_path / "g.yaml")
    assert (grid.res_x, grid.chunk_shape) == (5000, (5, 5))


@pytest.mark.parametrize(
    ("sizes", "cells"), [((5, "25km"), 25_000_000), (("5", "25km", "--healpix"), 16_777_216)]
)
def test_a_shard_of_many_cells_gets_a_note(tmp_path, capsys, sizes, cells):
    resolution, shard, *more = sizes
    box = "--bbox=-50,70,-48,71"
    assert new(tmp_path, "--resolution", resolution, "--shard", shard, box, *more) == 0
    assert f"A shard has {cells:,} cells" in " ".join(capsys.readouterr().out.split())
