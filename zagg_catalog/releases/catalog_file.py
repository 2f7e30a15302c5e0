"""Facts of a catalog file that a release records: digest, ids and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from zagg_catalog.catalog.addresses import have_secrets
from zagg_catalog.catalog.columns import check_ids, check_schema
from zagg_catalog.catalog.completeness import Completeness, completeness
from zagg_catalog.catalog.footprint_column import check_described
from zagg_catalog.catalog.geoparquet import stored_metadata
from zagg_catalog.catalog.harvest_report import HarvestReport, harvest_in
from zagg_catalog.errors import CatalogNotFound, InvalidCatalog
from zagg_catalog.files import digest_file, scratch
from zagg_catalog.jsonio import first_problem
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.releases.record import QueryRecord, ReleaseRecord
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


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
            schema = file.schema_arrow
            check_schema(schema)
            check_described(schema)
            metadata = stored_metadata(schema)
            ids = pc.cast(file.read(["id"])["id"], pa.string())
        check_ids(ids)
        query, harvest = _query(metadata), harvest_in(metadata)
        digest, size = digest_file(path)
    except FileNotFoundError:
        raise CatalogNotFound(f"Catalog file {name} does not exist.") from None
    except InvalidCatalog as error:
        raise InvalidCatalog(f"{name}: {error}") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidCatalog(unreadable(name, error)) from None
    return CatalogFile(
        digest=digest,
        size=size,
        rows=len(ids),
        ids=ids,
        metadata=metadata,
        query=query,
        harvest=harvest,
    )


def check_addresses(path: Path) -> None:
    """Raise `InvalidCatalog` if a catalog's file has addresses with secrets; reads it in parts."""
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in ("assets", "links") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=names, use_threads=False):
                batch.validate(full=True)
                if any(have_secrets(column) for column in batch.columns):
                    break
            else:
                return
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidCatalog(unreadable(str(path), error)) from None
    raise InvalidCatalog(
        f"{path} has addresses with a signature, a password or a token, which expire and must not"
        " be published. Load the catalog and write it again, which removes them:"
        " Catalog.from_geoparquet(path).to_geoparquet(path)."
    )


def unreadable(name: str, error: Exception) -> str:
    """Return that a file is not readable parquet, a sentence."""
    return f"{name} is not a readable parquet file: {clean_text(str(error), limit=300)}"


def catalog_ids(store: Store, record: ReleaseRecord) -> pa.ChunkedArray:
    """Return the ids of a release's catalog, which were checked when it was published."""
    with scratch() as folder:
        path = store.download(record.catalog.key, folder / "catalog.parquet")
        with pq.ParquetFile(path) as file:
            return pc.cast(file.read(["id"])["id"], pa.string())


def catalog_granules(store: Store, record: ReleaseRecord) -> pa.Table:
    """Return ids and footprints of a release's catalog, sorted by id."""
    with scratch() as folder:
        path = store.download(record.catalog.key, folder / "catalog.parquet")
        table = pq.read_table(path, columns=["id", "geometry"])
        columns = [pc.cast(table["id"], pa.string()), pc.cast(table["geometry"], pa.binary())]
        return pa.table(columns, names=["id", "geometry"]).sort_by("id").combine_chunks()


def _query(metadata: dict[str, Any]) -> QueryRecord:
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
        raise InvalidCatalog(f"the query is malformed: {first_problem(error)}.") from None
