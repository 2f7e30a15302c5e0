"""Signatures: what they hold, and whether two of them mean one grid."""

from __future__ import annotations

import json

import pytest

from zagg_catalog.config import load_config_from_dict
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.grids import (
    HealpixGrid,
    RectilinearGrid,
    from_signature,
    signature_differences,
    signature_matches,
    spatial_subset,
)
from zagg_catalog.grids.signature import output_fields

HEALPIX = HealpixGrid(6, 12)
POLAR = RectilinearGrid("EPSG:3031", 5000, (-3200000, -3200000, 3200000, 3200000))


@pytest.mark.parametrize("grid", [HEALPIX, POLAR], ids=lambda grid: grid.kind)
class TestMatches:
    def test_its_own_signatures(self, grid: HealpixGrid | RectilinearGrid) -> None:
        assert signature_matches(grid.spatial_signature(), grid)
        assert signature_matches(grid.signature(), grid)

    def test_after_a_round_trip_through_json(self, grid: HealpixGrid | RectilinearGrid) -> None:
        assert signature_matches(json.loads(json.dumps(grid.signature())), grid)

    def test_with_other_output_fields(self, grid: HealpixGrid | RectilinearGrid) -> None:
        assert signature_matches(grid.signature() | {"output_fields": ["other"]}, grid)

    def test_the_spatial_part_of_a_full_signature(
        self, grid: HealpixGrid | RectilinearGrid
    ) -> None:
        assert spatial_subset(grid.signature()) == grid.spatial_signature()
        assert spatial_subset(grid.spatial_signature()) == grid.spatial_signature()

    def test_not_with_a_key_missing(self, grid: HealpixGrid | RectilinearGrid) -> None:
        signature = grid.spatial_signature()
        for key in signature:
            less = {k: v for k, v in signature.items() if k != key}
            assert signature_differences(less, grid) == [
                f"{key} is missing in the recorded signature, {signature[key]!r} in the grid."
            ]


def test_differences_are_told_one_by_one() -> None:
    recorded = HealpixGrid(7, 13).spatial_signature()
    assert signature_differences(recorded, HEALPIX) == [
        "parent_order is 7 in the recorded signature, 6 in the grid.",
        "child_order is 13 in the recorded signature, 12 in the grid.",
    ]


def test_grids_of_two_kinds_never_match() -> None:
    assert not signature_matches(HEALPIX.spatial_signature(), POLAR)
    assert not signature_matches(POLAR.signature(), HEALPIX)


def test_fields_are_sorted_and_shapes_are_lists() -> None:
    grid = {"type": "healpix", "parent_order": 6, "child_order": 12}
    variables = {
        "z": {"kind": "vector", "trailing_shape": 4, "dtype": "uint32"},
        "d": {"kind": "ragged", "inner_shape": [2], "dtype": "float32", "location": "leaf"},
        "a": {"dtype": "int64", "trailing_shape": 9, "temporal": None},
    }
    config = load_config_from_dict(
        {
            "data_source": {"reader": "h5coro"},
            "aggregation": {"variables": variables},
            "output": {"grid": grid},
        }
    )
    scalar = {"kind": "scalar", "trailing_shape": [], "inner_shape": []}
    assert output_fields(config) == [
        {"name": "a", **scalar, "dtype": "int64"},
        {**scalar, "name": "d", "kind": "ragged", "inner_shape": [2], "dtype": "float32"}
        | {"location": "leaf"},
        {**scalar, "name": "z", "kind": "vector", "trailing_shape": [4], "dtype": "uint32"},
    ]


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore")
def test_without_a_config_the_fields_are_those_of_zaggs_default() -> None:
    zagg_grids = pytest.importorskip("zagg.grids")
    assert HEALPIX.signature() == zagg_grids.HealpixGrid(6, 12).signature()
    bounds = (-3200000, -3200000, 3200000, 3200000)
    assert POLAR.signature() == zagg_grids.RectilinearGrid("EPSG:3031", 5000, bounds).signature()


def test_grids_of_one_layout_are_equal() -> None:
    assert HealpixGrid(6, 12) == HealpixGrid(6, 12, chunk_inner=8)
    assert HealpixGrid(6, 12) != HealpixGrid(6, 13)
    utm = RectilinearGrid(32618, 10, (0, 0, 5120, 5120))
    assert utm == RectilinearGrid("EPSG:32618", (10, 10), (0, 0, 5119, 5120))
    assert utm != RectilinearGrid(32619, 10, (0, 0, 5120, 5120))
    assert utm != HealpixGrid(6, 12) != "a grid"
    assert len({HealpixGrid(6, 12), HealpixGrid(6, 12, sharded=False), utm}) == 2


@pytest.mark.parametrize(
    "grid",
    [
        HEALPIX,
        POLAR,
        RectilinearGrid("EPSG:32618", (30.0, 10.0), (500000.1, 4e6, 612345.6, 4.1e6), (64, 100)),
        RectilinearGrid("EPSG:4326", 0.1, (-180, -90, 180, 90)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("part", ["spatial_signature", "signature"])
def test_a_signature_alone_gives_its_grid(grid: HealpixGrid | RectilinearGrid, part: str) -> None:
    signature = json.loads(json.dumps(getattr(grid, part)()))
    assert from_signature(signature) == grid


@pytest.mark.parametrize(
    "signature",
    [
        {},
        {"type": "hexagons"},
        {"type": "healpix", "parent_order": 6},
        HEALPIX.spatial_signature() | {"layout": "south"},
        POLAR.spatial_signature() | {"shape": [3, 3]},
        POLAR.spatial_signature() | {"affine": [1, 2]},
    ],
)
def test_a_signature_of_no_grid_is_refused(signature: dict[str, object]) -> None:
    with pytest.raises(InvalidGrid, match="config"):
        from_signature(signature)
