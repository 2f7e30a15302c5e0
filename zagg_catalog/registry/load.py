"""Read ``registry.yaml`` and the files it names, from a folder or from S3."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

import yaml

from zagg_catalog.catalog.filters import NameFilters, granule_names, names_in
from zagg_catalog.config import config_boundary, parse_config
from zagg_catalog.errors import (
    InvalidQuery,
    InvalidRegistry,
    InvalidYaml,
    ObjectMissing,
    RegistryNotFound,
    StoreUnavailable,
    ZaggCatalogError,
)
from zagg_catalog.files import digest_of
from zagg_catalog.grids import HealpixGrid, OutputGrid, from_config
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.regions import MOST_BYTES as MOST_OF_REGION
from zagg_catalog.regions import polygon_to_bbox
from zagg_catalog.registry.model import RegisteredGrid, RegisteredRegion, Registry, read_region
from zagg_catalog.registry.needs import unmet_needs
from zagg_catalog.registry.schema import GridEntry, RegionEntry, RegistryEntries, read_entries
from zagg_catalog.settings import get_settings
from zagg_catalog.store.s3 import read_url
from zagg_catalog.yamlio import MOST_BYTES, BoundedLoader, load_yaml


def load_registry(
    location: str | Path | None = None, *, tolerate_broken_grids: bool = False
) -> Registry:
    """Read the registry and every file that it names, and check them all.

    Parameters
    ----------
    location : str or Path, optional
        A path or ``s3://bucket/key``. Default: the setting ``ZAGG_CATALOG_REGISTRY``.
    tolerate_broken_grids : bool
        Return grids whose config or region is broken with their ``problem`` instead of
        raising, so that they do not stop the others.

    Returns
    -------
    Registry

    Raises
    ------
    InvalidRegistry
        With all problems, each on one line: the file, the key, and what to do.
    StoreUnavailable
        If an S3 server does not answer.
    """
    source = str(location or get_settings().registry)
    entries, fatal = _entries(source)
    problems: list[str] = []
    regions = {
        name: region
        for name, entry in entries.regions.items()
        if (region := _region(source, name, entry, problems))
    }
    grids = {
        name: _grid(source, name, entry, entries, regions, problems)
        for name, entry in entries.grids.items()
    }
    if fatal or (problems and not tolerate_broken_grids):
        raise _invalid(source, [*fatal, *problems])
    return Registry(
        source=source,
        regions=regions,
        grids=grids,
        problems=tuple(problems),
        watch=entries.watch,
        checks=entries.checks,
    )


def registry_if_any(location: str | None = None) -> Registry | None:
    """Return the registry; None if none is named, and that of the settings does not exist."""
    try:
        return load_registry(location, tolerate_broken_grids=True)
    except RegistryNotFound:
        if location is not None:
            raise
        return None


def _invalid(source: str, problems: list[str]) -> InvalidRegistry:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InvalidRegistry(f"The registry {source} has {count}:\n  " + "\n  ".join(problems))


def _entries(source: str) -> tuple[RegistryEntries, list[str]]:
    """Read the registry's own file, whose problems are never tolerated."""
    try:
        content = load_yaml(read_bytes(source, MOST_BYTES + 1), _UniqueKeys)
    except InvalidRegistry as error:
        raise type(error)(
            f"The registry {source} {error}; ZAGG_CATALOG_REGISTRY names it."
        ) from None
    except InvalidYaml as error:
        raise InvalidRegistry(f"The registry {source} {error}; correct it.") from None
    entries, problems = read_entries(content)
    return entries, [f"{source}: {text}" for text in problems]


def _region(
    source: str, name: str, entry: RegionEntry, problems: list[str]
) -> RegisteredRegion | None:
    try:
        if entry.bbox is not None:
            definition = json.dumps(entry.bbox).encode()
        else:
            assert entry.geojson is not None
            definition = read_bytes(resolve_location(source, entry.geojson), MOST_OF_REGION + 1)
        region = read_region(definition)
        bbox = polygon_to_bbox(region)
    except StoreUnavailable:
        raise  # not a fault of the region
    except Exception as error:  # noqa: BLE001 - a file can hold anything; it is reported
        key = f"regions.{name}.{'bbox' if entry.bbox is not None else 'geojson'}"
        file = f"{entry.geojson}: " if entry.geojson else ""
        problems.append(f"{source}: {key}: {file}{_ended(error)} Correct the region.")
        return None
    filters = _filters(source, name, entry, problems)
    if filters is None:
        return None
    return RegisteredRegion(
        name=name,
        region=region,
        bbox=bbox,
        definition=definition,
        margin=entry.margin if entry.margin is None else str(entry.margin),
        filters=filters,
    )


def _filters(
    source: str, name: str, entry: RegionEntry, problems: list[str]
) -> dict[str, Any] | None:
    """Read a region's filters, with its file of granule names; None if there is a problem."""
    if entry.granules is None:
        return entry.filters()
    try:
        lines = read_bytes(resolve_location(source, entry.granules)).decode("utf-8-sig")
        return entry.filters(granule_names(names_in(lines)))
    except (InvalidRegistry, InvalidQuery, UnicodeDecodeError) as error:
        problems.append(
            f"{source}: regions.{name}.granules: {entry.granules}: {_ended(error)} Correct it."
        )
        return None


