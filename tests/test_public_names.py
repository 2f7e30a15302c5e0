"""Every public name is at its place: those of zagg's catalog page, the README and the docs."""

import ast
import importlib
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import shapely

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.errors import InvalidCatalog, InvalidShardMap, UnknownGranule, UnknownShard
from zagg_catalog.regions import as_region

ROOT = Path(__file__).parents[1]
GRID = HealpixGrid(6, 10)
TILES = RectilinearGrid("EPSG:3413", 5000.0, (-250000, -2350000, 0, -2100000), (5, 5))
REGION = as_region((0, 0, 1, 1))
# What users of geopandas, xarray and odc-geo type: an expression that holds, for each name.
NATURAL = """
m[key][0]["id"] in catalog.ids
key in m and 7 not in m and "7" not in m
list(m) == m.shard_keys == list(m.keys())
m[key] == m.get(key) == dict(m.items())[key] == list(m.values())[0]
m.get(7) is None and m.get(7, []) == []
len(m) == len(m.shard_keys)
m.granules[0] == m[m.shard_keys[0]]
m == ShardMap.read("m.json") == ShardMap.read("m.parquet") and m != m.select([key])
m.select([key]).shard_keys == [key]
m.grid == grid
sorted(m.ids) == sorted(catalog.ids)
m.complete is False
m.to_geopandas().columns[-1] == "geometry"
m.to_pandas()["shard_key"].tolist() == m.shard_keys
ShardMap.from_json("m.json") == ShardMap.from_parquet("m.parquet")
len(catalog) == 2
[granule["id"] for granule in catalog] == catalog.ids
catalog.ids[0] in catalog and "ATL06" not in catalog and 0 not in catalog
catalog[catalog.ids[1]]["id"] == catalog.ids[1]
catalog.bbox == (0, 0, 1, 1)
catalog.crs == catalog.to_geopandas().crs
catalog == Catalog.from_geoparquet("c.parquet") != catalog.filter(tracks=1)
len(catalog.filter(bbox=(0, 0, 0.1, 0.1))) == 1
len(catalog.filter(region=shapely.box(0, 0, 0.1, 0.1), cycle=22)) == 1
len(catalog.filter(start_date="2023-12-18", direction="ascending", tracks=2)) == 1
catalog.head(1)["id"].tolist() == catalog.ids[:1]
catalog.to_pandas()["id"].tolist() == catalog.ids
catalog.complete is False and catalog.completeness == "unknown"
grid == HealpixGrid(6, 10) and grid != HealpixGrid(6, 11) and grid != tiles
grid[key].hausdorff_distance(grid.outlines([key])[0]) < 0.001
key in grid and key in list(grid.coverage(region)) and 7 not in grid
grid.shard_at(0.5, 0.5) == grid.shard_at([0.5], [0.5])[0]
grid.to_geopandas([key]).crs == "EPSG:4326"
tiles.crs == "EPSG:3413" and tiles.shape == (50, 50) and tiles.resolution == (5000, 5000)
tiles.bounds == (-250000, -2350000, 0, -2100000)
region == as_region("0,0,1,1") and region != as_region((0, 0, 1, 2))
region.bounds == (0, 0, 1, 1) == as_region(shapely.box(0, 0, 1, 1)).bounds
shapely.geometry.shape(region).covers(shapely.box(0, 0, 1, 1))
len({catalog, catalog}) == len({grid, HealpixGrid(6, 10)}) == 1
pickle.loads(pickle.dumps(m)) == m and pickle.loads(pickle.dumps(catalog)) == catalog
""".strip().splitlines()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# zagg's names with their parameters; ours may take more, by name. `*` stands where zagg's does.
PAGE = {
    "sources.Query": "short_name version start_date end_date region provider=NSIDC_CPRD",
    "sources.CMRSource": "provider=None timeout",
    "sources.CMRSource.fetch": "self query * preserve_thumbnails=False limit=2000",
    "sources.Catalog": "table metadata",
    "sources.Catalog.from_geoparquet": "path",
    "sources.Catalog.granule_records": "self",
    "shardmap.ShardMap": "grid_signature shard_keys granules metadata",
    "shardmap.ShardMap.build": "catalog grid * region=None backend=auto mortie_order=None"
    " footprint=swath",
    "make_shardmap": "query grid * region=None backend=auto catalog_out=None footprint=swath",
    "cycle_to_dates": "cycle",
    "load_polygon": "geojson_path",
    "polygon_to_bbox": "parts",
}


