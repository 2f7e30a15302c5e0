"""Find, list and show releases, and resolve one to a local manifest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from zagg_catalog.errors import InvalidName, InvalidRelease, ObjectMissing, StoreError
from zagg_catalog.files import digest_file, rename_synced, temporary_beside, write_synced
from zagg_catalog.jsonio import as_json, canonical_digest
from zagg_catalog.releases.layout import ReleaseKey, list_keys
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_histories
from zagg_catalog.releases.publication import CurrentRelease, Publication, read_latest
from zagg_catalog.releases.record import GridRecord, ManifestFiles, ReleaseRecord, load_record
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import ObjectInfo, Store


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release and where its record is.

    Parameters
    ----------
    slot : Slot
        What it is for.
    key, digest : str
        Its record, and its name.
    record : ReleaseRecord
        What the record says.
    """

    slot: ReleaseKey
    key: str
    digest: str
    record: ReleaseRecord


@dataclass(frozen=True, kw_only=True)
class ReleaseRow:
    """A release in a list.

    Parameters
    ----------
    slot : Slot
        What it is for.
    key, digest : str
        Its record, and its name.
    stored : datetime
        When the record was stored, UTC.
    latest : bool
        Whether the slot's pointer points to it.
    record : ReleaseRecord or None
        What the record says; None if it cannot be read.
    problem : str or None
        Why it cannot be read.
    standings : dict of str to Standing
        How the pick-ups of the slot's grids stand.
    """

    slot: ReleaseKey
    key: str
    digest: str
    stored: datetime
    latest: bool
    record: ReleaseRecord | None = None
    problem: str | None = None
    standings: dict[str, PickupHistory] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReleaseView:
    """A release, and what its slot's pointer says.

    Parameters
    ----------
    release : Release
        The release.
    latest : bool
        Whether the pointer points to it.
    publication : Publication or None
        What the pointer says, of this release or another.
    standings : dict of str to Standing
        How the pick-ups of each grid stand; grids that were never picked up are left out.
    """

    release: Release
    latest: bool
    publication: Publication | None
    standings: dict[str, PickupHistory] = field(default_factory=dict)


def load_release(store: Store, slot: ReleaseKey, digest: str) -> Release:
    """Read a release by its whole digest.

    Raises
    ------
    ObjectMissing
        If there is none.
    CorruptObject
        If the record's bytes do not have that digest.
    InvalidRelease
        If it is not a release record of that slot.
    """
    key = slot.key("releases", digest)
    record = load_record(store.get(key), f"Release record {key}")
    if record.slot != slot:
        raise InvalidRelease(f"Release record {key} is of {record.slot}, and lies elsewhere.")
    return Release(slot=slot, key=key, digest=digest, record=record)


def find_release(
    store: Store, product: str, region: str, cycle: int, *, digest: str | None = None
) -> Release:
    """Return the latest release of a slot, or one by its digest.

    Parameters
    ----------
    store : Store
        Where to look.
    product, region, cycle : str, str, int
        The slot.
    digest : str, optional
        Digest of the release, or its beginning.

    Raises
    ------
    ObjectMissing
        If there is no such release.
    InvalidName
        If a name is not usable, or more than one release's digest begins so.
    CorruptObject, InvalidRelease
        If the pointer or the record is damaged.
    """
    slot = ReleaseKey(product, region, cycle)
    if digest is None:
        digest = latest_of(store, slot).digest
        if digest is None:
            raise ObjectMissing(
                f"Store {store.url} has no latest release of {slot}; publish one, or name a"
                " partial one by its digest."
            )
        return load_release(store, slot, digest)
    return load_release(store, slot, _whole(store, slot, digest))


def latest_of(store: Store, slot: ReleaseKey) -> CurrentRelease:
    """Read a slot's pointer.

    Raises
    ------
    InvalidRelease
        If there is one that says nothing readable.
    """
    latest = read_latest(store, slot)
    if latest.problem:
        raise InvalidRelease(f"{latest.problem} Publish again, or roll back to a release.")
    return latest


def show(
    store: Store, product: str, region: str, cycle: int, *, digest: str | None = None
) -> ReleaseView:
    """Return a release, the latest by default, and its slot's publication.

    Raises
    ------
    ObjectMissing, InvalidName, CorruptObject, InvalidRelease
        As for `find_release`.
    """
    release = find_release(store, product, region, cycle, digest=digest)
    latest = read_latest(store, release.slot)
    return ReleaseView(
        release=release,
        latest=latest.digest == release.digest,
        publication=latest.publication,
        standings=_standings(store, release.slot),
    )


