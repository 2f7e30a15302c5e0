"""``python -m flows.demo``: the whole chain offline, from a simulated cycle to its releases."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from flows.cycle import prepare_cycle
from flows.parameters import Product
from zagg_catalog.registry import load_registry
from zagg_catalog.releases import Shown, show
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.store import open_store

DEPLOYMENTS = Path(__file__).parents[1] / "deployments"
REGIONS = ("antarctica", "greenland")
PORT = 7824


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a simulated cycle, and prepare it: two regions, four grids, a release per region.

    Returns
    -------
    int
        0 when every grid was released.
    """
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__)
    parser.add_argument("--cycle", type=int, default=22)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where the files go")
    parser.add_argument("--every", type=int, default=1, help="only every n-th track (default: 1)")
    options = parser.parse_args(argv)
    store = str(options.folder / "store")
    started = time.perf_counter()
    print(f"Simulating ATL06 cycle {options.cycle} …", flush=True)
    tracks = range(1, 1388, options.every)
    with (
        TemporaryDirectory(prefix="zagg-catalog-") as scratch,
        _serve(simulate("ATL06", cycle=options.cycle, tracks=tracks)) as server,
    ):
        print(f"A STAC API serves it at {server.root_url}. Prefect starts …", flush=True)
        state: Any = prepare_cycle(
            product=Product.ATL06,
            cycle=options.cycle,
            regions=list(REGIONS),
            store=store,
            stac_root=server.root_url,
            registry=str(_registry(Path(scratch))),
            return_state=True,
        )
    print(f"\n{state.message}")
    if not state.is_completed():
        return 1
    for region in REGIONS:
        _print_release(show(open_store(store), "ATL06_007", region, options.cycle))
    print(f"\nDone in {time.perf_counter() - started:.0f} s.")
    _say_how_to_look(store)
    return 0


def _serve(granules: Granules) -> SandboxServer:
    """Serve on the same port each time: the address is in the catalog, and so in its digest."""
    try:
        return SandboxServer(granules, port=PORT)
    except OSError:
        return SandboxServer(granules)


def _registry(folder: Path) -> Path:
    """Write the shipped registry with a fourth grid of ATL06: Greenland, polar stereographic."""
    registry = DEPLOYMENTS / "registry.yaml"
    content = yaml.safe_load(registry.read_text(encoding="utf-8"))
    for region in content["regions"].values():
        if "geojson" in region:
            region["geojson"] = str(DEPLOYMENTS / region["geojson"])
    for grid in content["grids"].values():
        grid["config"] = str(DEPLOYMENTS / grid["config"])
    south = content["grids"]["atl06-antarctica-polar"]
    config = yaml.safe_load(Path(south["config"]).read_text(encoding="utf-8"))
    # NSIDC's north polar stereographic grid, cut to Greenland.
    box = [-768000, -3584000, 1024000, -512000]
    config["output"]["grid"] |= {"crs": "EPSG:3413", "bounds": box}
    north = folder / "atl06-greenland-polar.yaml"
    north.write_text(yaml.safe_dump(config), encoding="utf-8")
    entry = {"config": str(north), "region": "greenland"}
    content["grids"]["atl06-greenland-polar"] = south | entry
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    load_registry(path)
    return path


def _print_release(shown: Shown) -> None:
    record = shown.release.record
    print(f"\n{record.slot}: release {shown.release.digest[:12]}, {record.status}")
    print(f"  {record.catalog.rows:,} granules")
    for grid in record.grids:
        print(f"  {grid.name}: {grid.shards:,} shards, {grid.pairs:,} pairs")


def _say_how_to_look(store: str) -> None:
    programs = os.path.relpath(Path(sys.executable).parent)
    print(f"The releases:  {programs}/zagg-catalog release list --store {store}")
    print(
        "The run, its report and tables in the Prefect UI, at http://127.0.0.1:4200 after\n"
        f"  PREFECT_SERVER_ANALYTICS_ENABLED=false {programs}/prefect server start"
    )


if __name__ == "__main__":
    sys.exit(main())
