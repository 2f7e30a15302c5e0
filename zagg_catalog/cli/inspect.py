"""The commands ``show``, ``diff`` and ``check`` for catalogs and shard maps."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cyclopts import Parameter

from zagg_catalog import grids, registry, shardmap
from zagg_catalog.catalog.columns import iso_times
from zagg_catalog.catalog.completeness import BEYOND_KEY
from zagg_catalog.catalog.table import Catalog, asset_hrefs
from zagg_catalog.cli.common import (
    DONE,
    WRONG_DATA,
    check_file,
    exit_code_of,
    print_error,
    print_line,
    print_result,
)
from zagg_catalog.cli.options import AcceptPartial, AsJson, ExitCode
from zagg_catalog.cli.tables import print_catalog_diff, print_map_diff, print_summary
from zagg_catalog.diff import CatalogDiff, MapDiff, diff_catalogs, diff_maps
from zagg_catalog.errors import (
    EmptyShardMap,
    InvalidCatalog,
    InvalidOption,
    InvalidQuery,
    InvalidShardMap,
)
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import extent_text
from zagg_catalog.shardmap.columns import MapColumns
from zagg_catalog.shardmap.json_file import read_json
from zagg_catalog.shardmap.parquet_file import is_manifest, read_parquet
from zagg_catalog.shardmap.readable import mark_unreadable

zagg_names = lazy_module("zagg_catalog.aggregation.zagg_names")

Summary = dict[str, Any]

# First bytes of files of other kinds that people have.
_MAGIC = {
    b"\x89HDF": "HDF5, as the data of a granule",
    b"SQLite format 3": "SQLite, as a GeoPackage",
    b"PK": "a zip file",
    b"\x00\x00\x27\x0a": "a Shapefile",
    b"%PDF": "PDF",
}
_YAML = (".yaml", ".yml")
_PROVENANCE = (
    "collection",
    "source",
    "stac_root",
    "provider",
    "cycle",
    "cycle_convention",
    "start_date",
    "end_date",
    "filters",
    "bbox",
    "area",
)


def show(file: Path, /, *, as_json: AsJson = False, partial: AcceptPartial = False) -> int:
    """Describe a catalog or a shard map.

    Parameters
    ----------
    file
        A catalog (.parquet) or a map (.json, .parquet).
    """
    loaded = load_file(file)
    summary = summarise_map(loaded) if isinstance(loaded, MapColumns) else summarise_catalog(loaded)
    kind = "shard map" if isinstance(loaded, MapColumns) else "catalog"
    print_result(summary, lambda: print_summary(f"{kind} {file}", summary), as_json=as_json)
    return exit_code_of(loaded, kind, partial=partial)


def diff(old: Path, new: Path, /, *, exit_code: ExitCode = False, as_json: AsJson = False) -> int:
    """Compare two catalogs or two shard maps.

    Parameters
    ----------
    old
        A catalog or a map.
    new
        Another one of the same kind.
    """
    before, after = load_file(old), load_file(new)
    if isinstance(before, MapColumns) and isinstance(after, MapColumns):
        make = shardmap.ShardMap.from_columns
        found: MapDiff | CatalogDiff = diff_maps(make(before), make(after))
    elif isinstance(before, Catalog) and isinstance(after, Catalog):
        found = diff_catalogs(before, after)
    else:
        raise InvalidQuery("diff compares two catalogs or two shard maps; got one of each.")
    facts = {"same": found.same, **asdict(found)}
    facts.pop("grids", None)
    print_result(facts, lambda: _print_diff(found), as_json=as_json)
    return WRONG_DATA if exit_code and not found.same else DONE


def _print_diff(found: MapDiff | CatalogDiff) -> None:
    if isinstance(found, MapDiff):
        print_map_diff(found)
    else:
        print_catalog_diff(found)


def check(
    map: Path,
    /,
    *,
    config: Annotated[Path, Parameter(alias="--grid", metavar="FILE")],
    partial: AcceptPartial = False,
    as_json: AsJson = False,
) -> int:
    """Compare a map's signature, shard keys and addresses with a config's grid and reader.

    Parameters
    ----------
    map
        A shard map (.json, .parquet).
    config
        Pipeline config YAML.
    """
    if map.suffix.lower() in _YAML and config.suffix.lower() not in _YAML:
        raise InvalidQuery(f"The map comes first: zagg-catalog check {config} --config {map}.")
    grid = grids.from_config(config)
    loaded = load_map(map, "check")
    shard_map = shardmap.ShardMap.from_columns(loaded)
    shard_map.check(grid)
    grid.check_keys(shard_map.shards)
    if not shard_map.n_pairs:
        raise EmptyShardMap(
            f"{map} has no pair, so zagg has nothing to read; {extent_text(grid.extent())}. Build"
            " it over a region in this box, from a catalog with granules there."
        )
    read = mark_unreadable(loaded, grid.config.needs) if grid.config else loaded
    needs = registry.unmet_needs(grid.config) if grid.config else []
    format_need = _format_need(map)
    facts = {
        "map": map,
        "config": config,
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "complete": read.completeness,
        "unreadable": read.metadata.get("unreadable") or [],
        "needs": [*needs, *format_need],
    }
    text = f"{map} belongs to {config}: {shard_map!r}"
    print_result(facts, lambda: print_line(text), as_json=as_json)
    for need in needs:
        print_error(f"note: zagg cannot aggregate with {config} yet: {need}")
    for need in format_need:
        print_error(f"note: {need}")
    return exit_code_of(read, "map", partial=partial)


def _format_need(path: Path) -> list[str]:
    """Return what zagg needs beyond a map of its grid: a file that it reads."""
    if path.suffix.lower() == ".json":
        return []
    converted = f"zagg-catalog convert {path} {path.with_suffix('.json')}"
    tested = " and ".join(zagg_names.TESTED)
    return [f"zagg {tested} reads maps as JSON only; `{converted}` writes one."]


def load_map(path: Path, command: str) -> MapColumns:
    """Load a shard map; say of a catalog that the command needs a map, and how to make one."""
    loaded = load_file(path)
    if not isinstance(loaded, MapColumns):
        raise InvalidShardMap(
            f"{path} is a catalog, and {command} needs a shard map; `zagg-catalog build --config"
            f" FILE --catalog {path}` builds one."
        )
    return loaded


def load_catalog(path: Path | None) -> Catalog | None:
    """Load the catalog of a map that is given with it, if there is one."""
    loaded = None if path is None else load_file(path)
    if isinstance(loaded, MapColumns):
        raise InvalidOption(f"{path} is a map; --catalog needs the map's catalog.")
    return loaded


def kind_of(loaded: Catalog | MapColumns) -> str:
    """Return ``map`` or ``catalog``."""
    return "map" if isinstance(loaded, MapColumns) else "catalog"


def load_file(path: Path) -> Catalog | MapColumns:
    """Load a catalog or a shard map; say of another file what it is."""
    other = _other_kind(check_file(path))
    if other is not None:
        raise InvalidCatalog(
            f"{path} is {other}, neither a catalog (.parquet) nor a shard map (.json, .parquet)."
        )
    if path.suffix.lower() == ".json":
        return read_json(path)
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise InvalidCatalog(f"{path} is not a readable parquet file: {error}") from error
    return read_parquet(path) if is_manifest(schema) else Catalog.from_geoparquet(path)


def _other_kind(path: Path) -> str | None:
    """Return what a file is by its first bytes, if they are not those of a catalog or a map."""
    with path.open("rb") as file:
        start = file.read(4096)
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    if path.suffix.lower() in _YAML:
        return "YAML, as a config, which `zagg-catalog grid show` describes"
    # A Feature of GeoJSON begins with its type, and a map of zagg does not have this one.
    if re.search(rb'"type"\s*:\s*"(Feature|FeatureCollection|(Multi)?Polygon)"', start):
        return "GeoJSON"
    return None


def summarise_catalog(catalog: Catalog) -> Summary:
    """Return counts, time range, missing hrefs, completeness and harvest report of a catalog."""
    names = granule_name_columns(pc.cast(catalog.table["id"], pa.string()))
    first, last = _time_range(catalog.table)
    return {
        "granules": len(catalog),
        "complete": catalog.completeness,
        "quarantined": catalog.quarantined,
        **{key: catalog.metadata[key] for key in _PROVENANCE if catalog.metadata.get(key)},
        "first_granule": first,
        "last_granule": last,
        "cycles": _counts(names["cycle"]),
        "regions": _counts(names["region"]),
        "tracks": len(pc.unique(names["rgt"].drop_null())),
        "without_s3": asset_hrefs(catalog.table, "data_s3").null_count,
        "without_https": asset_hrefs(catalog.table, "data").null_count,
        "harvest": catalog.metadata.get("harvest", {}),
    }


def summarise_map(shard_map: MapColumns) -> Summary:
    """Return signature, counts, granules per shard, provenance and quarantined granules."""
    per_shard = np.diff(shard_map.offsets)
    fullest = np.argsort(-per_shard, kind="stable")[:5]
    spread = (
        {
            "least": int(per_shard.min()),
            "median": float(np.median(per_shard)),
            "most": int(per_shard.max()),
        }
        if len(per_shard)
        else {}
    )
    metadata = shard_map.metadata
    keys = (*_PROVENANCE, "edge", "backend", "backend_version", "footprint", "mortie_order")
    return {
        "grid_signature": shard_map.grid_signature,
        "shards": len(shard_map.shards),
        "pairs": len(shard_map.rows),
        "granules_assigned": shard_map.table.num_rows,
        "granules_considered": metadata.get("total_granules"),
        "complete": shard_map.completeness,
        "granules_per_shard": spread,
        "fullest_shards": {str(shard_map.shards[i]): int(per_shard[i]) for i in fullest},
        **{key: metadata[key] for key in keys if metadata.get(key) is not None},
        "shards_beyond_area": _beyond(metadata),
        "quarantined": shard_map.quarantined,
        "repaired": metadata.get("repaired", []),
    }


def _beyond(metadata: dict[str, Any]) -> int | None:
    """Return the number of shards that reach beyond the catalog's area; None if it is not known."""
    keys = metadata.get(BEYOND_KEY)
    return None if keys is None else len(keys)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column.combine_chunks().drop_null()).to_pylist()
    return {str(row["values"]): row["counts"] for row in sorted(counted, key=lambda r: r["values"])}


def _time_range(table: pa.Table) -> tuple[str | None, str | None]:
    names = [name for name in ("start_datetime", "datetime") if name in table.schema.names]
    if not names:
        return None, None
    span = pc.min_max(iso_times(table, names[0])).as_py()
    return span["min"], span["max"]
