"""A backfill of a mission on the sandbox, killed twice: `.venv/bin/python benchmarks/backfill.py`.

Greenland, ATL06, every 100th track. Then a grid is registered, and a config is changed; each time
the same command mends the store. Prints the time and the requests of each step.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from zagg_catalog.releases import list_releases
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import open_store

ROOT = Path(__file__).parents[1]
GRID = "atl06-greenland-healpix"
PRODUCT, REGION = "ATL06_007", "greenland"


class Desk:
    """A store, a registry of several grids, and a source that counts its requests."""

    def __init__(self, folder: Path, server: SandboxServer) -> None:
        self.folder, self.server = folder, server
        self.store = folder / "store"
        shutil.copytree(ROOT / "deployments", folder / "registry")
        self.registry = folder / "registry" / "registry.yaml"

    def register(self, name: str, child_order: int) -> None:
        """Write a grid's config with cells of an order, and register it."""
        content = yaml.safe_load(self.registry.read_text())
        source = self.registry.parent / "grids" / f"{GRID}.yaml"
        config = yaml.safe_load(source.read_text())
        config["output"]["grid"]["child_order"] = child_order
        (self.registry.parent / "grids" / f"{name}.yaml").write_text(yaml.safe_dump(config))
        content["grids"][name] = content["grids"][GRID] | {"config": f"grids/{name}.yaml"}
        self.registry.write_text(yaml.safe_dump(content))

    def backfill(self, *arguments: str, releases: int | None = None) -> str:
        """Run a backfill, and return its last line; kill it once the store has some releases."""
        command = [sys.executable, "-m", "flows.backfill", "--regions", REGION, *arguments]
        command += ["--store", str(self.store), "--registry", str(self.registry)]
        command += ["--stac-root", self.server.root_url]
        with Path(self.folder, "log").open("w") as log:
            env = os.environ | {"ZAGG_CATALOG_FLOW_LEASE": "5"}
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=env)
            while process.poll() is None:
                time.sleep(0.2)
                if releases is not None and self.count_latest() >= releases:
                    process.kill()
                    process.wait()
                    return f"killed with {self.count_latest()} releases"
        return Path(self.folder, "log").read_text().splitlines()[-1]

    def count_latest(self) -> int:
        """Return the number of cycles that have a release."""
        return len(list(self.store.glob(f"releases/product={PRODUCT}/*/*/latest.json")))

    def step(self, what: str, *arguments: str, releases: int | None = None) -> None:
        """Run and time a backfill, and print what it took."""
        began, before = time.monotonic(), len(self.server.requests)
        last = self.backfill(*arguments, releases=releases)
        seconds, asked = time.monotonic() - began, len(self.server.requests) - before
        print(f"{what}: {seconds:.0f} s, {asked} requests; {last}", flush=True)


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--every", type=int, default=100, help="one track of so many")
    options = parser.parse_args()
    last = options.cycles
    granules = simulate(
        "ATL06", cycle=range(1, last + 1), tracks=range(1, 1388, options.every), gaps=False
    )
    with tempfile.TemporaryDirectory() as folder, SandboxServer(granules) as server:
        desk = Desk(Path(folder), server)
        for order in (13, 15, 16):
            desk.register(f"order-{order}", order)
        which = ["--cycles", f"1-{last}"]
        desk.step("first kill", *which, releases=last // 3)
        desk.step("second kill", *which, releases=2 * last // 3)
        desk.step("to the end", *which)
        records = list_releases(open_store(str(desk.store)), PRODUCT, REGION)
        print(f"{len(records)} releases of {len({one.release_key for one in records})} cycles")
        desk.step("nothing to do", *which)
        desk.register("later", 17)
        desk.step("a grid registered later", *which, "--only", "missing")
        desk.register("order-13", 12)
        desk.step("a changed config", *which, "--only", "stale")


if __name__ == "__main__":
    main()
