"""Filters: which granules a query selects by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.cycles import REGIONS, TRACKS, Direction, check_cycle
from zagg_catalog.errors import InputNotFound, InvalidQuery
from zagg_catalog.granule_names import granule_name_columns, is_icesat2

Numbers = str | int | Iterable[int]

# Along-track regions by direction. Source: the region borders of ATL03 (0, 27, 59.5 and 80° N,
# 0, 27, 50 and 79° S along the orbit). The orbit turns within regions 4 and 11, around the poles,
# so that their granules have both directions and are selected with either.
DIRECTION_REGIONS: Mapping[str, tuple[int, ...]] = {
    "ascending": (1, 2, 3, 4, 11, 12, 13, 14),
    "descending": (4, 5, 6, 7, 8, 9, 10, 11),
}
# Products with one track in each granule. Those of ATL12, ATL13 and others hold several orbits,
# and their names have the first one only.
TRACK_PRODUCTS = ("02", "03", "04", "06", "07", "08", "09", "10", "11", "24")
# Products whose granules are cut at the 14 along-track regions; the names of others have 01.
REGION_PRODUCTS = ("02", "03", "06", "08", "11", "24")

# Names of the filters in reports, in the order in which they apply.
KINDS = ("cycle", "track", "granule_region", "direction", "name")
KEPT, UNREADABLE = 0, -1
# Parts of a name that filters need.
_COLUMNS = {"cycle": "cycle", "track": "rgt", "granule_region": "region", "direction": "region"}

_SPAN = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_BASE = r"^(?:.*/)?(.*?)(?:\.(?:h5|nc).*)?$"


@dataclass(frozen=True, kw_only=True)
class NameFilters:
    """Filters on granule names; an empty one selects everything.

    Values are checked by `numbers`, `check_direction` and `granule_names`.
    """

    cycle: int | None = None
    """Mission cycle."""
    tracks: tuple[int, ...] = ()
    """Reference ground tracks, 1 to 1387."""
    granule_regions: tuple[int, ...] = ()
    """Along-track regions, 1 to 14."""
    direction: Direction | None = None
    """Direction of the satellite; granules of regions 4 and 11 have both."""
    granules: tuple[str, ...] = ()
    """Granule names."""

    @classmethod
    def checked(
        cls,
        *,
        cycle: int | None = None,
        tracks: Numbers | None = None,
        granule_regions: Numbers | None = None,
        direction: str | None = None,
        granules: str | Iterable[str] | None = None,
    ) -> Self:
        """Return the filters of some values; raise `InvalidQuery` if one is not valid."""
        filters = cls(
            cycle=None if cycle is None else check_cycle(cycle),
            tracks=numbers(tracks, "A track", TRACKS),
            granule_regions=numbers(granule_regions, "An along-track region", REGIONS),
            direction=check_direction(direction),
            granules=granule_names(granules),
        )
        if direction and granule_regions and not filters.regions:
            raise InvalidQuery(
                f"No along-track region of {number_text(filters.granule_regions)} is {direction};"
                f" {number_text(DIRECTION_REGIONS[direction])} are."
            )
        return filters

    def __bool__(self) -> bool:
        return bool(self.kinds)

    @property
    def regions(self) -> tuple[int, ...]:
        """Along-track regions that the filters select; empty for all."""
        if self.direction is None:
            return self.granule_regions
        own = DIRECTION_REGIONS[self.direction]
        return tuple(n for n in own if not self.granule_regions or n in self.granule_regions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names in `KINDS` of the filters that are given."""
        given = (
            self.cycle is not None,
            self.tracks,
            self.granule_regions,
            self.direction,
            self.granules,
        )
        return tuple(kind for kind, value in zip(KINDS, given, strict=True) if value)

    @property
    def unreadable_reason(self) -> str:
        """Why a granule without a readable name is set aside, as a part of a sentence."""
        if self.kinds == ("cycle",):
            return f"its name does not say whether it belongs to cycle {self.cycle}"
        return f"its name does not say whether the filters ({', '.join(self.kinds)}) select it"

    def check_product(self, short_name: str) -> None:
        """Raise `InvalidQuery` if the names of a product do not have what the filters need."""
        if self.cycle is not None and not is_icesat2(short_name):
            raise InvalidQuery(
                f"Cycles are in the names of ICESat-2 granules (ATL06 and others), not of"
                f" {short_name}; give a first and a last day instead."
            )
        if self.tracks:
            _check_product(short_name, TRACK_PRODUCTS, "tracks", "one track in each granule")
        if self.granule_regions or self.direction:
            what = "direction" if self.direction else "granule_regions"
            _check_product(
                short_name, REGION_PRODUCTS, what, "granules cut at the 14 along-track regions"
            )

    def judge(self, ids: pa.Array, names: pa.Table | None = None) -> NDArray[np.int8]:
        """Judge granules by their names.

        Parameters
        ----------
        ids : pyarrow.Array of string
            Granule ids, shape (n,).
        names : pyarrow.Table, optional
            Result of `granule_name_columns` for the ids.

        Returns
        -------
        ndarray of int8
            Shape (n,): 0 for a granule to keep; -1 if the name cannot be read and a filter needs
            it; else the number of the first filter that leaves it out, from 1, in `KINDS`.
        """
        verdict = np.zeros(len(ids), dtype=np.int8)
        if not self:
            return verdict
        names = granule_name_columns(ids) if names is None else names.combine_chunks()
        for number, kind in enumerate(KINDS, 1):
            selected = self._selected(kind, ids, names)
            if selected is not None:
                verdict[(verdict == KEPT) & ~selected] = number
        for column in {_COLUMNS[kind] for kind in self.kinds if kind in _COLUMNS}:
            verdict[~_flags(pc.is_valid(names[column]))] = UNREADABLE
        return verdict

    def _selected(self, kind: str, ids: pa.Array, names: pa.Table) -> NDArray[np.bool_] | None:
        """Return which granules one filter selects; None if it is empty."""
        if kind == "cycle" and self.cycle is not None:
            return _flags(
                pc.and_(
                    pc.less_equal(names["cycle"], self.cycle),
                    pc.greater_equal(names["last_cycle"], self.cycle),
                )
            )
        if kind == "track" and self.tracks:
            return _among(names["rgt"], self.tracks)
        if kind == "granule_region" and self.granule_regions:
            return _among(names["region"], self.granule_regions)
        if kind == "direction" and self.direction:
            return _among(names["region"], DIRECTION_REGIONS[self.direction])
        if kind == "name" and self.granules:
            wanted = base_names(pa.array(self.granules, pa.string()))
            return _flags(pc.is_in(base_names(ids), value_set=wanted))
        return None

    def missing(self, ids: pa.Array) -> tuple[str, ...]:
        """Return the granule names of the filter that no id has."""
        wanted = pa.array(self.granules, pa.string())
        found = pc.is_in(base_names(wanted), value_set=base_names(pc.cast(ids, pa.string())))
        return tuple(wanted.filter(pc.invert(found)).to_pylist())

    def values(self) -> dict[str, Any]:
        """Return the filters other than the cycle as JSON values, as metadata has them."""
        given = {
            "tracks": number_text(self.tracks),
            "granule_regions": number_text(self.granule_regions),
            "direction": self.direction,
            "granules": list(self.granules),
        }
        return {name: value for name, value in given.items() if value}


