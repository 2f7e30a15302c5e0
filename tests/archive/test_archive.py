"""The archive: maps of every stored cycle, continued, complete or said not to be."""

import pytest

from tests.archive.conftest import CYCLES, REGION, catalog_of
from tests.releases import inputs
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.archive import (
    ArchiveGrid,
    StoredCatalog,
    build_archive,
    catalog_files,
    release_catalogs,
)
from zagg_catalog.errors import InvalidGrid, InvalidQuery
from zagg_catalog.shardmap import index_footprints

RELEASE_KEY = (inputs.PRODUCT, inputs.REGION)


def states(report):
    return [one.state for one in (*report.maps, *report.merged)]


def test_every_cycle_gets_the_map_that_a_build_of_its_catalog_gives(store, grids, tmp_path):
    catalogs, missing = release_catalogs(store, *RELEASE_KEY, range(1, 5))
    report = build_archive(catalogs, grids, output=tmp_path / "maps", region=REGION)
    assert list(missing) == ["c03"]
    assert "no latest release" in missing["c03"]
    assert [(one.catalog, one.grid) for one in report.maps] == [
        (label, grid.name) for label in ("c01", "c02", "c04") for grid in grids
    ]
    for cycle, made in zip(CYCLES, report.maps[::2], strict=True):
        assert made.path.name == f"healpix_ATL06_007_antarctica_c{cycle:02d}.parquet"
        direct = ShardMap.build(catalog_of(cycle), grids[0].grid, region=REGION)
        assert ShardMap.from_parquet(made.path).granules == direct.granules
        assert (made.shards, made.pairs) == (len(direct), direct.n_pairs)
        assert made.granules == 4


def test_files_need_no_store_and_are_covered_over_their_own_boxes(files, grids, tmp_path):
    catalogs = catalog_files([str(files / "c*.parquet")])
    report = build_archive(catalogs, grids[:1], output=tmp_path, suffix=".json")
    assert [one.path.name for one in report.maps] == [
        f"healpix_c{cycle:02d}.json" for cycle in CYCLES
    ]
    assert ShardMap.from_json(report.maps[0].path).n_pairs == report.maps[0].pairs > 0


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_run_goes_on_where_another_one_stopped(files, grids, tmp_path, suffix):
    """Nothing is loaded nor written for maps that are there; a lost one is made again."""
    catalogs = catalog_files([str(files / "c*.parquet")])
    loaded = []

    def noted(one):
        def load():
            loaded.append(one.label)
            return one.load()

        return StoredCatalog(label=one.label, series="", digest=one.digest, load=load)

    catalogs = [noted(one) for one in catalogs]
    first = build_archive(catalogs, grids, output=tmp_path, suffix=suffix)
    assert loaded == ["c01", "c02", "c04"]
    first.maps[2].path.unlink()
    kept = {one.path: one.path.stat().st_mtime_ns for one in first.maps if one.path.exists()}
    again = build_archive(catalogs, grids, output=tmp_path, suffix=suffix)
    assert loaded == ["c01", "c02", "c04", "c02"]
    assert sorted(states(again)) == ["built"] + ["kept"] * 5
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    counts = [(one.path, one.pairs, one.shards) for one in first.maps]
    assert sorted(counts) == sorted((one.path, one.pairs, one.shards) for one in again.maps)


@pytest.mark.parametrize("changed", ["catalog", "region", "options", "grid", "version"])
def test_a_map_of_other_inputs_is_made_again(files, grids, tmp_path, changed, monkeypatch):
    catalogs, grid, region = catalog_files([str(files / "c01.parquet")]), grids[0], REGION
    build_archive(catalogs, [grid], output=tmp_path, region=region)
    if changed == "catalog":
        catalog_of(1, source="elsewhere").to_geoparquet(tmp_path / "c01.parquet")
        catalogs = catalog_files([str(tmp_path / "c01.parquet")])
    elif changed == "region":
        region = None
    elif changed == "options":
        grid = ArchiveGrid(name="healpix", grid=grid.grid, options={"mortie_order": 11})
    elif changed == "grid":
        grid = ArchiveGrid(name="healpix", grid=type(grid.grid)(6, 8))
    else:
        monkeypatch.setattr("zagg_catalog.archive.build.version_of", lambda name: "99")
    assert states(build_archive(catalogs, [grid], output=tmp_path, region=region)) == ["built"]


def test_a_file_that_is_no_map_is_replaced(files, grids, tmp_path):
    catalogs = catalog_files([str(files / "c01.parquet")])
    for suffix in (".parquet", ".json"):
        (tmp_path / f"healpix_c01{suffix}").write_text("something else")
        assert states(build_archive(catalogs, grids[:1], output=tmp_path, suffix=suffix)) == [
            "built"
        ]


