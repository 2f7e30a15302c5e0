"""``--json``: every command prints one JSON document on standard output, and messages elsewhere."""

import json
import math

import numpy as np
import pytest

from tests.releases import conftest as releases
from zagg_catalog.cli import COMMANDS, main
from zagg_catalog.cli.common import print_json
from zagg_catalog.cli.main import make_app

files = releases.files
KEY = "--product ATL06_007 --region antarctica --cycle 22"
BOX = "--bbox=-1,-1,28,2"
# Command: a call that works, the keys of its document (of its first row), and a call that fails.
CALLS = {
    "build": (
        f"build --config FILES/healpix.yaml --catalog FILES/first.parquet {BOX} -o HERE/m.json",
        "map shards pairs granules_assigned complete grid_signature harvest notes unreadable",
        "build --config nowhere.yaml --catalog FILES/first.parquet",
    ),
    "map": (
        f"map --config FILES/healpix.yaml --catalog FILES/first.parquet {BOX} -o HERE/maps",
        "maps missing",
        "map --config FILES/healpix.yaml",
    ),
    "show": ("show FILES/first-plate.parquet", "grid_signature shards complete", "show nowhere"),
    "diff": (
        "diff FILES/first.parquet FILES/next.parquet",
        "same added revised removed",
        "diff FILES/first.parquet FILES/first-plate.parquet",
    ),
    "export": (
        "export FILES/first.parquet HERE/c.geojson",
        "file source kind features without_shape complete",
        "export FILES/first.parquet HERE/c.shp",
    ),
    "report": (
        "report FILES/first-healpix.parquet -o HERE/report.html",
        "file size kind title verdict statements",
        "report nowhere.json",
    ),
    "report release": (
        f"report release {KEY} -o HERE/report.html",
        "file size kind title verdict statements",
        f"report release {KEY} --grid nobody",
    ),
    "convert": (
        "convert FILES/first-healpix.parquet HERE/converted.json",
        "file source shards pairs complete",
        "convert FILES/first.parquet HERE/converted.json",
    ),
    "check": (
        "check FILES/first-healpix.parquet --config FILES/healpix.yaml",
        "map config shards pairs complete unreadable needs",
        "check FILES/first-healpix.parquet --config FILES/plate.yaml",
    ),
    "grid new": (
        f"grid new --resolution 1000 --shard 25000 {BOX} -o HERE/grid.yaml",
        "config kind crs resolution chunk_shape shards shards_in_region box signature notes needs",
        "grid new --resolution 1000 --shard 25000 -o HERE/none.yaml",
    ),
    "grid show": (
        "grid show FILES/healpix.yaml",
        "config kind parent_order child_order shards signature notes needs",
        "grid show nowhere.yaml",
    ),
    "grids": (
        "grids",
        "grid product region kind shards signature problem",
        "grids --registry nowhere.yaml",
    ),
    "status": ("status", "complete rows unprepared problems", "status --registry nowhere.yaml"),
    "backfill": (
        "backfill --cycles 22 --dry-run",
        "releases summary",
        "backfill --cycles 22 --grids nobody --dry-run",
    ),
    "notify": (
        "notify --product ATL06 --cycle 22",
        "event url",
        "notify --product ATL06 --cycle 0",
    ),
    "release publish": (
        "release publish --catalog FILES/first.parquet --region antarctica"
        " --grid plate=FILES/plate.yaml:FILES/first-plate.parquet",
        "digest key latest moved unchanged written held_back record checks",
        "release publish --catalog nowhere.parquet --region antarctica",
    ),
    "release list": (
        "release list",
        "product region cycle digest latest status granules grids pickups",
        "release list --store nowhere://x",
    ),
    "release show": (
        f"release show {KEY}",
        "digest key latest record publication checks pickups",
        f"release show {KEY} --digest 0000",
    ),
    "release resolve": (
        f"release resolve {KEY} --grid plate -o HERE",
        "map grid release complete lacks",
        f"release resolve {KEY} --grid nobody -o HERE",
    ),
    "plot": (
        "plot FILES/first.parquet -o HERE/catalog.png",
        "file size title shapes notes",
        "plot nowhere.json -o HERE/map.png",
    ),
    "plot release": (
        f"plot release {KEY} -o HERE/map.png",
        "file size title shapes notes",
        f"plot release {KEY} --grid nobody -o HERE/map.png",
    ),
    "release diff": (
        f"release diff {KEY} FIRST",
        "old new same granules grids",
        f"release diff {KEY} 0000",
    ),
    "release verify": (
        "release verify",
        "clean releases files findings",
        "release verify --store nowhere://x",
    ),
    "release rollback": (
        f"release rollback {KEY} FIRST",
        "digest key published_at published_by action supersedes",
        f"release rollback {KEY} 0000",
    ),
    "release index": ("release index", "index", "release index --store nowhere://x"),
    "release gc": (
        "release gc",
        "files count size deleted young left",
        "release gc --store nowhere://x",
    ),
}


