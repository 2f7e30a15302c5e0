"""The command line, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zagg_catalog import Catalog, ShardMap
from zagg_catalog.cli import main
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sandbox.granules import pick

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
HEALPIX = str(DEPLOYMENTS / "grids" / "atl06-antarctica-healpix.yaml")
POLAR = str(DEPLOYMENTS / "grids" / "atl06-antarctica-polar.yaml")
POLYGON = str(DEPLOYMENTS / "regions" / "antarctica.geojson")
BOX = "--bbox=-70,-80,-60,-75"


@pytest.fixture(scope="module")
def stac():
    """A sandbox with a tenth of the tracks of cycle 22 and its neighbours."""
    tracks = range(1, 1388, 10)
    with SandboxServer(simulate("ATL06", cycle=[21, 22, 23], tracks=tracks)) as server:
        yield server.root_url


@pytest.fixture
def fetched(stac, tmp_path, capsys):
    """A folder with a catalog and a map of it."""
    call = ["build", "--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22", BOX]
    files = ["--catalog-out", str(tmp_path / "c.parquet"), "--output", str(tmp_path / "m.json")]
    assert main([*call, *files, "--stac-root", stac]) == 0
    capsys.readouterr()
    return tmp_path


def build(*arguments):
    return main(["build", *map(str, arguments)])


def test_a_cycle_becomes_a_map_and_a_catalog(fetched):
    catalog = Catalog.from_geoparquet(fetched / "c.parquet")
    assert {name[25:27] for name in catalog.table["id"].to_pylist()} == {"22"}
    shard_map = ShardMap.from_json(fetched / "m.json")
    assert shard_map.metadata["cycle_convention"] == "mission"
    assert 0 < shard_map.table.num_rows <= len(catalog)


@pytest.mark.parametrize("api", ["stac", "cmr"])
def test_since_asks_for_what_has_changed_only(tmp_path, monkeypatch, capsys, api):
    whole = simulate("ATL06", cycle=22, regions=[10, 11, 12], tracks=range(1, 1388, 2))
    with SandboxServer(pick(whole, np.arange(0, len(whole), 2)), page_size=20) as server:
        monkeypatch.setenv("ZAGG_CATALOG_CMR_ROOT", server.cmr_url)
        monkeypatch.setenv("ZAGG_CATALOG_PAGE_SIZE", "20")
        place = ["--stac-root", server.root_url] if api == "stac" else ["--api", "cmr"]
        call = ["--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22", *place]
        call += ["--bbox=-180,-90,180,-60", "--output", tmp_path / "m.parquet"]
        assert build(*call, "--catalog-out", tmp_path / "old.parquet") == 0
        full = len(server.requests)
        update = [*call, "--since", tmp_path / "old.parquet"]
        assert build(*update, "--catalog-out", tmp_path / "new.parquet") == 0
        asked = len(server.requests) - full
        # The sandbox publishes all at one time, which CMR's revision dates cannot tell apart.
        assert 0 < asked < (full / 3 if api == "stac" else full)
        assert "everything was fetched" not in capsys.readouterr().err
        old, new = (tmp_path / f"{name}.parquet" for name in ("old", "new"))
        assert new.read_bytes() == old.read_bytes()
        (tmp_path / ".old.parquet.received").unlink()
        assert build(*update, "--catalog-out", tmp_path / "again.parquet") == 0
        assert "note: everything was fetched, since the previous" in capsys.readouterr().err
        assert (tmp_path / "again.parquet").read_bytes() == old.read_bytes()


def test_another_grid_is_built_from_the_stored_catalog(fetched, capsys):
    """Its shards reach beyond the area that was fetched for the first grid, and the map says so."""
    out = fetched / "m.parquet"
    call = ["--config", POLAR, "--from-catalog", fetched / "c.parquet", "--output", out]
    assert build(*call) == 1
    shown = capsys.readouterr()
    assert "15 of 18 shards of the region reach beyond the area" in shown.out
    assert "--partial" in shown.err
    assert build(*call, "--edge", "region") == 0
    assert ShardMap.from_parquet(out).grid_signature["crs"] == "EPSG:3031"
    assert ShardMap.from_parquet(out).metadata["edge"] == "region"
    assert str(out) in capsys.readouterr().out


def stored(folder, *flags):
    """Build a map from the folder's catalog; return its granules."""
    out = folder / "selected.parquet"
    call = ["--config", HEALPIX, "--from-catalog", folder / "c.parquet", "--output", out]
    assert build(*call, *flags) == 0
    return ShardMap.from_parquet(out).table["id"].to_pylist()