def test_one_map_of_all_cycles_is_the_map_of_all_granules(files, grids, tmp_path):
    import pyarrow as pa

    catalogs = catalog_files([str(files / "c*.parquet")])
    report = build_archive(catalogs, grids, output=tmp_path, merge=True, suffix=".json")
    whole = pa.concat_tables([catalog_of(cycle).table for cycle in CYCLES])
    assert [one.path.name for one in report.merged] == [
        f"{grid.name}_c01-c04.json" for grid in grids
    ]
    for grid, made in zip(grids, report.merged, strict=True):
        merged = ShardMap.from_json(made.path)
        direct = ShardMap.build(Catalog(whole, catalog_of(1).metadata), grid.grid)
        assert merged.shard_keys == direct.shard_keys
        assert merged.granules == direct.granules
        assert merged.metadata["total_granules"] == 12
        assert merged.metadata["cycles"] == [1, 2, 4]
        assert merged.metadata["end_date"] == "2019-04-28"
    again = build_archive(catalogs, grids, output=tmp_path, merge=True, suffix=".json")
    assert set(states(again)) == {"kept"}


def test_options_may_differ_from_grid_to_grid(files, tmp_path):
    grids = [
        ArchiveGrid(name="fine", grid=HealpixGrid(5, 8), options={"mortie_order": 11}),
        ArchiveGrid(name="plain", grid=HealpixGrid(5, 8)),
        ArchiveGrid(name="coarse", grid=HealpixGrid(4, 8)),
    ]
    catalogs = catalog_files([str(files / "c01.parquet")])
    report = build_archive(catalogs, grids, output=tmp_path, region=REGION)
    assert {one.grid for one in report.maps} == {"fine", "plain", "coarse"}
    for one in report.maps:
        order = 11 if one.grid == "fine" else 9
        assert ShardMap.from_parquet(one.path).metadata["mortie_order"] == order


def test_cells_in_the_stored_catalog_change_no_pair(files, grids, tmp_path):
    for cycle in CYCLES:
        index_footprints(catalog_of(cycle)).to_geoparquet(tmp_path / f"c{cycle:02d}.parquet")
    cells = catalog_files([str(tmp_path / "c*.parquet")])
    rings = catalog_files([str(files / "c*.parquet")])
    for one, other in zip(
        build_archive(cells, grids, output=tmp_path / "cells").maps,
        build_archive(rings, grids, output=tmp_path / "rings").maps,
        strict=True,
    ):
        maps = [ShardMap.from_parquet(made.path) for made in (one, other)]
        assert maps[0].granules == maps[1].granules


def test_an_incomplete_catalog_makes_partial_maps(grids, tmp_path):
    catalog_of(1, complete=False).to_geoparquet(tmp_path / "c01.parquet")
    catalog_of(2).to_geoparquet(tmp_path / "c02.parquet")
    catalogs = catalog_files([str(tmp_path / "c*.parquet")])
    report = build_archive(catalogs, grids[:1], output=tmp_path / "maps", merge=True)
    assert [one.complete for one in report.maps] == [False, True]
    assert [one.complete for one in report.merged] == [False]
    assert not report.complete


def test_a_catalog_that_cannot_be_read_fails_its_own_maps_only(store, grids, tmp_path):
    catalogs, _ = release_catalogs(store, *RELEASE_KEY, CYCLES)
    damaged = next((tmp_path / "store" / "catalogs").rglob("cycle=2/*.parquet"))
    damaged.write_bytes(b"damaged")
    report = build_archive(catalogs, grids[:1], output=tmp_path / "maps", merge=True)
    assert states(report) == ["built", "failed", "built", "failed"]
    assert "is corrupt" in report.maps[1].error
    assert "c02" in report.merged[0].error


def test_names_are_there_once(files, grids, tmp_path):
    catalogs = catalog_files([str(files / "c01.parquet")])
    with pytest.raises(InvalidQuery, match="grid healpix is given more than once"):
        build_archive(catalogs, [grids[0], grids[0]], output=tmp_path)
    with pytest.raises(InvalidQuery, match="at least one catalog"):
        build_archive([], grids, output=tmp_path)
    (tmp_path / "c01.parquet").write_bytes((files / "c01.parquet").read_bytes())
    with pytest.raises(InvalidQuery, match="have the same name"):
        catalog_files([str(files / "c01.parquet"), str(tmp_path / "c01.parquet")])
    with pytest.raises(InvalidQuery, match="no catalog file"):
        catalog_files([str(tmp_path / "d*.parquet")])


@pytest.mark.parametrize(
    "fault", [InvalidGrid("too fine."), RuntimeError("PROJ\nfails"), MemoryError()]
)
def test_a_grid_that_cannot_be_built_fails_its_own_maps_only(files, grids, tmp_path, fault):
    class Broken(HealpixGrid):
        def coverage(self, parts):
            raise fault

    some = [ArchiveGrid(name="broken", grid=Broken(4, 9)), *grids]
    report = build_archive(
        catalog_files([str(files / "c01.parquet")]), some, output=tmp_path / "maps"
    )
    found = {one.grid: one.state for one in report.maps}
    assert found == {"broken": "failed", "healpix": "built", "plate": "built"}
    assert "\n" not in report.failed[0].error
