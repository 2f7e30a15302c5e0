"""The commands ``export``, to formats of other programs, and ``convert``, of a map for zagg."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import shapely
from cyclopts import Parameter

from zagg_catalog import grids
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cli.common import (
    check_output,
    exit_code_of,
    print_error,
    print_line,
    print_result,
)
from zagg_catalog.cli.inspect import kind_of, load_file, load_map
from zagg_catalog.cli.options import AsJson
from zagg_catalog.errors import InvalidOption
from zagg_catalog.export.features import Features, catalog_features, map_features
from zagg_catalog.export.files import check_export_path, write_features
from zagg_catalog.messages import number_of
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.shardmap.columns import MapColumns


def export(
    file: Path,
    output: Path,
    /,
    *,
    tracks: bool = False,
    config: Annotated[Path | None, Parameter(alias="--grid", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> int:
    """Write a catalog or a shard map as GeoJSON or GeoPackage.

    Parameters
    ----------
    file
        A catalog (.parquet) or a map (.json, .parquet).
    output
        The file to write: .geojson, .json or .gpkg.
    tracks
        Ground tracks of a catalog's granules as lines, instead of footprints.
    config
        Pipeline config YAML of a map's grid (default: the grid of its signature).
    """
    check_export_path(output)
    loaded = load_file(file)
    features = _features(file, loaded, tracks, config)
    write_features(features, output)
    without = int(shapely.is_missing(features.shapes).sum())
    facts = {
        "file": output,
        "source": file,
        "kind": features.kind,
        "features": len(features.shapes),
        "without_shape": without,
        "complete": loaded.completeness,
    }
    text = f"{output}: {number_of(len(features.shapes), features.kind.removesuffix('s'))} of {file}"
    print_result(facts, lambda: print_line(text), as_json=as_json)
    if without:
        kind = features.kind.removesuffix("s")
        print_error(f"{number_of(without, kind)} without a shape; the field problem says why.")
    return exit_code_of(loaded, kind_of(loaded), partial=True)


def convert(file: Path, output: Path, /, *, as_json: AsJson = False) -> int:
    """Write a shard map in its other format: JSON, which zagg reads, or compact parquet.

    Parameters
    ----------
    file
        A map (.json, .parquet), of this package or of zagg.
    output
        The file to write: .json or .parquet.
    """
    check_output(output, (".json", ".parquet"))
    shard_map = ShardMap.from_columns(load_map(file, "convert"))
    write = shard_map.to_parquet if output.suffix.lower() == ".parquet" else shard_map.to_json
    write(output)
    facts = {
        "file": output,
        "source": file,
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "complete": shard_map.completeness,
    }
    text = f"{output}: {number_of(len(shard_map), 'shard')} of {file}"
    print_result(facts, lambda: print_line(text), as_json=as_json)
    return exit_code_of(shard_map, "map", partial=True)


def _features(
    file: Path, loaded: Catalog | MapColumns, tracks: bool, config: Path | None
) -> Features:
    if isinstance(loaded, MapColumns):
        if tracks:
            raise InvalidOption(f"{file} is a map, which has no tracks; export its catalog.")
        return map_features(loaded, grid=None if config is None else grids.from_config(config))
    if config is not None:
        raise InvalidOption(f"{file} is a catalog, which has no grid; omit --config.")
    return catalog_features(loaded, tracks=tracks)
