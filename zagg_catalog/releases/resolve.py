"""Resolving: from a slot and a grid to a local manifest that zagg loads."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from zagg_catalog.errors import InvalidRelease, ObjectMissing
from zagg_catalog.files import digest_file, rename_synced, temporary_beside, write_synced
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.releases.gridbuild import plain
from zagg_catalog.releases.read import Release, find_release
from zagg_catalog.releases.record import GridRecord, ManifestFiles
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


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
        "signature": canonical_digest(plain(shard_map.grid_signature)),
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