def test_flags_select_from_a_stored_catalog(fetched):
    whole = stored(fetched)
    assert stored(fetched, "--short-name", "ATL06", "--version", "007", "--cycle", "22") == whole
    january = stored(fetched, "--start-date", "2024-01-01", "--end-date", "2024-01-31")
    assert january == [name for name in whole if name[6:12] == "202401"]
    assert january != whole
    some = stored(fetched, "--track", "1-700", "--granule-region", "10,11")
    assert some == [n for n in whole if int(n[21:25]) <= 700 and n[27:29] in ("10", "11")]
    descending = stored(fetched, "--direction", "descending", "--season", "01..02")
    assert set(descending) < set(whole)
    (fetched / "names.txt").write_text("\n".join(whole[:2]))
    assert stored(fetched, "--granule", fetched / "names.txt") == whole[:2]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--short-name", "ATL08", "--cycle", "3"], "holds ATL06_007, not ATL08"),
        (["--cycle", "3"], "holds cycle 22, not 3"),
        (["--start-date", "2019-01-01", "--end-date", "2019-12-31"], "holds 2023-12-18 to"),
        (["--version", "006"], "not version 006"),
        (["--provider", "NSIDC_ECS"], "provider 'NSIDC_CPRD'"),
        (["--preserve-thumbnails"], "--catalog fetches nothing"),
        (["--margin", "1"], "--margin is for a fetch"),
    ],
)
def test_what_a_stored_catalog_does_not_hold_ends_with_2(fetched, capsys, flags, says):
    out = fetched / "wrong.json"
    call = ["--config", HEALPIX, "--from-catalog", fetched / "c.parquet", "--output", out]
    assert build(*call, *flags) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_names_that_are_not_found_end_with_1(fetched, capsys):
    absent = "ATL06_20240101000000_00012202_007_01.h5"
    names = [Catalog.from_geoparquet(fetched / "c.parquet").table["id"][0].as_py(), absent]
    out = fetched / "named.json"
    call = ["--config", HEALPIX, "--from-catalog", fetched / "c.parquet", "--output", out]
    assert build(*call, "--granule", *names) == 1
    assert absent in capsys.readouterr().out
    assert ShardMap.from_json(out).metadata["complete"] is False


def test_a_fetch_takes_the_filters(stac, tmp_path):
    out = tmp_path / "c.parquet"
    call = ["--config", HEALPIX, "--short-name", "ATL06", "--start-date", "2023-01-01", BOX]
    files = ["--catalog-out", out, "--output", tmp_path / "m.json", "--stac-root", stac]
    filters = ["--end-date", "2024-12-31", "--season", "01..02", "--direction", "descending"]
    filters += ["--margin", "300km"]
    assert build(*call, *files, *filters) == 0
    catalog = Catalog.from_geoparquet(out)
    assert catalog.metadata["filters"] == {"season": "01..02", "direction": "descending"}
    assert {name[10:12] for name in catalog.table["id"].to_pylist()} == {"01", "02"}
    assert catalog.metadata["area"][0][1] < -82


def test_the_module_takes_the_flags_of_zagg(stac, tmp_path):
    """No subcommand, a box after a space, the default name of the output."""
    command = [sys.executable, "-m", "zagg_catalog", "--config", HEALPIX, "--short-name", "ATL06"]
    command += ["--version", "007", "--start-date", "2024-01-01", "--end-date", "2024-01-31"]
    command += ["--bbox", "-70,-80,-60,-75", "--backend", "mortie", "--footprint", "swath"]
    environment = os.environ | {"ZAGG_CATALOG_STAC_ROOT": stac}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["shardmap_ATL06_2024-01-01_2024-01-31.json"]
    assert done.stderr == ""  # no progress bar without a terminal


