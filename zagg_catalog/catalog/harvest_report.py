"""The harvest report: counts declared and received, superseded and quarantined granules.

Releases store these models, so that their fields are those of the stored files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeInt, ValidationError

from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.jsonio import StrictModel, first_problem
from zagg_catalog.messages import clean_text, names_note

MOST_SLICES: Final = 200


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


# An item without an id, as a stored report names it.
UNNAMED = "item without an id"


def _clean(reason: str) -> str:
    return clean_text(reason, limit=500)


class Quarantined(StrictModel):
    """An item that cannot be used, and why."""

    id: str
    """Id of the item; without one its place, ``page 3 item 17``, or in a stored report
    ``item without an id`` and a digest of it."""
    reason: Annotated[str, AfterValidator(_clean)]
    """Reason, as a part of a sentence; it may quote the item."""
    digest: str | None = Field(default=None, exclude=True)
    """Digest of an item without an id; not stored."""

    @property
    def named(self) -> bool:
        """Whether `id` is the id of the item, not its place."""
        return self.digest is None

    @property
    def stored(self) -> Self:
        """The entry without the place of the item, which depends on the pages of the fetch."""
        if self.digest is None:
            return self
        return self.model_copy(update={"id": f"{UNNAMED} {self.digest}", "digest": None})


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
    received: NonNegativeInt = Field(default=0, exclude_if=lambda count: not count)
    """Bytes of the answers, compressed as they were sent; 0 in records of older versions."""


class FetchFacts(StrictModel):
    """How a catalog was fetched: counts that differ with slices, pages and the API."""

    declared_before: NonNegativeInt | None = None
    """Sum of the counts on the slices' first pages; null if one declared nothing."""
    declared_after: NonNegativeInt | None = None
    """Sum of the counts declared afterwards; null if one was not declared."""
    harvested: NonNegativeInt
    """Unique granules over all slices, quarantined ones included."""
    shared: NonNegativeInt = 0
    """Granules received in two slices."""
    outside_cycle: NonNegativeInt = 0
    """Granules left out because their names have another cycle; those of a day that two slices
    share count twice."""
    outside: dict[str, NonNegativeInt] = Field(default={}, exclude_if=lambda counts: not counts)
    """Granules left out by each further filter of the query."""
    slices: tuple[SliceCount, ...] = Field(default=(), max_length=MOST_SLICES)
    """One per search and time slice; the first 200."""
    updated: bool = Field(default=False, exclude_if=lambda updated: not updated)
    """Whether only what may have changed since an earlier fetch was asked for."""
    full_because: Annotated[str, AfterValidator(_clean)] | None = Field(
        default=None, exclude_if=lambda reason: reason is None
    )
    """Why everything was asked for although there is an earlier fetch."""

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """Return facts from JSON values."""
        # Through JSON, whose arrays strict models accept as tuples.
        return cls.model_validate_json(json.dumps(values))

    @classmethod
    def joined(cls, parts: Sequence[FetchFacts], *, shared: int) -> Self:
        """Return the facts of several fetches as one; `shared` granules are in two of them."""
        return cls(
            declared_before=total([part.declared_before for part in parts]),
            declared_after=total([part.declared_after for part in parts]),
            harvested=sum(part.harvested for part in parts) - shared,
            shared=sum(part.shared for part in parts) + shared,
            outside_cycle=sum(part.outside_cycle for part in parts),
            outside=dict(sum((Counter(part.outside) for part in parts), Counter())),
            slices=tuple(one for part in parts for one in part.slices)[:MOST_SLICES],
        )


