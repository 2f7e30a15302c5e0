"""Threads: maps built side by side equal those built alone."""

import json
import subprocess
import sys

import pytest

from benchmarks.simulated import write_cycle
from zagg_catalog import ShardMap

CONFIG = """
data_source: {{reader: h5coro, groups: [gt1l], coordinates: {{latitude: lat, longitude: lon}},
  variables: {{h: h}}}}
aggregation: {{variables: {{{name}: {{function: len, source: h}}}}}}
output:
  grid: {{type: rectilinear, crs: "EPSG:3031", resolution: 500,
    bounds: [-3072000, -3072000, 3072000, 3072000], chunk_shape: [256, 256]}}
"""


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    """Files of two cycles, a sixtieth of their tracks over the south."""
    folder = tmp_path_factory.mktemp("cycles")
    paths = [folder / f"c{cycle}.parquet" for cycle in (21, 22)]
    for path, cycle in zip(paths, (21, 22), strict=True):
        write_cycle(path, cycle, every=60, south=True)
    return [str(path) for path in paths]


FIRST_GRIDS = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from zagg_catalog.grids.rectilinear import RectilinearGrid
from zagg_catalog.grids.tiles import GridCrs

start = Barrier(8)

def work(number):
    start.wait()
    if number % 2:
        return RectilinearGrid("EPSG:3031", 500, [-1e6, -1e6, 1e6, 1e6]).crs
    return GridCrs("EPSG:3031", -1e6).lonlat(0.0, 0.0)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, range(8)))
"""


def run(*command: str) -> str:
    """Return what a process of its own prints; a crash fails the test."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def test_threads_import_the_packages_of_their_first_grids_whole():
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", FIRST_GRIDS], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def alone(catalogs):
    return json.loads(run("tests.harness.parallel_maps", "alone", *catalogs))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shared", "own"])
def test_eight_threads_build_what_one_builds(mode, catalogs, alone):
    """All backends, kinds of grids and footprints; the threads share their objects, or not."""
    found = json.loads(run("tests.harness.parallel_maps", mode, *catalogs))
    assert {case: set(digests) for case, digests in found.items()} == {
        case: set(digests) for case, digests in alone.items()
    }
    assert {len(digests) for digests in found.values()} == {4}


def test_the_command_builds_two_grids_of_one_tiling_and_two_catalogs(catalogs, tmp_path):
    configs = ("count", "number")
    for name in configs:
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(name=name))

    def maps(folder, *names):
        grids = [f"--grid={tmp_path / name}.yaml" for name in names]
        files = [f"--catalogs={path}" for path in catalogs]
        run("zagg_catalog", "map", *grids, *files, "--output", str(tmp_path / folder))

    maps("both", *configs)
    for name in configs:
        maps("single", name)
    single = sorted(path.name for path in (tmp_path / "single").iterdir())
    assert len(single) == 4
    for file in single:
        one, other = (ShardMap.from_parquet(tmp_path / f / file) for f in ("single", "both"))
        assert one.pairs().equals(other.pairs())
        assert len(one.pairs()) > 1000
