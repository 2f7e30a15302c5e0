"""ICESat-2 granule names: one grammar for all products.

Source: the naming sections of NSIDC's user guides of the products; see `GranuleName`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# One grammar for all products; see `GranuleName`. Harmony and NSIDC's subsetter put ``processed_``
# in front of a name. Every pattern has the groups ``part``, ``resolution`` and ``source``, empty
# where a name has no such part, because a missing group would be null.
_HEAD = r"^(?:processed_)?(?P<product>ATL\d{2}(?:QL)?)"
_CYCLES = r"_(?P<cycle>\d{2})(?P<last_cycle>\d{2})"
_TAIL = r"_(?P<release>\d{3})_(?P<revision>\d{2})"
_TRACK = (
    r"(?:-(?P<part>\d{2}))?(?P<resolution>)_(?P<start>\d{14})"
    r"_(?P<rgt>\d{4})(?P<cycle>\d{2})(?P<region>\d{2})"
    # ATL24 has the release and revision of its ATL03 granule, then its own.
    r"(?:_(?P<source>\d{3}_\d{2}))?"
)
_MULTI_CYCLE = r"(?P<part>)(?P<resolution>)(?P<source>)_(?P<rgt>\d{4})(?P<region>\d{2})" + _CYCLES
_AREA = r"(?P<source>)_(?P<part>[A-Z][A-Z0-9])" + _CYCLES + r"_(?P<resolution>\d+k?m)"
_PATTERNS = tuple(_HEAD + form + _TAIL for form in (_TRACK, _MULTI_CYCLE, _AREA))
_GROUPS = tuple(frozenset(re.compile(pattern).groupindex) for pattern in _PATTERNS)
# Products whose names have a first and a last cycle, or no known grammar (ATL18).
MULTI_CYCLE_PRODUCTS = frozenset({"ATL11", "ATL14", "ATL15", "ATL18"})
# Products whose files are netCDF, ``.nc``.
NETCDF_PRODUCTS = frozenset({"ATL14", "ATL15"})


def is_icesat2(short_name: str) -> bool:
    """Return whether a short name is that of an ICESat-2 product, ``ATL06`` or ``ATL08QL``."""
    return re.fullmatch(r"ATL\d{2}(QL)?", short_name) is not None


@dataclass(frozen=True, kw_only=True)
class GranuleName:
    """The parts of an ICESat-2 granule name.

    Notes
    -----
    Three forms of names exist, by NSIDC's user guides of the products:

    - ``ATL06_[start]_[RGT, cycle, region]_[release]_[revision].h5`` of along-track products, with
      ``QL`` after the product of a quick look, and ``-01`` (north) or ``-02`` (south) after that
      of a sea-ice product (ATL07, ATL10, ATL20, ATL21). Weekly and monthly grids (ATL16, ATL17,
      ATL19 to ATL21, ATL23) have the start, RGT and cycle of their first granule. ATL24 has the
      release and revision of its ATL03 granule in this place, and then its own.
    - ``ATL11_[RGT, region]_[first and last cycle]_[release]_[revision].h5``.
    - ``ATL15_[area]_[first and last cycle]_[resolution]_[release]_[revision].nc`` of ATL14 and
      ATL15.
    """

    product: str  # short name, ``ATL06``, ``ATL08QL``
    start: datetime | None  # UTC and naive; None for products without one in the name (ATL11)
    rgt: int | None  # reference ground track, 1 to 1387; None for ATL14 and ATL15
    cycle: int
    last_cycle: int  # differs from cycle in multi-cycle products (ATL11)
    region: int | None  # along-track region, 1 to 14; None for ATL14 and ATL15
    release: str  # data release, ``007``
    revision: int  # of this granule within its release
    part: str = ""  # hemisphere of sea-ice products, ``01`` or ``02``; area of ATL14 and ATL15
    resolution: str = ""  # of ATL14 and ATL15, ``01km``
    source: str = ""  # release and revision of the ATL03 granule of an ATL24 one, ``006_02``


def parse_granule_name(name: str) -> GranuleName | None:
    """Read one granule name; return None if it is not an ICESat-2 name.

    The name may have folders before it and a suffix after ``.h5``.
    """
    name = name.rsplit("/", 1)[-1]
    if not (match := next(filter(None, (re.match(p, name) for p in _PATTERNS)), None)):
        return None
    parts = {key: value or "" for key, value in match.groupdict().items()}
    try:
        start = datetime.strptime(parts["start"], "%Y%m%d%H%M%S") if "start" in parts else None
    except ValueError:
        return None
    return GranuleName(
        product=parts["product"],
        start=start,
        rgt=int(parts["rgt"]) if "rgt" in parts else None,
        cycle=int(parts["cycle"]),
        last_cycle=int(parts.get("last_cycle", parts["cycle"])),
        region=int(parts["region"]) if "region" in parts else None,
        release=parts["release"],
        revision=int(parts["revision"]),
        part=parts["part"],
        resolution=parts["resolution"],
        source=parts["source"],
    )


def granule_name_columns(names: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Read a column of granule names at once.

    Parameters
    ----------
    names : pyarrow.Array of string
        Granule or item names, without a folder in front.

    Returns
    -------
    pyarrow.Table
        Columns ``product`` (string), ``rgt``, ``cycle``, ``last_cycle``, ``region`` (int16),
        ``release`` (string), ``revision`` (int16), ``part``, ``resolution`` and ``source``
        (string), as in `GranuleName`; all null where a name does not parse. Rows are parallel to
        ``names``.
    """
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    found = _matches(names)

    def text(group: str, other: str | None = None) -> pa.Array:
        groups = [group if group in known else other for known in _GROUPS]
        pairs = zip(found, groups, strict=False)
        return pc.coalesce(*(pc.struct_field(match, name) for match, name in pairs if name))

    def number(group: str, other: str | None = None) -> pa.Array:
        return pc.cast(text(group, other), pa.int16())

    return pa.table(
        {
            "product": text("product"),
            "rgt": number("rgt"),
            "cycle": number("cycle"),
            "last_cycle": number("last_cycle", "cycle"),
            "region": number("region"),
            "release": text("release"),
            "revision": number("revision"),
            "part": text("part"),
            "resolution": text("resolution"),
            "source": text("source"),
        }
    )


