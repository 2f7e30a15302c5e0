"""The layers of the code, read from its imports: they point downwards, and never in a circle."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Top-level modules and packages, low to high; those of one line do not know each other.
LAYERS = """
    errors lazy
    settings messages files granule_names reader frames
    progress
    jsonio yamlio
    remedies
    cycles config
    store geometry
    cartography
    html plot
    regions
    catalog
    sources grids sandbox
    expected
    shardmap
    registry build diff export
    report
    releases
    aggregation watch archive
    index
    zagg_catalog
    cli
    __main__ flows
"""
RANK = {unit: rank for rank, line in enumerate(LAYERS.split("\n")) for unit in line.split()}
# Breaches that are still there, by packages. A line goes with its breach; none comes.
KNOWN: set[str] = set()
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("zagg_catalog", "flows")
    for path in (ROOT / folder).rglob("*.py")
}


def unit(module: str) -> str:
    first, *rest = module.split(".")
    return rest[0] if rest and first == "zagg_catalog" else first


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Give what a module imports, and whether not at its top; a lazy package may do that.

    Imports for the type checker alone are at the top; they count as arrows all the same.
    """
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    top = [*tree.body]
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            top += node.body
    package = FILES[module].name == "__init__.py"
    lazy = package and any(getattr(node, "name", "") == "__getattr__" for node in tree.body)
    for node in ast.walk(tree):
        late = node not in top and not lazy
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            yield from ((f"{node.module}.{alias.name}", late) for alias in node.names)


def own_module(name: str) -> str:
    """Return the module of this project that a dotted name is, or is in; else nothing."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


def breaches() -> Iterator[tuple[str, str]]:
    """Give every breach by packages, as in `KNOWN`, and by modules, to find it."""
    inside: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for module in FILES:
        mine = unit(module)
        within = inside[mine].setdefault(module, set())
        if mine not in RANK:
            yield f"no layer: {mine}", module
        for name, late in imports(module):
            target, package = own_module(name), name.split(".")[0]
            theirs, where = unit(target), f"{module} imports {name}"
            if late and (target or package in sys.stdlib_module_names):
                yield f"not at the top: {mine}", where
            if package == "prefect" and mine != "flows":
                yield f"Prefect: {mine}", where
            if theirs == mine:
                within.add(target)
            elif {mine, theirs} <= RANK.keys() and RANK[theirs] >= RANK[mine]:
                yield f"upwards: {mine} to {theirs}", where
    for package, graph in inside.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"circle: {package}", " from ".join(error.args[1])


def test_imports_point_downwards_and_never_in_a_circle() -> None:
    found = dict(breaches())
    new = [f"{breach} ({where})" for breach, where in found.items() if breach not in KNOWN]
    assert not new, "\n".join(["imports against the layers:", *sorted(new)])
    assert not KNOWN - found.keys(), f"gone, take out of KNOWN: {sorted(KNOWN - found.keys())}"
