"""``build`` and ``check`` compare the addresses of granules with the driver of the config."""

import json

import pytest

from zagg_catalog import Catalog
from zagg_catalog.catalog.geoparquet import write_catalog
from zagg_catalog.cli import main
from zagg_catalog.sources.items import read_items

CONFIG = """data_source: {{reader: h5coro, driver: {driver}}}
aggregation: {{variables: {{}}}}
output: {{grid: {{type: healpix, parent_order: 5, child_order: 8}}}}
"""
BOX = [0, -80, 60, -70]


@pytest.fixture
def folder(real_data, tmp_path):
    """A config of each driver, a catalog without S3 addresses, and one where a granule has one."""
    for driver in ("s3", "https"):
        (tmp_path / f"{driver}.yaml").write_text(CONFIG.format(driver=driver))
    text = (real_data / "reported" / "nos3.json").read_text(encoding="utf-8")
    items, metadata = json.loads(text), {"bbox": BOX, "area": [BOX], "complete": True}
    write(tmp_path / "none.parquet", items, metadata)
    first = items[0]["assets"]["data"]
    items[0]["assets"]["s3"] = first | {"href": f"s3://bucket/{items[0]['id']}"}
    write(tmp_path / "one.parquet", items, metadata)
    return tmp_path


def write(path, items, metadata):
    table = read_items(items, "ATL06_007").table.sort_by("id")
    write_catalog(path, [table], {"collection": "ATL06_007", **metadata})
    assert Catalog.from_geoparquet(path).complete


def build(folder, catalog, driver, *more):
    call = ["--config", f"{folder}/{driver}.yaml", "--catalog", f"{folder}/{catalog}.parquet"]
    region = ["--bbox", ",".join(map(str, BOX)), "--output", f"{folder}/m.json"]
    return main(["build", *call, *region, "--edge", "region", *more])


def test_a_map_that_the_reader_cannot_read_is_refused(folder, capsys):
    assert build(folder, "none", "s3") == 1
    assert "None of the 2 granules can be read" in capsys.readouterr().err
    assert not (folder / "m.json").exists()
    assert build(folder, "none", "https") == 0


def test_granules_that_the_reader_drops_are_named(folder, capsys):
    assert build(folder, "one", "s3") == 1
    shown = capsys.readouterr()
    assert "ATL06_20240110013400_03362211_007_01.h5: it has no S3 address" in shown.out
    assert "--partial" in shown.err
    assert build(folder, "one", "s3", "--partial") == 0


def test_check_compares_a_map_with_the_driver_of_a_config(folder, capsys):
    assert build(folder, "one", "https") == 0
    check = ["check", f"{folder}/m.json", "--config"]
    assert main([*check, f"{folder}/https.yaml"]) == 0
    capsys.readouterr()
    assert main([*check, f"{folder}/s3.yaml"]) == 1
    assert "it has no S3 address, which the driver s3 reads" in capsys.readouterr().err
    assert build(folder, "none", "https") == 0
    assert main([*check, f"{folder}/s3.yaml"]) == 1
    assert "None of the 2 granules can be read" in capsys.readouterr().err
