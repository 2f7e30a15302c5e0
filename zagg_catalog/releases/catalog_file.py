"""A catalog file as a release sees it: its ids and provenance, never its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from zagg_catalog.catalog.table import META_KEY
from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.files import digest_file
from zagg_catalog.jsonio import first_problem
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.releases.record import QueryRecord
from zagg_catalog.sources.report import HarvestReport

_COLUMNS = ("id", "geometry", "assets")


@dataclass(frozen=True, kw_only=True, eq=False)
class CatalogFile:
    """What a release says of a catalog.

    Parameters
    ----------
    digest : str
        SHA-256 of the file in hex.
    size, rows : int
        Bytes and granules.
    ids : pyarrow.ChunkedArray of string
        Ids, in the file's order; each once.
    metadata : dict
        Provenance.
    query : QueryRecord
        What was asked for.
    harvest : HarvestReport or None
        What came.
    """

    digest: str
    size: int
    rows: int
    ids: pa.ChunkedArray
    metadata: dict[str, Any]
    query: QueryRecord
    harvest: HarvestReport | None

    @property
    def complete(self) -> bool:
        """Whether the harvest got everything that the server declared."""
        return bool(self.metadata.get("complete", True))


def read_catalog_file(path: Path, name: str | None = None) -> CatalogFile:
    """Read what a release says of a catalog; memory holds the id column only.

    Parameters
    ----------
    path : Path
        The file.
    name : str, optional
        What it is called in errors; by default its path.

    Raises
    ------
    InvalidCatalog
        If it is not a granule catalog, or an id is missing or there twice.
    """
    name = name or str(path)
    try:
        with pq.ParquetFile(path) as file:
            metadata = _metadata(file.schema_arrow, name)
            ids = file.read(["id"])["id"]
        digest, size = digest_file(path)
    except FileNotFoundError:
        raise InvalidCatalog(f"There is no catalog file {name}.") from None
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


def read_ids(path: Path) -> pa.ChunkedArray:
    """Return the ids of a catalog file that was checked when it was published."""
    with pq.ParquetFile(path) as file:
        return pc.cast(file.read(["id"])["id"], pa.string())


def _metadata(schema: pa.Schema, name: str) -> dict[str, Any]:
    missing = [column for column in _COLUMNS if column not in schema.names]
    if missing:
        raise InvalidCatalog(f"{name} is no catalog: it has no column {', '.join(missing)}.")
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
            f"{len(repeated)} ids are there more than once in {name}, {first['values']} for"
            " instance; a release needs each granule once."
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
    try:
        return QueryRecord(**known)
    except ValidationError as error:
        raise InvalidCatalog(f"The query in {name} is malformed: {first_problem(error)}.") from None


def _harvest(metadata: dict[str, Any], name: str) -> HarvestReport | None:
    report = metadata.get("harvest")
    if not report:
        return None
    try:
        # By way of JSON, whose arrays strict models take as tuples.
        return HarvestReport.model_validate_json(json.dumps(report))
    except ValidationError as error:
        problem = first_problem(error)
        raise InvalidCatalog(f"The harvest report in {name} is malformed: {problem}.") from None
