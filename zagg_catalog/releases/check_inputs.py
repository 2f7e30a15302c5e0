"""Inputs of the checks before publishing, read from the catalog's file and from the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zagg_catalog.catalog.copies import file_names
from zagg_catalog.catalog.footprint_column import with_wkb
from zagg_catalog.catalog.schema import plain_column
from zagg_catalog.catalog.table import asset_hrefs
from zagg_catalog.cycles import LATENCY, cycle_to_dates
from zagg_catalog.errors import InvalidCatalog, InvalidRelease, StoreError
from zagg_catalog.geometry.plausible import swath_limits
from zagg_catalog.geometry.swaths import SwathSizes
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.reader import ReaderNeeds, Slot
from zagg_catalog.registry.check_rules import CheckPlan
from zagg_catalog.releases.catalog_file import CatalogFile, catalog_ids, unreadable
from zagg_catalog.releases.layout import list_keys
from zagg_catalog.releases.publication import (
    CurrentRelease,
    Publication,
    read_latest,
    record_of,
)
from zagg_catalog.releases.record import ReleaseRecord
from zagg_catalog.store import Store

# A cycle is settled this long after its end: granules have come, and late ones, too.
SETTLED = LATENCY + timedelta(days=30)
# Asset and scheme of an address.
SLOTS: dict[Slot, tuple[str, str]] = {"s3": ("data_s3", "s3://"), "https": ("data", "https://")}
# Rows of a file that are read at once.
_ROWS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Addresses:
    """One kind of addresses of the granules, in columns."""

    files: pa.Array
    """Names of the files; null without an address."""
    usable: pa.Array
    """Whether there is an address, and it has the scheme of its kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlierCycle:
    """The last settled cycle of a product and region that has a complete release."""

    record: ReleaseRecord
    """Its latest release."""
    names: pa.Table
    """Columns of its granules' names, as `granule_name_columns` returns them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckInputs:
    """What the checks compare; columns are parallel to the rows of the catalog."""

    record: ReleaseRecord
    """The release."""
    catalog: CatalogFile
    """Facts of its catalog."""
    names: pa.Table
    """Columns of the granules' names, as `granule_name_columns` returns them."""
    addresses: Mapping[Slot, Addresses] = field(default_factory=dict)
    """S3 and HTTPS addresses; empty if no check needs them."""
    sizes: SwathSizes | None = None
    """Sizes of the footprints; None for products without along-track regions."""
    needs: Mapping[str, ReaderNeeds] = field(default_factory=dict)
    """What the readers of the grids' configs need, by grid."""
    signatures: Mapping[str, str] = field(default_factory=dict)
    """Digests of the spatial signatures of the registry's grids, by grid."""
    before: ReleaseRecord | None = None
    """The latest release of the same product, region and cycle; None without one."""
    earlier: EarlierCycle | None = None
    now: datetime
    """UTC."""

    @property
    def ids(self) -> pa.ChunkedArray:
        """Ids of the granules."""
        return self.catalog.ids


def read_inputs(
    store: Store,
    path: Path,
    catalog: CatalogFile,
    record: ReleaseRecord,
    latest: CurrentRelease,
    needs: Mapping[str, ReaderNeeds],
    plan: CheckPlan,
    now: datetime,
) -> CheckInputs:
    """Read the inputs of the checks that are on; the catalog's file is read in parts."""
    rules = plan.rules_of(record.product)
    addressed = (rules.hrefs, rules.duplicates) != ("off", "off")
    swaths = rules.footprints != "off" and swath_limits(record.product) is not None
    return CheckInputs(
        record=record,
        catalog=catalog,
        names=granule_name_columns(catalog.ids),
        addresses=_addresses(path) if addressed else {},
        sizes=_sizes(path) if swaths else None,
        needs=needs,
        signatures=plan.signatures,
        before=None if rules.drift == "off" else _latest_record(store, latest),
        earlier=None if rules.tracks == "off" else _earlier(store, record, now),
        now=now,
    )


def _addresses(path: Path) -> dict[Slot, Addresses]:
    """Return the addresses in a catalog's file."""
    parts = [_addresses_of(table) for table in _tables(path, "assets")]
    return {
        slot: Addresses(
            files=pa.concat_arrays([part[slot].files for part in parts]),
            usable=pa.concat_arrays([part[slot].usable for part in parts]),
        )
        for slot in (SLOTS if parts else ())
    }


def _addresses_of(table: pa.Table) -> dict[Slot, Addresses]:
    found = {}
    for slot, (asset, scheme) in SLOTS.items():
        hrefs = pa.chunked_array(asset_hrefs(table, asset)).combine_chunks()
        usable = pc.coalesce(pc.starts_with(hrefs, scheme), False)
        found[slot] = Addresses(files=file_names(hrefs), usable=usable)
    return found


def _sizes(path: Path) -> SwathSizes:
    """Return the sizes of the footprints in a catalog's file."""
    tables = map(with_wkb, _tables(path, "geometry"))
    return SwathSizes.joined([SwathSizes.of(plain_column(one, "geometry")) for one in tables])


def _tables(path: Path, column: str) -> Iterator[pa.Table]:
    """Yield one column of a catalog's file in parts."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=[column], use_threads=False):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise InvalidCatalog(unreadable(str(path), error)) from None


def _latest_record(store: Store, latest: CurrentRelease) -> ReleaseRecord | None:
    """Return the record of the latest release; None if there is none, or it is damaged."""
    if latest.publication is None:
        return None
    try:
        return record_of(store, latest.publication)
    except (StoreError, InvalidRelease):
        return None


def _earlier(store: Store, record: ReleaseRecord, now: datetime) -> EarlierCycle | None:
    """Return the last settled cycle with a complete release; None if there is none.

    A damaged release must not stop the next cycle, and counts as none.
    """
    keys = list_keys(store, "releases", record.product, record.region)
    pointers = {parts.release_key for _, parts in keys if parts.digest is None}
    for key in sorted(pointers, reverse=True):
        if key.cycle >= record.cycle or not _is_settled(key.cycle, now):
            continue
        publication = read_latest(store, key).publication
        try:
            found = _complete_record(store, publication)
            if found is not None:
                names = granule_name_columns(catalog_ids(store, found))
                return EarlierCycle(record=found, names=names)
        except (StoreError, InvalidRelease, OSError, pa.ArrowException):
            return None
    return None


def _complete_record(store: Store, publication: Publication | None) -> ReleaseRecord | None:
    if publication is None or (publication.summary and publication.summary.status != "complete"):
        return None
    found = record_of(store, publication)
    return found if found.complete else None


def _is_settled(cycle: int, now: datetime) -> bool:
    if cycle > 99:
        return False
    return cycle_to_dates(cycle)[1].replace(tzinfo=UTC) + SETTLED <= now
