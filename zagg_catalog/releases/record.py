"""The release record: the contents of a release, which depend on its inputs only."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    model_validator,
)

from zagg_catalog.catalog.completeness import explain_missing
from zagg_catalog.catalog.harvest_report import HarvestReport
from zagg_catalog.cycles import Convention
from zagg_catalog.files import digest_of
from zagg_catalog.jsonio import Document, StrictModel, canonical_digest
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.store.keys import check_digest, check_key, check_name, digest_in

SCHEMA_VERSION: Final = 1
MAX_LISTED: Final = 1000  # ids or keys in a list that may be long

Status = Literal["complete", "partial"]
GridStatus = Literal["complete", "partial", "failed"]
Name = Annotated[str, AfterValidator(check_name)]
Digest = Annotated[str, AfterValidator(check_digest)]
Key = Annotated[str, AfterValidator(check_key)]
Box = tuple[float, float, float, float]


class StoredFile(StrictModel):
    """A file in the store."""

    key: Key
    """Ends with the digest."""
    digest: Digest
    """SHA-256 of the content in hex."""
    size: NonNegativeInt
    """Bytes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if digest_in(self.key) != self.digest:
            raise ValueError(f"key {self.key} does not end with digest {self.digest}")
        return self


class CatalogRecord(StoredFile):
    """The catalog of a release."""

    rows: NonNegativeInt
    """Number of granules."""
    complete: bool
    """Whether the catalog is known to have everything that the server declared."""


class QueryRecord(StrictModel):
    """The query of the catalog; null where the catalog does not record it."""

    collection: str | None = None
    provider: str | None = None
    stac_root: str | None = None
    cmr_root: str | None = Field(default=None, exclude_if=lambda root: root is None)
    """Root of CMR's own search, if that was used; left out otherwise."""
    start_date: str | None = None
    """First day, ``YYYY-MM-DD``, UTC."""
    end_date: str | None = None
    """Last day, inclusive."""
    bbox: Box | None = None
    """``(west, south, east, north)``, degrees."""
    area: tuple[Box, ...] | None = Field(default=None, exclude_if=lambda area: area is None)
    """Boxes that the fetch asked for and the catalog is complete for; left out if not known."""
    filters: dict[str, Any] | None = Field(default=None, exclude_if=lambda given: given is None)
    """Filters of the query, if it has some; left out otherwise."""


