"""Columns of catalogs in the types that others write."""

from datetime import date, datetime

import pyarrow as pa
import pytest

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog
from zagg_catalog.catalog.columns import iso_times
from zagg_catalog.catalog.table import granule_entries
from zagg_catalog.cli.inspect import summarise_catalog
from zagg_catalog.errors import InvalidCatalog


def with_column(name, values):
    table = make_catalog(*[SQUARE] * len(values)).table
    return table.set_column(table.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([date(2024, 1, 2)], pa.date32()), "2024-01-02T00:00:00+00:00"),
        (pa.array([date(2024, 1, 2)], pa.date64()), "2024-01-02T00:00:00+00:00"),
        (pa.array([1_700_000_000_000_000_001], pa.timestamp("ns")), "2023-11-14T22:13:20+00:00"),
        (pa.array([datetime(2024, 1, 2)], pa.timestamp("s", "UTC")), "2024-01-02T00:00:00+00:00"),
        (
            pa.array([-62_135_596_799_999_990], pa.timestamp("us")),
            "0001-01-01T00:00:00.000010+00:00",
        ),
        (pa.array([-500_000], pa.timestamp("us", "UTC")), "1969-12-31T23:59:59.500000+00:00"),
        (pa.array(["2024-01-02T03:04:05Z"], pa.large_string()), "2024-01-02T03:04:05Z"),
        (pa.array(["2024-01-02T03:04:05Z"], pa.string_view()), "2024-01-02T03:04:05Z"),
        (pa.nulls(1), None),
    ],
)
def test_times_of_all_kinds_are_read(values, text):
    catalog = Catalog(with_column("start_datetime", values))
    assert iso_times(catalog.table, "start_datetime").to_pylist() == [text]
    assert granule_entries(catalog.table)["time_start"].to_pylist() == [text]
    assert summarise_catalog(catalog)["first_granule"] == text


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("start_datetime", pa.array([1.5]), "start_datetime must be a column of times or text"),
        ("id", pa.array([["a.h5"]]), "id must be a column of text"),
        ("id", pa.array(["a.h5", None]), "1 of 2 granules have no id"),
        ("assets", pa.array(["a.h5"]), "assets must be a struct"),
    ],
)
def test_a_column_that_nothing_reads_is_named(name, values, says):
    with pytest.raises(InvalidCatalog, match=says):
        Catalog(with_column(name, values))


def test_a_column_that_is_there_twice_is_named():
    table = make_catalog(SQUARE).table
    with pytest.raises(InvalidCatalog, match="it has id several times"):
        Catalog(table.append_column("id", table["id"]))


def test_an_asset_without_href_is_no_link():
    assets = pa.array([{"data": {"url": "https://host/a.h5"}}])
    entries = granule_entries(Catalog(with_column("assets", assets)).table)
    assert entries.select(["s3", "https"]).to_pylist() == [{"s3": None, "https": None}]
