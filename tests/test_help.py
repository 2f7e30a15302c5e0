"""The help of the names that people begin with is complete in itself, and fits their signatures."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from zagg_catalog import (
    Catalog,
    CMRSource,
    Query,
    ShardMap,
    area_of,
    from_config,
    load_polygon,
    make_shardmap,
)

NAMES = [
    ShardMap.build,
    Query,
    Query.for_cycle,
    CMRSource,
    CMRSource.fetch,
    Catalog,
    Catalog.from_geoparquet,
    Catalog.filter,
    make_shardmap,
    from_config,
    load_polygon,
]
# A parameter that is described at another name.
REFERS = re.compile(r"^\s*(As for|As `|See `|Geometry backend; see)", re.IGNORECASE)


def parameters(name: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(name).parameters
    return {key: one for key, one in found.items() if key != "self"}


def described(name: Callable[..., Any]) -> dict[str, tuple[str, str]]:
    """Type and description of each parameter in the docstring."""
    text = (inspect.getdoc(name) or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n-+\n", text)[0]
    entries = re.findall(r"^(\S[^:\n]*?)(?: : (.*))?\n((?: +.*\n?)+)", section, flags=re.MULTILINE)
    return {key.strip(): (kind, said) for keys, kind, said in entries for key in keys.split(",")}


@pytest.mark.parametrize("name", NAMES, ids=lambda one: one.__qualname__)
def test_each_parameter_has_its_type_and_its_default(name: Callable[..., Any]) -> None:
    found = described(name)
    assert list(found) == [
        f"**{key}" if one.kind is one.VAR_KEYWORD else key for key, one in parameters(name).items()
    ]
    for key, one in parameters(name).items():
        if one.kind is one.VAR_KEYWORD:
            continue
        kind, text = found[key]
        assert kind, f"{key} has no type"
        assert len(text.split()) > 1, f"{key} is not described"
        assert not REFERS.match(text), f"{key} is described elsewhere"
        optional = one.default is not one.empty
        if optional and isinstance(one.default, str | int | float):
            shown = json.dumps(one.default) if isinstance(one.default, str) else one.default
            assert kind.endswith(f"default {shown}"), f"{key} = {shown}, but: {kind}"
        else:
            assert kind.endswith(", optional") == optional, f"{key}: {kind}"


@pytest.mark.parametrize("name", [*NAMES, area_of], ids=lambda one: one.__qualname__)
def test_results_errors_and_an_example_are_there(name: Callable[..., Any]) -> None:
    text = inspect.getdoc(name) or ""
    sections = re.findall(r"^(\w+)\n-+$", text, flags=re.MULTILINE)
    wanted = ["Parameters", "Raises", "Examples"]
    assert set(wanted if inspect.isclass(name) else [*wanted, "Returns"]) <= set(sections)
    # An example uses the name, and is Python.
    example = text.partition("Examples\n--------\n")[2]
    assert name.__name__ in example
    for line in example.splitlines():
        compile(line.removeprefix(">>> "), "example", "eval" if " = " not in line else "exec")
