"""A file of one name under two addresses is once in a map, as zagg demands."""

import pyarrow as pa
import pytest

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.errors import InvalidShardMap
from zagg_catalog.shardmap import merge_maps
from zagg_catalog.shardmap.copies import without_copies
from zagg_catalog.shardmap.empty import EmptyMap

GRID = HealpixGrid(6, 12)
NEAR = [(0, 0), (1, 0), (1, 1.2), (0, 1)]
NAME = "ATL06_20231218211600_00012201_007_01.h5"
ECS, CPRD = f"{NAME}_ecs", f"{NAME}_cprd"


def listed(*entries, rings=(SQUARE, NEAR)):
    """A catalog of ``(id, S3 address, HTTPS address)``; starts are those of `make_catalog`."""
    catalog = make_catalog(*rings[: len(entries)])
    rows = catalog.table.to_pylist()
    for row, (name, s3, https) in zip(rows, entries, strict=True):
        row["id"] = name
        row["assets"]["data_s3"] = s3 and {"href": s3, "roles": ["data"]}
        row["assets"]["data"] = https and {"href": https, "roles": ["data"]}
    return Catalog(pa.Table.from_pylist(rows, schema=catalog.table.schema), catalog.metadata)


TWICE = listed(
    (ECS, None, f"https://ecs/{NAME}"),
    (CPRD, f"s3://cprd/{NAME}", f"https://cprd/{NAME}"),
)


def test_of_two_copies_the_one_on_s3_counts():
    found = ShardMap.build(TWICE, GRID)
    assert found.table["id"].to_pylist() == [CPRD]
    assert found.metadata["superseded"] == [{"id": ECS, "by": CPRD}]
    counts = ("total_granules", "granules_assigned", "total_shards", "total_pairs")
    assert [found.metadata[key] for key in counts] == [2, 1, len(found), found.n_pairs]


def test_of_two_buckets_the_first_by_id_counts():
    catalog = listed(("b", f"s3://one/{NAME}", None), ("a", f"s3://two/{NAME}", None))
    assert ShardMap.build(catalog, GRID).table["id"].to_pylist() == ["a"]


@pytest.mark.zagg
def test_zagg_refuses_the_catalog_and_accepts_the_map():
    zagg = pytest.importorskip("zagg.catalog.shardmap")
    found = ShardMap.build(TWICE, GRID)
    entries = [[{k: row[k] for k in ("id", "s3", "https")} for row in g] for g in found.granules]
    zagg._refuse_basename_collisions(found.shard_keys, entries)
    records = [
        {"id": ECS, "https": f"https://ecs/{NAME}"},
        {"id": CPRD, "https": f"https://c/{NAME}"},
    ]
    with pytest.raises(ValueError, match="identity collision"):
        zagg._refuse_basename_collisions([1], [records])


def test_a_shard_that_only_a_copy_reaches_is_left_out():
    catalog = listed(
        (ECS, None, f"https://ecs/{NAME}"),
        (CPRD, f"s3://cprd/{NAME}", None),
        rings=([(0, 0), (20, 0), (20, 5), (0, 5)], SQUARE),
    )
    https = ShardMap.build(listed((ECS, None, f"https://ecs/{NAME}")), GRID)
    # Different slots: no run reads both names, so both count.
    assert ShardMap.build(catalog, GRID).table.num_rows == 2
    both = listed(
        (ECS, None, f"https://ecs/{NAME}"),
        (CPRD, f"s3://cprd/{NAME}", f"https://cprd/{NAME}"),
        rings=([(0, 0), (20, 0), (20, 5), (0, 5)], SQUARE),
    )
    assert ShardMap.build(both, GRID).shard_keys == https.shard_keys


def test_different_granules_whose_files_have_one_name_fail_by_name():
    catalog = listed(("scene-1", "s3://b/1/B04.tif", None), ("scene-2", "s3://b/2/B04.tif", None))
    with pytest.raises(InvalidShardMap, match=r"b/1/B04\.tif and s3://b/2/B04\.tif"):
        ShardMap.build(catalog, GRID)


def test_files_of_one_name_without_times_are_no_copies():
    catalog = listed(("scene-1", "s3://b/1/B04.tif", None), ("scene-2", "s3://b/2/B04.tif", None))
    nowhen = pa.nulls(2, catalog.table.schema.field("start_datetime").type)
    place = catalog.table.schema.get_field_index("start_datetime")
    table = catalog.table.set_column(place, catalog.table.schema.field(place), nowhen)
    with pytest.raises(InvalidShardMap, match="two files of one name"):
        ShardMap.build(Catalog(table, catalog.metadata), GRID)


def test_files_of_one_name_in_different_shards_stay():
    catalog = listed(
        ("scene-1", "s3://b/1/B04.tif", None),
        ("scene-2", "s3://b/2/B04.tif", None),
        rings=(SQUARE, [(100, 40), (101, 40), (101, 41), (100, 41)]),
    )
    catalog.metadata["bbox"] = [0, 0, 102, 42]
    assert ShardMap.build(catalog, GRID).table.num_rows == 2


def test_a_map_without_copies_is_unchanged():
    found = ShardMap.build(make_catalog(SQUARE, NEAR), GRID)
    assert without_copies(found) is found
    assert "superseded" not in found.metadata


def test_merged_maps_have_a_granule_once():
    one = ShardMap.build(listed((ECS, None, f"https://ecs/{NAME}")), GRID)
    two = ShardMap.build(listed((CPRD, f"s3://c/{NAME}", f"https://c/{NAME}")), GRID)
    merged = merge_maps([one, two])
    assert merged.table["id"].to_pylist() == [CPRD]
    assert merged.metadata["superseded"] == [{"id": ECS, "by": CPRD}]
    assert merged.metadata["total_pairs"] == merged.n_pairs


def revisions(*names, rings=(SQUARE,) * 3):
    """A catalog of other programs, of granules with these ids."""
    table = make_catalog(*rings[: len(names)]).table
    place = table.schema.get_field_index("id")
    return Catalog(table.set_column(place, "id", pa.array(names)), {"bbox": [-1, -1, 7, 2]})


def test_of_two_revisions_in_a_catalog_of_others_the_newest_counts():
    old, new = (f"ATL06_20231218211600_00012201_007_{n}.h5" for n in ("01", "02"))
    other = "ATL06_20231218211600_00022201_007_01.h5"
    built = ShardMap.build(revisions(old, new, other), GRID)
    assert built.table["id"].to_pylist() == [new, other]
    assert built.metadata["superseded"] == [{"id": old, "by": new}]
    assert built.metadata["granules_assigned"] == 2
    assert built.metadata["total_pairs"] == built.n_pairs == 2 * len(built)


def test_an_older_revision_counts_if_the_newer_one_cannot_be_used():
    old, new = (f"ATL06_20231218211600_00012201_007_{n}.h5" for n in ("01", "02"))
    built = ShardMap.build(revisions(old, new, rings=(SQUARE, None)), GRID)
    assert built.table["id"].to_pylist() == [old]
    assert [entry["id"] for entry in built.quarantined] == [new]


def test_a_revision_elsewhere_replaces_the_older_one_in_its_shards():
    old, new = (f"ATL06_20231218211600_00012201_007_{n}.h5" for n in ("01", "02"))
    far = [(x + 50, y) for x, y in SQUARE]
    with pytest.warns(EmptyMap):
        built = ShardMap.build(revisions(old, new, rings=(SQUARE, far)), GRID)
    assert not len(built)
    assert built.metadata["superseded"] == [{"id": old, "by": new}]
