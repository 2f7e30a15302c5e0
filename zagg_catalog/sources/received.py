"""What a full fetch received beside its catalog, from which an incremental fetch begins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import NonNegativeInt, ValidationError

from zagg_catalog.catalog.schema import catalog_schema
from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.files import atomic_path
from zagg_catalog.jsonio import StrictModel, Time, first_problem
from zagg_catalog.messages import clean_text
from zagg_catalog.sources.items import align_assets, unique_rows

_META: Final = b"zagg_catalog:received"
# A fetch that leaves out more rows than this, and than it keeps, is not continued.
MOST_LEFT_OUT: Final = 1_000


class ReceivedFacts(StrictModel):
    """Facts of a fetch that the next one needs."""

    fetch: str
    """Digest of everything that the result depends on but the content of the server."""
    ids: str
    """Digest of the ids of the catalog."""
    full_at: Time
    """When everything was last read, UTC."""
    page: NonNegativeInt
    """Granules on the longest page."""
    newest: str | None = None
    """Newest revision date of the granules, RFC 3339, if the API states it."""


@dataclass(frozen=True, eq=False)
class Received:
    """What a fetch received beside its catalog.

    Together they are all that the server declared, so that its counts can be compared.
    """

    facts: ReceivedFacts
    table: pa.Table
    """Rows that filters or newer revisions left out; columns of `catalog_schema`."""

    def to_parquet(self, path: str | Path) -> None:
        """Write a file, which `from_parquet` reads."""
        text = json.dumps(self.facts.model_dump(mode="json"), sort_keys=True)
        table = self.table.replace_schema_metadata({_META: text.encode()})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def of_fetch(self, fetch: str | None) -> Self:
        """Return the same with the digest of another fetch."""
        facts = self.facts.model_copy(update={"fetch": fetch or ""})
        return replace(self, facts=facts)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read a file; raise `InvalidCatalog` if `to_parquet` did not write it."""
        try:
            table = pq.read_table(path)
            facts = ReceivedFacts.model_validate_json((table.schema.metadata or {})[_META])
            return cls(facts, plain_rows(table))
        except ValidationError as error:
            problem = first_problem(error)
        except KeyError:
            problem = "it has no facts of a fetch"
        except (pa.ArrowException, OSError) as error:
            problem = clean_text(str(error), limit=300)
        raise InvalidCatalog(f"{path} does not say what a fetch received: {problem}.")


def plain_rows(table: pa.Table) -> pa.Table:
    """Return the rows of a file with exactly the columns and types of `catalog_schema`."""
    assets = [field.name for field in table.schema.field("assets").type]
    schema = catalog_schema(assets)
    columns = []
    for field in schema:
        column = table[field.name].combine_chunks()
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        columns.append(pc.cast(column, field.type))
    return pa.table(columns, schema=schema)


def ids_digest(ids: pa.Array | pa.ChunkedArray) -> str:
    """Return a digest of the ids of a catalog, in their order."""
    names = "\n".join(pc.cast(ids, pa.string()).to_pylist())
    return hashlib.sha256(names.encode()).hexdigest()


def start_times(table: pa.Table) -> Any:
    """Return the times at which granules begin, microseconds since 1970, int64; -1 for none."""
    start = pc.coalesce(table["start_datetime"], table["datetime"])
    return pc.fill_null(pc.cast(start, pa.int64()), -1).to_numpy()


def joined(parts: list[Received], catalogs: list[pa.Table], kept: pa.Table) -> Received | None:
    """Return what the time slices of a query received beside their merged catalog.

    `catalogs` are the rows of the slices' catalogs, `kept` those of the merged one. The facts are
    those of the whole query, but for ``fetch``. None if a slice left out too much.
    """
    rows = unique_rows(align_assets([*map(plain_rows, catalogs), *(one.table for one in parts)]))
    left = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=kept["id"].combine_chunks())))
    if is_too_much(left.num_rows, kept.num_rows):
        return None
    newest = [one.facts.newest for one in parts]
    facts = ReceivedFacts(
        fetch="",
        ids=ids_digest(kept["id"]),
        full_at=min(one.facts.full_at for one in parts),
        page=max(one.facts.page for one in parts),
        newest=None if None in newest else max(one for one in newest if one),
    )
    return Received(facts, left.combine_chunks())


def is_too_much(left: int, kept: int) -> bool:
    """Return whether a fetch left out so much that it is not worth keeping."""
    return left > max(MOST_LEFT_OUT, kept)
