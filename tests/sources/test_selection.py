"""A query selects from a stored catalog, or is refused with what the catalog holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import shapely

from tests.sources.served import WORLD, cycle_22, ids
from zagg_catalog import HealpixGrid, ShardMap, make_shardmap
from zagg_catalog.catalog import IncompleteCatalog
from zagg_catalog.catalog.completeness import explain_missing
from zagg_catalog.errors import EmptyHarvest, InvalidQuery, InvalidRegion
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.shardmap import ShardsBeyondArea, index_footprints
from zagg_catalog.sources import Catalog, CMRSource, Query

DAYS = ("2023-12-01", "2024-01-31")


@pytest.fixture(scope="module")
def source() -> Iterator[CMRSource]:
    with SandboxServer(simulate(cycle=[21, 22, 23], tracks=range(1, 1388, 60))) as server:
        yield CMRSource(root_url=server.root_url)


@pytest.fixture(scope="module")
def cycle(source: CMRSource) -> Catalog:
    """Cycle 22."""
    return source.fetch(cycle_22())


@pytest.fixture(scope="module")
def dates(source: CMRSource) -> Catalog:
    """Two months, in which cycle 21 ends and cycle 22 begins."""
    return source.fetch(Query("ATL06", "007", *DAYS, WORLD))


@pytest.mark.parametrize(
    "filters",
    [
        {"start_date": "2024-01-05", "end_date": "2024-01-09"},
        {"start_date": "2023-12-20", "end_date": "2024-01-31", "tracks": "61-300"},
        {"granule_regions": "4,10-12", "start_date": DAYS[0], "end_date": DAYS[1]},
        {"direction": "descending", "start_date": DAYS[0], "end_date": DAYS[1]},
        {"season": "01", "start_date": DAYS[0], "end_date": DAYS[1]},
    ],
)
def test_a_selection_has_the_granules_of_a_fetch(
    source: CMRSource, dates: Catalog, filters: dict[str, Any]
) -> None:
    fetched = source.fetch(Query("ATL06", "007", region=WORLD, **filters))
    selected = dates.filter(**filters)
    assert ids(selected) == ids(fetched)
    for key in ("start_date", "end_date", "filters", "total_granules", "complete"):
        assert selected.metadata.get(key) == fetched.metadata.get(key)
    report = selected.metadata["harvest"]
    left = report["outside_cycle"] + sum(report["outside"].values())
    assert report["kept"] + left == report["declared_after"]


def test_nothing_asked_for_selects_everything(cycle: Catalog) -> None:
    assert cycle.filter() is cycle
    assert ids(cycle.filter(short_name="atl06", version=7, cycle=22)) == ids(cycle)


def test_stored_cells_stay_if_no_row_is_left_out(cycle: Catalog, tmp_path: Path) -> None:
    index_footprints(cycle).to_geoparquet(tmp_path / "c.parquet")
    stored = Catalog.from_geoparquet(tmp_path / "c.parquet")
    assert stored.filter(cycle=22).stored_cells is not None
    assert stored.filter(tracks="1").stored_cells is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"short_name": "ATL08"}, "holds ATL06_007, not ATL08"),
        ({"version": "006"}, "holds ATL06_007, not version 006"),
        ({"provider": "NSIDC_ECS"}, "of the provider 'NSIDC_CPRD', not 'NSIDC_ECS'"),
        ({"cycle": 3}, "holds cycle 22, not 3"),
        ({"start_date": "2023-01-01"}, "holds 2023-12-18 to 2024-03-18, not all of 2023-01-01"),
        ({"end_date": "2025-01-01"}, "not all of 2023-12-18 to 2025-01-01"),
        ({"cycle": 22, "convention": "nominal"}, "not all of 2024-01-06 to 2024-04-05"),
        ({"start_date": "2024-02-01", "end_date": "2024-01-01"}, "is after"),
        ({"season": "summer"}, "A season has days"),
    ],
)
def test_what_a_catalog_does_not_hold_is_refused(
    cycle: Catalog, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidQuery, match=message):
        cycle.filter(**asked)


def test_a_cycle_that_a_catalog_has_in_part_is_refused(dates: Catalog) -> None:
    with pytest.raises(InvalidQuery, match="not all of cycle 22, 2023-12-18 to 2024-03-18"):
        dates.filter(cycle=22)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tracks": "1-100"}, "holds the tracks 1-61 only, not all of 1-100"),
        ({"direction": "ascending"}, "holds descending granules only, not ascending ones"),
        ({"granule_regions": "1-5"}, "holds the along-track regions 4-9 only"),
        ({"season": "06"}, "No granule is left|the season 12 only, not 06"),
    ],
)
def test_a_filtered_catalog_is_not_widened(
    cycle: Catalog, asked: dict[str, Any], message: str
) -> None:
    held = {"tracks": "1-61", "direction": "descending", "granule_regions": "4-9", "season": "12"}
    name = next(iter(asked))
    filtered = cycle.filter(**{name: held[name]})
    if name != "season":
        assert filtered.filter(**{name: held[name]}).table.num_rows == len(filtered)
    with pytest.raises((InvalidQuery, EmptyHarvest), match=message):
        filtered.filter(**asked)


def test_an_empty_selection_says_why(cycle: Catalog) -> None:
    with pytest.raises(EmptyHarvest, match=r"of the 336 of the catalog: 336 are of other tracks"):
        cycle.filter(tracks="2")


def test_names_that_a_catalog_lacks_make_it_incomplete(cycle: Catalog) -> None:
    selected = cycle.filter(granules=[ids(cycle)[5], "ATL06_20240101000000_00012202_007_01"])
    assert ids(selected) == [ids(cycle)[5]]
    assert not selected.complete
    assert selected.metadata["harvest"]["missing"] == ["ATL06_20240101000000_00012202_007_01"]


def test_a_catalog_of_other_programs_is_selected_too(cycle: Catalog) -> None:
    foreign = Catalog(cycle.table.drop_columns(["start_datetime", "end_datetime"]), {})
    assert len(foreign.filter(tracks="1", granule_regions="10")) == 1
    assert 0 < len(foreign.filter(start_date="2024-01-01")) < len(foreign)
    with pytest.raises(InvalidQuery, match="holds ATL06_007"):
        foreign.filter(short_name="ATL08")


def test_filters_must_fit_the_product_of_the_catalog(cycle: Catalog) -> None:
    for metadata in ({"collection": "ATL12_007"}, {}):
        names = [f"ATL12_20240101000000_{n:04d}2201_007_01.h5" for n in range(1, len(cycle) + 1)]
        table = cycle.table.drop_columns(["collection"])
        table = table.set_column(table.schema.get_field_index("id"), "id", pa.array(names))
        with pytest.raises(InvalidQuery, match=r"one track in each granule .*not ATL12"):
            Catalog(table, metadata).filter(tracks="1")


def test_real_granules_are_selected_by_every_filter(real_data: Path) -> None:
    """Some ids have a suffix after the file's name."""
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    found = [(name, parse_granule_name(name)) for name in ids(catalog)]
    parts = [(name, one) for name, one in found if one is not None]
    assert len(parts) == len(catalog) == 2089
    assert ids(catalog.filter(tracks="800-900", direction="descending")) == [
        name for name, one in parts if 800 <= one.rgt <= 900 and 4 <= one.region <= 11
    ]
    season = catalog.filter(season="12..02", start_date="2020-01-01", end_date="2023-12-31")
    assert {name[10:12] for name in ids(season)} == {"12", "01", "02"}
    suffixed = [name for name in ids(catalog) if not name.endswith(".h5")][:3]
    files = [name.partition(".h5")[0] for name in suffixed]
    named = catalog.filter(granules=files)
    assert ids(named) == suffixed
    assert named.completeness == "unknown"


