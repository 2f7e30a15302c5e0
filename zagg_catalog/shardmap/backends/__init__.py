"""Geometry backends: each joins footprints to the shards of a region."""

from __future__ import annotations

from zagg_catalog.errors import InvalidOption
from zagg_catalog.grids import OutputGrid
from zagg_catalog.shardmap.backends import mortie, planar, spherely
from zagg_catalog.shardmap.backends.base import Backend, Found, Plan

__all__ = ["BACKENDS", "Backend", "Found", "Plan", "choose_backend"]

BACKENDS = ("auto", "spherely", "mortie")


def choose_backend(name: str, grid: OutputGrid) -> Backend:
    """Return the backend for a grid.

    Raises
    ------
    InvalidOption
        If the name is unknown.
    MissingBackend
        If spherely was asked for and is not installed.
    """
    if name not in BACKENDS:
        raise InvalidOption(f"backend is one of {', '.join(BACKENDS)}, not {name!r}.")
    native: Backend = mortie.Mortie() if grid.kind == "healpix" else planar.Planar()
    if name == "spherely" or (name == "auto" and spherely.has_index()):
        return spherely.Spherely(candidates=native)
    return native