class HarvestReport(StrictModel):
    """Counts declared and received, and the granules left out of the catalog.

    A catalog and a release store `stored`, which depends on the granules of the query alone.
    """

    complete: bool
    """Whether every slice is proven complete and nothing is quarantined, so that the sum of the
    declared counts is ``kept`` + superseded granules + ``outside_cycle`` + ``shared``."""
    declared_before: NonNegativeInt | None
    """Sum of the counts on the slices' first pages; None if one declared nothing, and in a stored
    report unless all that was declared was received."""
    declared_after: NonNegativeInt | None
    """Sum of the counts declared afterwards; None if one was not declared. In a stored report
    ``harvested`` and the granules declared but not received."""
    harvested: NonNegativeInt
    """Unique granules over all slices, quarantined ones included; in a stored report those of the
    query: kept, superseded or quarantined."""
    shared: NonNegativeInt
    """Granules received in two slices; 0 in a stored report."""
    kept: NonNegativeInt
    """Rows of the catalog."""
    outside_cycle: NonNegativeInt
    """Granules left out because their names have another cycle; 0 in a stored report, unless they
    were left out of a stored catalog."""
    outside: dict[str, NonNegativeInt] = Field(default={}, exclude_if=lambda counts: not counts)
    """Granules left out by each further filter of the query: ``track``, ``granule_region``,
    ``direction``, ``name``, ``date`` or ``region``; each counts for the first filter that leaves
    it out. Stored only if they were left out of a stored catalog."""
    missing: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Granule names of the query that were not found; they make the harvest incomplete."""
    superseded: tuple[Superseded, ...]
    """Granules left out for a newer revision or as copies of another, by id."""
    quarantined: tuple[Quarantined, ...]
    """Items that cannot be used, by id."""
    irregular_names: NonNegativeInt = Field(default=0, exclude_if=lambda count: not count)
    """Rows of the catalog whose names are not ICESat-2's, so that revisions are not known."""
    slices: tuple[SliceCount, ...]
    """One per search: two if the region crosses the antimeridian, one for each year of a season;
    empty in a stored report."""
    transfer: Transfer = Field(default=Transfer(), exclude=True)
    """Requests and time of the harvest; not stored with the report."""
    updated: bool = Field(default=False, exclude=True)
    """Whether only what may have changed since an earlier fetch was asked for; not stored."""
    full_because: str | None = Field(default=None, exclude=True)
    """Why everything was asked for although there is an earlier fetch; not stored."""

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
        whole = self.declared_before is not None and all(part.complete for part in self.slices)
        return self.complete or (bool(self.quarantined or self.missing) and whole)

    @property
    def facts(self) -> FetchFacts:
        """The counts that depend on how the catalog was fetched."""
        names = set(FetchFacts.model_fields) - {"slices"}
        fields = {name: getattr(self, name) for name in names}
        return FetchFacts(**fields, slices=self.slices[:MOST_SLICES])

    @property
    def lacking(self) -> int | None:
        """Granules declared and not received; None if a count was not declared."""
        if self.proven:
            return 0
        if not self.slices:
            return None if self.declared_after is None else self.declared_after - self.harvested
        counts = [(part.declared_after, part.harvested) for part in self.slices]
        return total([None if after is None else max(after - n, 0) for after, n in counts])

    @property
    def stored(self) -> Self:
        """The report of the granules that the query selects, however they were fetched.

        It has no slices, and no counts of granules outside the query or received twice, so that
        the same granules give the same report: its declared counts are ``harvested`` and the
        granules that are lacking.
        """
        aside = by_id(entry.stored for entry in self.quarantined)
        harvested, lacking = self.kept + len(self.superseded) + len(aside), self.lacking
        changes: dict[str, Any] = {
            "declared_before": harvested if self.proven else None,
            "declared_after": None if lacking is None else harvested + lacking,
            "harvested": harvested,
            "shared": 0,
            "outside_cycle": 0,
            "outside": {},
            "quarantined": aside,
            "slices": (),
        }
        return self.model_copy(update=changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the stored report as JSON-ready values.

        Returns
        -------
        dict
            All fields of `stored` but ``transfer``. They depend on the granules of the query only,
            not on slices, pages and requests.
        """
        return self.stored.model_dump(mode="json")


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


def by_id[Entry: Superseded | Quarantined](entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the last entry of each id, in order of the ids."""
    last = {entry.id: entry for entry in entries}
    return tuple(last[name] for name in sorted(last))
