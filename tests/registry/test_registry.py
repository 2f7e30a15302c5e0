"""The registry: read whole, checked whole, from a folder or from S3."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from tests.harness import servers
from zagg_catalog import load_polygon
from zagg_catalog.cli import main
from zagg_catalog.errors import InvalidQuery, InvalidRegion, InvalidRegistry, StoreUnavailable
from zagg_catalog.grids import RectilinearGrid
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.regions import files, geojson
from zagg_catalog.registry import load, load_registry

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the shipped registry, to be broken."""
    return Path(shutil.copytree(DEPLOYMENTS, tmp_path / "deployments"))


def edit(folder, change):
    """Change the parsed registry and write it back."""
    path = folder / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return path


def problems(path):
    with pytest.raises(InvalidRegistry) as caught:
        load_registry(path)
    return str(caught.value).splitlines()[1:]


@pytest.fixture(scope="module")
def shipped():
    return load_registry(DEPLOYMENTS / "registry.yaml")


def test_what_is_shipped_is_usable(shipped):
    assert sorted(shipped.regions) == ["antarctica", "greenland", "serc"]
    assert {name: grid.grid.kind for name, grid in shipped.grids.items()} == {
        "atl03-serc-utm": "rectilinear",
        "atl06-antarctica-healpix": "healpix",
        "atl06-antarctica-polar": "rectilinear",
        "atl06-greenland-healpix": "healpix",
    }


def test_the_shipped_greenland_is_greenland(shipped):
    west, south, east, north = shipped.regions["greenland"].bbox
    assert -75 < west < -72
    assert 59 < south < 60
    assert -12 < east < -10
    assert 83.7 < north < 84


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_zagg_loads_what_is_shipped(shipped, tmp_path):
    zagg_config = pytest.importorskip("zagg.config")
    from zagg.grids import from_config

    for grid in shipped.grids.values():
        path = tmp_path / f"{grid.name}.yaml"
        path.write_bytes(grid.config)
        theirs = from_config(zagg_config.load_config(str(path)))
        assert theirs.spatial_signature() == grid.grid.spatial_signature()


def test_grids_are_selected_by_product_region_and_name(shipped):
    chosen = shipped.select("ATL06_007")
    assert {region: [g.name for g in grids] for region, grids in chosen.items()} == {
        "antarctica": ["atl06-antarctica-healpix", "atl06-antarctica-polar"],
        "greenland": ["atl06-greenland-healpix"],
    }
    one = shipped.select("ATL06_007", regions=["antarctica"], grids=["atl06-antarctica-polar"])
    assert [grid.name for grid in one["antarctica"]] == ["atl06-antarctica-polar"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"product": "ATL08_007"}, "it has grids for ATL03_007, ATL06_007"),
        ({"product": "ATL06_007", "grids": ["nope"]}, "no grid nope .* it has atl06-antarctica"),
        ({"product": "ATL06_007", "regions": ["serc"]}, "no region serc .* antarctica, greenland"),
        (
            {
                "product": "ATL06_007",
                "regions": ["greenland"],
                "grids": ["atl06-antarctica-polar"],
            },
            "leave one of the two out",
        ),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(shipped, call, message):
    with pytest.raises(InvalidQuery, match=message):
        shipped.select(**call)


def test_all_problems_come_in_one_error_with_file_key_and_fix(folder):
    (folder / "grids/atl06-antarctica-polar.yaml").write_text("output: {grid: {type: hexagons}}")
    (folder / "regions/greenland.geojson").write_text("{}")

    def break_it(content):
        content["colour"] = "red"
        content["regions"]["serc"]["bbox"] = [0, 10, 1, 5]
        content["grids"]["atl03-serc-utm"]["product"] = "ATL03_007"
        content["grids"]["atl06-antarctica-healpix"]["mortie_order"] = 4
        content["grids"]["Upper"] = {"config": "no.yaml", "products": ["ATL06"], "region": "mars"}

    path = edit(folder, break_it)
    found = "\n".join(problems(path))
    for part in [
        f"{path}: colour: there is no such key; remove it",
        "grids.Upper: 'Upper' is not a name; use lower-case letters",
        "grids.Upper.products.0: 'ATL06' is not a product; write short name and version",
        "grids.atl03-serc-utm.product: there is no such key",
        "regions.serc.bbox: The box [0.0, 10.0, 1.0, 5.0] has no area",
        "regions.greenland.geojson: regions/greenland.geojson:",
        "grids.atl06-antarctica-healpix.mortie_order: 4 is coarser than the shards, of order 8;",
        "atl06-antarctica-polar.yaml: output.grid.type must be healpix or rectilinear",
    ]:
        assert part in found, part


