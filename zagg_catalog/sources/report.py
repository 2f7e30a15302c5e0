"""The harvest report: counts declared and received, superseded and quarantined granules.

Releases store these models, so that their fields are those of the stored files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeInt, ValidationError

from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.jsonio import StrictModel, first_problem
from zagg_catalog.messages import clean_text, names_note


class SliceCount(StrictModel):
    """The counts of one box of a query."""

    bbox: tuple[float, float, float, float]
    """``(west, south, east, north)``, degrees."""
    declared_before: NonNegativeInt | None
    """Count that the server declared on the first page."""
    declared_after: NonNegativeInt | None
    """Count that the server declared after the last page."""
    harvested: NonNegativeInt
    """Unique granules received, quarantined ones included."""

    @property
    def complete(self) -> bool:
        """Whether both declared counts equal the number of granules received."""
        counts = {self.declared_before, self.declared_after}
        return counts == {self.harvested}


class Superseded(StrictModel):
    """A granule that a newer revision replaces, or that is listed twice."""

    id: str
    by: str
    """Id of the newer revision, or of the copy that counts."""


def _clean(reason: str) -> str:
    return clean_text(reason, limit=500)


class Quarantined(StrictModel):
    """An item that cannot be used, and why."""

    id: str
    """Id of the item; without one its place, ``page 3 item 17``."""
    reason: Annotated[str, AfterValidator(_clean)]
    """Reason, as a part of a sentence; it may quote the item."""
    named: bool = Field(default=True, exclude=True)
    """Whether `id` is the id of the item, not its place; not stored."""


class Transfer(StrictModel):
    """Requests and time of a harvest; these differ between runs."""

    # Stored documents have all fields.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    requests: NonNegativeInt = 0
    """Requests sent, repetitions included."""
    retries: NonNegativeInt = 0
    """Requests that were repetitions."""
    pages: NonNegativeInt = 0
    duplicates: NonNegativeInt = 0
    """Items received again within a box."""
    seconds: float = Field(default=0.0, ge=0)
    """Wall time."""


class HarvestReport(StrictModel):
    """Counts declared and received, and the granules left out of the catalog."""

    complete: bool
    """Whether every slice is proven complete and nothing is quarantined, so that the sum of the
    declared counts is ``kept`` + superseded granules + ``outside_cycle`` + ``shared``."""
    declared_before: NonNegativeInt | None
    """Sum of the counts on the slices' first pages; None if one declared nothing."""
    declared_after: NonNegativeInt | None
    """Sum of the counts declared afterwards; None if one was not declared."""
    harvested: NonNegativeInt
    """Unique granules over all slices, quarantined ones included."""
    shared: NonNegativeInt
    """Granules received in two slices."""
    kept: NonNegativeInt
    """Rows of the catalog."""
    outside_cycle: NonNegativeInt
    """Granules left out because their names have another cycle."""
    outside: dict[str, NonNegativeInt] = Field(default={}, exclude_if=lambda counts: not counts)
    """Granules left out by each further filter of the query: ``track``, ``granule_region``,
    ``direction``, ``name`` or ``date``; each counts for the first filter that leaves it out."""
    missing: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Granule names of the query that were not found; they make the harvest incomplete."""
    superseded: tuple[Superseded, ...]
    """Granules left out for a newer revision or as copies of another, by id."""
    quarantined: tuple[Quarantined, ...]
    """Items that cannot be used, by id."""
    irregular_names: NonNegativeInt = Field(default=0, exclude_if=lambda count: not count)
    """Rows of the catalog whose names are not ICESat-2's, so that revisions are not known."""
    slices: tuple[SliceCount, ...]
    """One per search: two if the region crosses the antimeridian, one for each year of a season."""
    transfer: Transfer = Field(default=Transfer(), exclude=True)
    """Requests and time of the harvest; not stored with the report."""

    @classmethod
    def of_slices(cls, slices: Sequence[SliceCount], **facts: Any) -> Self:
        """Return the report of some slices; `facts` are the remaining fields."""
        return cls(
            complete=all(part.complete for part in slices)
            and not (facts["quarantined"] or facts.get("missing")),
            declared_before=total([part.declared_before for part in slices]),
            declared_after=total([part.declared_after for part in slices]),
            slices=tuple(slices),
            **facts,
        )

    @property
    def left_out(self) -> int:
        """Granules left out by all filters of the query."""
        return self.outside_cycle + sum(self.outside.values())

    @property
    def names_note(self) -> str | None:
        """A sentence about names that are not understood, or None."""
        return names_note(self.irregular_names)

    @property
    def proven(self) -> bool:
        """Whether everything declared was received, usable or not."""
        lacking = bool(self.quarantined or self.missing)
        return self.complete or (lacking and all(part.complete for part in self.slices))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            All fields but ``transfer``. Depends on the content of the server only, not on the page
            size or the order of the pages.
        """
        return self.model_dump(mode="json")


def harvest_in(metadata: Mapping[str, Any]) -> HarvestReport | None:
    """Return the harvest report in a catalog's metadata; None without one.

    Raises `InvalidCatalog` if it is not one.
    """
    report = metadata.get("harvest")
    if not report:
        return None
    try:
        # Through JSON, whose arrays strict models accept as tuples.
        return HarvestReport.model_validate_json(json.dumps(report))
    except ValidationError as error:
        problem = first_problem(error)
        raise InvalidCatalog(f"the harvest report is malformed: {problem}.") from None


def total(counts: Sequence[int | None]) -> int | None:
    """Return the sum of some counts; None if one is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
