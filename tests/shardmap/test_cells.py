"""Footprint cells: one set for every grid, shared by builds, the same however it is found."""

import os
import pickle
import threading

import mortie
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.footprints import footprints
from tests.oracle.sphere import vectors
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap, from_config, load_polygon
from zagg_catalog.catalog.cell_words import numbers_of, pack, unlist, unpack, words_of
from zagg_catalog.catalog.geoparquet import PACKED_KEY
from zagg_catalog.catalog.schema import CELLS_TYPE
from zagg_catalog.errors import InvalidOption
from zagg_catalog.regions import bbox_region
from zagg_catalog.shardmap import build_maps, cell_index, cells, index_footprints

SOUTH = bbox_region((-180, -90, 180, 10))
ANTARCTIC = bbox_region((-180, -90, 180, -60))
GRIDS = [
    HealpixGrid(1, 12),
    HealpixGrid(6, 12),
    HealpixGrid(8, 12),
    HealpixGrid(9, 12),
    HealpixGrid(10, 12),
    RectilinearGrid("EPSG:3031", 1000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6]),
]
# A swath down to the pole, one over the antimeridian, one up north, a patch that holds cells.
RINGS = [
    [(10, -60), (10.5, -60), (40, -87.5), (30, -87.6)],
    [(178, -75), (-178, -75), (-178, -70), (178, -70)],
    [(10, 60), (11, 60), (11, 61), (10, 61)],
    [(-60, -88), (60, -88), (180, -88)],
]
FAULTY = [*RINGS, None, [(0, -70), (10, -75), (10, -70), (0, -75)]]


def content(shard_map):
    """All of a map but the time that it took."""
    metadata = {k: v for k, v in shard_map.metadata.items() if k != "build_wall_s"}
    return (
        shard_map.shards.tolist(),
        shard_map.offsets.tolist(),
        shard_map.rows.tolist(),
        shard_map.table.to_pylist(),
        metadata,
    )


def alone(rings, grid, *, catalog=make_catalog, **options):
    return content(ShardMap.build(catalog(*rings), grid, allow_empty=True, **options))


def patches(*rings):
    """A catalog of no product that is known by name: footprints of any size are plausible."""
    return make_catalog(*rings, metadata={"collection": "PATCHES_001"})


@pytest.mark.parametrize("backend", ["mortie", "spherely"])
def test_a_grid_built_beside_others_is_the_grid_built_alone(backend):
    options = {"region": ANTARCTIC, "backend": backend}
    grids = GRIDS if backend == "mortie" else GRIDS[:3]
    maps = build_maps(make_catalog(*FAULTY), grids, **options)
    for grid, shard_map in zip(grids, maps, strict=True):
        assert content(shard_map) == alone(FAULTY, grid, **options)


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    footprints(vectors(-90, 0), 0.3, lambda which, along: vectors(-80, 360 * which), longest=1.0),
    footprints(vectors(-17, 180), 0.3, lambda which, along: vectors(-17 + along, 180), longest=1.0),
)
def test_however_drawn_a_footprint_gets_the_same_shards(first, second):
    """Alone, beside others, from stored cells, on one core, in small batches."""
    rings = [np.column_stack([lons, lats]) for lats, lons in (first, second, first)]
    expected = [alone(rings, grid, catalog=patches, region=SOUTH) for grid in GRIDS[:3]]
    catalog = patches(*rings)
    indexed = index_footprints(catalog)
    assert (
        list(map(content, build_maps(indexed, GRIDS[:3], region=SOUTH, allow_empty=True)))
        == expected
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        patch.setattr(cell_index, "BATCH", 2)
        patch.setattr(cell_index, "CACHE_BYTES", 0)
        maps = build_maps(patches(*rings), GRIDS[:3], region=SOUTH, allow_empty=True)
        assert list(map(content, maps)) == expected


def test_the_second_grid_finds_its_cells_made(monkeypatch):
    catalog = make_catalog(*RINGS)
    ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC)
    monkeypatch.setattr(cell_index, "footprint_cells", None)
    monkeypatch.setattr(cell_index, "read_footprints", None)
    second = ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)
    assert content(second) == alone_before(monkeypatch, RINGS, GRIDS[2])


def alone_before(monkeypatch, rings, grid):
    monkeypatch.undo()
    return alone(rings, grid, region=ANTARCTIC)


def test_another_region_adds_the_cells_that_are_lacking():
    catalog = make_catalog(*RINGS)
    for box in [(0, 50, 30, 70), (-180, -90, 180, -80), (170, -80, -170, -60)]:
        region = bbox_region(box)
        again = content(ShardMap.build(catalog, GRIDS[2], region=region))
        assert again == alone(RINGS, GRIDS[2], region=region)


