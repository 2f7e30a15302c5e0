"""The names of zagg and h5coro that the process of zagg uses, each looked up here.

Only the standard library is imported until `look_up` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

TESTED = ("0.61.0",)
"""Versions of zagg that the tests ran with."""

NAMES = {
    "agg": "zagg:agg",
    "load_config": "zagg.config:load_config",
    "get_driver": "zagg.config:get_driver",
    "from_config": "zagg.grids:from_config",
    "load_catalog": "zagg.runner:_load_catalog",
    "check_signature": "zagg.runner:_check_signature",
    # Runs the shards; it is told of each that raised, and the summary is not.
    "dispatch": "zagg.runner:dispatch",
    "s3_credentials": "zagg.runner:_resolve_source_credentials",
    "edl_token": "zagg.auth:get_edl_token",
    # What a shard says that has no value after filtering; no failure.
    "benign_errors": "zagg.dispatch:BENIGN_ERRORS",
    # Makes the object that reads a beam of a granule.
    "index_from_config": "zagg.processing.worker:index_from_config",
    # Opens a granule.
    "H5Coro": "zagg.processing.h5coro:H5Coro",
    "H5Dataset": "h5coro.h5dataset:H5Dataset",
    "S3Driver": "h5coro.s3driver:S3Driver",
    "HTTPDriver": "h5coro.webdriver:HTTPDriver",
}
"""Name here, and ``module:attribute``; a module may be an attribute of its package."""


class MissingName(Exception):
    """Raised when the installed zagg lacks a name."""


@dataclass(frozen=True)
class Names:
    """Values of `NAMES`, as attributes."""

    version: str
    """Version of the installed zagg."""
    found: dict[str, Any]
    """Values by name."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.found[name]
        except KeyError:
            raise AttributeError(name) from None

    def replace(self, name: str, value: Any) -> None:
        """Let zagg find another value under a name."""
        owner, attribute = _owner(NAMES[name])
        setattr(owner, attribute, value)


def look_up() -> Names:
    """Import zagg and return all names.

    Raises
    ------
    MissingName
        If zagg lacks one; the message has the name, and the versions that have all.
    """
    import_module("zagg")
    found = {}
    for name, place in NAMES.items():
        try:
            owner, attribute = _owner(place)
            found[name] = getattr(owner, attribute)
        except (ModuleNotFoundError, AttributeError):
            raise MissingName(
                f"zagg {zagg_version()} has no {place.replace(':', '.')}, which zagg-catalog uses;"
                f" zagg {' and '.join(TESTED)} {'has' if len(TESTED) == 1 else 'have'} it:"
                f" install that version, or a newer zagg-catalog"
            ) from None
    return Names(zagg_version(), found)


def zagg_version() -> str:
    """Return the version of the installed zagg, or of the one that is first on the path."""
    named = getattr(import_module("zagg"), "__version__", None)
    try:
        return str(named or version("zagg"))
    except PackageNotFoundError:
        return "unknown"


def _owner(place: str) -> tuple[Any, str]:
    """Return the object that has an attribute, and the attribute."""
    module, attribute = place.split(":")
    try:
        return import_module(module), attribute
    except ModuleNotFoundError:
        package, _, name = module.rpartition(".")
        return getattr(import_module(package), name), attribute
