"""Files of features: GeoJSON (RFC 7946) and GeoPackage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from zagg_catalog.errors import InvalidOption, MissingPackage
from zagg_catalog.export.features import Features
from zagg_catalog.files import TEMPORARY, atomic_path, make_folder
from zagg_catalog.progress import step

GEOJSON, GEOPACKAGE = (".geojson", ".json"), (".gpkg",)
_TIMES = ("time_start", "time_end")
# Features encoded at once.
_BLOCK = 10_000
_KINDS = {"footprints": "MultiPolygon", "shards": "MultiPolygon", "tracks": "MultiLineString"}


def check_export_path(path: str | Path) -> None:
    """Raise `InvalidOption` if no format has the ending of a path, `MissingPackage` without it."""
    ending = Path(path).suffix.lower()
    if ending in GEOPACKAGE:
        _pyogrio()
    elif ending not in GEOJSON:
        raise InvalidOption(
            f"An export ends in .geojson, .json (GeoJSON) or .gpkg (GeoPackage); got {path}."
        )


def write_features(features: Features, path: str | Path) -> None:
    """Write features as GeoJSON or GeoPackage, by the ending of the path.

    Parameters
    ----------
    features : Features
        Granules or shards.
    path : str or Path
        ``.geojson`` or ``.json``: a feature collection as RFC 7946 defines it, whose members
        ``complete`` and ``metadata`` are those of the catalog or map. ``.gpkg``: a layer named as
        the kind of the features, in EPSG:4326, with times as times, and the metadata as JSON in
        the metadata ``zagg_catalog`` of layer and file. An interrupted call leaves no partial file.

    Raises
    ------
    InvalidOption
        If the path ends otherwise.
    MissingPackage
        If pyogrio, which writes GeoPackage, is not installed.
    """
    check_export_path(path)
    if Path(path).suffix.lower() in GEOJSON:
        _write_geojson(features, path)
    else:
        _write_geopackage(features, Path(path))


def _write_geojson(features: Features, path: str | Path) -> None:
    head = {"type": "FeatureCollection", "name": features.kind} | _described(features)
    start = json.dumps(head, sort_keys=True, default=str)[:-1] + ', "features": [\n'
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(start.encode())
        for number, block in enumerate(_encoded(features)):
            file.write(b",\n" * (number > 0) + block)
        file.write(b"\n]}\n")


def _encoded(features: Features) -> Iterator[bytes]:
    """Yield the features as JSON, some thousand at a time."""
    with step("write", "feature", len(features.shapes)) as counted:
        for first in range(0, len(features.shapes), _BLOCK):
            shapes = shapely.to_geojson(features.shapes[first : first + _BLOCK])
            rows = features.table.slice(first, _BLOCK).to_pylist()
            yield b",\n".join(
                b'{"type":"Feature","geometry":%s,"properties":%s}'
                % ((shape or "null").encode(), orjson.dumps(row))
                for shape, row in zip(shapes, rows, strict=True)
            )
            counted.add(len(shapes))


def _write_geopackage(features: Features, path: Path) -> None:
    shapes, kind = features.shapes, _KINDS[features.kind]
    wkb = pa.array(_as_multi(shapes, kind).tolist(), pa.binary())
    table = features.table.append_column("geometry", wkb)
    for name in set(_TIMES) & set(table.schema.names):
        table = table.set_column(table.schema.get_field_index(name), name, _times(table[name]))
    described = {"zagg_catalog": json.dumps(_described(features), sort_keys=True, default=str)}
    make_folder(path.parent)
    # Beside the file, to be renamed; GDAL wants the ending, and makes more files while it writes.
    with TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder:
        _pyogrio().write_arrow(
            table,
            temporary := Path(folder) / "export.gpkg",
            layer=features.kind,
            driver="GPKG",
            geometry_name="geometry",
            geometry_type=kind,
            crs="EPSG:4326",
            dataset_metadata=described,
            layer_metadata=described,
        )
        temporary.replace(path)


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ISO 8601 texts as times, or unchanged if one of them is another text."""
    try:
        return pc.cast(pc.cast(column, pa.timestamp("us", "UTC")), pa.timestamp("ms", "UTC"), False)
    except pa.ArrowInvalid:
        return column


def _as_multi(shapes: Any, kind: str) -> Any:
    """Return WKB of shapes that are all of several parts, since a layer has one type."""
    join = shapely.multipolygons if kind == "MultiPolygon" else shapely.multilinestrings
    parts, row = shapely.get_parts(shapes, return_index=True)
    joined = np.full(len(shapes), None, dtype=object)
    rows, number = np.unique(row, return_inverse=True)
    if len(rows):
        joined[rows] = join(parts, indices=number)
    return shapely.to_wkb(joined)


def _described(features: Features) -> dict[str, Any]:
    return {"complete": features.complete, "metadata": features.metadata}


def _pyogrio() -> Any:
    try:
        import pyogrio  # optional, 100 MB
    except ImportError as error:
        raise MissingPackage(
            "GeoPackage needs pyogrio: pip install 'zagg-catalog[export]'. GeoJSON does not."
        ) from error
    return pyogrio
