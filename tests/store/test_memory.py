"""Big files are stored and read without being held in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTE = 1 << 20

CHILD = """
import json, sys
from pathlib import Path
from tests.harness.servers import settings_for
from zagg_catalog.store import open_store
from zagg_catalog.settings import Settings
url, endpoint, source, copy = sys.argv[1:]
settings = settings_for(endpoint) if endpoint else Settings(_env_file=None)
store = open_store(url, settings=settings)
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
store.download(store.put("warm", b"up", ".json"), copy)
# A child's peak starts with its parent's; begin again from what is in use now.
Path("/proc/self/clear_refs").write_text("5")
peaks = [peak()]
ref = store.put("catalogs", source, ".parquet")
peaks.append(peak())
store.download(ref, copy)
peaks.append(peak())
print(json.dumps([ref.written, ref.size, peaks]))
"""


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
    ),
]


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "big"
    with path.open("wb") as file:
        for number in range(100):
            file.write(bytes([number]) * MEGABYTE)
    return path


def test_100_mb_take_less_than_60_mb(place, big_file, tmp_path):
    endpoint = place.settings.s3_endpoint or ""
    arguments = [place.url, endpoint, str(big_file), str(tmp_path / "copy")]
    command = [sys.executable, "-c", CHILD, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    written, size, (before, put, read) = json.loads(ran.stdout)
    assert (written, size) == (True, 100 * MEGABYTE)
    print(f"before {before:.0f} MB, put +{put - before:.0f} MB, read +{read - put:.0f} MB")
    assert put - before < 60
    assert read - before < 60