def test_unknown_regions_and_missing_configs_are_named(folder):
    def break_it(content):
        content["grids"]["atl06-greenland-healpix"] |= {"region": "mars", "config": "no.yaml"}

    config, region = problems(edit(folder, break_it))
    assert "no.yaml cannot be read (No such file or directory); correct the path" in config
    assert "region 'mars' does not exist; the registry has antarctica, greenland, serc" in region


NAMES = ["ATL06_20240101000000_00012202_007_01.h5", "ATL06_20240301000000_00012303_007_01.h5"]


def test_a_region_has_filters_of_its_catalogs(folder):
    (folder / "names.txt").write_text("\n".join(NAMES))
    filters = {"season": "12..02", "tracks": "1-100,205", "granule_regions": [10, 11]}
    filters |= {"direction": "ascending", "granules": "names.txt"}
    path = edit(folder, lambda content: content["regions"]["greenland"].update(filters))
    region = load_registry(path).regions["greenland"]
    assert region.filters == filters | {"granule_regions": "10-11", "granules": NAMES}
    assert region.filters_of(23)["granules"] == NAMES[1:]
    with pytest.raises(InvalidQuery, match="None of the 2 granule names of region greenland"):
        region.filters_of(24)
    assert load_registry(path).regions["serc"].filters == {}


def test_a_region_may_have_a_margin(folder):
    path = edit(folder, lambda content: content["regions"]["serc"].update(margin="50km"))
    registry = load_registry(path)
    (west, south, east, north), (asked,) = (
        registry.regions["serc"].bbox,
        registry.area_of("ATL03_007", "serc"),
    )
    assert registry.regions["serc"].margin == "50 km"
    assert asked[0] < west - 0.5
    assert asked[1] < south - 0.4
    assert asked[2] > east + 0.5
    assert asked[3] > north + 0.4


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"margin": "10 miles"}, "A margin is a number of degrees or kilometres"),
        ({"season": "summer"}, "A season has days of the year"),
        ({"tracks": "0"}, "A track is a whole number from 1 to 1387, not 0"),
        ({"granule_regions": "5", "direction": "ascending"}, "No along-track region of 5"),
        ({"granules": "nowhere.txt"}, "regions.greenland.granules: nowhere.txt: "),
        ({"track": "1"}, "did you mean tracks?"),
    ],
)
def test_filters_that_are_not_valid_are_named(folder, filters, problem):
    path = edit(folder, lambda content: content["regions"]["greenland"].update(filters))
    found = problems(path)
    assert "regions.greenland" in found[0]
    assert problem in found[0]


def test_filters_must_fit_the_products_of_the_regions_grids(folder):
    def change(content):
        content["regions"]["greenland"]["granule_regions"] = "3"
        content["grids"]["atl06-greenland-healpix"]["products"] = ["ATL07_007", "ATL06_007"]

    found = problems(edit(folder, change))
    assert len(found) == 1
    assert "grids.atl06-greenland-healpix.products: region greenland: The filter" in found[0]


def test_a_key_given_twice_is_refused(folder):
    path = folder / "registry.yaml"
    text = path.read_text()
    path.write_text(text + text[text.index("  atl03-serc-utm:") :])
    with pytest.raises(InvalidRegistry, match="'atl03-serc-utm' is given twice"):
        load_registry(path)


@pytest.mark.parametrize("text", ["", "- 1", "regions: {}\ngrids: {}", "regions: [", "\x00"])
def test_a_file_that_is_no_registry_is_refused(tmp_path, text):
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRegistry, match=r"registry\.yaml"):
        load_registry(path)


def test_a_missing_registry_names_the_setting(tmp_path):
    with pytest.raises(InvalidRegistry, match="ZAGG_CATALOG_REGISTRY names it"):
        load_registry(tmp_path / "none.yaml")


def test_a_broken_grid_need_not_stop_the_others(folder):
    (folder / "grids/atl06-antarctica-polar.yaml").write_text("output: 1")
    (folder / "regions/greenland.geojson").unlink()
    registry = load_registry(folder / "registry.yaml", tolerate_broken_grids=True)
    broken = {name for name, grid in registry.grids.items() if grid.problem}
    assert broken == {"atl06-antarctica-polar", "atl06-greenland-healpix"}
    assert registry.grids["atl03-serc-utm"].grid is not None
    assert len(registry.problems) == 2


