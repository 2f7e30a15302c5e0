"""Small outputs of the real zagg: ``python -m tests.aggregation.real_outputs FOLDER``.

zagg reads simulated granules from a folder instead of a server; nothing else of it is changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zagg_catalog.sandbox.hdf5 import BEAMS, write_granule
from zagg_catalog.sandbox.simulation import simulate

LATITUDES = (-73.0, -72.0)
SIDE, RESOLUTION = 64, 1000.0
BOUNDS = [-2_000_000, -2_000_000, 2_000_000, 2_000_000]
HEAD = """
data_source:
  reader: h5coro
  driver: https
  groups: [gt1l, gt1r, gt2l, gt2r, gt3l, gt3r]
  coordinates:
    latitude: "/{group}/land_ice_segments/latitude"
    longitude: "/{group}/land_ice_segments/longitude"
  variables:
    h_li: "/{group}/land_ice_segments/h_li"
  quality_filter: {dataset: "/{group}/land_ice_segments/atl06_quality_summary", value: 0}
aggregation:
  coordinates:
    morton: {dtype: uint64, fill_value: 0}
  variables:
    count: {function: len, source: h_li, dtype: int32, fill_value: 0}
    h_mean: {function: mean, source: h_li, dtype: float32}
output:
"""
CONFIGS = {
    "healpix": HEAD + "  grid: {type: healpix, parent_order: 6, chunk_inner: 7, child_order: 10}\n",
    "plate": HEAD.replace("  coordinates:\n    morton: {dtype: uint64, fill_value: 0}\n", "")
    + f"  grid: {{type: rectilinear, crs: EPSG:3031, resolution: {RESOLUTION}, bounds: {BOUNDS},"
    f" chunk_shape: [{SIDE}, {SIDE}]}}\n",
}


def main(folder: Path) -> None:
    """Write granules, configs, manifests, outputs, and what zagg reported."""
    folder.mkdir(parents=True, exist_ok=True)
    granules = simulate("ATL06", cycle=22, regions=[10], tracks=[6, 12, 13], suffixed=0.0)
    names = granules.table["id"].to_pylist()
    files = [write_granule(folder / "granules" / name, latitudes=LATITUDES) for name in names]
    read_from(folder / "granules")
    for grid in CONFIGS:
        aggregate(folder, grid, files)


def read_from(granules: Path) -> None:
    """Let zagg open files of a folder, whatever the server in their address."""
    import h5coro
    import zagg.processing
    from h5coro import filedriver
    from zagg import runner

    class Reader:
        @staticmethod
        def H5Coro(address: str, _driver: object, **options: object) -> Any:  # noqa: N802
            path = str(granules / address.rpartition("/")[2])
            return h5coro.H5Coro(path, filedriver.FileDriver, **(options | {"credentials": {}}))

        def __getattr__(self, name: str) -> Any:
            return getattr(h5coro, name)

    zagg.processing.h5coro = Reader()
    runner.get_edl_token = lambda: "token"


def aggregate(folder: Path, name: str, files: list[Path]) -> None:
    import zagg
    from zagg.config import load_config
    from zagg.grids import from_config

    path = folder / f"{name}.yaml"
    path.write_text(CONFIGS[name])
    config = load_config(str(path))
    grid = from_config(config)
    signature = json.loads(json.dumps(grid.spatial_signature(), default=lambda one: one.item()))
    shards: dict[int, list[dict[str, str]]] = {}
    for file in files:
        entry = {"id": file.name, "https": f"https://host/{file.name}", "s3": f"s3://b/{file.name}"}
        for key in np.unique(key_function(name, grid)(*points(file))).tolist():
            shards.setdefault(key, []).append(entry)
    keys = sorted(shards)
    document = {
        "metadata": {"short_name": "ATL06", "version": "007"},
        "grid_signature": signature,
        "shard_keys": keys,
        "granules": [shards[key] for key in keys],
    }
    manifest = folder / f"{name}.json"
    manifest.write_text(json.dumps(document))
    summary = zagg.agg(
        config, catalog=str(manifest), store=str(folder / name), driver="https", max_workers=2
    )
    reported = [
        [int(one["shard_key"]), int(one["total_obs"]), int(one["cells_with_data"])]
        for one in summary["results"]
    ]
    result = {"signature": signature, "reported": reported}
    (folder / f"{name}-result.json").write_text(json.dumps(result))


def points(file: Path) -> tuple[np.ndarray, np.ndarray]:
    import h5py

    with h5py.File(file) as content:
        groups = [content[f"{beam}/land_ice_segments"] for beam in BEAMS if beam in content]
        lats = np.concatenate([group["latitude"][()] for group in groups])
        return lats, np.concatenate([group["longitude"][()] for group in groups])


def key_function(name: str, grid: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the function from latitudes and longitudes to shard keys."""
    if name == "healpix":
        from mortie import geo2mort

        return lambda lats, lons: geo2mort(lats, lons, order=grid.parent_order)
    from pyproj import Transformer

    project = Transformer.from_crs(4326, 3031, always_xy=True).transform
    columns = -(-grid.width // SIDE)

    def keys(lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
        x, y = project(lons, lats)
        column = (x - grid.xmin) // (SIDE * RESOLUTION)
        row = (grid.ymax - y) // (SIDE * RESOLUTION)
        return (row * columns + column).astype(int)

    return keys


if __name__ == "__main__":
    main(Path(sys.argv[1]))
