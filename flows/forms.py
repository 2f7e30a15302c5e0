"""Forms to start a run by hand: choices of registered names, the current cycle, no switches.

Only deployments that people start have such a form. Those that events and schedules start keep the
schema of the flow, which takes any name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import ParameterSchema

from flows.settings import cycle_or_current
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.registry import load_registry
from zagg_catalog.settings import get_settings

# What a form asks for first, in this order; the rest is advanced.
FIRST = (
    *("catalog", "product", "version", "products", "cycle", "cycles", "region", "regions"),
    *("grids", "release", "only", "only_changed", "dry_run"),
)
ADVANCED = "Advanced: "
# Parameters that only events have.
_OF_EVENTS = {"event", "notice"}
_LISTED = {"region": "regions"}
# Flows for which no cycle means the current one.
_CURRENT = {"prepare-cycle", "fetch-catalog"}
# Their deployments with a form.
CYCLE_FORMS = ("prepare-cycle/prepare-one-cycle", "fetch-catalog/fetch-one-catalog")
# Errors of a registry with another structure.
_NO_REGISTRY = (KeyError, TypeError, AttributeError)

Schema = dict[str, Any]
Choices = Mapping[str, list[str]]


def form_of(flow: Flow[..., Any], choices: Choices) -> ParameterSchema:
    """Return the form of a flow, given the names of `registered_names`.

    A parameter that may be left empty has no switch for that: Prefect takes one without a value
    as empty. `FIRST` are the first ones, and the others follow as advanced.
    """
    found = deepcopy(flow.parameters)
    kept = {name: one for name, one in found.properties.items() if name not in _OF_EVENTS}
    order = sorted(kept, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    for position, name in enumerate(order):
        entry = _without_null(kept[name], found.definitions)
        title = name.replace("_", " ").capitalize()
        entry["title"] = title if name in FIRST else f"{ADVANCED}{title.lower()}"
        entry["position"] = position
        entry["description"] = " ".join(str(entry.get("description", "")).split())
        _offer(entry, choices.get(_LISTED.get(name, name), []))
        kept[name] = entry
    if flow.name in _CURRENT:
        kept["cycle"]["default"] = cycle_or_current(None)
    found.properties = {name: kept[name] for name in order}
    for definition in found.definitions.values():
        for name, entry in definition.get("properties", {}).items():
            definition["properties"][name] = _without_null(entry, found.definitions)
    return found


def registered_names() -> dict[str, list[str]]:
    """Return the names of the registry of the settings: ``regions``, ``grids`` and ``products``.

    They are empty for a registry that cannot be read: a run reports that, not a form.
    """
    try:
        content = _content(get_settings().registry)
        grids = content["grids"]
        products = {str(product) for grid in grids.values() for product in grid["products"]}
        found = {"regions": content["regions"], "grids": grids, "products": sorted(products)}
        return {kind: [str(name) for name in names] for kind, names in found.items()}
    except (ZaggCatalogError, OSError, ValueError, yaml.YAMLError, *_NO_REGISTRY):
        return {}


def renew_forms(names: Sequence[str] = CYCLE_FORMS) -> None:
    """Let the forms of these deployments have the current cycle, which changes every 91 days."""
    current = cycle_or_current(None)
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                found = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue  # not deployed here
            schema = deepcopy(found.parameter_openapi_schema or {})
            form = schema.get("properties", {}).get("cycle", {})
            if form.get("default") in (None, current):
                continue
            form["default"] = current
            update = DeploymentUpdate(parameter_openapi_schema=schema)
            client.update_deployment(found.id, update)


def _content(location: str) -> Any:
    """Return the content of a registry; the grids of a local file are not read."""
    if "://" not in location:
        return yaml.safe_load(Path(location).read_text(encoding="utf-8"))
    found = load_registry(location, tolerate_broken_grids=True)
    grids = {name: {"products": grid.products} for name, grid in found.grids.items()}
    return {"regions": found.regions, "grids": grids}


def _without_null(entry: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return the schema of a parameter without the choice of no value, and without that default."""
    kinds = [one for one in entry.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) != 1:
        return entry
    kind = kinds[0]
    chosen = definitions.get(str(kind.get("$ref")).rpartition("/")[2], {})
    if "enum" in chosen:
        kind = {"type": chosen["type"], "enum": chosen["enum"]}
    rest = {name: value for name, value in entry.items() if name not in ("anyOf", "default")}
    return {**rest, **kind}


def _offer(entry: Schema, names: list[str]) -> None:
    """Offer names to choose from, in a list or alone."""
    if names:
        entry.get("items", entry)["enum"] = names
