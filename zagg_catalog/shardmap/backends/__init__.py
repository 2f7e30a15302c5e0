"""Geometry backends: each joins footprints to the shards of a region."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.errors import InvalidOption
from zagg_catalog.grids import OutputGrid
from zagg_catalog.shardmap.backends import mortie, planar, spherely
from zagg_catalog.shardmap.backends.base import Pairs, PreparedJoin

__all__ = ["BACKENDS", "BackendName", "Pairs", "PreparedJoin", "choose_backend", "prepare_join"]

BACKENDS = ("auto", "spherely", "mortie")
# Names of the packages, as a map's metadata records them.
BackendName = Literal["mortie", "shapely", "spherely"]


def choose_backend(name: str, grid: OutputGrid) -> BackendName:
    """Return the backend for a grid.

    Raises `InvalidOption` for an unknown name, `MissingBackend` if spherely is not installed.
    """
    if name not in BACKENDS:
        raise InvalidOption(f"backend must be one of {', '.join(BACKENDS)}; got {name!r}.")
    if name == "spherely":
        spherely.check_installed()
    if name == "spherely" or (name == "auto" and spherely.has_index()):
        return "spherely"
    return "mortie" if grid.kind == "healpix" else "shapely"


def prepare_join(
    backend: BackendName, grid: Any, covered: NDArray[np.uint64], order: int | None
) -> PreparedJoin:
    """Prepare to pair footprints with the shards that they reach.

    Parameters
    ----------
    backend : {"mortie", "shapely", "spherely"}
        As `choose_backend` returns it for the grid.
    grid : OutputGrid
        The grid.
    covered : ndarray of uint64, shape (shards,)
        Ascending keys of the region's shards; other shards are not paired.
    order : int or None
        Order of the footprint covers; HEALPix only.
    """
    join: PreparedJoin
    if grid.kind == "healpix":
        join = mortie.prepare(grid, covered, order)
    else:
        join = planar.PlanarJoin(grid, covered)
    return spherely.ExactJoin(join, grid, covered) if backend == "spherely" else join
