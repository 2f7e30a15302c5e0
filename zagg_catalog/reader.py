"""What zagg's reader needs of granules, as a pipeline config says it.

zagg reads one address of each granule, over HTTPS if the driver is ``https`` and on S3 otherwise,
and drops granules without it, without a word. It reads groups that only some products have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

Slot = Literal["s3", "https"]

# Group below a beam by which a product is known. Source: the data dictionaries of the products.
GROUPS: Mapping[str, str] = {
    "heights": "ATL03",
    "land_ice_segments": "ATL06",
    "sea_ice_segments": "ATL07",
    "land_segments": "ATL08",
    "freeboard_segment": "ATL10",
    "freeboard_beam_segment": "ATL10",
    "ssh_segments": "ATL12",
}
_KNOWN = frozenset(GROUPS.values())
# Other readers, of rasters and of xarray, find their files by other means.
_READERS = (None, "h5coro")
_PATH = re.compile(r"/\{group\}/(\w+)/")
_NAMES = {"s3": "S3", "https": "HTTPS"}


@dataclass(frozen=True, kw_only=True)
class ReaderNeeds:
    """The address and the product that a reader needs."""

    slot: Slot | None = None
    """Address that it reads; None if the reader does not read addresses of a map."""
    products: tuple[str, ...] = ()
    """Products that have the groups it reads, or that the config names; empty for any."""

    @classmethod
    def of(cls, data_source: Any) -> Self:
        """Return the needs of a config's section ``data_source``."""
        if not isinstance(data_source, Mapping) or data_source.get("reader") not in _READERS:
            return cls()
        found = {GROUPS[name] for name in _groups(data_source) if name in GROUPS}
        named = data_source.get("short_name") or data_source.get("product")
        products = {named.upper()} if isinstance(named, str) else found
        return cls(slot=_slot(data_source.get("driver")), products=tuple(sorted(products)))

    def with_driver(self, driver: str | None) -> ReaderNeeds:
        """Return the needs with the driver of a run; None for the config's own."""
        return self if driver is None or self.slot is None else replace(self, slot=_slot(driver))

    @property
    def reason(self) -> str:
        """Why a granule without the address is unreadable, as a part of a sentence."""
        assert self.slot is not None
        return f"it has no {_NAMES[self.slot]} address, which the driver {self.slot} reads"

    def refuses(self, metadata: Mapping[str, Any]) -> str | None:
        """Return the product of a catalog or map if the reader cannot read it, else None."""
        product = metadata.get("short_name") or metadata.get("collection")
        name = re.split(r"QL|_", str(product or "").upper())[0]
        wrong = bool(self.products) and name in _KNOWN and name not in self.products
        return name if wrong else None


def note_of_plan(data_source: Any) -> str | None:
    """Return a note if zagg reads a part of each granule that may lack values of a shard."""
    plan = data_source.get("read_plan") if isinstance(data_source, Mapping) else None
    index = plan.get("spatial_index") if isinstance(plan, Mapping) else None
    if not index:
        return None
    return (
        f"zagg reads granules by the index {str(index)[:60]!r} (data_source.read_plan): values that"
        " lie in a shard, while the points of the index beside them do not, can be missing along"
        " the sides of shards."
    )


def _slot(driver: Any) -> Slot:
    return "https" if driver == "https" else "s3"


def _groups(value: Any) -> Iterator[str]:
    """Return the groups below a beam in all paths of a section."""
    if isinstance(value, str):
        yield from _PATH.findall(f"{value}/")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _groups(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _groups(item)
