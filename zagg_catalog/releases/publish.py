"""Publishing: files first, each under its digest; the record; the pointer last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from zagg_catalog.errors import InvalidCatalog, InvalidRelease, PointerConflict
from zagg_catalog.jsonio import first_problem
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.releases.catalog_file import CatalogFile, read_catalog_file
from zagg_catalog.releases.filing import Filing
from zagg_catalog.releases.gridbuild import GridBuild, check_builds
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pointer import (
    CurrentRelease,
    PublishContext,
    contraction,
    move_latest,
    read_latest,
)
from zagg_catalog.releases.publication import Contraction, Publication
from zagg_catalog.releases.record import CatalogRecord, ManifestFiles, ReleaseRecord, status_of
from zagg_catalog.sources.report import Transfer
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publish did.

    Parameters
    ----------
    record : ReleaseRecord
        The release.
    key, digest : str
        Where its record is, and its name.
    moved : bool
        Whether the pointer was moved to it.
    latest : bool
        Whether the pointer points to it now.
    written : list of str
        Keys of the objects that were written; what was there already is not among them.
    contraction : Contraction
        Granules that the latest release had and this one has not.
    publication : Publication or None
        What the pointer says now; None if there is none or it cannot be read.
    """

    record: ReleaseRecord
    key: str
    digest: str
    moved: bool
    latest: bool
    written: list[str]
    contraction: Contraction
    publication: Publication | None

    @property
    def unchanged(self) -> bool:
        """Whether everything was there already, so that nothing was written at all."""
        return not (self.moved or self.written)


def publish(
    store: Store,
    *,
    catalog: str | Path,
    maps: Sequence[GridBuild],
    region: str,
    product: str | None = None,
    cycle: int | None = None,
    partial_latest: bool = False,
    json_manifests: bool = False,
    published_by: str | None = None,
    transfer: Transfer | None = None,
    clock: Clock = utc_now,
) -> Published:
    """Publish a catalog and its maps as one release.

    Parameters
    ----------
    store : Store
        Where to.
    catalog : str or Path
        File that `Catalog.to_geoparquet` wrote; streamed, not loaded.
    maps : sequence of GridBuild
        A map, or the error instead of one, per grid.
    region : str
        Name of the region.
    product, cycle : str, int
        By default those in the catalog's metadata.
    partial_latest : bool
        Move the pointer to the release even if it is partial.
    json_manifests : bool
        Also store the JSON that zagg loads; `resolve` makes it otherwise.
    published_by : str, optional
        Who; by default ``user@host``.
    transfer : Transfer, optional
        How the harvest went, for the publication.
    clock : callable
        Returns the time.

    Returns
    -------
    Published
        The same inputs give the same digest, and write nothing the second time.

    Raises
    ------
    InvalidCatalog, InvalidShardMap, SignatureMismatch, InvalidRelease, InvalidName, InvalidGrid
        If catalog and maps do not fit together; nothing was written.
    PointerConflict
        If another release of the slot was published meanwhile; this one is stored, and
        publishing again finishes it.
    StoreError
        If the store cannot be written.
    """
    facts = read_catalog_file(Path(catalog))
    slot = _slot(facts, product, region, cycle)
    check_builds(maps, facts)
    latest = read_latest(store, slot)
    with Filing(store) as filing:
        record = _record(filing, slot, facts, Path(catalog), maps, json_manifests)
        filing.store_all(slot.record_key(record.digest), record.to_bytes())
        written = filing.written
    shrunk = contraction(store, latest, record, facts.ids)
    moved = latest.digest != record.digest and (record.status == "complete" or partial_latest)
    if moved:
        occasion = PublishContext(published_by=published_by, transfer=transfer, clock=clock)
        moved, latest = _move(store, latest, record, shrunk, occasion)
    return Published(
        record=record,
        key=slot.record_key(record.digest),
        digest=record.digest,
        moved=moved,
        latest=latest.digest == record.digest,
        written=written,
        contraction=shrunk,
        publication=latest.publication,
    )


def _move(
    store: Store,
    latest: CurrentRelease,
    record: ReleaseRecord,
    shrunk: Contraction,
    occasion: PublishContext,
) -> tuple[bool, CurrentRelease]:
    """Move the pointer; say whether it was us, and what it says now."""
    try:
        publication = move_latest(
            store, latest, record, action="publish", contraction=shrunk, occasion=occasion
        )
    except PointerConflict:
        # Whoever moved it may have published the very same.
        current = read_latest(store, record.slot)
        if current.digest != record.digest:
            raise
        return False, current
    return True, CurrentRelease(publication=publication)


def _slot(facts: CatalogFile, product: str | None, region: str, cycle: int | None) -> ReleaseKey:
    product = product or facts.metadata.get("collection")
    cycle = cycle if cycle is not None else facts.metadata.get("cycle")
    if product is None or cycle is None:
        what = "product" if product is None else "cycle"
        raise InvalidRelease(f"The catalog does not say its {what}; name it, for the release.")
    return ReleaseKey(product, region, cycle)


def _record(
    filing: Filing,
    slot: ReleaseKey,
    facts: CatalogFile,
    path: Path,
    maps: Sequence[GridBuild],
    json_manifests: bool,
) -> ReleaseRecord:
    """Stage the catalog and the manifests, and return the record of them."""
    try:
        staged = filing.stage(slot.catalog_folder, path)
        if staged.digest != facts.digest:
            raise InvalidCatalog(f"{path} changed while it was being published; publish it again.")
        catalog = CatalogRecord(**dict(staged), rows=facts.rows, complete=facts.complete)
        grids = tuple(
            build.record(_manifest(filing, slot, build, json_manifests))
            for build in sorted(maps, key=lambda build: build.name)
        )
        return ReleaseRecord(
            product=slot.product,
            region=slot.region,
            cycle=slot.cycle,
            cycle_convention=facts.metadata.get("cycle_convention"),
            query=facts.query,
            harvest=facts.harvest,
            catalog=catalog,
            grids=grids,
            status=status_of(catalog, grids),
        )
    except ValidationError as error:
        raise InvalidRelease(
            f"The catalog or a map says something that no release can hold: {first_problem(error)}."
        ) from None


def _manifest(
    filing: Filing, slot: ReleaseKey, build: GridBuild, json_manifests: bool
) -> ManifestFiles | None:
    """Write the manifests of a map and stage them; None if it failed."""
    if build.shard_map is None:
        return None
    folder = slot.manifest_folder(build.name)
    parquet, document = filing.scratch(".parquet"), filing.scratch(".json")
    build.shard_map.to_parquet(parquet)
    if json_manifests:
        build.shard_map.to_json(document)
    return ManifestFiles(
        parquet=filing.stage(folder, parquet),
        document=filing.stage(folder, document) if json_manifests else None,
    )