def test_nominal_cycles_keep_what_is_between_their_dates(stac, tmp_path):
    out = tmp_path / "c.parquet"
    call = ["--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22", BOX, "--stac-root", stac]
    files = ["--catalog-out", out, "--output", tmp_path / "m.json"]
    assert build(*call, *files, "--convention", "nominal") == 0
    catalog = Catalog.from_geoparquet(out)
    assert {name[25:27] for name in catalog.table["id"].to_pylist()} == {"22", "23"}
    assert catalog.metadata["cycle_convention"] == "nominal"
    assert catalog.metadata["start_date"] == "2024-01-06"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cycle", "0", BOX], "from 1 to 99, not 0"),
        (["--cycle", "two", BOX], "not 'two'"),
        (["--cycle", "99", BOX], "Cycle 99 is in the future: it begins on 2043-02-09"),
        (["--cycle", "22", "--start-date", "2024-01-01", BOX], "not both"),
        (["--start-date", "2024-01-01", BOX], "both --start-date and --end-date"),
        (["--start-date", "2024-02-01", "--end-date", "2024-01-01", BOX], "is after"),
        (["--start-date", "01.02.2024", "--end-date", "2024-01-01", BOX], "YYYY-MM-DD"),
        (["--cycle", "22"], "The area is missing"),
        (["--cycle", "22", "--bbox", "1,2,3"], "four numbers"),
        (["--cycle", "22", "--polygon", "nowhere.geojson"], "nowhere.geojson"),
        (["--cycle", "22", BOX, "--output", "map.txt"], "must end in .json"),
        (["--cycle", "22", BOX, "--output", "no/such/map.json"], "folder must exist"),
        (["--cycle", "22", BOX, "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--cycle", "22", BOX, "--mortie-order", "3"], "mortie_order must be from"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_sentence(stac, capsys, tmp_path, arguments, says):
    arguments = ["--config", HEALPIX, "--short-name", "ATL06", "--stac-root", stac, *arguments]
    if "--output" not in arguments:
        arguments += ["--output", str(tmp_path / "m.json")]
    assert build(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("flag", ["--backend=shapely", "--footprint=laser", "--nonsense"])
def test_an_unknown_flag_or_choice_ends_with_2(capsys, flag):
    with pytest.raises(SystemExit) as caught:
        build("--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22", BOX, flag)
    assert caught.value.code == 2


def test_what_the_server_does_not_deliver_ends_with_1_and_writes_nothing(
    tmp_path, capsys, monkeypatch
):
    cycle = simulate("ATL06", cycle=22, tracks=range(1, 1388, 40))
    call = ["--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22", "--polygon", POLYGON]
    call += ["--output", tmp_path / "m.json", "--catalog-out", tmp_path / "c.parquet"]
    monkeypatch.setenv("ZAGG_CATALOG_RETRY_WAIT_MAX", "0.01")
    with SandboxServer(cycle, faults=["count-high"]) as server:
        assert build(*call, "--stac-root", server.root_url) == 1
        error = capsys.readouterr().err
        assert "declare" in error
        assert not os.listdir(tmp_path)
        assert build(*call, "--stac-root", server.root_url, "--partial") == 0
    assert Catalog.from_geoparquet(tmp_path / "c.parquet").complete is False
    assert ShardMap.from_json(tmp_path / "m.json").metadata["complete"] is False


def test_an_unusable_footprint_ends_with_1_and_names_the_granule(fetched, capsys):
    import pyarrow as pa

    catalog = Catalog.from_geoparquet(fetched / "c.parquet")
    column = catalog.table["geometry"].to_pylist()
    place = catalog.table.schema.get_field_index("geometry")
    field = catalog.table.schema.field("geometry")
    column[0] = None
    broken = catalog.table.set_column(place, field, pa.array(column, pa.binary()))
    Catalog(broken, catalog.metadata).to_geoparquet(fetched / "broken.parquet")
    call = ["--config", HEALPIX, "--from-catalog", fetched / "broken.parquet"]
    assert build(*call, "--output", fetched / "m2.json") == 1
    shown = capsys.readouterr()
    assert catalog.table["id"][0].as_py() in shown.out
    assert "incomplete" in shown.err
    assert build(*call, "--output", fetched / "m2.json", "--partial") == 0


def test_show_tells_what_is_in_a_file(fetched, capsys):
    assert main(["show", str(fetched / "c.parquet")]) == 0
    shown = capsys.readouterr().out
    assert "ATL06_007" in shown
    assert "harvest" in shown
    assert main(["show", str(fetched / "m.json"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["grid_signature"]["parent_order"] == 8
    assert summary["pairs"] == ShardMap.from_json(fetched / "m.json").n_pairs


def test_show_of_a_file_that_is_not_there_ends_with_2(tmp_path, capsys):
    assert main(["show", str(tmp_path / "nowhere.json")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_show_of_rubbish_ends_with_1(tmp_path, capsys):
    for name in ("x.json", "x.parquet"):
        (tmp_path / name).write_text("rubbish")
        assert main(["show", str(tmp_path / name)]) == 1
        assert name in capsys.readouterr().err


def test_diff_compares_maps_and_catalogs(fetched, capsys):
    smaller = fetched / "smaller.parquet"
    catalog = Catalog.from_geoparquet(fetched / "c.parquet")
    Catalog(catalog.table.slice(1), catalog.metadata).to_geoparquet(smaller)
    build("--config", HEALPIX, "--from-catalog", smaller, "--output", fetched / "m2.json")
    capsys.readouterr()
    for old, new in (("c.parquet", "smaller.parquet"), ("m.json", "m2.json")):
        assert main(["diff", str(fetched / old), str(fetched / new)]) == 0
        assert catalog.table["id"][0].as_py() in capsys.readouterr().out
        assert main(["diff", "--exit-code", str(fetched / old), str(fetched / new)]) == 1
        assert main(["diff", "--exit-code", str(fetched / old), str(fetched / old)]) == 0
    assert main(["diff", str(fetched / "c.parquet"), str(fetched / "m.json")]) == 2


def test_check_compares_a_map_with_a_config(fetched, capsys):
    assert main(["check", str(fetched / "m.json"), "--config", HEALPIX]) == 0
    assert "belongs to" in capsys.readouterr().out
    assert main(["check", str(fetched / "m.json"), "--config", POLAR]) == 1
    assert "built for another grid" in capsys.readouterr().err


def test_check_finds_keys_that_are_no_shards_of_the_grid(fetched, capsys):
    shard_map = ShardMap.from_json(fetched / "m.json")
    signature, granules = shard_map.grid_signature, shard_map.granules[:1]
    ShardMap(signature, [5], granules, shard_map.metadata).to_json(fetched / "bad.json")
    assert main(["check", str(fetched / "bad.json"), "--config", HEALPIX]) != 0
    assert "5" in capsys.readouterr().err


def test_a_traceback_comes_only_with_debug(tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    assert main(["show", str(tmp_path / "x.json"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
