"""Catalogs and manifests with spoilt bytes: read, or refused in one sentence, never a crash.

Each family of files is read in a process of its own, with limits on memory and time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = 150
MEMORY = 6 << 30  # bytes of address space
SECONDS = 300

READ = """
import random, resource, sys, warnings
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
warnings.simplefilter("ignore")
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.releases.catalog_file import check_addresses, read_catalog_file

folder, kind = Path(sys.argv[1]), sys.argv[2]
AREA = [([0, 0, 1, 1], [0, 1, 1, 0])]


def build(path):
    catalog = Catalog.from_geoparquet(path)
    catalog.granule_records()
    catalog.to_geoparquet(folder / "again")
    ShardMap.build(catalog, HealpixGrid(6, 12), region=AREA).to_json(folder / "map")


def spoil(content, chance):
    content, size = bytearray(content), len(content)
    place, other = chance.randrange(size), chance.randrange(size)
    how = chance.choice(["bit", "byte", "cut", "zero", "copy", "end"])
    if how == "bit":
        content[place] ^= 1 << chance.randrange(8)
    elif how == "byte":
        content[place] = chance.randrange(256)
    elif how == "cut":
        del content[place:]
    elif how == "zero":
        content[place : place + 8] = bytes(len(content[place : place + 8]))
    elif how == "copy":
        content[place : place + 16] = content[other : other + 16]
    else:
        content[max(0, size - 1 - chance.randrange(4000))] = chance.randrange(256)
    return bytes(content)


catalog = make_catalog(SQUARE, SQUARE, SQUARE)
shard_map = ShardMap.build(catalog, HealpixGrid(6, 12), region=AREA)
write = {{
    "catalog": catalog.to_geoparquet,
    "parquet": shard_map.to_parquet,
    "json": shard_map.to_json,
}}[kind]
readers = {{
    "catalog": [build, read_catalog_file, check_addresses],
    "parquet": [
        lambda path: ShardMap.from_parquet(path).to_json(folder / "again"),
        lambda path: ShardMap.from_parquet(path, shards=shard_map.shards[:1]),
    ],
    "json": [lambda path: ShardMap.from_json(path).to_parquet(folder / "again")],
}}[kind]
write(folder / "whole")
whole = (folder / "whole").read_bytes()
for number in range({files}):
    path = folder / "spoilt"
    path.write_bytes(spoil(whole, random.Random(number)))
    for read in readers:
        try:
            read(path)
        except ZaggCatalogError as error:
            assert "\\n" not in str(error), (number, error)
            assert len(str(error)) < 1000, (number, error)
        except BaseException as error:
            raise AssertionError(f"file {{number}} of {{kind}}: {{error!r}}") from error
"""


@pytest.mark.parametrize("kind", ["catalog", "parquet", "json"])
def test_a_spoilt_file_is_read_or_refused_in_a_sentence(tmp_path, kind):
    code = READ.format(memory=MEMORY, files=FILES)
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), kind],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | {"PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