def test_a_row_without_a_time_is_set_aside(cycle: Catalog) -> None:
    times = pa.array([None, *cycle.table["datetime"].to_pylist()[1:]], cycle.table["datetime"].type)
    table = cycle.table.drop_columns(["start_datetime", "end_datetime"])
    table = table.set_column(table.schema.get_field_index("datetime"), "datetime", times)
    selected = Catalog(table, cycle.metadata).filter(start_date="2024-01-01")
    assert [entry["id"] for entry in selected.metadata["harvest"]["quarantined"]] == [ids(cycle)[0]]
    assert not selected.complete


def test_make_shardmap_selects_from_a_catalog(cycle: Catalog, tmp_path: Path) -> None:
    cycle.to_geoparquet(tmp_path / "c.parquet")
    query = Query("ATL06", "007", "2024-01-01", "2024-01-31", (-70, -80, -60, -75), tracks="1-700")
    made = make_shardmap(query, HealpixGrid(6, 12), catalog=tmp_path / "c.parquet")
    assert set(made.table["id"].to_pylist()) <= set(ids(cycle.select(query.selection)))
    wrong = Query("ATL08", "007", "2024-01-01", "2024-01-31", (-70, -80, -60, -75))
    with pytest.raises(InvalidQuery, match="holds ATL06_007, not ATL08"):
        make_shardmap(wrong, HealpixGrid(6, 12), catalog=cycle)


BOXES = {
    "Ronne": (-70, -80, -40, -75),
    "over the antimeridian": (170, -80, -170, -70),
    "Antarctica": (-180, -90, 180, -60),
    "Africa": (0, -20, 30, 20),
    "the globe": WORLD,
}
CIRCLE = shapely.Point(0, -75).buffer(8)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_a_box_selects_the_granules_of_a_fetch(
    source: CMRSource, cycle: Catalog, box: tuple[float, ...]
) -> None:
    fetched, selected = source.fetch(cycle_22(box)), cycle.filter(bbox=box)
    assert ids(selected) == ids(fetched)
    assert selected.bbox == fetched.bbox == box
    counts = selected.metadata["harvest"]
    assert counts["kept"] + counts["outside"]["region"] == counts["declared_after"] == len(cycle)
    different = {"harvest"}
    assert {k: v for k, v in selected.metadata.items() if k not in different} == {
        k: v for k, v in fetched.metadata.items() if k not in different
    }


