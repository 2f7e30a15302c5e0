"""Names of runs: what a run does, ``ATL06_007 c22``, ``aggregate antarctica c22``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefect.runtime import flow_run

from flows.settings import cycle_or_current
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.messages import clean_text
from zagg_catalog.releases.layout import parse_key
from zagg_catalog.watch.events import read_resource

# Most characters of a name, and most names of a list in it.
LONGEST = 80
NAMED = 3

Values = Mapping[str, Any]


def named_by(name: Callable[[Values], str]) -> Callable[[], str]:
    """Return the ``flow_run_name`` of a flow: `name` of the parameters of the run."""

    def run_name() -> str:
        return clean_text(name(flow_run.parameters), limit=LONGEST)

    return run_name


def cycle_name(values: Values) -> str:
    """Return the name of a run that prepares a cycle, ``ATL06_007 c22``."""
    return _joined(_product(values), _some(values, "regions"), _cycle(values), _grids(values))


def fetch_name(values: Values) -> str:
    """Return the name of a run that fetches a catalog, ``fetch ATL06_007 antarctica c22``."""
    return _joined("fetch", _product(values), values.get("region"), _cycle(values))


def build_name(values: Values) -> str:
    """Return the name of a run that builds maps, ``build ATL06_007 antarctica c22``."""
    try:
        key = parse_key(str(values.get("catalog"))).release_key
    except ZaggCatalogError:
        return "build maps"  # the run says what is wrong
    return _joined("build", key.product, key.region, f"c{key.cycle}", _grids(values))


def backfill_name(values: Values) -> str:
    """Return the name of a backfill, ``backfill ATL06_007 antarctica c1-22``."""
    cycles = str(values.get("cycles") or "all")
    return _joined(
        "plan the backfill of" if values.get("dry_run") else "backfill",
        _some(values, "products"),
        _some(values, "regions"),
        "all cycles" if cycles == "all" else f"c{cycles}",
        _grids(values),
    )


def aggregate_name(values: Values) -> str:
    """Return the name of a run that picks a release up, ``aggregate antarctica c22``."""
    event, artifact = values.get("event"), values.get("artifact")
    if event is not None:
        facts: Values = event if isinstance(event, Mapping) else vars(event)
        return _joined("aggregate", facts.get("region"), f"c{facts.get('cycle')}")
    if artifact is not None:
        return _joined("aggregate", artifact)
    cycle = values.get("cycle")
    chosen = [values.get("region"), f"c{cycle}" if cycle else None, _grids(values)]
    chosen = [values.get("product"), *chosen] if values.get("region") is None else chosen
    return _joined("aggregate", *chosen) if any(chosen) else "aggregate what is pending"


def watch_name(values: Values) -> str:
    """Return the name of a poll, ``watch ATL06_007``."""
    return _joined("watch", _some(values, "products") or "all products")


def overdue_name(values: Values) -> str:
    """Return the name of an alert, ``alert ATL06_007 c22``."""
    resource = str(values.get("resource"))
    found = read_resource(resource)
    return _joined("alert", f"{found[0]} c{found[1]}" if found else resource)


def _joined(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)


def _product(values: Values) -> str:
    return f"{values.get('product')}_{values.get('version')}"


def _cycle(values: Values) -> str:
    """Return the cycle, also of a run for the current one."""
    cycle = values.get("cycle")
    return f"c{cycle_or_current(None) if cycle is None else cycle}"


def _some(values: Values, name: str) -> str:
    """Return the names of a list, the first of a long one."""
    found = [*map(str, values.get(name) or ())]
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def _grids(values: Values) -> str:
    found = _some(values, "grids")
    return f"({found})" if found else ""