def _grid(
    source: str,
    name: str,
    entry: GridEntry,
    entries: RegistryEntries,
    regions: dict[str, RegisteredRegion],
    problems: list[str],
) -> RegisteredGrid:
    content, grid, wrong = _config(
        resolve_location(source, entry.config), f"grids.{name}.config", regions.get(entry.region)
    )
    if entry.region not in entries.region_names:
        known = ", ".join(entries.region_names) or "none"
        wrong.append(
            f"grids.{name}.region: region {entry.region!r} does not exist; the registry has"
            f" {known}."
        )
    wrong += _order_problems(name, entry, grid)
    wrong += _filter_problems(name, entry, entries.regions.get(entry.region))
    # The problem of a region is reported once, for the region.
    problems.extend(f"{source}: {text}" for text in wrong)
    if not wrong and entry.region not in regions:
        wrong.append(f"grids.{name}.region: region {entry.region} is not valid.")
    return RegisteredGrid(
        name=name,
        config=content,
        config_digest=digest_of([content])[0],
        grid=None if wrong else grid,
        products=entry.products,
        region=entry.region,
        options={
            "backend": entry.backend,
            "footprint": entry.footprint,
            "mortie_order": entry.mortie_order,
            "edge": entry.edge,
            "allow_empty": entry.allow_empty,
        },
        problem=" ".join(wrong) or None,
    )


def _config(
    path: str, key: str, region: RegisteredRegion | None
) -> tuple[bytes, OutputGrid | None, list[str]]:
    """Read a pipeline config; return its bytes, its grid, and its problems.

    Whatever is wrong with the config is a problem of this grid alone.
    """
    content = b""
    try:
        with config_boundary(path):
            content = read_bytes(path, MOST_BYTES + 1)
            config = parse_config(content, source=path)
            grid = from_config(config)
            if region is not None:
                grid.check_size(region.region)
            canonical_json(grid.signature())  # releases store it
            return content, grid, [f"{key}: {path}: {text}" for text in unmet_needs(config)]
    except StoreUnavailable:
        raise  # not a fault of the config
    except InvalidRegistry as error:
        return content, None, [f"{key}: {path} {error}; correct the path."]
    except ZaggCatalogError as error:
        text = _ended(error) if path in str(error) else f"{path}: {_ended(error)}"
        return content, None, [f"{key}: {text} Correct that file."]


def _order_problems(name: str, entry: GridEntry, grid: OutputGrid | None) -> list[str]:
    order = entry.mortie_order
    if order is None or grid is None:
        return []
    if not isinstance(grid, HealpixGrid):
        return [f"grids.{name}.mortie_order: only HEALPix grids have one; remove it."]
    if order < grid.parent_order:
        return [
            f"grids.{name}.mortie_order: {order} is coarser than the shards, of order"
            f" {grid.parent_order}; give {grid.parent_order} to 29."
        ]
    return []


def _filter_problems(name: str, entry: GridEntry, region: RegionEntry | None) -> list[str]:
    """Return the problems of a region's filters with the products of a grid."""
    if region is None:
        return []
    values = {key: value for key, value in region.filters().items() if key != "season"}
    filters = NameFilters.checked(**values)
    problems = []
    for product in entry.products:
        try:
            filters.check_product(product.rpartition("_")[0])
        except InvalidQuery as error:
            problems.append(f"grids.{name}.products: region {entry.region}: {_ended(error)}")
    return problems


def _ended(error: Exception) -> str:
    text = str(error).strip()
    return text if text.endswith(".") else f"{text}."


class _UniqueKeys(BoundedLoader):
    """A loader that refuses repeated keys; YAML itself uses the last one."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            continue  # construct_mapping refuses it
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key_node.value!r} is given twice", key_node.start_mark
            )
        seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def resolve_location(location: str, name: str) -> str:
    """Return the location of a file in the registry: a URL, or a path relative to the registry."""
    if "://" in name or name.startswith("/"):
        return name
    if "://" in location:
        scheme, _, path = location.partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(path), name))}"
    return str(Path(location).parent / name)


def read_bytes(location: str, most: int = -1) -> bytes:
    """Return the content of a file, at most `most` bytes, from a path or from S3.

    Raises `InvalidRegistry` with a part of a sentence if it cannot be read (`RegistryNotFound` if
    it does not exist), and `StoreUnavailable` if an S3 server does not answer.
    """
    if "://" not in location:
        try:
            with Path(location).open("rb") as file:
                return file.read(most)
        except FileNotFoundError as error:
            raise RegistryNotFound(f"cannot be read ({error.strerror})") from None
        except OSError as error:
            raise InvalidRegistry(f"cannot be read ({error.strerror})") from None
    if not location.startswith("s3://"):
        raise InvalidRegistry("is neither a path nor s3://bucket/key")
    try:
        return read_url(location, get_settings(), most)
    except ObjectMissing:
        raise RegistryNotFound("cannot be read (there is no such object)") from None
