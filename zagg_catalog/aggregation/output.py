"""Whose an output is: the marker in it, and the checks before zagg writes to it.

The marker is an empty Zarr group with attributes. Zarr readers list it without a warning, and zagg
does not take its name for a shard or a product.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import yaml
from pydantic import Field, JsonValue

from zagg_catalog.aggregation.output_place import OutputPlace, open_output, read_config
from zagg_catalog.aggregation.request import PickupRequest, output_of
from zagg_catalog.aggregation.semantics import (
    aggregation_core,
    changes_text,
    core_changes,
    core_digest,
)
from zagg_catalog.errors import InvalidRelease, OutputUnavailable, PickupRefused
from zagg_catalog.jsonio import Document, Time, canonical_digest, canonical_json
from zagg_catalog.messages import clean_text, without_userinfo
from zagg_catalog.registry import RegisteredGrid, Registry
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import pickup_history_keys, read_pickup_history
from zagg_catalog.releases.record import Digest, Name
from zagg_catalog.store import Store

MARKER: Final = "zagg_catalog.output/zarr.json"
ATTRIBUTE: Final = "zagg_catalog"
SEMANTICS: Final = "aggregation.yaml"
# Releases that a marker names, the newest first.
RELEASES = 20
_TEMPLATE = "{product}/{region}/{cycle}/{grid}"
# Arrays that zagg adds to the variables of the config.
_EXTRA = {"x", "y", "aoi_mask", "spatial_ref"}


class OutputMarker(Document):
    """What an output holds, as the pick-up that uses it wrote it there."""

    noun: ClassVar = "the marker of an output"

    schema_version: Literal[1] = 1
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    grid: Name
    store: str
    """URL of the store of the releases, without credentials."""
    signature_digest: Digest
    """SHA-256 of the spatial signature, hex."""
    aggregation_digest: Digest
    """SHA-256 of `aggregation`, hex; see `core_digest`."""
    aggregation: dict[str, JsonValue]
    """The part of the pipeline config that decides the values; see `aggregation_core`."""
    zagg_version: str | None = None
    """Version of the zagg that was started last."""
    releases: tuple[Digest, ...] = Field(default=(), max_length=RELEASES)
    """Releases that were aggregated into it, the newest first; the last 20."""
    by: str
    """User who claimed it."""
    claimed_at: Time
    """UTC."""

    @property
    def slot(self) -> tuple[str, str, int, str]:
        """Product, region, cycle and grid, of which an output has one."""
        return self.product, self.region, self.cycle, self.grid

    @property
    def where(self) -> str:
        """The slot in words."""
        return _slot_text(ReleaseKey(self.product, self.region, self.cycle), self.grid)

    def to_group(self) -> bytes:
        """Return the metadata of the Zarr group that has the marker."""
        attributes = {ATTRIBUTE: self.model_dump(mode="json")}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return canonical_json(group)

    @classmethod
    def of_group(cls, content: bytes, source: str) -> OutputMarker:
        """Read the metadata of the group; raises `PickupRefused` if it is not a marker."""
        try:
            document = json.loads(content)["attributes"][ATTRIBUTE]
            return cls.load(json.dumps(document).encode(), source)
        except (InvalidRelease, ValueError, LookupError, TypeError) as error:
            why = str(error) if isinstance(error, InvalidRelease) else f"{source} is not a marker."
            raise PickupRefused(
                f"{clean_text(why)} It says what the output holds; give another output, or delete"
                " this one."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The use of an output that a pick-up asks for."""

    store: Store
    """Store of the release."""
    output: str
    """Folder or ``s3://bucket/prefix``, as zagg gets it."""
    request: PickupRequest
    grid: RegisteredGrid
    """The grid with the config that zagg runs with."""
    release: str
    """Digest of the release."""
    zagg_version: str | None = None

    def marker(self) -> OutputMarker:
        """Return the marker that this use puts into the output."""
        key, grid = self.request.release_key, self.grid.grid
        assert grid is not None
        core = aggregation_core(read_config(self.grid.config))
        return OutputMarker(
            product=key.product,
            region=key.region,
            cycle=key.cycle,
            grid=self.request.grid,
            store=without_userinfo(self.store.url),
            signature_digest=canonical_digest(grid.spatial_signature()),
            aggregation_digest=core_digest(core),
            aggregation=core,
            zagg_version=self.zagg_version,
            releases=(self.release,),
            by=self.request.by,
            claimed_at=self.request.clock(),
        )