def test_the_setting_names_the_registry(folder, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(folder / "registry.yaml"))
    assert load_registry().source == str(folder / "registry.yaml")


@pytest.mark.integration
def test_the_registry_may_be_on_s3(folder, monkeypatch, moto):
    bucket = servers.new_bucket(moto.endpoint)
    client = servers.plain_client(moto.endpoint)
    for file in folder.rglob("*.*"):
        client.upload_file(str(file), bucket, f"team/{file.relative_to(folder)}")
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", moto.endpoint)
    monkeypatch.setenv("ZAGG_CATALOG_S3_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY", servers.SECRET)
    remote = load_registry(f"s3://{bucket}/team/registry.yaml")
    local = load_registry(folder / "registry.yaml")
    assert {n: g.config_digest for n, g in remote.grids.items()} == {
        n: g.config_digest for n, g in local.grids.items()
    }
    with pytest.raises(InvalidRegistry, match="no such object"):
        load_registry(f"s3://{bucket}/nowhere.yaml")
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", f"http://127.0.0.1:{servers.free_port()}")
    monkeypatch.setenv("ZAGG_CATALOG_S3_ATTEMPTS", "1")
    with pytest.raises(StoreUnavailable, match="then try again"):
        load_registry(f"s3://{bucket}/team/registry.yaml")


def test_grids_lists_them_with_their_signatures(folder, capsys, shipped):
    assert main(["grids", "--registry", str(folder / "registry.yaml"), "--json"]) == 0
    rows = {row["grid"]: row for row in json.loads(capsys.readouterr().out)}
    grid = shipped.grids["atl03-serc-utm"].grid
    assert rows["atl03-serc-utm"] == {
        "grid": "atl03-serc-utm",
        "product": "ATL03_007",
        "region": "serc",
        "kind": "rectilinear",
        "shards": 16,
        "signature": canonical_digest(grid.spatial_signature())[:12],
        "problem": None,
    }
    assert main(["grids", "--registry", str(folder / "registry.yaml")]) == 0
    assert rows["atl06-antarctica-polar"]["signature"] in capsys.readouterr().out


def test_grids_of_a_broken_registry_is_a_wrong_call(folder, capsys):
    (folder / "grids/atl03-serc-utm.yaml").unlink()
    assert main(["grids", "--registry", str(folder / "registry.yaml")]) == 2
    assert "atl03-serc-utm.yaml cannot be read" in capsys.readouterr().err


def fails(*_):
    raise OverflowError("a grid\x1b[31m of its own")


def test_grids_lists_the_others_beside_a_broken_one(folder, capsys, monkeypatch):
    """With a broken config, and with a grid whose shards cannot be found."""
    (folder / "grids/atl03-serc-utm.yaml").write_text("output: 5")
    monkeypatch.setattr(RectilinearGrid, "coverage", fails)
    call = ["grids", "--registry", str(folder / "registry.yaml")]
    assert main([*call, "--json"]) == 2
    shown = capsys.readouterr()
    rows = {row["grid"]: row for row in json.loads(shown.out)}
    assert rows["atl06-greenland-healpix"]["problem"] is None
    assert rows["atl06-greenland-healpix"]["shards"] > 0
    broken = [name for name, row in rows.items() if row["kind"] == "broken"]
    assert broken == ["atl03-serc-utm", "atl06-antarctica-polar"]
    assert all(rows[name]["problem"] for name in broken)
    assert shown.err.count("zagg-catalog: ") == 2
    assert "atl03-serc-utm.yaml" in shown.err
    assert "grids.atl06-antarctica-polar: OverflowError: a grid [31m of its own" in shown.err
    assert main(call) == 2
    assert "broken" in capsys.readouterr().out


def test_a_grid_whose_area_cannot_be_found_stops_no_other(folder, monkeypatch):
    known = load_registry(folder / "registry.yaml")
    only = replace(known, grids={k: g for k, g in known.grids.items() if k.endswith("healpix")})
    expected = only.area_of("ATL06_007", "antarctica")
    monkeypatch.setattr(RectilinearGrid, "coverage", fails)
    assert known.area_of("ATL06_007", "antarctica") == expected
    checked = known.without_broken_areas("ATL06_007", "antarctica").grids
    assert checked["atl06-antarctica-polar"].problem == "OverflowError: a grid [31m of its own"
    assert checked["atl06-antarctica-healpix"].problem is None


