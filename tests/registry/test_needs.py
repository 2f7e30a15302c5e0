"""Needs: what zagg's run needs of a config, and neither its grid nor zagg's validation shows."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from zagg_catalog.config import load_config, load_config_from_dict
from zagg_catalog.errors import InvalidRegistry
from zagg_catalog.grids import from_config
from zagg_catalog.registry import load_registry
from zagg_catalog.registry.needs import unmet_needs

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
SHIPPED = sorted((DEPLOYMENTS / "grids").glob("*.yaml"))
HEALPIX = DEPLOYMENTS / "grids/atl06-greenland-healpix.yaml"
LEVELS = {
    "photons": {"path": "/{group}/heights", "link": None},
    "segments": {
        "path": "/{group}/geolocation",
        "coordinates": {"latitude": "reference_photon_lat", "longitude": "reference_photon_lon"},
        "link": {"to": "photons", "index_beg": "/{group}/begin", "count": "/{group}/count"},
    },
}
PLANNED = {"base_level": "photons", "levels": LEVELS, "read_plan": {"spatial_index": "segments"}}
FOUR_LINES = """Add below aggregation:
  coordinates:
    morton:
      dtype: uint64
      fill_value: 0"""

zaggs = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"
)


def content(planned=None, **changes):
    """The parsed config with keys replaced, or removed if None: ``data_source__groups=None``."""
    config = yaml.safe_load(HEALPIX.read_text())
    config["data_source"] |= copy.deepcopy(planned or {})
    for names, value in changes.items():
        *sections, key = names.split("__")
        section = config
        for name in sections:
            section = section[name]
        section[key] = copy.deepcopy(value)
        if value is None:
            del section[key]
    return config


def needs(config):
    return unmet_needs(load_config_from_dict(config))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_lacks_nothing(path):
    assert unmet_needs(load_config(path)) == []


@pytest.mark.zagg
@zaggs
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_zagg_accepts_what_is_shipped_and_declares_every_array_that_it_writes(path):
    config = pytest.importorskip("zagg.config").load_config(str(path))
    from zagg.grids import from_config as zaggs_grid

    grid = zaggs_grid(config)
    if config.output["grid"]["type"] == "healpix":
        (shard,) = from_config(path).coverage([([75, 75, 75.01], [-40, -39.99, -40])])[:1]
        assert set(grid.chunk_coords(shard)) <= set(grid.shard_spec().members)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aggregation__coordinates": None}, FOUR_LINES),
        ({"aggregation__coordinates": {"cell_ids": {"dtype": "uint64"}}}, FOUR_LINES),
        (
            {"aggregation__coordinates__morton__dtype": "float64"},
            "aggregation.coordinates.morton must have dtype uint64 and fill_value 0",
        ),
        ({"aggregation__coordinates__morton__fill_value": None}, "must have dtype uint64 and fill"),
        ({"data_source__groups": None}, "data_source.groups must list the beams to read"),
        ({"data_source__groups": []}, "data_source.groups must list the beams to read; it is []"),
        (
            {"data_source__coordinates__longitude": None},
            "data_source.coordinates must have the path of longitude.",
        ),
    ],
)
@pytest.mark.zagg
@zaggs
def test_what_zagg_only_notices_in_its_run_is_named(tmp_path, changes, problem):
    zagg_config = pytest.importorskip("zagg.config")
    config = content(**changes)
    (found,) = needs(config)
    assert problem in found
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    zagg_config.load_config(str(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data_source__read_plan__spatial_index": "tracks"}, "is 'tracks'; data_source.levels"),
        ({"data_source__base_level": None}, "the one that data_source.base_level names"),
        ({"data_source__levels__segments__link": None}, "link.to must be photons"),
        (
            {"data_source__levels__segments__coordinates__latitude": None},
            "data_source.levels.segments.coordinates must have latitude.",
        ),
    ],
)
def test_a_read_plan_leads_to_the_values(changes, problem):
    assert needs(content(PLANNED)) == []
    (found,) = needs(content(PLANNED, **changes))
    assert problem in found


def test_a_config_needs_variables():
    (found,) = needs(content(data_source__variables={}))
    assert found == "data_source.variables must have a path; it is {}."


def test_legacy_cell_ids_are_whole_numbers_too():
    config = content(output__grid__emit_cell_ids=True)
    assert needs(config) == []
    config["aggregation"]["coordinates"]["cell_ids"] = {"dtype": "float32"}
    (found,) = needs(config)
    assert found.startswith("aggregation.coordinates.cell_ids must have dtype uint64")


@pytest.mark.parametrize(
    "changes",
    [
        {"data_source__reader": "raster"},
        {"output__windowing": {"schedule": "monthly", "time_field": "delta_time"}},
    ],
)
def test_outputs_without_numbers_of_cells_need_no_array_for_them(changes):
    assert needs(content(aggregation__coordinates=None, **changes)) == []


def test_the_registry_refuses_a_config_that_zagg_cannot_run_with_and_says_which_lines_to_add(
    tmp_path,
):
    shutil.copytree(DEPLOYMENTS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "grids" / HEALPIX.name
    path.write_text(yaml.safe_dump(content(aggregation__coordinates=None)))
    with pytest.raises(InvalidRegistry) as caught:
        load_registry(tmp_path / "registry.yaml")
    assert f"grids.atl06-greenland-healpix.config: {path}: aggregation.coord" in str(caught.value)
    assert str(caught.value).endswith(FOUR_LINES)
    tolerant = load_registry(tmp_path / "registry.yaml", tolerate_broken_grids=True)
    assert [name for name, grid in tolerant.grids.items() if grid.problem] == [path.stem]


def test_a_map_can_be_built_from_such_a_config_and_belongs_to_the_same_grid():
    without = from_config(content(aggregation__coordinates=None, output__touch=None))
    assert without.signature() == from_config(HEALPIX).signature()