def test_another_table_is_looked_at_anew():
    catalog = make_catalog(*RINGS)
    ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC)
    catalog.table = catalog.table.slice(1)
    found = ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC)
    other = make_catalog(*RINGS)
    other.table = other.table.slice(1)
    assert content(found) == content(ShardMap.build(other, GRIDS[1], region=ANTARCTIC))


def test_builds_side_by_side_share_one_catalog():
    catalog = make_catalog(*RINGS)
    found = {}

    def build(number):
        found[number] = ShardMap.build(catalog, GRIDS[number], region=ANTARCTIC)

    threads = [threading.Thread(target=build, args=(n,)) for n in range(len(GRIDS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, grid in enumerate(GRIDS):
        assert content(found[number]) == alone(RINGS, grid, region=ANTARCTIC)


def test_a_granule_of_several_parts_is_paired_once():
    catalog = make_catalog(SQUARE)
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(0.5, 2, 1, 3)])
    place = catalog.table.schema.get_field_index("geometry")
    column = pa.array([parts.wkb], pa.binary())
    catalog.table = catalog.table.set_column(place, "geometry", column)
    found = ShardMap.build(catalog, HealpixGrid(4, 8), region=bbox_region((-5, -5, 5, 5)))
    assert found.n_pairs == len(set(found.shard_keys)) > 0


def test_numbers_of_words_go_back():
    words = [mortie.geo2mort(np.arange(-90, 91.0), np.arange(181.0), order=o) for o in range(10)]
    words = np.unique(np.concatenate(words)).astype(np.uint64)
    assert (words_of(numbers_of(words)) == words).all()


@given(
    st.lists(
        st.none() | st.lists(st.integers(1, 2**24) | st.integers(2**20, 2**20 + 600), max_size=40),
        max_size=8,
    ),
    st.integers(0, 3),
)
def test_packed_cells_are_those_of_the_words(rows, start):
    words = [row and words_of(np.array(row, np.int64)).view(np.int64).tolist() for row in rows]
    lists = pa.array(words, CELLS_TYPE).slice(start)
    packed = pack(lists)
    for expected, found in zip(unlist(lists), unpack(packed), strict=True):
        assert np.array_equal(expected, found)
    half = len(lists) // 2
    for expected, found in zip(unlist(lists[half:]), unpack(packed[half:]), strict=True):
        assert np.array_equal(expected, found)


class TestStored:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "indexed.parquet"
        index_footprints(make_catalog(*FAULTY)).to_geoparquet(path)
        return path

    @pytest.mark.parametrize("grid", GRIDS, ids=repr)
    def test_a_build_takes_them_for_the_footprints(self, path, grid, monkeypatch):
        expected = alone(FAULTY, grid, region=ANTARCTIC)
        if grid.kind == "healpix" and grid.parent_order <= 9:
            monkeypatch.setattr(cell_index, "read_footprints", None)
        catalog = Catalog.from_geoparquet(path)
        assert content(ShardMap.build(catalog, grid, region=ANTARCTIC)) == expected

    def test_they_stay_in_the_file_until_wanted_and_are_written_again(self, path, tmp_path):
        catalog = Catalog.from_geoparquet(path)
        assert not [name for name in catalog.table.schema.names if name.startswith("footprint_")]
        catalog.to_geoparquet(tmp_path / "again.parquet")
        again = pq.read_table(tmp_path / "again.parquet")
        assert again.equals(pq.read_table(path), check_metadata=True)

    def test_they_outlive_the_file(self, path, monkeypatch):
        catalog = Catalog.from_geoparquet(path)
        path.unlink()
        monkeypatch.setattr(cell_index, "read_footprints", None)
        assert ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC).n_pairs

    def test_a_file_without_the_packed_ones_is_read(self, path, tmp_path, monkeypatch):
        """Files of earlier versions have words and notes only."""
        expected = alone(FAULTY, GRIDS[2], region=ANTARCTIC)
        table = pq.ParquetFile(path).read()
        plain = table.drop_columns(["footprint_cells_packed"])
        kept = {k: v for k, v in table.schema.metadata.items() if k != PACKED_KEY}
        pq.write_table(plain.replace_schema_metadata(kept), tmp_path / "old.parquet")
        monkeypatch.setattr(cell_index, "read_footprints", None)
        catalog = Catalog.from_geoparquet(tmp_path / "old.parquet")
        assert content(ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)) == expected
        catalog.to_geoparquet(tmp_path / "new.parquet")
        again = pq.ParquetFile(tmp_path / "new.parquet").read()
        assert again.equals(table, check_metadata=True)

    def test_packed_ones_beside_other_words_do_not_count(self, path, tmp_path):
        """A program that does not know the column copies it, and may make the words anew."""
        table = pq.ParquetFile(path).read()
        place = table.schema.get_field_index("footprint_cells_packed")
        column = pa.nulls(len(table), table.schema.field(place).type)
        kept = {k: v for k, v in table.schema.metadata.items() if k != PACKED_KEY}
        table = table.set_column(place, table.schema.field(place), column)
        pq.write_table(table.replace_schema_metadata(kept), tmp_path / "copied.parquet")
        catalog = Catalog.from_geoparquet(tmp_path / "copied.parquet")
        assert "footprint_cells_packed" not in catalog.table.schema.names
        found = ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)
        assert content(found) == alone(FAULTY, GRIDS[2], region=ANTARCTIC)

    def test_other_footprints_than_they_were_made_of_are_read(self, path, tmp_path):
        table = pq.read_table(path)
        moved = make_catalog(*FAULTY[::-1]).table["geometry"]
        place = table.schema.get_field_index("geometry")
        table = table.set_column(place, table.schema.field("geometry"), moved)
        pq.write_table(table, tmp_path / "moved.parquet")
        catalog = Catalog.from_geoparquet(tmp_path / "moved.parquet")
        assert catalog.stored_cells is None
        found = ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)
        assert content(found) == alone(FAULTY[::-1], GRIDS[2], region=ANTARCTIC)
        catalog.to_geoparquet(tmp_path / "written.parquet")
        names = pq.read_schema(tmp_path / "written.parquet").names
        assert "footprint_cells" not in names

    def test_some_of_the_rows_are_read_anew(self, path):
        catalog = Catalog.from_geoparquet(path)
        catalog.table = catalog.table.filter(pc.less(pc.field("id"), "ATL06_20231218211600_0003"))
        found = ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC)
        assert found.metadata["total_granules"] == 2
        assert content(found)[:3] == alone(FAULTY[:2], GRIDS[1], region=ANTARCTIC)[:3]

    def test_a_catalog_goes_to_another_process(self, path):
        catalog = Catalog.from_geoparquet(path)
        ShardMap.build(catalog, GRIDS[1], region=ANTARCTIC)
        again = pickle.loads(pickle.dumps(catalog))
        found = ShardMap.build(again, GRIDS[1], region=ANTARCTIC)
        assert content(found) == alone(FAULTY, GRIDS[1], region=ANTARCTIC)

    def test_what_mortie_cannot_cover_stays_quarantined(self, tmp_path, monkeypatch):
        def refuse(footprints, order):
            if 3 in footprints.granule:
                raise ValueError("too thick")
            return cover_all(footprints, order)

        cover_all = cells._cover_all
        monkeypatch.setattr(cells, "_cover_all", refuse)
        expected = alone(RINGS, GRIDS[2], region=ANTARCTIC)
        assert "too thick" in expected[-1]["quarantined"][0]["reason"]
        index_footprints(make_catalog(*RINGS)).to_geoparquet(tmp_path / "indexed.parquet")
        catalog = Catalog.from_geoparquet(tmp_path / "indexed.parquet")
        assert content(ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)) == expected

    def test_another_order_is_refused(self):
        with pytest.raises(InvalidOption, match="must be of order 9"):
            index_footprints(make_catalog(SQUARE), 11)


