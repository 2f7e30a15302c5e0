"""Slots: what a release is for, a product over a region in a cycle."""

from __future__ import annotations

from dataclasses import dataclass

from zagg_catalog.store import folder_key, object_key, parse_key, pointer_key


@dataclass(frozen=True, order=True)
class ReleaseKey:
    """What releases replace each other for; each slot has one pointer to its latest release.

    Parameters
    ----------
    product : str
        Short name and version, ``ATL06_007``.
    region : str
        Name of the region.
    cycle : int
        Cycle number.

    Raises
    ------
    InvalidName
        If a part cannot be part of a key.
    """

    product: str
    region: str
    cycle: int

    def __post_init__(self) -> None:
        folder_key("releases", product=self.product, region=self.region, cycle=self.cycle)

    def __str__(self) -> str:
        return f"{self.product}, {self.region}, cycle {self.cycle}"

    @classmethod
    def of_key(cls, key: str) -> ReleaseKey:
        """Return the slot that a key of the layout belongs to.

        Raises
        ------
        InvalidName
            If the key does not follow the layout.
        """
        parts = parse_key(key)
        return cls(parts.product, parts.region, parts.cycle)

    @property
    def folder(self) -> str:
        """Key of the folder of its release records."""
        return folder_key("releases", product=self.product, region=self.region, cycle=self.cycle)

    @property
    def pointer(self) -> str:
        """Key of the pointer to its latest release."""
        return pointer_key(product=self.product, region=self.region, cycle=self.cycle)

    def record_key(self, digest: str) -> str:
        """Return the key of a release record."""
        return object_key(
            "releases",
            product=self.product,
            region=self.region,
            cycle=self.cycle,
            digest=digest,
            suffix=".json",
        )

    @property
    def catalog_folder(self) -> str:
        """Key of the folder of its catalogs."""
        return folder_key("catalogs", product=self.product, region=self.region, cycle=self.cycle)

    def catalog_key(self, digest: str) -> str:
        """Return the key of a catalog."""
        return object_key(
            "catalogs",
            product=self.product,
            region=self.region,
            cycle=self.cycle,
            digest=digest,
            suffix=".parquet",
        )

    def manifest_folder(self, grid: str) -> str:
        """Return the key of the folder of a grid's manifests."""
        return folder_key(
            "shardmaps", product=self.product, region=self.region, cycle=self.cycle, grid=grid
        )

    @property
    def pickup_folder(self) -> str:
        """Key of the folder of what came of its pick-ups, a folder per grid."""
        return folder_key("pickups", product=self.product, region=self.region, cycle=self.cycle)

    def pickup_folder_of(self, grid: str) -> str:
        """Return the key of the folder of a grid's acknowledgements."""
        return folder_key(
            "pickups", product=self.product, region=self.region, cycle=self.cycle, grid=grid
        )

    def pickup_pointer(self, grid: str) -> str:
        """Return the key of the pointer that says how a grid's pick-ups stand."""
        return pointer_key(
            "pickups", product=self.product, region=self.region, cycle=self.cycle, grid=grid
        )
