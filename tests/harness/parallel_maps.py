"""Builds maps in 8 threads at once, or one after another, and prints their digests as JSON.

A process of its own: a crash of a C library ends it, and its caches are empty at the start.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier

from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.grids import OutputGrid
from zagg_catalog.regions import bbox_region

THREADS = 8
REGION = bbox_region((-75, -80, -45, -65))
POLAR = [-3072000, -3072000, 3072000, 3072000]
GRIDS: dict[str, Callable[[], OutputGrid]] = {
    "coarse cells": lambda: HealpixGrid(7, 12),
    "fine cells": lambda: HealpixGrid(10, 12),
    "polar": lambda: RectilinearGrid("EPSG:3031", 500, POLAR, (256, 256)),
    "degrees": lambda: RectilinearGrid("EPSG:4326", 0.05, [-180, -90, 180, -60], (100, 200)),
}
METHODS = [("auto", "swath"), ("auto", "beams"), ("spherely", "swath")]
Case = tuple[str, str, str, str]


def build(case: Case, catalog: Catalog, grid: OutputGrid) -> str:
    """Return a digest of the keys and pairs of a case's map."""
    _, _, backend, footprint = case
    found = ShardMap.build(catalog, grid, region=REGION, backend=backend, footprint=footprint)
    columns = found.pairs()
    text = json.dumps([found.shard_keys, columns.to_pydict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def main(mode: str, *paths: str) -> None:
    """Build every case: ``alone``, or in threads with ``shared`` or ``own`` objects."""
    cases: list[Case] = [
        (path, grid, *method) for grid, method, path in product(GRIDS, METHODS, paths)
    ]

    def own(case: Case) -> tuple[Catalog, OutputGrid]:
        return Catalog.from_geoparquet(case[0]), GRIDS[case[1]]()

    objects = own
    if mode != "own":  # in which threads also import the packages that grids need
        catalogs = {path: Catalog.from_geoparquet(path) for path in paths}
        grids = {name: make() for name, make in GRIDS.items()}
        objects = lambda case: (catalogs[case[0]], grids[case[1]])  # noqa: E731

    if mode == "alone":
        found = {"|".join(case): [build(case, *objects(case))] for case in cases}
    else:
        found = {"|".join(case): [] for case in cases}
        start = Barrier(THREADS)

        def work(number: int) -> None:
            start.wait()
            # Half of the threads build the maps of each catalog, the same tiling at once.
            for case in cases[number % 2 :: 2]:
                found["|".join(case)].append(build(case, *objects(case)))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
