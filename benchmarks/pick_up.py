"""CPU and wall time of the pick-up of a release of four grids, as a run of ``aggregate`` makes it.

``python benchmarks/pick_up.py [--runs N]``: a server, the deployments of ``flows.deploy``, a source
with a fortieth of a cycle's tracks, and one run of ``prepare-cycle`` over Antarctica. Then each run
of ``aggregate/aggregate-one-release`` picks its release up by force, as a dry run. A run is started
as a worker starts it. With ``PYTHONPATH`` the same is measured of another checkout.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from flows import engine
from flows.demo import PRODUCT, write_registry
from flows.local_server import LocalServer, utc, wait_for
from zagg_catalog.sandbox import SandboxServer, simulate

PREPARE, AGGREGATE = "prepare-cycle/prepare-one-cycle", "aggregate/aggregate-one-release"
CYCLE = 22
RELEASE = {"product": "ATL06", "region": "antarctica", "cycle": CYCLE}


def registry_with_four(folder: Path) -> Path:
    """Write a registry with four grids of Antarctica: two HEALPix and two polar ones."""
    path = write_registry(folder)
    content = yaml.safe_load(path.read_text())
    south = {name: one for name, one in content["grids"].items() if one["region"] == "antarctica"}
    content["grids"] = south | {f"{name}-again": one for name, one in south.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def run(server: LocalServer, name: str, values: dict[str, Any], env: dict[str, str]) -> list[float]:
    """Run a deployment; return CPU seconds, and seconds to its first line and to its end."""
    number = server.start_run(name, values)
    command = [sys.executable, "-P", engine.__file__]
    own = server.environment(env) | {"PREFECT__FLOW_RUN_ID": str(number)}
    before, began, at = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), time.time()
    subprocess.run(command, env=own, check=True, capture_output=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    with server.client() as client:
        found = client.read_flow_run(number)
    assert found.state.is_completed(), found.state.message
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    first, last = (utc(when).timestamp() - at for when in (found.start_time, found.end_time))
    return [cpu, first, last, wall]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of aggregate (default: 3)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="zagg-catalog-") as name, LocalServer(Path(name, "p")) as server:
        source = SandboxServer(simulate("ATL06", cycle=CYCLE, tracks=range(1, 1388, 40)))
        environment = {
            "ZAGG_CATALOG_STORE": f"{name}/store",
            "ZAGG_CATALOG_REGISTRY": str(registry_with_four(Path(name))),
            "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": f"{name}/work",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        assert PRODUCT.startswith("ATL06")
        with source:
            environment["ZAGG_CATALOG_STAC_ROOT"] = source.root_url
            deploy = [sys.executable, "-m", "flows.deploy"]
            with server.process(deploy, "deploy", environment) as child:
                wait_for(lambda: not child.running, "flows.deploy", 300)
            values = {"product": "ATL06", "cycle": CYCLE, "regions": ["antarctica"]}
            found = {"prepare-cycle": [run(server, PREPARE, values, environment)]}
            given = RELEASE | {"force": True, "dry_run": True}
            found["aggregate"] = [
                run(server, AGGREGATE, given, environment) for _ in range(options.runs)
            ]
    names = ("cpu_s", "first_line_s", "ends_s", "process_s")
    for flow, runs in found.items():
        columns = zip(names, zip(*runs, strict=True), strict=True)
        medians = {name: round(statistics.median(values), 2) for name, values in columns}
        print(json.dumps({"flow": flow, "of": str(Path(engine.__file__).parent), **medians}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
