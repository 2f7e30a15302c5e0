"""One grammar reads the names of all ICESat-2 products."""

from datetime import datetime

import pyarrow as pa
import pytest

from zagg_catalog.granule_names import (
    granule_keys,
    granule_name_columns,
    parse_granule_name,
    revision_ranks,
)

# A name of every form: product, RGT, first and last cycle, region, release, revision and part.
FORMS = {
    "ATL03_20211117212830_08621302_007_02.h5": ("ATL03", 862, 13, 13, 2, "007", 2, ""),
    "ATL08QL_20240110000000_03352211_007_01.h5": ("ATL08QL", 335, 22, 22, 11, "007", 1, ""),
    "ATL07-02_20211117212830_08621301_006_01.h5": ("ATL07", 862, 13, 13, 1, "006", 1, "02"),
    "ATL07QL-01_20211117212830_08621301_006_01.h5": ("ATL07QL", 862, 13, 13, 1, "006", 1, "01"),
    "ATL20-01_20181101001332_05100101_004_01.h5": ("ATL20", 510, 1, 1, 1, "004", 1, "01"),
    "ATL16_20210101010136_01231001_005_01.h5": ("ATL16", 123, 10, 10, 1, "005", 1, ""),
    "ATL19_20181001010615_00370101_003_02.h5": ("ATL19", 37, 1, 1, 1, "003", 2, ""),
    "ATL23_20230401000000_10761801_001_01.h5": ("ATL23", 1076, 18, 18, 1, "001", 1, ""),
    "ATL11_000110_0322_006_01.h5": ("ATL11", 1, 3, 22, 10, "006", 1, ""),
    "ATL15_AA_0314_01km_002_02.nc": ("ATL15", None, 3, 14, None, "002", 2, "AA"),
    "ATL14_A1_0318_100m_003_01.nc": ("ATL14", None, 3, 18, None, "003", 1, "A1"),
    "ATL24_20181014001920_02350103_006_02_001_03.h5": ("ATL24", 235, 1, 1, 3, "001", 3, ""),
    "processed_ATL06_20190416093911_02770303_002_01.h5": ("ATL06", 277, 3, 3, 3, "002", 1, ""),
    "ATL03_20211117212830_08621302_007_02_subsetted.h5": ("ATL03", 862, 13, 13, 2, "007", 2, ""),
}


@pytest.mark.parametrize(("name", "parts"), FORMS.items())
def test_every_form_of_name_is_read(name, parts):
    read = parse_granule_name(name)
    fields = ("product", "rgt", "cycle", "last_cycle", "region", "release", "revision", "part")
    assert tuple(getattr(read, field) for field in fields) == parts


def test_a_name_is_read_with_folder_and_suffix():
    name = parse_granule_name("s3://b/ATL03_20211117212830_08621302_007_02.h5_dpyQXxz6")
    assert (name.product, name.rgt, name.cycle, name.region) == ("ATL03", 862, 13, 2)
    assert (name.release, name.revision, name.last_cycle) == ("007", 2, 13)
    assert name.start == datetime(2021, 11, 17, 21, 28, 30)


def test_sea_ice_and_multi_cycle_names_are_read():
    assert parse_granule_name("ATL07-02_20211117212830_08621301_006_01.h5").cycle == 13
    slope = parse_granule_name("ATL11_000110_0322_006_01.h5")
    assert (slope.rgt, slope.region, slope.cycle, slope.last_cycle) == (1, 10, 3, 22)
    assert slope.start is None


@pytest.mark.parametrize("name", ["", "foo", "ATL06_20231318000000_00010101_007_01.h5"])
def test_other_names_are_not_read(name):
    assert parse_granule_name(name) is None


def test_a_column_of_names_is_read_like_single_names():
    names = [*FORMS, "foo", None]
    rows = granule_name_columns(pa.array(names)).to_pylist()
    for name, row in zip(names, rows, strict=True):
        single = parse_granule_name(name) if name else None
        assert row == {field: single and getattr(single, field) for field in row}


def test_files_of_one_granule_share_a_key_and_differ_in_rank():
    old_and_new = [
        ("ATL08QL_20240110000000_03352211_007_01.h5", "ATL08QL_20240110000000_03352211_007_02.h5"),
        ("ATL11_033511_0326_007_02.h5", "ATL11_033511_0328_007_01.h5"),
        ("ATL15_AA_0314_01km_002_02.nc", "ATL15_AA_0318_01km_002_01.nc"),
        (
            "ATL24_20240110000000_03352211_006_02_002_01.h5",
            "ATL24_20240110000000_03352211_006_01_002_02.h5",
        ),
        (
            "ATL24_20240110000000_03352211_006_02_002_01.h5",
            "ATL24_20240110000000_03352211_007_01_002_01.h5",
        ),
    ]
    for pair in old_and_new:
        names = granule_name_columns(pa.array(pair))
        first, second = granule_keys(names).to_pylist()
        older, newer = revision_ranks(names).to_pylist()
        assert first == second
        assert older < newer


def test_areas_resolutions_and_hemispheres_are_different_granules():
    names = [
        "ATL15_AA_0314_01km_002_02.nc",
        "ATL15_GL_0314_01km_002_02.nc",
        "ATL15_AA_0314_10km_002_02.nc",
        "ATL20-01_20181101001332_05100101_004_01.h5",
        "ATL20-02_20181101001332_05100101_004_01.h5",
    ]
    keys = granule_keys(granule_name_columns(pa.array(names)))
    assert len(set(keys.to_pylist())) == len(names)


def test_names_of_real_files_are_read(real_data):
    """Subsetted ATL06, and the ATL24 names that others recorded."""
    files = [path.name for path in (real_data / "h5").glob("*.h5")]
    text = (real_data / "recorded" / "atl24_names.txt").read_text(encoding="utf-8")
    recorded = [line for line in text.splitlines() if line.startswith("ATL24")]
    assert {parse_granule_name(name).cycle for name in files} == {3}
    assert [parse_granule_name(name).release for name in recorded] == ["001", "002"]
