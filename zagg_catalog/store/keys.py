"""Keys: the validated names of objects, laid out in hive style.

A key is segments joined by ``/``; a segment is a name, or ``field=name``. The layout is::

    catalogs/product=ATL06_007/region=antarctica/cycle=22/<digest>.parquet
    shardmaps/product=…/region=…/cycle=22/grid=<name>/<digest>.parquet (or .json)
    releases/product=…/region=…/cycle=22/<digest>.json and latest.json
    pickups/product=…/region=…/cycle=22/grid=<name>/<digest>.json and latest.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from zagg_catalog.errors import InvalidName

Kind = Literal["catalogs", "shardmaps", "releases", "pickups"]

POINTER_NAME = "latest.json"
NAME_LENGTH = 128
KEY_LENGTH = 900  # S3 allows 1,024 bytes, the store's own prefix included

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "catalogs": (".parquet",),
    "shardmaps": (".parquet", ".json"),
    "releases": (".json",),
    "pickups": (".json",),
}
_PER_GRID = ("shardmaps", "pickups")
_WITH_POINTER = ("releases", "pickups")
_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9._-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")
_OBJECT = re.compile(rf"({_DIGEST.pattern})({_SUFFIX.pattern})")
_CYCLE = re.compile(r"[1-9][0-9]{0,3}")
_FIELDS = ("product", "region", "cycle", "grid")


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """What a key of the layout says.

    Parameters
    ----------
    kind : {"catalogs", "shardmaps", "releases", "pickups"}
        The first segment.
    product, region : str
        Product with its version, and region name.
    cycle : int
        The 91-day cycle.
    grid : str or None
        Grid name; only shard maps and pick-ups have one.
    digest : str or None
        SHA-256 of the content in hex; None for the pointer.
    suffix : str
        With its dot, ``.parquet``.
    """

    kind: Kind
    product: str
    region: str
    cycle: int
    grid: str | None = None
    digest: str | None
    suffix: str


def check_name(name: str, what: str = "name") -> str:
    """Return a name that is safe in a path, a URL and a hive partition.

    Parameters
    ----------
    name : str
        1 to 128 of the ASCII letters, digits and ``-_.``; no leading dot, no ``..``.
    what : str
        What the name is for, said in the error.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InvalidName
        If it is anything else.
    """
    if len(name) <= NAME_LENGTH and _NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"{what} {_shown(name)} is not usable: a name has 1 to {NAME_LENGTH} ASCII letters, digits,"
        " '-', '_' or '.', does not begin with a dot and has no '..'; choose another."
    )


def check_digest(digest: str) -> str:
    """Return a digest of 64 lower-case hex digits, or raise `InvalidName`."""
    if _DIGEST.fullmatch(digest):
        return digest
    raise InvalidName(f"Digest {_shown(digest)} is not a SHA-256 in 64 lower-case hex digits.")


def check_suffix(suffix: str) -> str:
    """Return a suffix such as ``.parquet`` or ``.json.gz``, or raise `InvalidName`."""
    if _SUFFIX.fullmatch(suffix):
        return suffix
    raise InvalidName(
        f"Suffix {_shown(suffix)} is not usable: expected one or two of a dot and lower-case"
        " letters or digits, such as '.parquet'."
    )


def check_key(key: str) -> str:
    """Return a key whose every segment is a name or ``field=name``.

    Raises
    ------
    InvalidName
        If a segment is not, or the key has more than 900 characters.
    """
    if len(key) > KEY_LENGTH:
        raise InvalidName(f"Key {_shown(key)} has {len(key)} characters; at most {KEY_LENGTH} fit.")
    for segment in key.split("/"):
        field, equals, name = segment.partition("=")
        check_name(field, f"Part of key {_shown(key)},")
        if equals:
            check_name(name, f"Part of key {_shown(key)},")
    return key


def digest_in(key: str) -> str | None:
    """Return the digest that an object's key ends with, or None if it ends with another name."""
    found = _OBJECT.fullmatch(key.rpartition("/")[2])
    return found[1] if found else None