def claim_output(claim: Claim) -> tuple[str, ...]:
    """Take an output for one product, region, cycle and grid, before zagg is started.

    The first of two pick-ups at the same moment gets it: the marker is created by a conditional
    write. In a dry run nothing is written.

    Returns
    -------
    tuple of str
        Notes for the log, a sentence each.

    Raises
    ------
    PickupRefused
        If the output holds another product, region, cycle or grid; if it was made with another
        aggregation or for another grid; or if it is not a folder. The message has the remedy.
    OutputUnavailable
        If it cannot be read or written.
    MissingPackage
        If the packages that come with zagg are not installed.
    """
    request = claim.request
    place = open_output(
        claim.output,
        read_config(claim.grid.config),
        region=request.zagg.region,
        create=not request.dry_run,
    )
    if place is None:
        return ()
    mine, notes = claim.marker(), list[str]()
    found = read_marker(place)
    if found is None:
        notes += _judge_unmarked(place, claim, mine)
        if request.dry_run:
            return tuple(notes)
        notes += _create(place, claim, mine)
        found = read_marker(place)  # of another pick-up, if that was faster
    if found is not None:
        notes += _judge(place, claim, found, mine)
    return tuple(notes)


def read_marker(place: OutputPlace) -> OutputMarker | None:
    """Return the marker in an output, or None; raises `PickupRefused` if it cannot be read."""
    content = place.read(MARKER)
    return OutputMarker.of_group(content, f"{place.url}/{MARKER}") if content is not None else None


def refuse_shared_outputs(requests: Iterable[PickupRequest], registry: Registry) -> None:
    """Refuse requests of which several would write to one output, before any of them starts.

    Raises `PickupRefused`; the message names the outputs.
    """
    shared = shared_outputs(requests, registry)
    if shared:
        raise PickupRefused(f"{' '.join(shared[:3])} {_remedy()}")


def shared_outputs(requests: Iterable[PickupRequest], registry: Registry) -> list[str]:
    """Return the outputs that several requests would write to, a sentence each.

    That is known without reading anything, from the template or ``output.store`` of the configs.
    """
    users: dict[str, list[PickupRequest]] = {}
    for request in requests:
        grid = registry.grids.get(request.grid)
        output = output_of(request, grid)
        if output is None or grid is None:
            continue
        product = (read_config(grid.config).get("output") or {}).get("product_name")
        users.setdefault(f"{output}/{product}" if product else output, []).append(request)
    return [
        f"Output {clean_text(output)} is named for"
        f" {' and for '.join(_slot_text(one.release_key, one.grid) for one in several[:3])}"
        f"{', …' if len(several) > 3 else ''}; one output holds one of them."
        for output, several in users.items()
        if len({(one.release_key, one.grid) for one in several}) > 1
    ]


def _create(place: OutputPlace, claim: Claim, mine: OutputMarker) -> list[str]:
    try:
        place.create(MARKER, mine.to_group())
    except OutputUnavailable as error:
        # Lambda writes the output with its own role; this machine may only start it.
        if claim.request.zagg.backend != "lambda" or not error.denied:
            raise
        return [
            f"The output has no marker of what it holds, since this machine may not write: {error}"
        ]
    return []


def _judge(place: OutputPlace, claim: Claim, found: OutputMarker, mine: OutputMarker) -> list[str]:
    """Refuse another slot and another aggregation; else bring the marker up to date."""
    if found.slot != mine.slot:
        raise PickupRefused(_taken(place.url, found.where, mine.where))
    notes = []
    if found.store != mine.store:
        notes.append(f"The output was made from releases in {clean_text(found.store)}.")
    if place.read(place.first_key) is not None:
        _refuse_changed(place, claim, found, mine)
    others = [digest for digest in found.releases if digest != claim.release]
    merged = mine.model_copy(
        update={
            "releases": (claim.release, *others)[:RELEASES],
            "by": found.by,
            "claimed_at": found.claimed_at,
        }
    )
    if merged != found and not claim.request.dry_run:
        place.write(MARKER, merged.to_group())
    return notes


def _refuse_changed(
    place: OutputPlace, claim: Claim, found: OutputMarker, mine: OutputMarker
) -> None:
    if _replaced(place, claim):
        return
    if found.signature_digest != mine.signature_digest:
        raise PickupRefused(_changed(place, "It was made for another grid of the same name"))
    if found.aggregation_digest != mine.aggregation_digest:
        changes = core_changes(found.aggregation, mine.aggregation)
        raise PickupRefused(_changed(place, _made_with(changes)))


