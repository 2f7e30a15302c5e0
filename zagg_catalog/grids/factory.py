"""The output grid that a pipeline config describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from zagg_catalog.config import PipelineConfig, load_config, load_config_from_dict
from zagg_catalog.grids.healpix import HealpixGrid
from zagg_catalog.grids.rectilinear import RectilinearGrid

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
        A config of this package or of zagg, the content of its file, or the path of the file.

    Returns
    -------
    HealpixGrid or RectilinearGrid

    Raises
    ------
    InvalidConfig
        If the config cannot be read or does not define a spatial grid.
    """
    if isinstance(config, (str, Path)):
        config = load_config(config)
    elif isinstance(config, Mapping):
        config = load_config_from_dict(config)
    elif not isinstance(config, PipelineConfig):
        config = load_config_from_dict({part: getattr(config, part) for part in _SECTIONS})
    if config.grid.type == "healpix":
        return HealpixGrid.from_config(config)
    return RectilinearGrid.from_config(config)