def folder_key(
    kind: Kind,
    *,
    product: str | None = None,
    region: str | None = None,
    cycle: int | None = None,
    grid: str | None = None,
) -> str:
    """Return the folder of one kind, as deep as it is told, to list or to put into.

    Parameters
    ----------
    kind : {"catalogs", "shardmaps", "releases", "pickups"}
        What is kept there.
    product, region, cycle, grid : str, str, int, str
        In this order; after the first that is None the others must be None. Only shard maps
        and pick-ups have a grid.

    Raises
    ------
    InvalidName
        If a name is not usable, one is left out in the middle, or a grid does not belong.
    """
    _check_kind(kind)
    if grid is not None and kind not in _PER_GRID:
        raise InvalidName(f"{kind} have no grid, and grid {_shown(grid)} was given; leave it out.")
    if cycle is not None and not _CYCLE.fullmatch(str(cycle)):
        raise InvalidName(f"Cycle {_shown(cycle)} is not a number from 1 to 9999.")
    given = [product, region, None if cycle is None else str(cycle), grid]
    depth = next((at for at, value in enumerate(given) if value is None), len(given))
    if any(value is not None for value in given[depth:]):
        raise InvalidName(f"A folder of {kind} needs a {_FIELDS[depth]} before what comes below.")
    named = zip(_FIELDS, given[:depth], strict=False)
    return "/".join([kind, *(f"{field}={check_name(str(v), field)}" for field, v in named)])


def object_key(
    kind: Kind,
    *,
    product: str,
    region: str,
    cycle: int,
    grid: str | None = None,
    digest: str,
    suffix: str,
) -> str:
    """Return the key of one immutable object.

    Raises
    ------
    InvalidName
        If a part is not usable, the suffix is not one of that kind, or a grid is missing or
        does not belong.
    """
    _check_kind(kind)
    if (grid is None) == (kind in _PER_GRID):
        raise InvalidName(
            f"{_shown(kind)}: shard maps and pick-ups are kept per grid, catalogs and releases"
            " are not."
        )
    if suffix not in _SUFFIXES[kind]:
        allowed = " or ".join(_SUFFIXES[kind])
        raise InvalidName(f"Suffix {_shown(suffix)} is not one of {kind}: expected {allowed}.")
    folder = folder_key(kind, product=product, region=region, cycle=cycle, grid=grid)
    return f"{folder}/{check_digest(digest)}{suffix}"


def pointer_key(
    kind: Kind = "releases", *, product: str, region: str, cycle: int, grid: str | None = None
) -> str:
    """Return the key of a pointer: to the latest release, or to what came of a grid's pick-ups.

    Raises
    ------
    InvalidName
        If a part is not usable, the kind has no pointers, or a grid is missing or does not
        belong.
    """
    if kind not in _WITH_POINTER or (grid is None) == (kind in _PER_GRID):
        raise InvalidName(
            f"{_shown(kind)}: releases have one pointer, pick-ups one per grid, others none."
        )
    folder = folder_key(kind, product=product, region=region, cycle=cycle, grid=grid)
    return f"{folder}/{POINTER_NAME}"


def parse_key(key: str) -> KeyParts:
    """Read a key of the layout: what `object_key` and `pointer_key` return.

    Raises
    ------
    InvalidName
        If the key is not exactly one that they would return.
    """
    folder, _, last = check_key(key).rpartition("/")
    kind, *middle = folder.split("/")
    parts = dict(part.partition("=")[::2] for part in middle)
    found = _OBJECT.fullmatch(last)
    try:
        names = {"product": parts["product"], "region": parts["region"]}
        cycle = int(parts["cycle"])
        grid = parts.get("grid")
        if found:
            digest, suffix = found[1], found[2]
            same = object_key(kind, **names, cycle=cycle, grid=grid, digest=digest, suffix=suffix)  # type: ignore[arg-type]
        else:
            digest, suffix = None, ".json"
            same = pointer_key(kind, **names, cycle=cycle, grid=grid)  # type: ignore[arg-type]
    except (KeyError, ValueError):
        same = ""
    if same != key:
        raise InvalidName(f"Key {_shown(key)} does not follow the layout of the store.")
    return KeyParts(kind=kind, **names, cycle=cycle, grid=grid, digest=digest, suffix=suffix)  # type: ignore[arg-type]


def _check_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise InvalidName(f"Kind {_shown(kind)} is none of {', '.join(get_args(Kind))}.")


def _shown(value: object) -> str:
    """Return a value for an error: escaped, and not longer than a line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-12:]}"
