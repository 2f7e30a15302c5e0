"""Forms of deployments that people start: choices, the current cycle, no switches for nothing."""

from pathlib import Path

import pytest

from flows.aggregate import aggregate
from flows.backfill import backfill
from flows.cycle import prepare_cycle
from flows.fetch import fetch_catalog
from flows.forms import ADVANCED, form_of, registered_names
from flows.settings import cycle_or_current
from flows.shardmaps import build_shardmaps

ROOT = Path(__file__).parents[2]
NAMES = {
    "regions": ["antarctica", "greenland"],
    "grids": ["polar", "healpix"],
    "products": ["ATL06_007"],
}
FLOWS = [prepare_cycle, fetch_catalog, build_shardmaps, backfill, aggregate]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_no_form_has_a_switch_for_no_value_and_each_field_is_described(flow):
    form = form_of(flow, NAMES)
    for entry in form.properties.values():
        assert "anyOf" not in entry
        assert entry["description"]
    for definition in form.definitions.values():
        assert "null" not in str(definition)


def test_regions_and_grids_are_lists_to_choose_from():
    form = form_of(prepare_cycle, NAMES).properties
    for name in ("regions", "grids"):
        assert form[name]["type"] == "array"
        assert form[name]["items"] == {"type": "string", "enum": NAMES[name]}
    assert form_of(fetch_catalog, NAMES).properties["region"]["enum"] == NAMES["regions"]
    assert form_of(backfill, NAMES).properties["products"]["items"]["enum"] == ["ATL06_007"]


def test_the_cycle_is_a_number_and_the_current_one_where_none_means_that():
    assert form_of(prepare_cycle, NAMES).properties["cycle"]["default"] == cycle_or_current(None)
    cycle = form_of(aggregate, NAMES).properties["cycle"]
    assert cycle["type"] == "integer"
    assert "default" not in cycle  # without one everything that is pending is aggregated


def test_the_first_fields_are_what_a_run_is_of_and_the_rest_is_advanced():
    form = form_of(prepare_cycle, NAMES).properties
    titles = [one["title"] for one in sorted(form.values(), key=lambda one: one["position"])]
    assert titles[:5] == ["Product", "Version", "Cycle", "Regions", "Grids"]
    assert all(title.startswith(ADVANCED) for title in titles[5:])
    assert not {"notice", "event"} & set(form)


def test_a_form_changes_nothing_of_the_flow():
    before = prepare_cycle.parameters.model_dump()
    form_of(prepare_cycle, NAMES)
    assert prepare_cycle.parameters.model_dump() == before
    assert form_of(prepare_cycle, {}).properties["regions"]["items"] == {"type": "string"}


def test_the_names_are_those_of_the_registry(monkeypatch, tmp_path):
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(ROOT / "deployments/registry.yaml"))
    found = registered_names()
    assert found["regions"] == ["antarctica", "greenland", "serc"]
    assert "atl06-antarctica-polar" in found["grids"]
    assert found["products"] == ["ATL03_007", "ATL06_007"]
    for content in ("7", "grids: {a: 7}", "{"):
        (tmp_path / "registry.yaml").write_text(content)
        monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(tmp_path / "registry.yaml"))
        assert registered_names() == {}
