"""zagg's pipeline configs: reading them and validating their output grids."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from zagg_catalog.errors import ConfigNotFound, InvalidConfig, InvalidYaml, ZaggCatalogError
from zagg_catalog.jsonio import closest
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import clean_text, shown
from zagg_catalog.reader import ReaderNeeds
from zagg_catalog.remedies import remedy
from zagg_catalog.yamlio import MOST_BYTES, load_yaml

odc_geo, pyproj = lazy_module("odc.geo"), lazy_module("pyproj")  # HEALPix grids need neither

MAX_ORDER = 29
GRID_TYPES = ("healpix", "rectilinear")
# Radius of the Earth, metres, and how far an ellipsoid of it may be from that, as a part.
_RADIUS, _RADII = 6_378_137.0, 0.005


def _no_bool(value: Any) -> Any:
    """Refuse booleans for a number; YAML's ``yes`` would become 1."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    return value


def _no_text(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError("text is not a number")
    return _no_bool(value)


Order = Annotated[int, Field(ge=0, le=MAX_ORDER), BeforeValidator(_no_bool)]
Cells = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]
Finite = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_bool)]
# Descriptions of fields end the error sentence "KEY must be …": the allowed values.
_NESTED = Field(default=None, description="'nested'")
_FULLSPHERE = Field(default=None, description="'fullsphere'")
_RETIRED = Field(
    default=None,
    description="left out: it is retired, cells are stored as morton words"
    " (use emit_cell_ids: true to write nested ids as well)",
)


class _GridSection(BaseModel):
    """Keys that both kinds of grid share."""

    model_config = ConfigDict(extra="allow", frozen=True, arbitrary_types_allowed=True)

    layout: Literal["fullsphere"] | None = _FULLSPHERE
    indexing_scheme: Literal["nested"] | None = _NESTED
    cell_ids_encoding: None = _RETIRED


