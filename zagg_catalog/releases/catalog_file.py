"""Facts of a catalog file that a release records: digest, ids and provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from zagg_catalog.catalog.completeness import Completeness, completeness
from zagg_catalog.catalog.geoparquet import META_KEY
from zagg_catalog.errors import CatalogNotFound, InvalidCatalog
from zagg_catalog.files import digest_file, scratch
from zagg_catalog.jsonio import first_problem
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.releases.record import QueryRecord, ReleaseRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.sources.report import HarvestReport
from zagg_catalog.store import Store

_COLUMNS = ("id", "geometry", "assets")


@dataclass(frozen=True, kw_only=True, eq=False)
class CatalogFile:
    """The facts of a catalog file."""

    digest: str
    """SHA-256 of the file in hex."""
    size: int
    """Bytes."""
    rows: int
    """Number of granules."""
    ids: pa.ChunkedArray
    """Ids, strings in the file's order; each occurs once."""
    metadata: dict[str, Any]
    """Provenance, as the file stores it."""
    query: QueryRecord
    harvest: HarvestReport | None

    @property
    def complete(self) -> bool:
        """Whether the catalog is known to have everything that the server declared."""
        return self.completeness is True

    @property
    def completeness(self) -> Completeness:
        """``True``, ``False``, or ``"unknown"`` if the file does not say it."""
        return completeness(self.metadata)

    def unknown_granules(self, shard_map: ShardMap) -> list[str]:
        """Return the ids of the granules in a map that the catalog does not have."""
        own = shard_map.table["id"]
        unknown: list[str] = own.filter(pc.invert(pc.is_in(own, value_set=self.ids))).to_pylist()
        return unknown


def read_catalog_file(path: Path, name: str | None = None) -> CatalogFile:
    """Read the facts of a catalog file, which errors call `name`; only the id column is in memory.

    Raises `InvalidCatalog` if it is not a granule catalog, or an id is missing or repeated.
    """
    name = name or str(path)
    try:
        with pq.ParquetFile(path) as file:
            metadata = _metadata(file.schema_arrow, name)
            ids = file.read(["id"])["id"]
        digest, size = digest_file(path)
    except FileNotFoundError:
        raise CatalogNotFound(f"Catalog file {name} does not exist.") from None
    except (pa.ArrowException, OSError) as error:
        raise InvalidCatalog(f"{name} is not a readable parquet file: {error}") from None
    return CatalogFile(
        digest=digest,
        size=size,
        rows=len(ids),
        ids=_checked_ids(ids, name),
        metadata=metadata,
        query=_query(metadata, name),
        harvest=_harvest(metadata, name),
    )


def catalog_ids(store: Store, record: ReleaseRecord) -> pa.ChunkedArray:
    """Return the ids of a release's catalog, which were checked when it was published."""
    with scratch() as folder:
        path = store.download(record.catalog.key, folder / "catalog.parquet")
        with pq.ParquetFile(path) as file:
            return pc.cast(file.read(["id"])["id"], pa.string())


def _metadata(schema: pa.Schema, name: str) -> dict[str, Any]:
    missing = [column for column in _COLUMNS if column not in schema.names]
    if missing:
        raise InvalidCatalog(f"{name} is not a catalog: it has no column {', '.join(missing)}.")
    try:
        metadata = json.loads((schema.metadata or {}).get(META_KEY, b"{}"))
    except ValueError:
        raise InvalidCatalog(f"The catalog metadata in {name} is not JSON.") from None
    return metadata if isinstance(metadata, dict) else {}


def _checked_ids(ids: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    ids = pc.cast(ids, pa.string())
    if ids.null_count:
        raise InvalidCatalog(f"{ids.null_count} rows of {name} have no id.")
    counts = pc.value_counts(ids.combine_chunks())
    repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(repeated):
        first = repeated[0].as_py()
        raise InvalidCatalog(
            f"{len(repeated)} ids occur more than once in {name}, {first['values']} for instance;"
            " a release needs each granule once."
        )
    return ids


def _query(metadata: dict[str, Any], name: str) -> QueryRecord:
    known = {field: metadata.get(field) for field in QueryRecord.model_fields}
    for field in ("stac_root", "cmr_root"):
        root = known[field]
        if isinstance(root, str):
            known[field] = clean_text(without_userinfo(root), limit=500)
    if isinstance(known["bbox"], list):
        known["bbox"] = tuple(known["bbox"])
    if isinstance(known["area"], list):
        known["area"] = tuple(tuple(box) if isinstance(box, list) else box for box in known["area"])
    try:
        return QueryRecord(**known)
    except ValidationError as error:
        raise InvalidCatalog(f"The query in {name} is malformed: {first_problem(error)}.") from None


def _harvest(metadata: dict[str, Any], name: str) -> HarvestReport | None:
    report = metadata.get("harvest")
    if not report:
        return None
    try:
        # Through JSON, whose arrays strict models accept as tuples.
        return HarvestReport.model_validate_json(json.dumps(report))
    except ValidationError as error:
        problem = first_problem(error)
        raise InvalidCatalog(f"The harvest report in {name} is malformed: {problem}.") from None
