"""What zagg needs of a config to aggregate with it, beyond the grid of its maps.

zagg's own validation passes a config without these; its run then fails in every shard, or
reads no granule. Each check here was made by such a run of zagg 0.61.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zagg_catalog.config import PipelineConfig
from zagg_catalog.messages import shown

# Array of the cells' numbers, and the lines of the config that declare it.
MORTON = {"dtype": "uint64", "fill_value": 0}
MORTON_LINES = """
  coordinates:
    morton:
      dtype: uint64
      fill_value: 0"""
GRID_ONLY = (
    "data_source and aggregation are missing, so that zagg has nothing to read and to compute; take"
    " those of a config that `zagg-catalog grid new` writes."
)
_AXES = ("latitude", "longitude")


def unmet_needs(config: PipelineConfig) -> list[str]:
    """Return a sentence for each thing that zagg's run needs and the config lacks.

    Parameters
    ----------
    config : PipelineConfig
        With a valid grid. A map can be built from it in any case.

    Returns
    -------
    list of str
        Empty if zagg can aggregate with the config, as far as the config shows.
    """
    if config.grid_only:
        return [GRID_ONLY]
    if config.data_source.get("reader") == "raster":
        return []  # zagg declares the arrays of rasters, and reads bands by other means
    return [*_unread(config.data_source), *_undeclared(config)]


def _undeclared(config: PipelineConfig) -> Iterator[str]:
    """Find arrays of cell words that zagg writes and the config does not declare for them."""
    schedule = _mapping(config.output.get("windowing")).get("schedule", "none")
    if config.grid.type != "healpix" or schedule != "none":
        return  # outputs by time have no numbers of cells
    declared = _mapping(config.aggregation.get("coordinates"))
    morton = declared.get("morton")
    if morton is None:
        yield (
            "aggregation.coordinates.morton is missing: zagg writes the number of each HEALPix"
            f" cell there, and every shard fails without it. Add below aggregation:{MORTON_LINES}"
        )
    names = ["morton", *(["cell_ids"] if config.grid.emit_cell_ids else [])]
    for name in names:
        found = declared.get(name, MORTON)
        if found is not None and {**_mapping(found), **MORTON} != found:
            yield (
                f"aggregation.coordinates.{name} must have dtype uint64 and fill_value 0, as the"
                f" numbers of cells need 64 bits; it is {shown(found)}."
            )


def _unread(source: Mapping[str, Any]) -> Iterator[str]:
    """Find what the reader of HDF5 granules looks up in each of them."""
    if source.get("reader") not in (None, "h5coro"):
        return
    groups = source.get("groups")
    if not isinstance(groups, (list, tuple)) or not groups:
        yield f"data_source.groups must list the beams to read; {_found(groups)}."
    if not _mapping(source.get("variables")):
        yield f"data_source.variables must have a path; {_found(source.get('variables'))}."
    axes = _mapping(source.get("coordinates"))
    if "level" not in axes and (absent := [axis for axis in _AXES if not axes.get(axis)]):
        yield f"data_source.coordinates must have the path of {' and '.join(absent)}."
    yield from _unplanned(source)


def _unplanned(source: Mapping[str, Any]) -> Iterator[str]:
    """Find a read plan by an index that cannot be followed to the values."""
    index = _mapping(source.get("read_plan")).get("spatial_index")
    if not index:
        return
    levels, base = _mapping(source.get("levels")), source.get("base_level")
    level = _mapping(levels.get(index))
    if not level or base not in levels:
        yield (
            f"data_source.read_plan.spatial_index is {shown(index)}; data_source.levels must"
            " have that level and the one that data_source.base_level names."
        )
        return
    axes, link = _mapping(level.get("coordinates")), _mapping(level.get("link"))
    if link.get("to") != base:
        yield (
            f"data_source.levels.{index}.link.to must be {base}, as the read plan goes from"
            f" there to the values; {_found(link.get('to'))}."
        )
    if absent := [axis for axis in _AXES if not axes.get(axis)]:
        yield f"data_source.levels.{index}.coordinates must have {' and '.join(absent)}."


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _found(value: Any) -> str:
    return "it is missing" if value is None else f"it is {shown(value)}"