class HealpixSection(_GridSection):
    """The section ``output.grid`` of a HEALPix grid; orders are HEALPix orders."""

    type: Literal["healpix"]
    parent_order: Annotated[Order, BeforeValidator(_no_text)] = Field(
        description=f"an integer from 0 to {MAX_ORDER}"
    )
    child_order: Order = Field(description=f"an integer from parent_order to {MAX_ORDER}")
    chunk_inner: Order | None = Field(
        default=None, description="an integer from parent_order to child_order"
    )
    sharded: StrictBool | None = Field(default=True, description="true or false")
    emit_cell_ids: StrictBool | None = Field(default=False, description="true or false")

    @field_validator("child_order")
    @classmethod
    def _not_coarser(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("parent_order", 0):
            raise ValueError("coarser than parent_order")
        return value

    @field_validator("chunk_inner")
    @classmethod
    def _between(cls, value: int | None, info: ValidationInfo) -> int | None:
        low, high = info.data.get("parent_order", 0), info.data.get("child_order", MAX_ORDER)
        if value is not None and not low <= value <= high:
            raise ValueError("outside the orders of the grid")
        return value


class RectilinearSection(_GridSection):
    """The section ``output.grid`` of a rectilinear grid; lengths are in units of the CRS."""

    type: Literal["rectilinear"]
    crs: str | int = Field(
        description="a projected or geographic CRS of the Earth that PROJ knows, such as EPSG:3031"
    )
    resolution: tuple[Finite, Finite] = Field(
        description="a positive number, or two as [x, y], in units of the CRS"
    )
    bounds: tuple[Finite, Finite, Finite, Finite] = Field(
        description="[xmin, ymin, xmax, ymax] with xmin < xmax and ymin < ymax"
    )
    chunk_shape: tuple[Cells, Cells] = Field(
        default=(256, 256), description="two positive integers, [rows, columns]"
    )
    chunk_inner: tuple[Cells, Cells] | None = Field(
        default=None,
        description="two positive integers, [rows, columns], that divide chunk_shape",
    )
    sharded: StrictBool | None = Field(
        default=False,
        validate_default=True,
        description="true or false; true needs a chunk_inner finer than chunk_shape",
    )
    emit_cell_ids: Literal[False] | None = Field(
        default=False, description="false or left out: only healpix grids have cell ids"
    )

    @field_validator("emit_cell_ids", mode="before")
    @classmethod
    def _boolean(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, bool):
            raise ValueError("not a boolean")
        return value

    @field_validator("crs", mode="after")
    @classmethod
    def _known_crs(cls, value: str | int) -> str | int:
        try:
            crs = odc_geo.CRS(value).proj
        except pyproj.exceptions.ProjError as error:
            raise ValueError("unknown to PROJ") from error
        if not (crs.is_projected or crs.is_geographic):
            raise ValueError("without two coordinates on the ground")
        if abs(crs.ellipsoid.semi_major_metre / _RADIUS - 1.0) > _RADII:
            raise ValueError("of another body")
        return value

    @field_validator("resolution", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return value if isinstance(value, (list, tuple)) else (value, value)

    @field_validator("resolution")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0:
            raise ValueError("not positive")
        return value

    @field_validator("bounds")
    @classmethod
    def _not_empty(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        xmin, ymin, xmax, ymax = value
        if not (xmin < xmax and ymin < ymax):
            raise ValueError("empty")
        return value

    @field_validator("chunk_inner")
    @classmethod
    def _divides(
        cls, value: tuple[int, int] | None, info: ValidationInfo
    ) -> tuple[int, int] | None:
        shape = info.data.get("chunk_shape")
        if value and shape and (shape[0] % value[0] or shape[1] % value[1]):
            raise ValueError("does not divide chunk_shape")
        return value

    @field_validator("sharded")
    @classmethod
    def _finer(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        known = {"chunk_shape", "chunk_inner"} <= info.data.keys()
        if value and known and info.data["chunk_inner"] in (None, info.data["chunk_shape"]):
            raise ValueError("without a finer chunk_inner")
        return value


class _OutputSection(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    aoi_mask: StrictBool | None = Field(default=False, description="true or false")
    store_layout: Literal["hive", "flat"] | None = Field(
        default=None, description="'hive' or 'flat'"
    )


class PipelineConfig(BaseModel):
    """A pipeline config; only the output grid and its options are validated."""

    model_config = ConfigDict(frozen=True)

    # The sections of the file, unchanged.
    data_source: dict[str, Any]
    aggregation: dict[str, Any]
    output: dict[str, Any]
    grid: HealpixSection | RectilinearSection  # the section output.grid, validated
    aoi_mask: bool = False  # whether shard maps carry the region as a mask of cells
    store_layout: Literal["hive", "flat"]  # of zagg's shards; hive is the default for HEALPix
    raw: dict[str, Any] = Field(repr=False)  # the whole file
    source: str = "config"  # name of the file, for messages

    @property
    def grid_only(self) -> bool:
        """Whether it has what a map needs, and nothing of what zagg needs to aggregate."""
        return not (self.data_source or self.aggregation)

    @property
    def needs(self) -> ReaderNeeds:
        """Address and product that zagg's reader needs."""
        return ReaderNeeds.of(self.data_source)


def load_config(path: str | Path) -> PipelineConfig:
    """Read a zagg pipeline config (YAML).

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    PipelineConfig

    Raises
    ------
    InvalidConfig
        If the file cannot be read, is not YAML, or does not define a spatial grid; the message
        names the file, the key, its value and the allowed values.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigNotFound(f"There is no config file {path}.") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidConfig(f"{path}: cannot be read ({why}).") from error
    return parse_config(content, source=str(path))


# Sections that zagg needs beside the output.
_SECTIONS = {"data_source", "aggregation"}


def parse_config(content: bytes | str, *, source: str = "config") -> PipelineConfig:
    """Validate the content of a config's file; ``source`` is its name in messages."""
    try:
        raw = load_yaml(content)
    except InvalidYaml as error:
        raise InvalidConfig(f"{source}: {error}; a pipeline config is YAML.") from error
    return load_config_from_dict(raw, source=source)


def load_config_from_dict(raw: Any, *, source: str = "config") -> PipelineConfig:
    """Validate a pipeline config that is already a mapping; ``source`` is its name in messages."""
    with config_boundary(source):
        return _checked(raw, source)


@contextmanager
def config_boundary(source: str) -> Iterator[None]:
    """Turn whatever a config makes Python or a library raise into `InvalidConfig`.

    A config can hold any value, so no list of exceptions is complete.
    """
    try:
        yield
    except ZaggCatalogError:
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {clean_text(str(error))}".rstrip(".: ")
        raise InvalidConfig(
            f"{source}: its values do not make a grid ({problem}); correct them."
        ) from error


def _checked(raw: Any, source: str) -> PipelineConfig:
    if not isinstance(raw, Mapping):
        raise InvalidConfig(
            f"{source}: must be a mapping with data_source, aggregation and output; "
            f"it is {_shown(raw)}."
        )
    if "grid" in raw and "output" not in raw:
        raise InvalidConfig(
            f"{source}: grid stands at the top; write it below output, as output.grid."
        )
    if not {"output", *_SECTIONS} & raw.keys():
        raise InvalidConfig(
            f"{source}: it is no pipeline config of zagg, since it has no section output; its keys"
            f" are {_few(raw)}. `zagg-catalog grid new` writes a config."
        )
    raw = _with_text_keys(raw, "the file", source)
    output = _section(raw, "output", source)
    grid = _grid(raw, output, source)
    # A map needs the grid only.
    sections = _SECTIONS & raw.keys()
    data_source = _section(raw, "data_source", source) if sections else {}
    # A raster reader has bands instead of an aggregation.
    optional = data_source.get("reader") == "raster" and not raw.get("aggregation")
    aggregation = _section(raw, "aggregation", source) if sections and not optional else {}
    _check_variables(aggregation, source)
    options = _validated(_OutputSection, output, "output", source)
    return PipelineConfig(
        data_source=data_source,
        aggregation=aggregation,
        output=output,
        grid=grid,
        aoi_mask=bool(options.aoi_mask),
        store_layout=_store_layout(options, grid, source),
        raw=raw,
        source=source,
    )


def _few(raw: Mapping[Any, Any]) -> str:
    """Return the first keys of a file."""
    shown = ", ".join(_shown(str(key)) for key in [*raw][:4])
    return (shown + (", …" if len(raw) > 4 else "")) if raw else "none"


def _section(raw: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    value = raw.get(name)
    if not isinstance(value, Mapping) or not value:
        raise InvalidConfig(
            f"{source}: {name} must be a mapping that is not empty; {_found(raw, name)}."
        )
    return _with_text_keys(value, name, source)


def _with_text_keys(section: Mapping[Any, Any], where: str, source: str) -> dict[str, Any]:
    """Return a section whose keys are text; YAML reads ``5`` and ``2024-01-01`` as other values."""
    for key in section:
        if not isinstance(key, str):
            raise InvalidConfig(
                f"{source}: the keys of {where} must be text; {_shown(str(key))} is of type"
                f" {type(key).__name__}: remove it, or put it in quotes."
            )
    return dict(section)


def _check_variables(aggregation: Mapping[str, Any], source: str) -> None:
    """Refuse variables that a signature could not list."""
    variables = aggregation.get("variables")
    if variables is not None and not isinstance(variables, Mapping):
        raise InvalidConfig(
            f"{source}: aggregation.variables must be a mapping of names to mappings; "
            f"it is {_shown(variables)}."
        )
    for name, meta in _with_text_keys(variables or {}, "aggregation.variables", source).items():
        if not isinstance(meta, Mapping):
            raise InvalidConfig(
                f"{source}: aggregation.variables.{name} must be a mapping; it is {_shown(meta)}."
            )


def _grid(
    raw: Mapping[str, Any], output: Mapping[str, Any], source: str
) -> HealpixSection | RectilinearSection:
    """Validate output.grid; a pipeline without a spatial grid gets its own message."""
    allowed = " or ".join(GRID_TYPES)
    section = output.get("grid")
    if isinstance(section, Mapping):
        section = _with_text_keys(section, "output.grid", source)
    else:
        pipeline = raw.get("pipeline")
        kind = pipeline.get("type") if isinstance(pipeline, Mapping) else None
        why = f", as a {kind} pipeline writes no spatial grid" if kind else ""
        raise InvalidConfig(
            f"{source}: output.grid must be a mapping whose type is {allowed};"
            f" {_found(output, 'grid')}{why}."
        )
    if section.get("type") == "healpix":
        return _validated(HealpixSection, section, "output.grid", source)
    if section.get("type") == "rectilinear":
        return _validated(RectilinearSection, section, "output.grid", source)
    raise InvalidConfig(
        f"{source}: output.grid.type must be {allowed}; {_found(section, 'type')}."
        f"{remedy('type', section)}"
    )


def _store_layout(
    output: _OutputSection, grid: HealpixSection | RectilinearSection, source: str
) -> Literal["hive", "flat"]:
    if grid.type == "healpix":
        return output.store_layout or "hive"
    if output.store_layout == "hive":
        raise InvalidConfig(
            f"{source}: output.store_layout must be 'flat' for a rectilinear grid; it is 'hive'."
        )
    return "flat"


def _validated[Model: BaseModel](
    model: type[Model], section: Mapping[str, Any], prefix: str, source: str
) -> Model:
    absent = [key for key in model.model_fields if key not in section]
    meant = {key: closest(str(key), absent) for key in section if key not in model.model_fields}
    misspelt = {name: key for key, name in meant.items() if name}
    found = [f"{prefix}.{key} is not known; did you mean {name}?" for name, key in misspelt.items()]
    try:
        checked = model.model_validate(dict(section))
    except ValidationError as error:
        found += wrong_keys(model, section, error, prefix=prefix, ignore=misspelt)
    if found:
        raise InvalidConfig(f"{source}: {' '.join(found)}")
    return checked


def wrong_keys(
    model: type[BaseModel],
    section: Mapping[str, Any],
    error: ValidationError,
    *,
    prefix: str = "",
    ignore: Container[str] = (),
) -> list[str]:
    """Return a sentence for each wrong key: its allowed values and its value."""
    # A union reports its key once for each member.
    keys = dict.fromkeys(str(item["loc"][0]) for item in error.errors(include_url=False))
    sentences = []
    for key in (key for key in keys if key not in ignore):
        field = model.model_fields[key]
        optional = key not in section and not field.is_required()
        value = "it is left out" if optional else _found(section, key)
        where = f"{prefix}.{key}" if prefix else key
        advice = remedy(key, section)
        sentences.append(f"{where} must be {field.description}; {value}.{advice}")
    return sentences


def _found(section: Mapping[str, Any], key: str) -> str:
    """Return the value of a key as the end of a sentence, with a misspelt key if there is one."""
    if key in section:
        return f"it is {_shown(section[key])}"
    if misspelt := closest(key, map(str, section)):
        return f"it is missing; {misspelt} is not known: did you mean {key}?"
    return "it is missing"


def _shown(value: Any) -> str:
    """Return a value as YAML spells it, cut short."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "empty" if value is None else "nan"
    return shown(value)
