"""The stored catalogs that an archive is built from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from glob import glob
from pathlib import Path

from zagg_catalog.catalog.selection import Selection
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import (
    CorruptObject,
    InputNotFound,
    InvalidQuery,
    InvalidRelease,
    ObjectMissing,
)
from zagg_catalog.files import digest_file, scratch
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.releases import find_release
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCatalog:
    """A stored catalog; a build reads it when it needs it."""

    label: str
    """Short name, ``c22``; part of the names of its maps."""
    series: str
    """Common name of the catalogs, ``ATL06_007_antarctica``; may be empty."""
    digest: str
    """SHA-256 of its file."""
    load: Callable[[], Catalog]
    """Reads the catalog, and verifies it if it is in a store."""

    @property
    def name(self) -> str:
        """Series and label."""
        return "_".join(part for part in (self.series, self.label) if part)


def release_catalogs(
    store: Store, product: str, region: str, cycles: Iterable[int]
) -> tuple[list[StoredCatalog], dict[str, str]]:
    """Find the catalogs of the latest releases of some cycles.

    Parameters
    ----------
    store : Store
        Store of the releases.
    product, region : str
        ``ATL06_007`` and the name of a region.
    cycles : iterable of int
        Cycles; sorted, each counts once.

    Returns
    -------
    catalogs : list of StoredCatalog
        In the order of the cycles.
    missing : dict of str to str
        Label of each cycle without a usable release, ``c07``, and the reason.

    Raises
    ------
    InvalidName
        If a name is not usable.
    StoreUnavailable
        If the store cannot be read.
    """
    catalogs, missing = [], {}
    for cycle in sorted(set(cycles)):
        label = f"c{cycle:02d}"
        try:
            stored = find_release(store, product, region, cycle).record.catalog
        except (ObjectMissing, CorruptObject, InvalidRelease) as error:
            missing[label] = str(error)
            continue
        load = partial(load_catalog, store, stored.key)
        series = f"{product}_{region}"
        catalogs.append(StoredCatalog(label=label, series=series, digest=stored.digest, load=load))
    return catalogs, missing


def catalog_files(patterns: Iterable[str]) -> list[StoredCatalog]:
    """Find catalog files.

    Parameters
    ----------
    patterns : iterable of str
        Paths, or patterns such as ``catalogs/c*.parquet``.

    Returns
    -------
    list of StoredCatalog
        Sorted by path; labels are the files' names without the suffix.

    Raises
    ------
    InvalidQuery
        If a pattern matches no file, or two files have one name.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        paths = sorted(Path(name) for name in glob(pattern, recursive=True))  # noqa: PTH207
        paths = [path for path in paths if path.is_file()]
        if not paths:
            raise InputNotFound(f"There is no catalog file {pattern}.")
        for path in paths:
            other = found.setdefault(path.stem, path)
            if other.resolve() != path.resolve():
                raise InvalidQuery(
                    f"{other} and {path} have the same name, as their maps would; rename one."
                )
    ordered = sorted(found.items(), key=lambda item: item[1])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(digest_file, [path for _, path in ordered])
        return [
            StoredCatalog(
                label=label,
                series="",
                digest=digest,
                load=partial(Catalog.from_geoparquet, path),
            )
            for (label, path), (digest, _) in zip(ordered, digests, strict=True)
        ]


def load_catalog(store: Store, key: str) -> Catalog:
    """Read a catalog of a store, and verify its digest."""
    with scratch() as folder:
        return Catalog.from_geoparquet(store.download(key, Path(folder, "catalog.parquet")))


def select_from(catalog: StoredCatalog, selection: Selection) -> StoredCatalog:
    """Return a stored catalog of which a build reads only the selected granules.

    Parameters
    ----------
    catalog : StoredCatalog
        From `release_catalogs` or `catalog_files`.
    selection : Selection
        Product and filters; applied when the catalog is read.

    Returns
    -------
    StoredCatalog
        Its ``digest`` is one of the file, the product and the filters.
    """
    if not selection:
        return catalog
    product = [selection.short_name, selection.version]
    digest = canonical_digest([catalog.digest, *product, selection.filters.values()])
    return replace(catalog, digest=digest, load=lambda: catalog.load().select(selection))
