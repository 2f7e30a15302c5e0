"""The command ``export``: catalogs and shard maps as GeoJSON or GeoPackage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import shapely
from cyclopts import Parameter

from zagg_catalog import grids
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cli.common import exit_code_of, print_error, print_line
from zagg_catalog.cli.inspect import load_file
from zagg_catalog.errors import InvalidOption
from zagg_catalog.export.features import Features, catalog_features, map_features
from zagg_catalog.export.files import check_export_path, write_features
from zagg_catalog.shardmap.columns import MapColumns


def export(
    file: Path,
    output: Path,
    /,
    *,
    tracks: bool = False,
    config: Annotated[Path | None, Parameter(alias="--grid", metavar="FILE")] = None,
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
    print_line(f"{output}: {len(features.shapes):,} {features.kind} of {file}")
    without = int(shapely.is_missing(features.shapes).sum())
    if without:
        print_error(f"{without:,} {features.kind} have no shape; their field problem says why.")
    return exit_code_of(loaded, _kind(loaded), partial=True)


def _kind(loaded: Catalog | MapColumns) -> str:
    return "map" if isinstance(loaded, MapColumns) else "catalog"


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
