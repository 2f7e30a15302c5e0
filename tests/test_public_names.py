"""Every public name is at its place: those of zagg's catalog page, the README and the docs."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
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