@pytest.fixture(scope="module")
def place(files, tmp_path_factory):
    """A folder with a store of two releases, and a registry."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "registry.yaml").write_text(
        "regions: {antarctica: {bbox: [-1, -1, 28, 2]}}\ngrids:\n"
        f"  healpix: {{config: {files}/healpix.yaml, products: [ATL06_007], region: antarctica}}\n"
    )
    return folder


@pytest.fixture
def call(place, files, monkeypatch, capsys):
    """Call a command as one text; return its exit code and what it printed."""
    monkeypatch.setenv("ZAGG_CATALOG_STORE", str(place / "store"))
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(place / "registry.yaml"))
    monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("ZAGG_CATALOG_RETRIES", "0")
    monkeypatch.setattr("zagg_catalog.cli.pipeline.send", lambda *_: "http://127.0.0.1/api")
    places = {"FILES": str(files), "HERE": str(place)}

    def run(text, *more):
        for name, value in places.items():
            text = text.replace(name, value)
        code = main([*text.split(), *more])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    if not (place / "store").exists():
        for name in ("first", "next"):
            grid = f"--grid=plate=FILES/plate.yaml:FILES/{name}-plate.parquet"
            publish = f"release publish --catalog FILES/{name}.parquet --region antarctica {grid}"
            assert run(f"{publish} --allow-contraction")[0] == 0
    listed = json.loads(run("release list --json")[1])
    places["FIRST"] = next(one["digest"] for one in listed if one["granules"] == 8)
    return run


def commands():
    """Every command, and every one of a group."""
    for name in COMMANDS:
        app = make_app()[name]
        below = [one for one in app if not one.startswith("-")]
        if app.default_command or not below:
            yield name
        yield from (f"{name} {one}" for one in below)


def test_every_command_is_tried():
    assert sorted(commands()) == sorted(CALLS)


@pytest.mark.parametrize("command", CALLS)
def test_a_command_prints_one_document(call, place, command):
    text, keys, _ = CALLS[command]
    code, out, err = call(text, "--json")
    found = json.loads(out)
    (place / "grid.yaml").unlink(missing_ok=True)
    assert call(text)[0] == code, err
    (place / "grid.yaml").unlink(missing_ok=True)
    assert "\x1b" not in out
    first = found[0] if isinstance(found, list) else found
    assert set(keys.split()) <= set(first)
    assert all(key.replace("_", "").isalnum() and key == key.lower() for key in first)


@pytest.mark.parametrize("command", CALLS)
def test_an_error_leaves_standard_output_empty_and_the_exit_code_as_it_is(call, command):
    text = CALLS[command][2]
    code, out, err = call(text, "--json")
    assert err.startswith("zagg-catalog: ")
    assert out == "" or json.loads(out) is not None
    assert code == call(text)[0] != 0


def test_numbers_of_numpy_stay_numbers_and_what_is_none_is_null(capsys):
    print_json({"count": np.int64(3), "mean": math.nan, "days": [np.datetime64("2024-01-01")]})
    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 3
    assert found["mean"] is None


def test_removing_with_json_asks_nothing(call):
    code, out, err = call("release gc --delete --json")
    assert (code, out) == (2, "")
    assert "give --yes, too" in err
    code, out, _ = call("release gc --delete --yes --json")
    assert code == 0
    assert json.loads(out)["count"] == 0


def test_a_document_says_what_zagg_needs(call):
    found = json.loads(call(CALLS["check"][0], "--json")[1])
    assert "reads maps as JSON only" in found["needs"][0]