def found(name: str) -> Any:
    """Return what a dotted name stands for: a module, or an attribute of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            value = getattr(value, attribute)
        return value
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", PAGE)
def test_names_of_the_page_take_its_parameters(name: str) -> None:
    ours = list(inspect.signature(found(f"zagg_catalog.{name}")).parameters.values())
    before, _, after = PAGE[name].partition(" * ")
    wanted = before.split()
    for theirs, parameter in zip(wanted, ours, strict=False):
        check_default(theirs, parameter)
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert len(ours) >= len(wanted)
    by_name = {parameter.name: parameter for parameter in ours[len(wanted) :]}
    for theirs in after.split():
        check_default(theirs, by_name.pop(theirs.partition("=")[0]))
    # Whatever else there is can be left out.
    assert all(parameter.default is not parameter.empty for parameter in by_name.values())


def check_default(theirs: str, ours: inspect.Parameter) -> None:
    name, equals, default = theirs.partition("=")
    assert ours.name == name
    if equals:
        assert str(ours.default) in (default, f"{default}.0")


@pytest.mark.parametrize("name", sorted({name.split(".")[1] for name in PAGE if "." in name}))
def test_classes_of_the_page_are_at_the_top_too(name: str) -> None:
    import zagg_catalog

    assert name in zagg_catalog.__all__
    (place,) = (key for key in PAGE if key.split(".")[1:] == [name])
    assert getattr(zagg_catalog, name) is found(f"zagg_catalog.{place}")


def test_every_name_that_the_package_offers_is_there() -> None:
    import zagg_catalog

    for name in zagg_catalog.__all__:
        assert found(f"zagg_catalog.{name}") is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_of_the_docs_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in set(re.findall(r"(?<![\w./-])(?:zagg_catalog|flows)(?:\.[A-Za-z_]\w*)+", text)):
        found(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_of_the_docs_work(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zagg_catalog"):
                for alias in node.names:
                    found(f"{node.module}.{alias.name}")


@pytest.fixture(scope="module")
def nouns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A catalog, its map, and their files in a folder."""
    catalog = make_catalog(SQUARE, [(0.5, 0.5), (2, 0.5), (2, 2), (0.5, 2)])
    shard_map = ShardMap.build(catalog, GRID, region=REGION)
    folder = tmp_path_factory.mktemp("files")
    catalog.to_geoparquet(folder / "c.parquet")
    shard_map.to_json(folder / "m.json")
    shard_map.to_parquet(folder / "m.parquet")
    values = {"catalog": catalog, "m": shard_map, "key": shard_map.shard_keys[0], "folder": folder}
    classes = (Catalog, HealpixGrid, RectilinearGrid, ShardMap, as_region, pickle, shapely)
    named = {one.__name__: one for one in classes}
    return named | values | {"grid": GRID, "tiles": TILES, "region": REGION}


@pytest.mark.parametrize("expression", NATURAL)
def test_what_people_type_works(
    nouns: dict[str, Any], expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nouns["folder"])
    assert eval(expression, nouns)


@pytest.mark.parametrize(
    ("expression", "error", "says"),
    [
        ("m[7]", UnknownShard, "has no shard 7; it has"),
        ("catalog['ATL06']", UnknownGranule, "has no granule 'ATL06'; it has 2"),
        ("catalog[0]", UnknownGranule, "whose names are in ids"),
        ("Catalog('c.parquet')", InvalidCatalog, r"Catalog\.from_geoparquet\(path\) reads a file"),
        ("ShardMap.from_json('m.parquet')", InvalidShardMap, "is a parquet file; read it with"),
        ("ShardMap.from_parquet('m.json')", InvalidShardMap, "is JSON; read it with"),
    ],
)
def test_what_cannot_work_says_what_to_type(
    nouns: dict[str, Any],
    expression: str,
    error: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(nouns["folder"])
    with pytest.raises(error, match=says):
        eval(expression, nouns)
