"""Grids of a wrong unit, grids that are only unusual, and configs with nothing but a grid."""

import pytest

from zagg_catalog import ShardMap, from_config
from zagg_catalog.errors import InvalidConfig
from zagg_catalog.grids.describe import describe_grid, grid_notes
from zagg_catalog.registry.needs import GRID_ONLY, unmet_needs

RIGHT = {
    "type": "rectilinear",
    "crs": "EPSG:3413",
    "resolution": 5000,
    "bounds": [-250_000, -2_350_000, 0, -2_100_000],
    "chunk_shape": [5, 5],
}


def grid(**changes):
    section = {k: v for k, v in (RIGHT | changes).items() if v is not None}
    return from_config({"output": {"grid": section}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"resolution": "12.5 km"}, "Write 12500, without"),
        ({"resolution": "500m"}, "Write 500, without"),
        ({"crs": "epsg 3413"}, r"Did you mean EPSG:3413\?"),
        ({"type": "Rectilinear"}, r"Did you mean rectilinear\?"),
        ({"type": "utm"}, "A grid in a projection is rectilinear"),
        ({"bounds": {"west": 1, "south": 2, "east": 3, "north": 4}}, r"Write \[1, 2, 3, 4\]"),
        ({"crs": "EPSG:4326"}, "in degrees, the unit of EPSG:4326; did you mean 0.045045 degrees"),
        ({"resolution": 0.005}, r"shards of 0.025 m; did you mean 5\?"),
        ({"bounds": [-50, 68, -49, 69]}, "look like degrees"),
    ],
)
def test_a_mistake_is_refused_with_what_to_write(changes, says):
    with pytest.raises(InvalidConfig, match=says):
        grid(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"crs": "EPSG:4326", "resolution": 0.25, "bounds": [-180, -90, 180, 90]},
        {"resolution": 10, "bounds": [0, 0, 100, 100]},  # a field of 100 m at the pole
        {"resolution": 20, "chunk_shape": [256, 256]},
        {"crs": "EPSG:2263", "resolution": 3000, "bounds": [900_000, 100_000, 1_100_000, 300_000]},
    ],
)
def test_a_fine_a_small_and_a_geographic_grid_are_grids(changes):
    assert grid(**changes).n_row_blocks > 0


def test_a_missing_chunk_shape_is_one_shard_and_gets_a_note():
    (note, padding) = grid_notes(grid(chunk_shape=None))
    assert note.startswith("There is no chunk_shape, so a shard has 256 x 256 cells")
    assert "the grid is one shard" in note
    assert "50 x 50 cells, and whole shards have 256 x 256" in padding
    assert grid_notes(grid()) == []


def test_the_sizes_of_a_grid_are_described():
    assert describe_grid(grid())["shard"] == "25000 x 25000 metres, 25 cells"
    healpix = {"type": "healpix", "parent_order": 8, "child_order": 14}
    facts = describe_grid(from_config({"output": {"grid": healpix}}))
    assert facts["shard"] == "order 8, sides of about 25.5 km, 4,096 cells"
    assert facts["cell"] == "order 14, sides of about 398 m"


def test_a_config_with_nothing_but_a_grid_is_enough_for_a_map():
    made = grid()
    assert made.config.grid_only
    assert unmet_needs(made.config) == [GRID_ONLY]
    assert isinstance(ShardMap(made.spatial_signature(), [], []), ShardMap)


@pytest.mark.parametrize("section", ["data_source", "aggregation"])
def test_a_config_with_one_of_zaggs_sections_needs_both(section):
    with pytest.raises(InvalidConfig, match="must be a mapping that is not empty; it is missing"):
        from_config({"output": {"grid": RIGHT}, section: {"reader": "h5coro"}})
