"""Programs of others that read the files of catalogs and maps: each gets the same rows."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.shardmap.test_cells import ANTARCTIC, GRIDS, RINGS, content
from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.shardmap import index_footprints

SIGN = 2**63
FIXTURES = Path(__file__).parent / "releases" / "fixtures"


def with_duckdb(path, *names):
    import duckdb

    assert tuple(map(int, duckdb.__version__.split(".")[:2])) < (1, 5), "must be an old one"
    return duckdb.sql(f"SELECT {', '.join(names)} FROM '{path}'").fetchall()


def with_polars(path, *names):
    import polars

    return polars.read_parquet(path, columns=list(names)).select(names).rows()


def with_fastparquet(path, *names):
    import fastparquet

    with open(path, "rb") as file:  # noqa: PTH123 - it leaves a file open that it opened itself
        whole = fastparquet.ParquetFile(file)
        frame = whole.to_pandas(columns=list(names))
    return list(zip(*(frame[name] for name in names), strict=True))


def with_geopandas(path, *names):
    import geopandas

    frame = geopandas.read_parquet(path)
    return list(zip(*(frame[name] for name in names), strict=True))


def with_pandas(path, *names):
    import pandas

    frame = pandas.read_parquet(path, columns=list(names))
    return list(zip(*(frame[name] for name in names), strict=True))


def with_rustac(path, *names):
    import rustac

    async def items():
        return (await rustac.read(str(path)))["features"]

    return rows_of_items(asyncio.run(items()), names)


def with_stac_geoparquet(path, *names):
    """Read as items, write them as JSON, and make a table of them again."""
    from stac_geoparquet import arrow

    items = list(arrow.stac_table_to_items(pq.ParquetFile(path).read()))
    table = arrow.parse_stac_items_to_arrow(json.loads(json.dumps(items))).read_all()
    return rows_of_items(arrow.stac_table_to_items(table), names)


def rows_of_items(items, names):
    return [tuple(({**item["properties"], **item}).get(name) for name in names) for item in items]


def plain(rows):
    """Rows of (text, list of integers or None)."""
    return [(text, None if many is None else [int(one) for one in many]) for text, many in rows]


OF_TABLES = [with_duckdb, with_polars, with_fastparquet]
OF_CATALOGS = [*OF_TABLES, with_geopandas, with_rustac, with_stac_geoparquet]
# GeoPandas says that it takes great circles for straight lines.
pytestmark = pytest.mark.filterwarnings("ignore:The geo metadata indicate:UserWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    catalog = make_catalog(*RINGS)
    catalog.to_geoparquet(folder / "catalog.parquet")
    index_footprints(catalog).to_geoparquet(folder / "indexed.parquet")
    ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC).to_parquet(folder / "map.parquet")
    return folder


@pytest.mark.parametrize("read", OF_CATALOGS)
@pytest.mark.parametrize("name", ["catalog.parquet", "indexed.parquet"])
def test_a_catalog_has_the_same_granules(folder, read, name):
    expected = pq.ParquetFile(folder / name).read(columns=["id", "collection"]).to_pylist()
    assert read(folder / name, "id", "collection") == [tuple(row.values()) for row in expected]


@pytest.mark.parametrize("read", OF_CATALOGS)
def test_a_catalog_has_the_same_cells(folder, read):
    cells = pq.ParquetFile(folder / "indexed.parquet").read(columns=["id", "footprint_cells"])
    expected = [tuple(row.values()) for row in cells.to_pylist()]
    assert sum(len(words) for _, words in expected) > 500
    assert plain(read(folder / "indexed.parquet", "id", "footprint_cells")) == expected


@pytest.mark.parametrize("read", [*OF_TABLES, with_pandas])
def test_a_map_has_the_same_pairs(folder, read):
    shard_map = ShardMap.from_parquet(folder / "map.parquet")
    assert max(shard_map.shard_keys) >= SIGN
    pairs = plain(read(folder / "map.parquet", "id", "shards"))
    shards = {}
    for name, keys in pairs:
        for key in keys:
            shards.setdefault(key, []).append(name)
    assert sorted(shards) == shard_map.shard_keys
    names = [[entry["id"] for entry in entries] for entries in shard_map.granules]
    assert [shards[key] for key in sorted(shards)] == names


@pytest.mark.parametrize("name", ["catalog.parquet", "indexed.parquet", "map.parquet"])
def test_duckdb_reads_all_columns(folder, name):
    file = pq.ParquetFile(folder / name)
    rows = with_duckdb(folder / name, "*")
    assert len(rows) == file.metadata.num_rows
    assert {len(row) for row in rows} == {len(file.schema_arrow.names)}


@pytest.mark.realdata
@pytest.mark.parametrize("read", OF_TABLES)
def test_long_columns_are_the_same(real_data, tmp_path, read):
    """1.3 million cells in several pages, and as many keys of a fine grid."""
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    index_footprints(catalog).to_geoparquet(tmp_path / "indexed.parquet")
    found = read(tmp_path / "indexed.parquet", "id", "footprint_cells")
    expected = pq.ParquetFile(tmp_path / "indexed.parquet").read(columns=["footprint_cells"])
    flat = np.concatenate([np.asarray(words, np.int64) for _, words in found])
    assert np.array_equal(flat, expected["footprint_cells"].combine_chunks().flatten())


class TestOldFiles:
    """Files of before, with unsigned cells, and byte streams for cells and keys."""

    def test_a_catalog_is_read_and_its_cells_are_found_again(self, tmp_path):
        path = FIXTURES / "catalog-v1.parquet"
        assert "BYTE_STREAM_SPLIT" in encodings(path, "footprint_cells.list.element")
        catalog = Catalog.from_geoparquet(path)
        assert catalog.stored_cells is None
        found = ShardMap.build(catalog, GRIDS[2], region=ANTARCTIC)
        assert len(found.pairs()) == 794
        index_footprints(catalog).to_geoparquet(tmp_path / "new.parquet")
        again = Catalog.from_geoparquet(tmp_path / "new.parquet")
        assert again.stored_cells is not None
        assert content(ShardMap.build(again, GRIDS[2], region=ANTARCTIC)) == content(found)
        assert with_duckdb(tmp_path / "new.parquet", "*")

    def test_a_map_has_the_same_pairs(self, tmp_path):
        path = FIXTURES / "shardmap-v1.parquet"
        assert "BYTE_STREAM_SPLIT" in encodings(path, "shards.list.element")
        found = ShardMap.from_parquet(path)
        rows = pq.ParquetFile(path).read(columns=["id", "shards"]).to_pylist()
        pairs = sorted((key, row["id"]) for row in rows for key in row["shards"])
        assert len(pairs) == 954
        shards = zip(found.shard_keys, found.granules, strict=True)
        assert sorted((key, entry["id"]) for key, some in shards for entry in some) == pairs
        some = found.shard_keys[::50]
        assert ShardMap.from_parquet(path, shards=some) == found.select(some)
        found.to_parquet(tmp_path / "new.parquet")
        assert ShardMap.from_parquet(tmp_path / "new.parquet") == found
        assert with_duckdb(tmp_path / "new.parquet", "*")


def encodings(path, column):
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return next(one.encodings for one in columns if one.path_in_schema == column)
