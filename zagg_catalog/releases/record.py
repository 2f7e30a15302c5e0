"""The release record: what was published, as far as it follows from the inputs alone."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    model_validator,
)

from zagg_catalog.cycles import Convention
from zagg_catalog.files import digest_of
from zagg_catalog.jsonio import canonical_digest, canonical_json, load_model
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.sources.report import HarvestReport
from zagg_catalog.store.keys import check_digest, check_key, check_name, digest_in

SCHEMA_VERSION: Final = 1

Status = Literal["complete", "partial"]
GridStatus = Literal["complete", "partial", "failed"]
Name = Annotated[str, AfterValidator(check_name)]
Digest = Annotated[str, AfterValidator(check_digest)]
Key = Annotated[str, AfterValidator(check_key)]
Box = tuple[float, float, float, float]


class Part(BaseModel):
    """Base of all parts of a release's files: frozen, strict, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StoredFile(Part):
    """A file in the store.

    Attributes
    ----------
    key : str
        Where, from the store's root; ends with the digest.
    digest : str
        SHA-256 of the content in hex.
    size : int
        Bytes.
    """

    key: Key
    digest: Digest
    size: NonNegativeInt

    @model_validator(mode="after")
    def _check(self) -> Self:
        if digest_in(self.key) != self.digest:
            raise ValueError(f"key {self.key} does not end with digest {self.digest}")
        return self


class CatalogRecord(StoredFile):
    """The catalog of a release.

    Attributes
    ----------
    rows : int
        Granules.
    complete : bool
        Whether the harvest got everything that the server declared.
    """

    rows: NonNegativeInt
    complete: bool


class QueryRecord(Part):
    """What was asked for; null where the catalog does not say.

    Attributes
    ----------
    collection, provider, stac_root : str or None
        Collection id, provider, and root of the STAC API.
    cmr_root : str or None
        Root of CMR's own search, where that was asked; not there otherwise.
    start_date, end_date : str or None
        Inclusive days, ``YYYY-MM-DD``, UTC.
    bbox : tuple of float or None
        ``(west, south, east, north)``, degrees.
    """

    collection: str | None = None
    provider: str | None = None
    stac_root: str | None = None
    cmr_root: str | None = Field(default=None, exclude_if=lambda root: root is None)
    start_date: str | None = None
    end_date: str | None = None
    bbox: Box | None = None


class ManifestFiles(Part):
    """The files of a shard map.

    Attributes
    ----------
    parquet : StoredFile
        The compact manifest.
    document : StoredFile or None
        The JSON that zagg loads, where it was asked for; ``json`` in the file.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    parquet: StoredFile
    document: StoredFile | None = Field(default=None, alias="json")


class GridRecord(Part):
    """The shard map of one grid.

    Attributes
    ----------
    name : str
        Name of the grid.
    config_digest : str
        SHA-256 of the pipeline config's bytes.
    signature : dict
        The grid's spatial signature.
    signature_digest : str
        SHA-256 of the signature's canonical JSON.
    status : {"complete", "partial", "failed"}
        ``partial`` where granules are missing, ``failed`` where there is no map.
    error : str or None
        Why it failed.
    manifest : ManifestFiles or None
        The map's files; None where it failed.
    shards, pairs, granules : int
        Shards with granules, (shard, granule) pairs, and granules assigned.
    quarantined : int
        Granules left out because their footprint cannot be used.
    backend, backend_version : str or None
        Geometry backend and its version.
    order : int or None
        Order of the footprint covers, where the backend has one.
    footprint : str or None
        Granule outline, ``swath`` or ``beams``.
    """

    name: Name
    config_digest: Digest
    signature: dict[str, JsonValue]
    signature_digest: Digest
    status: GridStatus
    error: str | None = None
    manifest: ManifestFiles | None = None
    shards: NonNegativeInt = 0
    pairs: NonNegativeInt = 0
    granules: NonNegativeInt = 0
    quarantined: NonNegativeInt = 0
    backend: str | None = None
    backend_version: str | None = None
    order: NonNegativeInt | None = None
    footprint: str | None = None

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


class ReleaseRecord(Part):
    """What one run published; equal inputs make equal bytes on any machine on any day.

    Attributes
    ----------
    schema_version : int
        1.
    product, region, cycle
        The slot.
    cycle_convention : {"mission", "nominal"} or None
        What the cycle means; None where the catalog does not say.
    query : QueryRecord
        What was asked for.
    harvest : HarvestReport or None
        What came; None for a catalog without a report.
    catalog : CatalogRecord
        The granules.
    grids : tuple of GridRecord
        By name.
    status : {"complete", "partial"}
        ``partial`` if the catalog is incomplete or a grid is not complete.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    product: Name
    region: Name
    cycle: int = Field(ge=1, le=9999)
    cycle_convention: Convention | None = None
    query: QueryRecord
    harvest: HarvestReport | None = None
    catalog: CatalogRecord
    grids: tuple[GridRecord, ...]
    status: Status

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [grid.name for grid in self.grids]
        if names != sorted(set(names)):
            raise ValueError("grids must be sorted by name, each there once")
        if self.status != status_of(self.catalog, self.grids):
            raise ValueError(f"status {self.status} is not what catalog and grids say")
        if self.catalog.key != self.slot.key("catalogs", self.catalog.digest):
            raise ValueError(f"catalog {self.catalog.key} belongs to another release")
        for grid in self.grids:
            folder = self.slot.folder("shardmaps", grid.name)
            for file in manifests_of(grid):
                if file.key.rpartition("/")[0] != folder:
                    raise ValueError(f"manifest {file.key} belongs to another grid or release")
        return self

    @property
    def slot(self) -> ReleaseKey:
        """What the release is for."""
        return ReleaseKey(self.product, self.region, self.cycle)

    @property
    def files(self) -> list[StoredFile]:
        """Every file that the release refers to, the catalog first."""
        return [self.catalog, *(file for grid in self.grids for file in manifests_of(grid))]

    @property
    def digest(self) -> str:
        """SHA-256 of the record's bytes in hex: the name of the release."""
        return digest_of([self.to_bytes()])[0]

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        return canonical_json(self.model_dump(mode="json"))

    def grid(self, name: str) -> GridRecord | None:
        """Return a grid by name, or None."""
        return next((grid for grid in self.grids if grid.name == name), None)


def manifests_of(grid: GridRecord) -> list[StoredFile]:
    """Return the files of a grid's shard map; none where it failed."""
    if grid.manifest is None:
        return []
    return [file for file in (grid.manifest.parquet, grid.manifest.document) if file is not None]


def status_of(catalog: CatalogRecord, grids: tuple[GridRecord, ...]) -> Status:
    """Return ``complete`` if the catalog and every grid are."""
    whole = catalog.complete and all(grid.status == "complete" for grid in grids)
    return "complete" if whole else "partial"


def load_record(content: bytes, source: str = "The release record") -> ReleaseRecord:
    """Read a record that this version or an earlier one wrote.

    Parameters
    ----------
    content : bytes
        The file.
    source : str
        What the file is called in errors.

    Raises
    ------
    InvalidRelease
        If it is not a release record, or one of a newer version.
    """
    return load_model(
        ReleaseRecord, content, source, noun="a release record", newest=SCHEMA_VERSION
    )