@pytest.mark.parametrize("place", ["registry", "file"])
def test_a_file_of_a_region_has_a_limit(folder, place, monkeypatch):
    """It is not read any further."""
    for module in (geojson, files, load):
        limit = "MOST_OF_REGION" if module is load else "MOST_BYTES"
        monkeypatch.setattr(module, limit, 1 << 20)
    path = folder / "regions/greenland.geojson"
    with path.open("ab") as file:
        file.write(b" " * (2 << 20))
    if place == "file":
        with pytest.raises(InvalidRegion, match="has more than 1 MB; simplify its polygons"):
            load_polygon(path)
    else:
        assert "has more than 1 MB" in problems(folder / "registry.yaml")[0]


HOSTILE = {
    "a date as a key": b"2024-01-01: 5\n",
    "a number as a key": b"output: {5: 6, grid: {type: healpix, 7: 8}}\n",
    "a date that does not exist": b"d: 2024-99-99\n",
    "a thousand levels": b"{a: " * 1000 + b"1" + b"}" * 1000,
    "an endless number": b"output: {grid: {type: healpix, parent_order: 0x" + b"f" * 9000 + b"}}",
    "a list as a key": b"? [a]\n: 1\n",
    "bytes": bytes(range(256)),
    "an empty file": b"",
    "a list": b"[1, 2]",
    "a float as an order": b"output: {grid: {type: healpix, parent_order: .inf, child_order: 9}}",
    "too many shards": b"polar: 1",
    "a dtype that is a date": b"fields: 1",
    "names of two types": b"names: 1",
    "too many shards in the region": b"orders: 1",
}


def hostile_config(content):
    """The content of a hostile config; those that start from a good one are marked by a key."""
    made = yaml.safe_load((DEPLOYMENTS / "grids" / "atl06-antarctica-polar.yaml").read_text())
    if content == b"polar: 1":
        made["output"]["grid"]["resolution"] = 1
    elif content == b"fields: 1":
        made["aggregation"]["variables"]["x"] = {"dtype": date(2024, 1, 1)}
    elif content == b"names: 1":
        made["aggregation"]["variables"][5] = {"dtype": "int32"}
    elif content == b"orders: 1":
        made["output"]["grid"] = {"type": "healpix", "parent_order": 20, "child_order": 22}
    else:
        return content
    return yaml.safe_dump(made).encode()


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_broken_grid_stops_no_other(folder, content):
    (folder / "grids" / "atl06-antarctica-polar.yaml").write_bytes(hostile_config(content))
    path = folder / "registry.yaml"
    found = load_registry(path, tolerate_broken_grids=True)
    broken = found.grids["atl06-antarctica-polar"]
    assert broken.grid is None
    assert "atl06-antarctica-polar.yaml" in broken.problem
    assert all(grid.grid is not None for grid in found.grids.values() if grid is not broken)
    assert len(found.problems) == 1
    assert len(problems(path)) == 1


@pytest.mark.parametrize(
    "content",
    [
        "[" * 5000,
        "regions: 5\ngrids: 6\nwatch: {a: 1}",
        "? [a]\n: 1",
        "regions: {5: 2024-01-01}",
        "",
        "\0",
    ],
)
def test_a_broken_registry_is_one_sentence_or_a_list(tmp_path, content):
    path = tmp_path / "registry.yaml"
    path.write_text(content)
    with pytest.raises(InvalidRegistry):
        load_registry(path, tolerate_broken_grids=True)


@pytest.mark.parametrize("content", ["[" * 5000, "[NaN, 1, 2, 3]", "9" * 5000, '{"type": []}'])
def test_a_broken_region_stops_no_grid_of_another(folder, content):
    (folder / "regions" / "greenland.geojson").write_text(content)
    found = load_registry(folder / "registry.yaml", tolerate_broken_grids=True)
    assert [name for name, grid in found.grids.items() if grid.grid is None] == [
        "atl06-greenland-healpix"
    ]


def test_hostile_configs_stop_no_good_one(folder, real_data):
    paths = sorted((real_data / "hostile" / "configs").glob("*.yaml"))
    assert paths

    def change(content):
        for number, path in enumerate(paths):
            entry = {"config": str(path), "products": ["ATL06_007"], "region": "antarctica"}
            content["grids"][f"hostile-{number}"] = entry

    found = load_registry(edit(folder, change), tolerate_broken_grids=True)
    broken = {name: grid for name, grid in found.grids.items() if grid.grid is None}
    assert sorted(broken) == sorted(f"hostile-{number}" for number in range(len(paths)))
    for grid in broken.values():
        assert len(grid.problem) < 600
        assert "\n" not in grid.problem
        assert grid.problem.endswith("Correct that file.")