def _matches(names: pa.Array) -> list[pa.Array]:
    """Match names with the patterns, in order, until every name is matched."""
    found: list[pa.Array] = []
    for pattern in _PATTERNS:
        found.append(pc.extract_regex(names, pattern))
        if not pc.coalesce(*(pc.struct_field(match, "product") for match in found)).null_count:
            break
    return found


def granule_keys(names: pa.Table) -> pa.Array:
    """Return a text that all files of one granule share, revisions and editions.

    Parameters
    ----------
    names : pyarrow.Table
        Result of `granule_name_columns`.

    Returns
    -------
    pyarrow.Array of string
        Product, RGT, first cycle, region, part, resolution and release. A new edition of a
        multi-cycle granule has later cycles in its name, so the last cycle is not in the key; nor
        is the release of ATL24. Null where a name does not parse.
    """
    fields = ("product", "rgt", "cycle", "region", "part", "resolution")
    texts = [pc.cast(names[field].combine_chunks(), pa.string()) for field in fields]
    release, source = (names[field].combine_chunks() for field in ("release", "source"))
    release = pc.if_else(pc.equal(source, ""), release, "")
    filled = [pc.coalesce(text, "") for text in (*texts, release)]
    return pc.if_else(pc.is_valid(texts[0]), pc.binary_join_element_wise(*filled, "_"), None)


def revision_ranks(names: pa.Table) -> pa.Array:
    """Return numbers by which files of one granule are ordered, int64; the largest is the newest.

    The last cycle counts before the revision, so that the longest edition of a multi-cycle
    granule is the newest. Of ATL24, its own release and revision count, then those of its ATL03
    granule. 0 where a name does not parse.
    """
    source = pc.replace_substring(names["source"], "_", "")
    rank: Any = pa.scalar(0, pa.int64())
    for column, digits in (
        (names["release"], 3),
        (names["last_cycle"], 2),
        (names["revision"], 2),
        (pc.if_else(pc.equal(source, ""), "0", source), 5),
    ):
        rank = pc.add(pc.multiply(rank, 10**digits), pc.cast(column, pa.int64()))
    return pc.fill_null(rank, 0).combine_chunks()