def list_releases(
    store: Store,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> list[ReleaseRow]:
    """Return the releases in a store, by slot and then by the time they were stored.

    Parameters
    ----------
    store : Store
        Where to look.
    product, region, cycle : str, str, int
        Only those, each may be None.

    Returns
    -------
    list of Listed
        A damaged record is listed with its problem.
    """
    latest: dict[ReleaseKey, CurrentRelease] = {}
    standings: dict[ReleaseKey, dict[str, PickupHistory]] = {}
    found = []
    for info, parts in list_keys(store, "releases", product, region, cycle):
        if parts.digest is None:
            continue
        slot = parts.slot
        if slot not in latest:
            latest[slot], standings[slot] = read_latest(store, slot), _standings(store, slot)
        one = _listed(store, slot, parts.digest, info, latest[slot])
        found.append(replace(one, standings=standings[slot]))
    return sorted(found, key=lambda one: (one.slot, one.stored, one.digest))


def _standings(store: Store, slot: ReleaseKey) -> dict[str, PickupHistory]:
    """Return how pick-ups stand; what cannot be read is for verify to report."""
    try:
        return read_pickup_histories(store, slot)
    except InvalidRelease:
        return {}


def _listed(
    store: Store, slot: ReleaseKey, digest: str, info: ObjectInfo, latest: CurrentRelease
) -> ReleaseRow:
    record, problem = None, None
    try:
        record = load_release(store, slot, digest).record
    except (StoreError, InvalidRelease) as error:
        problem = str(error)
    return ReleaseRow(
        slot=slot,
        key=info.key,
        digest=digest,
        stored=info.modified,
        latest=latest.digest == digest,
        record=record,
        problem=problem,
    )


def _whole(store: Store, slot: ReleaseKey, digest: str) -> str:
    """Return the one digest among a slot's releases that begins so."""
    digest = digest.strip().lower()
    if len(digest) == 64:
        return digest
    found = [
        parts.digest
        for _, parts in list_keys(store, "releases", slot.product, slot.region, slot.cycle)
        if parts.digest and digest and parts.digest.startswith(digest)
    ]
    if len(found) > 1:
        raise InvalidName(f"Digest {digest} begins {len(found)} releases of {slot}; give more.")
    if not found:
        raise ObjectMissing(f"Store {store.url} has no release {digest!r} of {slot}.")
    return found[0]


def resolve(
    store: Store,
    product: str,
    region: str,
    cycle: int,
    grid: str,
    *,
    digest: str | None = None,
    folder: str | Path,
) -> Path:
    """Return a local JSON manifest of a release's grid, verified.

    Parameters
    ----------
    store : Store
        Where the release is.
    product, region, cycle : str, str, int
        The slot.
    grid : str
        Name of the grid.
    digest : str, optional
        Digest of the release, or its beginning; by default the latest.
    folder : str or Path
        Where the manifest is kept. A file that is there already, and unaltered, is returned.

    Returns
    -------
    Path
        ``<grid>-<digest of the manifest in the store>.json``.

    Raises
    ------
    ObjectMissing
        If there is no such release or grid, or the grid failed.
    CorruptObject
        If a file does not have its digest; the message names it.
    InvalidRelease
        If the manifest's signature or counts are not those of the release.
    """
    release = find_release(store, product, region, cycle, digest=digest)
    return resolve_grid(store, release, grid, folder)


def resolve_grid(store: Store, release: Release, grid: str, folder: str | Path) -> Path:
    """Return a local JSON manifest of a grid in a release; see `resolve`."""
    entry, files = _grid(release, grid)
    stored = files.document or files.parquet
    target = Path(folder) / f"{grid}-{stored.digest}.json"
    # What was made here has no digest in the store; it is noted beside the file.
    note = target.with_suffix(".sha256")
    if _unaltered(target, note):
        return target
    with TemporaryDirectory(prefix="zagg-catalog-") as scratch:
        path = store.download(stored.key, Path(scratch, "map"))
        shard_map = ShardMap.from_json(path) if files.document else ShardMap.from_parquet(path)
        problems = map_problems(shard_map, entry)
        if problems:
            raise InvalidRelease(f"Manifest {stored.key}: {problems[0]}.")
        made = path if files.document else Path(scratch, "map.json")
        if not files.document:
            shard_map.to_json(made)
        _place(made, target, note)
    return target


def map_problems(shard_map: ShardMap, grid: GridRecord) -> list[str]:
    """Return how a map differs from what a release says of it, a phrase each."""
    found = {
        "signature": canonical_digest(as_json(shard_map.grid_signature)),
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
    }
    said = {
        "signature": grid.signature_digest,
        "shards": grid.shards,
        "pairs": grid.pairs,
        "granules": grid.granules,
    }
    return [
        f"its {what} is {found[what]} and the release says {said[what]}"
        if what == "signature"
        else f"it has {found[what]:,} {what} and the release says {said[what]:,}"
        for what in said
        if found[what] != said[what]
    ]


def _grid(release: Release, name: str) -> tuple[GridRecord, ManifestFiles]:
    entry = release.record.grid(name)
    if entry is None:
        names = ", ".join(grid.name for grid in release.record.grids) or "none"
        raise ObjectMissing(
            f"Release {release.digest[:12]} of {release.slot} has no grid {name!r}; it has {names}."
        )
    if entry.manifest is None:
        raise ObjectMissing(
            f"Grid {name} failed in release {release.digest[:12]} of {release.slot}: {entry.error}"
        )
    return entry, entry.manifest


def _unaltered(target: Path, note: Path) -> bool:
    try:
        return note.read_text(encoding="ascii").strip() == digest_file(target)[0]
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _place(made: Path, target: Path, note: Path) -> None:
    """Put a file and its digest where they belong; each appears whole or not at all."""
    digest, _ = digest_file(made)
    with made.open("rb") as source, temporary_beside(target) as temporary:
        write_synced(temporary, iter(lambda: source.read(1 << 20), b""))
        rename_synced(temporary, target)
    with temporary_beside(note) as temporary:
        write_synced(temporary, [f"{digest}\n".encode()])
        rename_synced(temporary, note)
