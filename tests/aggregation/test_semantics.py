"""What of a config decides the values of an output, and that zagg sees the same changes."""

import copy
from pathlib import Path

import pytest
import yaml

from zagg_catalog.aggregation.semantics import (
    aggregation_core,
    changes_text,
    core_changes,
    core_digest,
)

GRIDS = sorted((Path(__file__).parents[2] / "deployments" / "grids").glob("*.yaml"))
CONFIG = """
data_source:
  reader: h5coro
  driver: s3
  groups: [gt1l, gt1r]
  coordinates: {latitude: "/{group}/lat", longitude: "/{group}/lon"}
  variables: {h_li: "/{group}/h_li"}
  quality_filter: {dataset: "/{group}/quality", value: 0}
aggregation:
  coordinates:
    morton: {dtype: uint64, fill_value: 0}
  variables:
    count: {function: len, source: h_li, dtype: int32, fill_value: 0}
    h_mean: {function: average, source: h_li, dtype: float32}
output:
  grid: {type: healpix, parent_order: 6, chunk_inner: 8, child_order: 12}
"""
# Change → whether the output has other values, or another form that zagg refuses to change.
CHANGES = [
    ("aggregation.variables.h_max", {"function": "max", "source": "h_li"}, True),
    ("aggregation.variables.count.dtype", "int64", True),
    ("aggregation.variables.h_mean.params", {"weights": "1.0 / s_li**2"}, True),
    ("aggregation.variables.h_mean.weights", "counts", False),
    ("aggregation.variables.h_mean.weights", "flux", True),
    ("aggregation.variables.h_mean.overview_delta", 10, False),
    ("aggregation.variables.h_mean.fill_value", None, False),
    ("aggregation.variables.h_mean.fill_value", float("nan"), True),
    ("aggregation.handoff", "pandas", False),
    ("aggregation.streaming", {"mode": "spill"}, False),
    ("data_source.groups", ["gt1l"], True),
    ("data_source.quality_filter.value", 1, True),
    ("data_source.quality_filter", None, True),
    ("data_source.driver", "https", False),
    ("data_source.read_plan", {"pad": 40}, False),
    ("data_source.granule_workers", 2, False),
    ("data_source.credentials_provider", "other", False),
    ("output.grid.sharded", True, False),
    ("output.grid.sharded", False, True),
    ("output.grid.emit_cell_ids", True, False),
    ("output.grid.child_order", 13, False),
    ("output.aoi_mask", True, True),
    ("output.touch", "never", False),
    ("output.icechunk", False, False),
    ("output.store", "s3://bucket/prefix", False),
    ("output.time_encoding", "toc", True),
    ("output.time_encoding", "microseconds", False),
    ("output.windowing", {"schedule": "none"}, False),
    ("pipeline", {"type": "spatial"}, False),
]
RECTILINEAR = {"type": "rectilinear", "crs": "EPSG:3031", "resolution": 500}


def changed(config: dict, path: str, value: object) -> dict:
    new = copy.deepcopy(config)
    *folders, name = path.split(".")
    section = new
    for folder in folders:
        section = section[folder]
    section[name] = value
    return new


@pytest.fixture
def config() -> dict:
    return yaml.safe_load(CONFIG)


def digest(config: dict) -> str:
    return core_digest(aggregation_core(config))


def zaggs(config: dict) -> str:
    """The semantic hash of the installed zagg."""
    semantics = pytest.importorskip("zagg.semantics")
    from zagg.config import load_config_from_dict

    return semantics.semantic_hash(load_config_from_dict(config))


@pytest.mark.parametrize(("path", "value", "matters"), CHANGES)
def test_what_changes_the_values_of_an_output(config, path, value, matters):
    assert (digest(changed(config, path, value)) != digest(config)) == matters


@pytest.mark.zagg
@pytest.mark.parametrize(("path", "value", "matters"), CHANGES)
def test_the_digest_is_zaggs_semantic_hash(config, path, value, matters):
    new = changed(config, path, value)
    assert digest(new) == zaggs(new)
    assert (zaggs(new) != zaggs(config)) == matters


@pytest.mark.zagg
@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_the_digest_of_each_shipped_healpix_grid_is_zaggs(path):
    config = yaml.safe_load(path.read_text())
    if config["output"]["grid"]["type"] == "healpix":
        assert digest(config) == zaggs(config)


def test_comments_and_the_order_of_keys_change_nothing():
    other = yaml.safe_load("# newer\n" + CONFIG.replace("value: 0}", "value: 0}  # the best"))
    other = {name: other[name] for name in reversed(other)}
    assert digest(other) == digest(yaml.safe_load(CONFIG))


@pytest.mark.parametrize(
    ("key", "value"), [("bounds", [0, 0, 2, 2]), ("resolution", 250), ("chunk_inner", [8, 8])]
)
def test_a_rectilinear_output_keeps_its_grid_and_its_chunks(config, key, value):
    config["output"]["grid"] = RECTILINEAR | {"bounds": [0, 0, 1, 1]}
    assert digest(changed(config, f"output.grid.{key}", value)) != digest(config)


def test_changes_name_the_keys_with_the_new_and_the_old_value(config):
    new = changed(config, "data_source.quality_filter.value", 1)
    new = changed(new, "aggregation.variables.h_max", {"function": "max"})
    del new["aggregation"]["variables"]["count"]
    found = core_changes(aggregation_core(config), aggregation_core(new))
    assert found == [
        "aggregation.variables.count is gone",
        "aggregation.variables.h_max is new",
        "data_source.quality_filter.value is 1 and was 0",
    ]
    assert core_changes(aggregation_core(config), aggregation_core(config)) == []


def test_many_changes_are_counted():
    assert changes_text(list("abcdef")) == "a; b; c; d; and 2 more"


def test_values_in_changes_are_short_and_without_secrets():
    (change,) = core_changes({"a": "x" * 500}, {"a": "token=hunter2"})
    assert "hunter2" not in change
    assert len(change) < 200