def _judge_unmarked(place: OutputPlace, claim: Claim, mine: OutputMarker) -> list[str]:
    """Refuse an output without a marker that others made, or another aggregation."""
    if place.read(place.first_key) is None:
        return []  # nothing was written there yet
    known = False
    for release_key, grid in _users(claim, place):
        if (release_key, grid) != (claim.request.release_key, claim.request.grid):
            raise PickupRefused(_taken(place.url, _slot_text(release_key, grid), mine.where))
        known = True
    if not _replaced(place, claim):
        changes = _unmarked_changes(place, mine)
        if changes:
            raise PickupRefused(_changed(place, _made_with(changes)))
    if known:
        return []
    return [
        f"Output {clean_text(place.url)} existed, and neither a marker nor a pick-up in"
        f" {mine.store} says what it holds; it is used for {mine.where} from now on."
    ]


def _users(claim: Claim, place: OutputPlace) -> Iterator[tuple[ReleaseKey, str]]:
    """Yield whose pick-ups wrote to the output, from all histories in the store."""
    for release_key, grid in sorted(pickup_history_keys(claim.store)):
        if place.product and grid != claim.request.grid:
            continue  # another product of zagg in the same place
        history, _ = read_pickup_history(claim.store, release_key, grid)
        attempts = [*history.entries, *([history.claim] if history.claim else [])]
        if any(
            one.used_output
            and one.output is not None
            and one.output.rstrip("/") == claim.output.rstrip("/")
            for one in attempts
        ):
            yield release_key, grid


def _unmarked_changes(place: OutputPlace, mine: OutputMarker) -> list[str]:
    """Return how the aggregation differs from what zagg left in the output; empty if unknown."""
    if place.layout == "hive":
        return _hive_changes(place, mine)
    if place.layout == "flat":
        return []
    wanted = set(_declared(mine, "variables"))
    there = set(place.folders(place.group)) - _EXTRA - set(_declared(mine, "coordinates"))
    return [f"aggregation.variables.{name} is new" for name in sorted(wanted - there)] + [
        f"aggregation.variables.{name} is gone" for name in sorted(there - wanted)
    ]


def _hive_changes(place: OutputPlace, mine: OutputMarker) -> list[str]:
    manifest = _document(place.read(place.first_key))
    output = mine.aggregation.get("output")
    if isinstance(output, dict) and (output.get("windowing") or output.get("time_source")):
        return []  # zagg resolves these before it makes its digest
    if manifest.get("semantic_hash") in (None, mine.aggregation_digest):
        return []
    before = _document(place.read(SEMANTICS))
    # Only sections that this version knows: a newer zagg may have more.
    before = {name: before[name] for name in mine.aggregation if name in before}
    return core_changes(before, mine.aggregation) if before else []


def _document(content: bytes | None) -> dict[str, Any]:
    try:
        found = yaml.safe_load(content or b"")
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _declared(marker: OutputMarker, kind: str) -> Mapping[str, Any]:
    """Return the variables, or the coordinates, that the config declares."""
    section = marker.aggregation.get("aggregation")
    declared = section.get(kind) if isinstance(section, dict) else None
    return declared if isinstance(declared, dict) else {}


def _replaced(place: OutputPlace, claim: Claim) -> bool:
    """Return whether zagg replaces the whole output; on HEALPix it does not."""
    return claim.request.zagg.overwrite and place.layout != "hive"


def _slot_text(release_key: ReleaseKey, grid: str) -> str:
    return f"{release_key}, grid {grid}"


def _taken(url: str, held: str, wanted: str) -> str:
    return (
        f"Output {clean_text(url)} holds {held}. One output holds one product, region, cycle and"
        f" grid, so {wanted} was not started. {_remedy()}"
    )


def _remedy() -> str:
    return (
        f"Give an output that separates them: a folder, or a template such as …/{_TEMPLATE}."
        " output.store of a config serves one cycle only."
    )


def _made_with(changes: list[str]) -> str:
    what = changes_text(changes) if changes else "the configs differ"
    return f"It was made with another aggregation: in the config now, {what}"


def _changed(place: OutputPlace, why: str) -> str:
    whole = (
        "zagg refuses to mix the two, even with overwrite"
        if place.layout == "hive"
        else "the two would be mixed; the option overwrite of zagg replaces the whole output"
    )
    return (
        f"{why}, and {whole}. Output {clean_text(place.url)} was not changed: give another output,"
        " delete this one, or restore the config."
    )