@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
class TestWithZagg:
    def test_it_reads_our_cells(self, real_data, tmp_path):
        """Its maps of our file and ours are the same, and come from our cells alone."""
        zagg = pytest.importorskip("zagg.catalog.sources")
        from zagg.catalog import load_polygon as zagg_polygon
        from zagg.catalog.shardmap import ShardMap as ZaggShardMap
        from zagg.config import load_config
        from zagg.grids import from_config as zagg_grid

        real = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
        index_footprints(real).to_geoparquet(tmp_path / "ours.parquet")
        theirs = zagg.Catalog.from_geoparquet(str(tmp_path / "ours.parquet"))
        config, area = real_data / "healpix_o9.yaml", real_data / "aop_neon.geojson"
        built = ZaggShardMap.build(
            theirs,
            zagg_grid(load_config(str(config))),
            region=zagg_polygon(str(area)),
            backend="mortie",
        )
        ours = ShardMap.build(real, from_config(config), region=load_polygon(area))
        assert built.shard_keys == ours.shard_keys
        assert built.granules == ours.granules

    def test_its_cells_are_not_taken_for_ours(self, real_data, tmp_path):
        zagg = pytest.importorskip("zagg.catalog.sources")
        theirs = zagg.Catalog.from_geoparquet(str(real_data / "atl03_007_neon.parquet"))
        theirs.index_footprints(6).to_geoparquet(str(tmp_path / "zagg.parquet"))
        catalog = Catalog.from_geoparquet(tmp_path / "zagg.parquet")
        assert catalog.stored_cells is None
        region = load_polygon(real_data / "aop_neon.geojson")
        grid = from_config(real_data / "healpix_o9.yaml")
        assert ShardMap.build(catalog, grid, region=region).n_pairs == 314
        assert index_footprints(catalog).stored_cells is not None
