"""Files of regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from zagg_catalog.errors import InvalidRegion, MissingPackage, RegionNotFound
from zagg_catalog.messages import shown
from zagg_catalog.regions.geojson import MOST_BYTES, parse_region, region_from_geojson
from zagg_catalog.regions.geometries import (
    is_wkb,
    is_wkt,
    region_from_geometries,
    region_from_wkb,
    region_from_wkt,
)
from zagg_catalog.regions.polygons import Region

# Files that GDAL reads.
_GDAL = {
    ".gpkg": "GeoPackage",
    ".shp": "Shapefile",
    ".zip": "zipped Shapefile",
    ".kml": "KML",
    ".kmz": "KMZ",
    ".fgb": "FlatGeobuf",
}
_PART_OF_SHAPEFILE = {".dbf", ".shx", ".prj", ".cpg"}


def load_polygon(geojson_path: str | Path, *, layer: str | None = None) -> Region:
    """Load the polygons of a file.

    Parameters
    ----------
    geojson_path : str or Path
        GeoJSON (Feature, FeatureCollection, Polygon, MultiPolygon or GeometryCollection), WKT, WKB
        or GeoParquet. With the extra ``regions``, also GeoPackage, Shapefile (or a zip file
        with one), KML and FlatGeobuf.
    layer : str, optional
        The layer of a file with several; ``FILE#LAYER`` names it, too. By default the only one.

    Returns
    -------
    Region
        A list of closed ``(lats, lons)``, one pair of float64 arrays per polygon, its exterior,
        WGS84 degrees, with their holes in ``holes``. A box wider than 180° is several polygons. A
        file in another CRS is transformed, with its edges cut every kilometre.

    Raises
    ------
    RegionNotFound
        If the file does not exist.
    MissingPackage
        Without pyogrio, for the formats that need it.
    InvalidRegion
        If the file cannot be read, holds no polygon, has an unknown CRS, or has several layers
        and ``layer`` names none.

    Examples
    --------
    >>> region = load_polygon("basins.gpkg", layer="jakobshavn")
    >>> region.bounds
    """
    path = Path(geojson_path)
    content = _read(path)
    if content is None:
        name, _, layer_of_name = str(path).rpartition("#")
        if layer is None and name and Path(name).is_file():
            return load_polygon(name, layer=layer_of_name)
        raise RegionNotFound(f"There is no region file {path}.")
    try:
        return _region(path, content, layer)
    except InvalidRegion as error:
        raise InvalidRegion(f"In the region file {path}: {error}") from error


def _read(path: Path) -> bytes | None:
    """Return the content of a file, one byte beyond the limit at most; None if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidRegion(f"Cannot read the region file {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRegion(f"Cannot read the region file {shown(str(path))}: {error}.") from None


def _region(path: Path, content: bytes, layer: str | None) -> Region:
    if len(content) > MOST_BYTES:
        raise InvalidRegion(f"it has more than {MOST_BYTES >> 20} MB; simplify its polygons.")
    suffix = path.suffix.lower()
    if suffix in _PART_OF_SHAPEFILE:
        raise InvalidRegion("it is a part of a Shapefile; give the file that ends with .shp.")
    if suffix in _GDAL:
        return _of_gdal(path, layer, _GDAL[suffix])
    if content.startswith(b"PAR1"):
        return _of_geoparquet(path)
    if is_wkb(content):
        return region_from_wkb(content)
    text = content.decode("utf-8-sig", errors="replace")
    if is_wkt(text):
        return region_from_wkt(text)
    try:
        document = parse_region(content)
    except ValueError as error:
        raise InvalidRegion(
            f"it {error}. A region file is GeoJSON, WKT, WKB, GeoParquet, GeoPackage, Shapefile,"
            " KML or FlatGeobuf."
        ) from None
    return region_from_geojson(document)


def _of_gdal(path: Path, layer: str | None, kind: str) -> Region:
    try:
        import pyogrio
        from pyogrio.errors import DataLayerError, DataSourceError
    except ImportError:
        raise MissingPackage(
            f"Reading the {kind} {path} needs pyogrio; install zagg-catalog[regions], or convert it"
            " to GeoJSON."
        ) from None
    try:
        layer = layer or _only_layer(pyogrio.list_layers(path))
        meta, _, geometries, _ = pyogrio.raw.read(path, layer=layer, columns=[])
    except (DataSourceError, DataLayerError) as error:
        raise InvalidRegion(f"cannot read it as a {kind}: {error}.") from None
    return region_from_geometries(shapely.from_wkb(geometries, on_invalid="ignore"), meta["crs"])


def _only_layer(layers: np.ndarray[Any, Any]) -> str | None:
    """Return the layer with geometries; raise `InvalidRegion` if there are several."""
    names = [name for name, kind in layers if kind is not None]
    if len(names) > 1:
        raise InvalidRegion(f"it has layers {', '.join(names[:9])}; name one as FILE#LAYER.")
    return names[0] if names else None


def _of_geoparquet(path: Path) -> Region:
    try:
        file = pq.ParquetFile(path)
        geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
        name = geo.get("primary_column", "geometry")
        column = file.read(columns=[name])[name]
        facts = geo["columns"][name]
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, OSError):
        raise InvalidRegion("it is not a GeoParquet file with a geometry column.") from None
    if facts.get("encoding") != "WKB":
        raise InvalidRegion(f"its geometries are {shown(facts.get('encoding'))}; write WKB.")
    geometries = shapely.from_wkb(column.to_numpy(zero_copy_only=False), on_invalid="ignore")
    crs = facts.get("crs", "OGC:CRS84")
    if crs is None:
        raise InvalidRegion("it has no crs; write it with one.")
    return region_from_geometries(geometries, crs if isinstance(crs, str) else json.dumps(crs))
