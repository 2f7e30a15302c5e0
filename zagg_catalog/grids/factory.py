"""The output grid that a pipeline config describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from zagg_catalog.config import (
    PipelineConfig,
    config_boundary,
    load_config,
    load_config_from_dict,
)
from zagg_catalog.errors import InvalidConfig, InvalidGrid
from zagg_catalog.grids.healpix import HealpixGrid
from zagg_catalog.grids.plausible import check_units
from zagg_catalog.grids.rectilinear import RectilinearGrid
from zagg_catalog.grids.signature import signature_differences

_SECTIONS = ("data_source", "aggregation", "output")


class _PipelineConfigLike(Protocol):
    """The attributes of zagg's PipelineConfig."""

    data_source: Any
    aggregation: Any
    output: Any


def from_config(
    config: PipelineConfig | _PipelineConfigLike | Mapping[str, Any] | str | Path,
) -> HealpixGrid | RectilinearGrid:
    """Return the output grid of a pipeline config.

    Parameters
    ----------
    config : PipelineConfig, mapping, str or Path
        A config of this package or of zagg, the content of its file, or the path of the file. Only
        ``output.grid`` is needed.

    Returns
    -------
    HealpixGrid or RectilinearGrid
        By ``output.grid.type``; equal grids have equal signatures.

    Raises
    ------
    InvalidConfig
        If the config cannot be read, does not define a spatial grid, or defines one whose
        cells cannot be counted; the message names the key and what to write.

    Examples
    --------
    >>> grid = from_config("atl06.yaml")
    >>> grid.shard_at(69.17, -49.5)
    """
    if isinstance(config, (str, Path)):
        config = load_config(config)
    elif isinstance(config, Mapping):
        config = load_config_from_dict(config)
    elif not isinstance(config, PipelineConfig):
        config = load_config_from_dict({part: getattr(config, part) for part in _SECTIONS})
    with config_boundary(config.source):
        return _made(config)


def _made(config: PipelineConfig) -> HealpixGrid | RectilinearGrid:
    kind = HealpixGrid if config.grid.type == "healpix" else RectilinearGrid
    try:
        grid = kind.from_config(config)
        if isinstance(grid, RectilinearGrid):
            check_units(grid)
        grid.extent()  # coordinates of some CRSs cannot be converted
    except InvalidGrid as error:
        raise InvalidConfig(f"{config.source}: {error}") from error
    return grid


def from_signature(signature: Mapping[str, Any]) -> HealpixGrid | RectilinearGrid:
    """Return the grid of a recorded signature, full or spatial, without its output fields.

    Parameters
    ----------
    signature : mapping
        A map's ``grid_signature``.

    Raises
    ------
    InvalidGrid
        If the signature does not define a grid of this package.
    """
    kinds: dict[str, Callable[[Mapping[str, Any]], HealpixGrid | RectilinearGrid]] = {
        "healpix": _healpix,
        "rectilinear": _rectilinear,
    }
    try:
        grid = kinds[signature["type"]](signature)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidGrid(
            f"The grid signature does not define a grid ({error!r}); pass the grid's config."
        ) from error
    if differences := signature_differences(signature, grid):
        raise InvalidGrid(
            f"The grid of the signature is not known: {' '.join(differences)} Pass its config."
        )
    return grid


def _healpix(signature: Mapping[str, Any]) -> HealpixGrid:
    return HealpixGrid(signature["parent_order"], signature["child_order"])


def _rectilinear(signature: Mapping[str, Any]) -> RectilinearGrid:
    width, _, west, _, height, north = signature["affine"]
    rows, columns = signature["shape"]
    bounds = (west, north + rows * height, west + columns * width, north)
    resolution = (width, -height)
    return RectilinearGrid(signature["crs"], resolution, bounds, signature["chunk_shape"])