class ManifestFiles(StrictModel):
    """The files of a shard map."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    parquet: StoredFile
    document: StoredFile | None = Field(default=None, alias="json")
    """The JSON that zagg loads, if it was stored; ``json`` in the file."""


class GridRecord(StrictModel):
    """The shard map of one grid."""

    name: Name
    config_digest: Digest
    """SHA-256 of the pipeline config's bytes."""
    signature: dict[str, JsonValue]
    """The grid's spatial signature."""
    signature_digest: Digest
    """SHA-256 of the signature's canonical JSON."""
    status: GridStatus
    """``partial``: granules are missing, or it is not known whether any are; ``failed``: there is
    no map."""
    error: str | None = None
    """Why it failed."""
    manifest: ManifestFiles | None = None
    """Null if it failed."""
    shards: NonNegativeInt = 0
    """Number of shards that have granules."""
    pairs: NonNegativeInt = 0
    """Number of (shard, granule) pairs."""
    granules: NonNegativeInt = 0
    """Number of granules assigned to shards."""
    quarantined: NonNegativeInt = 0
    """Number of granules left out because they cannot be used."""
    shards_beyond_area: NonNegativeInt | None = Field(
        default=None, exclude_if=lambda count: count is None
    )
    """Number of shards of the region that reach beyond the catalog's area, and may lack granules
    there; left out if it is not known."""
    backend: str | None = None
    """Geometry backend."""
    backend_version: str | None = None
    order: NonNegativeInt | None = None
    """HEALPix order of the footprint covers, if the backend has one."""
    footprint: str | None = None
    """Granule outline, ``swath`` or ``beams``."""
    region_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
    """SHA-256 of the region's rings, see `region_digest`; left out if the map does not have it."""
    geometry_rule: NonNegativeInt | None = Field(default=None, exclude_if=lambda rule: rule is None)
    """Version of the rule that pairs shards and granules; left out if the map does not have it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        failed = self.status == "failed"
        if failed != (self.manifest is None) or failed != bool(self.error):
            raise ValueError(
                f"grid {self.name} is {self.status}: a failed grid has an error and no manifest,"
                " any other a manifest and no error"
            )
        if canonical_digest(self.signature) != self.signature_digest:
            raise ValueError(f"grid {self.name}: signature_digest is not that of its signature")
        return self


class ReleaseRecord(Document):
    """A release: a catalog and its shard maps. Equal inputs give equal bytes."""

    noun: ClassVar = "a release record"

    schema_version: Literal[1] = SCHEMA_VERSION
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    cycle_convention: Convention | None = None
    """Meaning of the cycle number; null if the catalog does not record it."""
    query: QueryRecord
    harvest: HarvestReport | None = None
    """Null for a catalog without a harvest report."""
    catalog: CatalogRecord
    grids: tuple[GridRecord, ...]
    """By name."""
    status: Status
    """``partial`` if the catalog or a grid is not complete, or not known to be."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [grid.name for grid in self.grids]
        if names != sorted(set(names)):
            raise ValueError("grids must be sorted by name, each once")
        if self.status != status_of(self.catalog, self.grids):
            raise ValueError(f"status {self.status} is not that of the catalog and the grids")
        if self.catalog.key != self.release_key.key("catalogs", self.catalog.digest):
            raise ValueError(f"catalog {self.catalog.key} belongs to another release")
        for grid in self.grids:
            folder = self.release_key.folder("shardmaps", grid.name)
            for file in manifests_of(grid):
                if file.key.rpartition("/")[0] != folder:
                    raise ValueError(f"manifest {file.key} belongs to another grid or release")
        return self

    @property
    def release_key(self) -> ReleaseKey:
        """Product, region and cycle."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def files(self) -> list[StoredFile]:
        """Files that the release refers to, the catalog first."""
        return [self.catalog, *(file for grid in self.grids for file in manifests_of(grid))]

    @property
    def digest(self) -> str:
        """SHA-256 of the record's bytes in hex: the name of the release."""
        return digest_of([self.to_bytes()])[0]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing; also an older record may list granules that are."""
        aside = self.harvest is not None and bool(self.harvest.quarantined)
        return self.status == "complete" and not aside

    @property
    def lacks(self) -> list[str]:
        """What makes the release partial, a clause each; empty if it is complete."""
        grids = [_lacks(grid) for grid in self.grids if grid.status != "complete"]
        if self.harvest is None:
            unknown = [] if self.catalog.complete else ["the catalog is not known to be complete"]
            return grids + unknown
        if self.catalog.complete and not self.harvest.quarantined:
            return grids
        lacking = explain_missing({"harvest": self.harvest.to_dict()})
        return [*grids, f"the catalog is incomplete, {lacking}"]

    def grid(self, name: str) -> GridRecord | None:
        """Return a grid by name, or None."""
        return next((grid for grid in self.grids if grid.name == name), None)


def manifests_of(grid: GridRecord) -> list[StoredFile]:
    """Return the files of a grid's shard map; an empty list if it failed."""
    if grid.manifest is None:
        return []
    return [file for file in (grid.manifest.parquet, grid.manifest.document) if file is not None]


def _lacks(grid: GridRecord) -> str:
    beyond = grid.shards_beyond_area
    more = f", since {beyond:,} shards of its region reach beyond the area" if beyond else ""
    return f"grid {grid.name} is {grid.status}{more}"


def status_of(catalog: CatalogRecord, grids: tuple[GridRecord, ...]) -> Status:
    """Return ``complete`` if the catalog and every grid are complete, else ``partial``."""
    whole = catalog.complete and all(grid.status == "complete" for grid in grids)
    return "complete" if whole else "partial"