def test_a_polygon_selects_what_touches_it_and_not_only_its_box(cycle: Catalog) -> None:
    selected = cycle.filter(region=CIRCLE)
    box = cycle.filter(bbox=CIRCLE.bounds)
    assert set(ids(selected)) < set(ids(box))
    assert selected.complete
    # Of the box it has only what is inside the circle.
    area = [shapely.box(*one) for one in selected.metadata["area"]]
    assert shapely.covers(CIRCLE, shapely.union_all(area))
    assert shapely.union_all(area).area > 0.8 * CIRCLE.area
    assert selected.filter(region=CIRCLE) == selected
    assert ids(selected.filter(bbox=(-2, -77, 2, -73))) == ids(cycle.filter(bbox=(-2, -77, 2, -73)))


def test_a_map_of_a_selected_polygon_is_complete_for_that_polygon_only(cycle: Catalog) -> None:
    selected, grid = cycle.filter(region=CIRCLE), HealpixGrid(6, 12)
    whole = ShardMap.build(cycle, grid, region=CIRCLE, edge="region")
    part = ShardMap.build(selected, grid, region=CIRCLE, edge="region")
    chosen = pc.is_in(whole.pairs()["id"], value_set=part.table["id"])
    assert part.pairs().equals(whole.pairs().filter(chosen))
    assert part.metadata["complete"] is whole.metadata["complete"] is True
    with pytest.warns(ShardsBeyondArea):
        edges = ShardMap.build(selected, grid, region=CIRCLE)
    assert 0 < len(edges.metadata["shards_beyond_area"]) < len(grid.coverage(CIRCLE))
    with pytest.warns(ShardsBeyondArea):
        box = ShardMap.build(selected, grid)
    assert box.metadata["complete"] is False


def test_a_region_beyond_the_area_of_a_catalog_is_incomplete(cycle: Catalog) -> None:
    south = cycle.filter(bbox=(-180, -90, 180, -60))
    with pytest.warns(IncompleteCatalog, match=r"box is \[-10, -70, 10, -50\], reaches beyond"):
        selected = south.filter(bbox=(-10, -70, 10, -50))
    assert selected.complete is False
    assert "reaches beyond the area" in explain_missing(selected.metadata)
    # It stays so, unless a region inside is selected.
    assert selected.filter(direction="descending").complete is False
    assert selected.filter(bbox=(-10, -70, 10, -65)).complete is True
    assert ShardMap.build(selected, HealpixGrid(4, 10), edge="region").metadata["complete"] is False
    with pytest.raises(EmptyHarvest, match=r"do not touch the region; the region, .* beyond"):
        south.filter(bbox=(0, 60, 10, 70))


def test_a_region_of_a_catalog_that_does_not_say_its_area_is_not_complete(cycle: Catalog) -> None:
    foreign = Catalog(cycle.table, {"complete": True})
    assert foreign.filter(bbox=BOXES["Ronne"]).completeness == "unknown"


def test_a_row_without_a_footprint_is_set_aside_by_a_region(cycle: Catalog) -> None:
    place = cycle.table.schema.get_field_index("geometry")
    shapes = pa.array([None, *cycle.table["geometry"].to_pylist()[1:]], pa.binary())
    table = cycle.table.set_column(place, cycle.table.schema.field(place), shapes)
    selected = Catalog(table, cycle.metadata).filter(bbox=BOXES["Antarctica"])
    (aside,) = selected.quarantined
    assert aside["id"] == ids(cycle)[0]
    assert "a region cannot select it" in aside["reason"]
    assert not selected.complete


def test_a_selection_has_one_region(cycle: Catalog) -> None:
    with pytest.raises(InvalidQuery, match="a bbox or a region, not both"):
        cycle.filter(bbox=BOXES["Ronne"], region=CIRCLE)
    with pytest.raises(InvalidRegion, match="has no area"):
        cycle.filter(bbox=(0, 1, 0, 2))


def test_a_box_selects_the_real_granules_that_cmr_found_in_it(real_data: Path) -> None:
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    box = (-76.62107, 38.84504, -76.50583, 38.93512)
    recorded = set((real_data / "recorded" / "serc_box_59_ids.txt").read_text().split())
    selected = ids(catalog.filter(bbox=box))
    # CMR takes WGS84's latitudes for those of a sphere: edges differ by tens of metres.
    enlarged = tuple(
        side + step for side, step in zip(box, (-1e-3, -1e-3, 1e-3, 1e-3), strict=True)
    )
    assert recorded <= set(ids(catalog.filter(bbox=enlarged)))
    assert len(recorded - set(selected)) == 2