def base_names(ids: pa.Array) -> pa.Array:
    """Return granule names without folders, ``.h5`` or ``.nc``, and the suffix after it."""
    return pc.replace_substring_regex(ids, _BASE, r"\1")


def numbers(value: Numbers | None, noun: str, most: int) -> tuple[int, ...]:
    """Return numbers from 1 to `most`, sorted; text is such as ``1-30`` or ``3,5,7-9``.

    Raises `InvalidQuery`, whose sentence starts with `noun`, if it is not such numbers.
    """
    if value is None:
        return ()
    parts: list[Any] = [value] if isinstance(value, str | int) else list(value)
    found: set[int] = set()
    for part in parts:
        if isinstance(part, str):
            found.update(_read_spans(part, noun, most))
        elif isinstance(part, bool) or not isinstance(part, int | np.integer):
            raise InvalidQuery(f"{noun} is a whole number from 1 to {most}, not {part!r}.")
        else:
            found.add(int(part))
    wrong = [number for number in sorted(found) if not 1 <= number <= most]
    if wrong or not found:
        shown = wrong[0] if wrong else repr(value)
        raise InvalidQuery(f"{noun} is a whole number from 1 to {most}, not {shown}.")
    return tuple(sorted(found))


def _read_spans(text: str, noun: str, most: int) -> Iterable[int]:
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = _SPAN.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidQuery(
                f"{noun} is a whole number from 1 to {most}; several are given as 1-30 or"
                f" 3,5,7-9, not {text!r}."
            )
        found += range(first, last + 1)
    return found


def number_text(values: Sequence[int]) -> str:
    """Return sorted numbers as text that `numbers` reads, ``3,5,7-9``."""
    spans: list[list[int]] = []
    for value in values:
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def check_direction(value: str | None) -> Direction | None:
    """Return a direction; raise `InvalidQuery` unless it is ascending or descending."""
    if value is not None and value not in get_args(Direction):
        raise InvalidQuery(f"direction is 'ascending' or 'descending', not {value!r}.")
    return value  # type: ignore[return-value]


def granule_names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return granule names, each once; raise `InvalidQuery` if one is empty or not text."""
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else list(value)
    if not found or not all(isinstance(name, str) and name.strip() for name in found):
        raise InvalidQuery("granules is a list of granule names, without empty ones.")
    return tuple(dict.fromkeys(name.strip() for name in found))


def read_granule_names(values: Iterable[str | Path]) -> tuple[str, ...]:
    """Return granule names; a value that is a file has one name a line, and ``#`` comments.

    Raises `InputNotFound` for a missing ``.txt`` file.
    """
    found: list[str] = []
    for value in values:
        path = Path(value)
        if path.is_file():
            found += names_in(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".txt":
            raise InputNotFound(f"There is no file of granule names {value}.")
        else:
            found.append(str(value))
    return granule_names(found)


def names_in(text: str) -> list[str]:
    """Return the granule names in a text, one a line, with ``#`` comments."""
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def _check_product(short_name: str, known: Sequence[str], filter_: str, needs: str) -> None:
    match = re.fullmatch(r"ATL(\d{2})(QL)?", short_name)
    if match is None or match[1] not in known:
        names = ", ".join(f"ATL{number}" for number in known)
        raise InvalidQuery(
            f"The filter {filter_} needs a product with {needs} ({names}), not {short_name};"
            " remove the filter."
        )


def _among(column: pa.ChunkedArray, values: Sequence[int]) -> NDArray[np.bool_]:
    return _flags(pc.is_in(column, value_set=pa.array(values, column.type)))


def _flags(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return a column of booleans as numpy, with False for null."""
    return np.asarray(pc.fill_null(column, False), dtype=bool)


NO_FILTERS = NameFilters()
