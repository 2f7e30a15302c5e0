"""Data assets: which file of an item is the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from zagg_catalog.errors import InvalidQuery

_SHOWN = {
    "role": "role {}",
    "type": "media type {}",
    "ending": "an href ending in {}",
    "key": "key {}",
}


@dataclass(frozen=True, kw_only=True)
class DataAsset:
    """The conditions that the data file of an item fulfils; of several such files, the first."""

    role: str | None = None
    """One of its roles."""
    type: str | None = None
    """Its media type, with or without parameters."""
    ending: str | None = None
    """End of its address, before any query."""
    key: str | None = None
    """Its key in the item's ``assets``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read conditions such as ``role=data,ending=.tif``; raise `InvalidQuery`."""
        known = [field.name for field in fields(cls)]
        found: dict[str, str] = {}
        for part in text.split(",") if isinstance(text, str) else [""]:
            name, _, value = (word.strip() for word in part.partition("="))
            if name not in known or not value or name in found:
                raise InvalidQuery(
                    f"A data asset is given by {', '.join(f'{name}=…' for name in known)}, joined "
                    f"by commas, such as role=data,ending=.tif, not {text!r}."
                )
            found[name] = value
        return cls(**found)

    def __str__(self) -> str:
        """Return the conditions as parts of a sentence."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return " and ".join(_SHOWN[name].format(value) for name, value in given.items())

    def matches(self, key: str, asset: Mapping[str, Any]) -> bool:
        """Return whether an asset with an href fulfils the conditions."""
        media = asset["type"] or ""
        path = path_of(asset["href"])
        return (
            (self.role is None or self.role in (asset["roles"] or ()))
            and (self.ending is None or path.endswith(self.ending))
            and (self.key is None or self.key == key)
            and (self.type is None or _plain(self.type) in (_plain(media), _bare(media)))
        )


def path_of(href: str) -> str:
    """Return an address without its query and fragment."""
    return href.partition("#")[0].partition("?")[0]


def _plain(media: str) -> str:
    return media.replace(" ", "").lower()


def _bare(media: str) -> str:
    """Return a media type without its parameters."""
    return _plain(media).partition(";")[0]


HDF5 = DataAsset(role="data", ending=".h5")
NETCDF = DataAsset(role="data", ending=".nc")
