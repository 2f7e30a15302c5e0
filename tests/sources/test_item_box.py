"""The box of an item: the stated one, or the smallest where the stated one is too wide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.sources.stub import item, name
from zagg_catalog.regions import polygon_to_bbox
from zagg_catalog.sandbox import simulate
from zagg_catalog.sources.item_box import box_of_item
from zagg_catalog.sources.items import read_items


def ring(*positions: tuple[float, float]) -> Any:
    return np.array([*positions, positions[0]], dtype=np.float64)


# A strip of 1° that runs west over the antimeridian.
WESTWARDS = ring((-178.0, 10.0), (179.0, 12.0), (179.0, 13.0), (-178.0, 11.0))


def test_a_narrow_box_stays_as_it_is_stated() -> None:
    assert box_of_item((0, 1, 2, 3), [ring((0, 0), (9, 9), (0, 9))]) == (0.0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "stated",
    [(-178.0, 10.0, 179.0, 13.0), (179.9, 10.0, 179.0, 13.0), (-180.0, 10.0, 180.0, 13.0)],
    ids=["least and greatest", "CMR-STAC, running west", "the world"],
)
def test_over_the_antimeridian_west_is_greater_than_east(stated: Any) -> None:
    assert box_of_item(stated, [WESTWARDS]) == (179.0, 10.0, -178.0, 13.0)


def test_a_footprint_cut_at_the_antimeridian_has_one_box_over_it() -> None:
    east, west = (
        ring((170, 0), (180, 0), (180, 5), (170, 5)),
        ring((-180, 0), (-175, 0), (-175, 5), (-180, 5)),
    )
    assert box_of_item((-180, 0, 180, 5), [east, west]) == (170.0, 0.0, -175.0, 5.0)


def test_the_sides_of_a_footprint_that_is_a_box_are_its_box() -> None:
    world = ring((-180, 52), (180, 52), (180, 88), (-180, 88))
    assert box_of_item((-180, 52, 180, 88), [world]) == (-180.0, 52.0, 180.0, 88.0)
    wide = ring((10, 52), (-10, 52), (-10, 88), (10, 88))
    assert box_of_item((10, 52, -10, 88), [wide]) == (10.0, 52.0, -10.0, 88.0)


def test_a_ring_around_a_pole_has_all_longitudes() -> None:
    cap = ring((0, 80), (90, 80), (180, 80), (-90, 80))
    assert box_of_item((-90, 80, 180, 80), [cap])[::2] == (-180.0, 180.0)


def box(row: Any) -> list[float]:
    return [row[side] for side in ("xmin", "ymin", "xmax", "ymax")]


@pytest.mark.realdata
@pytest.mark.parametrize("thumbnails", [False, True], ids=["columns", "one by one"])
def test_the_recorded_item_keeps_the_box_of_cmr_stac(real_data: Path, thumbnails: bool) -> None:
    recorded = json.loads((real_data / "recorded/bbox_antimeridian_item.json").read_text())
    right = recorded["right bbox (CMR-STAC)"]
    lons = [lon for lon, _ in recorded["geometry"]["coordinates"][0]]
    for stated in (right, [min(lons), right[1], max(lons), right[3]]):
        feature = item(name(1), geometry=recorded["geometry"], bbox=stated)
        rows = read_items([feature], "ATL06_007", preserve_thumbnails=thumbnails)
        assert box(rows.table["bbox"][0].as_py()) == right


def test_rings_over_the_antimeridian_have_the_box_of_a_region() -> None:
    granules = simulate(cycle=22, tracks=range(1, 1388, 20))
    rings = [granules.ring(row) for row in range(len(granules))]
    wide = [ring for ring in rings if np.ptp(ring[:, 0]) >= 180.0]
    assert len(wide) > 50
    for ring in wide:
        west, south, east, north = ring.min(axis=0).tolist() + ring.max(axis=0).tolist()
        found = box_of_item((west, south, east, north), [ring])
        region = polygon_to_bbox([(ring[:, 1], ring[:, 0])])
        assert found[::2] == region[::2]


@pytest.mark.parametrize("thumbnails", [False, True], ids=["columns", "one by one"])
def test_a_wide_box_over_the_antimeridian_is_two_boxes(thumbnails: bool) -> None:
    """Its four corners alone, from 100°E east to 10°W, are the box between 10°W and 100°E."""
    corners = [[100, 50], [-10, 50], [-10, 70], [100, 70], [100, 50]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    feature = item("ATL21-01_1", collection="ATL21_003", geometry=geometry, bbox=[100, 50, -10, 70])
    table = read_items([feature], "ATL21_003", preserve_thumbnails=thumbnails).table
    found = shapely.from_wkb(table["geometry"][0].as_py())
    assert found.equals(
        shapely.union_all([shapely.box(100, 50, 180, 70), shapely.box(-180, 50, -10, 70)])
    )
    assert box(table["bbox"][0].as_py()) == [100, 50, -10, 70]
