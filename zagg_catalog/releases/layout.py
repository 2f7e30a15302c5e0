"""The layout of releases in a store, in hive style.

Keys are::

    catalogs/product=ATL06_007/region=antarctica/cycle=22/<digest>.parquet
    shardmaps/product=…/region=…/cycle=22/grid=<name>/<digest>.parquet (or .json)
    releases/product=…/region=…/cycle=22/<digest>.json and latest.json
    pickups/product=…/region=…/cycle=22/grid=<name>/<digest>.json and latest.json

The objects of pickups are records of pick-ups and of their batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Literal, cast, get_args

from zagg_catalog.errors import InvalidName
from zagg_catalog.store import ObjectInfo, Store
from zagg_catalog.store.keys import check_digest, check_key, check_name, shown, split_name

Kind = Literal["catalogs", "shardmaps", "releases", "pickups"]
KINDS: tuple[Kind, ...] = get_args(Kind)

POINTER_NAME = "latest.json"

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "catalogs": (".parquet",),
    "shardmaps": (".parquet", ".json"),
    "releases": (".json",),
    "pickups": (".json",),
}
_PER_GRID = ("shardmaps", "pickups")
_WITH_POINTER = ("releases", "pickups")
_FIELDS = ("product", "region", "cycle", "grid")
_CYCLE = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, order=True)
class ReleaseKey:
    """Product, region and cycle of a release; each has one pointer to its latest release.

    Raises `InvalidName` if a field cannot be part of a key.
    """

    product: str
    """Short name and version, ``ATL06_007``."""
    region: str
    """Name of the region."""
    cycle: int
    """Cycle number, 1 to 9999."""

    def __post_init__(self) -> None:
        self.folder("releases")

    def __str__(self) -> str:
        return f"{self.product}, {self.region}, cycle {self.cycle}"

    def folder(self, kind: Kind, grid: str | None = None) -> str:
        """Return the folder of one kind of its objects; see `folder_key`."""
        return folder_key(kind, self.product, self.region, self.cycle, grid)

    def key(
        self, kind: Kind, digest: str, suffix: str | None = None, grid: str | None = None
    ) -> str:
        """Return the key of an immutable object; shard maps and pick-ups need a grid.

        Raises `InvalidName` if the digest, the grid or the suffix is not valid for the kind.
        """
        folder = self._object_folder(kind, grid)
        suffix = _SUFFIXES[kind][0] if suffix is None else suffix
        if suffix not in _SUFFIXES[kind]:
            allowed = " or ".join(_SUFFIXES[kind])
            raise InvalidName(f"Suffix {shown(suffix)} is not one of {kind}: expected {allowed}.")
        return f"{folder}/{check_digest(digest)}{suffix}"

    def pointer(self, kind: Kind = "releases", grid: str | None = None) -> str:
        """Return the key of ``latest.json``, of releases or of the pick-ups of a grid."""
        folder = self._object_folder(kind, grid)
        if kind not in _WITH_POINTER:
            raise InvalidName(f"{kind} have no pointer; only releases and pick-ups have one.")
        return f"{folder}/{POINTER_NAME}"

    def _object_folder(self, kind: Kind, grid: str | None) -> str:
        folder = self.folder(kind, grid)
        if grid is None and kind in _PER_GRID:
            raise InvalidName(f"{kind} are stored per grid, and no grid was given; name one.")
        return folder


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """The parts of a key of the layout."""

    kind: Kind
    release_key: ReleaseKey
    grid: str | None = None
    digest: str | None  # None for a pointer
    suffix: str

    @property
    def key(self) -> str:
        """The key."""
        if self.digest is None:
            return self.release_key.pointer(self.kind, self.grid)
        return self.release_key.key(self.kind, self.digest, self.suffix, self.grid)

    def matches(self, product: str | None, region: str | None, cycle: int | None) -> bool:
        """Return whether product, region and cycle are these; None matches any."""
        wanted = (product, region, cycle)
        return all(
            want in (None, has) for want, has in zip(wanted, astuple(self.release_key), strict=True)
        )


def folder_key(
    kind: Kind,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
    grid: str | None = None,
) -> str:
    """Return the folder of a kind of objects, down to the last part that is not None.

    Raises `InvalidName` if a part is not valid, if one before the last is None, or if the kind has
    no grids.
    """
    if kind not in KINDS:
        raise InvalidName(f"Kind {shown(kind)} is not one of {', '.join(KINDS)}.")
    if grid is not None and kind not in _PER_GRID:
        raise InvalidName(f"{kind} have no grid; leave grid {shown(grid)} out.")
    if cycle is not None and not _CYCLE.fullmatch(str(cycle)):
        raise InvalidName(f"Cycle {shown(cycle)} is not a number from 1 to 9999.")
    given = [product, region, None if cycle is None else str(cycle), grid]
    depth = next((at for at, value in enumerate(given) if value is None), len(given))
    if any(value is not None for value in given[depth:]):
        raise InvalidName(f"A folder of {kind} needs a {_FIELDS[depth]} before what comes below.")
    named = zip(_FIELDS, given[:depth], strict=False)
    return "/".join([kind, *(f"{field}={check_name(str(v), field)}" for field, v in named)])


def parse_key(key: str) -> KeyParts:
    """Parse a key that `ReleaseKey.key` or `ReleaseKey.pointer` returned.

    Raises `InvalidName` for any other key.
    """
    segments = check_key(key).split("/")
    try:
        kind, *middle, name = segments
        fields = dict(segment.partition("=")[::2] for segment in middle)
        digest, suffix = split_name(name) or (None, ".json")
        parts = KeyParts(
            kind=cast(Kind, kind),
            release_key=ReleaseKey(fields["product"], fields["region"], int(fields["cycle"])),
            grid=fields.get("grid"),
            digest=digest,
            suffix=suffix,
        )
        if parts.key == key:
            return parts
    except (KeyError, ValueError):
        pass
    raise InvalidName(f"Key {shown(key)} does not follow the layout of the store.")


def list_keys(
    store: Store,
    kind: Kind,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
) -> Iterator[tuple[ObjectInfo, KeyParts]]:
    """Yield the objects and pointers of one kind, with the parts of their keys.

    Keys that do not follow the layout are left out; `verify` reports them.
    """
    # A folder is named by leading parts only; the others are compared.
    region_of_folder = region if product is not None else None
    cycle_of_folder = cycle if region_of_folder is not None else None
    for info in store.list(folder_key(kind, product, region_of_folder, cycle_of_folder)):
        try:
            parts = parse_key(info.key)
        except InvalidName:
            continue
        if parts.matches(product, region, cycle):
            yield info, parts
