"""What a catalog holds, and whether a selection asks for more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.completeness import REGION_KEY
from zagg_catalog.catalog.filters import NameFilters, number_text
from zagg_catalog.catalog.season import season_days
from zagg_catalog.catalog.selection import Selection
from zagg_catalog.cycles import cycle_to_days
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.messages import first_few


class Holdings:
    """What a catalog holds, by its metadata and its names."""

    def __init__(self, table: pa.Table, metadata: Mapping[str, Any]) -> None:
        self._table, self._metadata = table, metadata

    @property
    def products(self) -> list[str]:
        """Products of the granules, ``ATL06_007``, or ``ATL06`` by their names; may be empty."""
        named = self._metadata.get("collection")
        if named:
            return [str(named)]
        if "collection" in self._table.schema.names:
            found = pc.unique(pc.cast(self._table["collection"], pa.string())).to_pylist()
            if any(found):
                return sorted(name for name in found if name)
        named_products = pc.unique(granule_name_columns(self._table["id"])["product"])
        return sorted(name for name in named_products.to_pylist() if name)

    @property
    def days(self) -> tuple[str, str] | None:
        """First and last day that were asked for, if the metadata has them."""
        first, last = (self._metadata.get(key) for key in ("start_date", "end_date"))
        return (str(first)[:10], str(last)[:10]) if first and last else None

    @property
    def cycles(self) -> tuple[int, ...]:
        """Mission cycles in the granules' names."""
        names = granule_name_columns(self._table["id"])
        first, last = (names[key].drop_null().to_numpy() for key in ("cycle", "last_cycle"))
        spans = np.unique(np.stack([first, last]), axis=1).T.tolist()
        return tuple(sorted({number for a, b in spans for number in range(a, b + 1)}))

    def check(self, wanted: Selection) -> None:
        """Raise `InvalidQuery` if the catalog cannot hold all that is wanted."""
        self._check_product(wanted)
        self._check_cycle(wanted)
        self._check_days(wanted)
        self._check_filters(wanted)

    def _check_product(self, wanted: Selection) -> None:
        short_names = {name.rpartition("_")[0] or name for name in self.products}
        versions = {_plain(name.rpartition("_")[2]) for name in self.products if "_" in name}
        if wanted.short_name is not None:
            held = {name.lower() for name in short_names}
            if held and held != {wanted.short_name.lower()}:
                self._refuse(wanted.short_name)
        if wanted.version is not None and versions and versions != {_plain(wanted.version)}:
            self._refuse(f"version {wanted.version}")
        for name in sorted(short_names):
            wanted.filters.check_product(name)
        held_provider = self._metadata.get("provider")
        if wanted.provider is not None and held_provider not in (None, wanted.provider):
            raise InvalidQuery(
                f"The catalog holds granules of the provider {held_provider!r}, not"
                f" {wanted.provider!r}; fetch those, or choose another catalog."
            )

    def _refuse(self, asked: str) -> None:
        raise InvalidQuery(
            f"The catalog holds {', '.join(self.products)}, not {asked}; fetch that product, or"
            " choose another catalog."
        )

    def _check_cycle(self, wanted: Selection) -> None:
        cycle = wanted.filters.cycle
        if cycle is None:
            return
        cycles = self.cycles
        if cycles and cycle not in cycles:
            raise InvalidQuery(
                f"The catalog holds cycle {number_text(cycles)}, not {cycle}; fetch that cycle, or"
                " choose another catalog."
            )
        whole = self._metadata.get("cycle") == cycle and (
            self._metadata.get("cycle_convention") == "mission"
        )
        if not whole:
            self._check_range(*cycle_to_days(cycle), f"cycle {cycle}, ")

    def _check_days(self, wanted: Selection) -> None:
        if wanted.start_date or wanted.end_date:
            days = self.days or ("", "")
            first, last = str(wanted.start_date or days[0]), str(wanted.end_date or days[1])
            self._check_range(first, last, "")

    def _check_range(self, first: str, last: str, what: str) -> None:
        days = self.days
        if days is not None and not days[0] <= first <= last <= days[1]:
            raise InvalidQuery(
                f"The catalog holds {days[0]} to {days[1]}, not all of {what}{first} to {last};"
                " give days within, or choose another catalog."
            )

    def _check_filters(self, wanted: Selection) -> None:
        """Refuse values that an earlier filter of the catalog left out."""
        values = dict(self._metadata.get("filters", {}))
        values.pop(REGION_KEY, None)
        season = values.pop("season", None)
        held, asked = NameFilters.checked(**values), wanted.filters
        self._check_subset("tracks", held.tracks, asked.tracks)
        self._check_subset("along-track regions", held.granule_regions, asked.granule_regions)
        if held.direction and asked.direction not in (None, held.direction):
            self._refuse_part(f"{held.direction} granules", f"{asked.direction} ones")
        unknown = [name for name in asked.granules if name not in set(held.granules)]
        if held.granules and unknown:
            self._refuse_part("some granules by name", f"those asked for: {first_few(unknown)}")
        if season and wanted.season and self.days:
            span = [date.fromisoformat(day) for day in self.days]
            here = season_days(season, *span)
            for first, last in season_days(wanted.season, *span):
                if not any(a <= first and last <= b for a, b in here):
                    self._refuse_part(f"the season {season}", wanted.season)

    def _check_subset(self, what: str, held: tuple[int, ...], asked: tuple[int, ...]) -> None:
        if held and not set(asked) <= set(held):
            self._refuse_part(f"the {what} {number_text(held)}", f"all of {number_text(asked)}")

    def _refuse_part(self, held: str, asked: str) -> None:
        raise InvalidQuery(
            f"The catalog holds {held} only, not {asked}; choose another catalog, or fetch."
        )


def _plain(version: object) -> str:
    """Return a version without leading zeros."""
    return str(version).lstrip("0")
