"""A big catalog is streamed: publishing 100 MB takes less than 400 MB."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from tests.releases import inputs
from zagg_catalog import Catalog
from zagg_catalog.releases import find_release

pytestmark = pytest.mark.slow

ROWS, NOISE = 90_000, 1150
LIMIT = 400_000_000

_PUBLISH = """
import json, sys
from tests.releases import inputs
from zagg_catalog.releases import publish
from zagg_catalog.settings import Settings
from zagg_catalog.store import open_store

given = json.load(sys.stdin)
store = open_store(given["url"], settings=Settings(_env_file=None, **given["settings"]))
# All rows have the files of one granule.
given = {"catalog": given["catalog"], "allow_failed_checks": True}
done = publish(store, maps=[], region=inputs.REGION, **given)
# Of this program only; what getrusage says includes the process that it was forked from.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps({"digest": done.digest, "peak": int(peak.split()[1]) * 1024,
                  "gone": done.contraction.count}))
"""


def big(path, first):
    """A catalog of 100 MB with as many granules as five cycles."""
    table = inputs.make({0: 1}).table.take(pa.array(np.zeros(ROWS, np.int64)))
    ids = [inputs.granule(n) for n in range(first, first + ROWS)]
    noise = np.random.default_rng(first).integers(0, 256, ROWS * NOISE, np.uint8)
    offsets = pa.py_buffer(np.arange(0, ROWS * NOISE + 1, NOISE, dtype=np.int32))
    noise = pa.Array.from_buffers(pa.binary(), ROWS, [None, offsets, pa.py_buffer(noise)])
    place = table.schema.get_field_index("id")
    table = table.set_column(place, "id", pa.array(ids)).append_column("noise", noise)
    metadata = {"collection": "ATL06_007", "cycle": 22, "complete": True}
    Catalog(table, metadata).to_geoparquet(path)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    """Two catalogs that share all but ten granules at either end."""
    folder = tmp_path_factory.mktemp("big")
    for first in (0, 10):
        big(folder / f"{first}.parquet", first)
    return folder


def publish(place, path):
    """Publish in a process of its own, and return what it says."""
    settings = place.settings.model_dump(mode="json") | {
        key: value.get_secret_value()
        for key in ("s3_access_key_id", "s3_secret_access_key")
        if (value := getattr(place.settings, key))
    }
    done = subprocess.run(
        [sys.executable, "-c", _PUBLISH],
        input=json.dumps({"url": place.url, "settings": settings, "catalog": str(path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(f"peak {said['peak'] / 1e6:.0f} MB")
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_publishing_100_mb_takes_less_than_400_mb(place, catalogs):
    path = catalogs / "0.parquet"
    assert path.stat().st_size > 100_000_000
    said = publish(place, path)
    assert said["peak"] < LIMIT
    assert find_release(place.open(), *inputs.RELEASE_KEY).digest == said["digest"]


@inputs.IN_A_FOLDER
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_so_does_the_next_one_which_also_looks_for_removed_granules(place, catalogs):
    publish(place, catalogs / "0.parquet")
    said = publish(place, catalogs / "10.parquet")
    assert said["peak"] < LIMIT
    assert said["gone"] == 10
