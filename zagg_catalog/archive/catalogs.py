"""Stored catalogs: those of a store's latest releases, or files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import (
    CorruptObject,
    InputNotFound,
    InvalidQuery,
    InvalidRelease,
    ObjectMissing,
)
from zagg_catalog.files import digest_file
from zagg_catalog.releases import find_release
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCatalog:
    """A catalog that is read when it is needed.

    Parameters
    ----------
    label : str
        Its name among the others, ``c22``; part of the names of its maps.
    series : str
        What the others are too, ``ATL06_007_antarctica``; may be empty.
    digest : str
        SHA-256 of its file.
    load : callable
        Reads it, and verifies it where it comes from a store.
    """

    label: str
    series: str
    digest: str
    load: Callable[[], Catalog]

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
        Where the releases are.
    product, region : str
        ``ATL06_007`` and the name of a region.
    cycles : iterable of int
        Cycles; sorted, each counts once.

    Returns
    -------
    catalogs : list of StoredCatalog
        In the order of the cycles.
    missing : dict of str to str
        Label of each cycle without a usable release, ``c07`` → why.

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
        load = partial(_load_object, store, stored.key)
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
                    f"{other} and {path} have one name, and their maps would too; rename one."
                )
    return [
        StoredCatalog(
            label=label,
            series="",
            digest=digest_file(path)[0],
            load=partial(Catalog.from_geoparquet, path),
        )
        for label, path in sorted(found.items(), key=lambda item: item[1])
    ]


def _load_object(store: Store, key: str) -> Catalog:
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        return Catalog.from_geoparquet(store.download(key, Path(folder, "catalog.parquet")))
