"""The names of zagg and h5coro that the process of zagg uses, each looked up here.

Only the standard library is imported until `look_up` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
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

WHOLE_OUTPUT = {
    "open_store": "zagg.store:open_store",
    "get_output_region": "zagg.config:get_output_region",
    "get_output_endpoint_url": "zagg.config:get_output_endpoint_url",
    "get_coverage_moc": "zagg.config:get_coverage_moc",
    "get_sweep": "zagg.config:get_sweep",
    "get_touch_policy": "zagg.config:get_touch_policy",
    "chains_stages": "zagg.config:chains_stages",
    "semantic_hash": "zagg.semantics:semantic_hash",
    "effective_store_root": "zagg.hive:effective_store_root",
    "shard_leaf_path": "zagg.hive:shard_leaf_path",
    "resolve_leaf": "zagg.hive:resolve_leaf",
    "leaf_column_expectation": "zagg.hive:leaf_column_expectation",
    "read_manifest": "zagg.hive:read_manifest",
    "build_root_coverage": "zagg.hive:build_root_coverage",
    "write_root_coverage": "zagg.hive:write_root_coverage",
    "cascade_families": "zagg.runner:_cascade_families",
    "run_sweep": "zagg.sweep:run_sweep",
    "run_stage_sweep": "zagg.sweep_stages:run_stage_sweep",
    "SweepRefusedError": "zagg.sweep_lease:SweepRefusedError",
    "init_icechunk": "zagg.runner:_init_icechunk_local",
    "finalize_icechunk": "zagg.runner:_finalize_icechunk_local",
    "resolve_options": "zagg.icechunk_refs:resolve_options",
    "leaf_units": "zagg.icechunk_refs:leaf_units",
    "open_vetted": "zagg.icechunk_refs:open_vetted",
    "commit_units": "zagg.icechunk_refs:commit_units",
    "write_leaf_refs": "zagg.icechunk_ladder:write_leaf_refs",
}
"""The same, of the steps that concern the whole output."""


COMPANION = {"open_repo": "zagg.icechunk_refs:open_repo"}
"""The same, of reading an Icechunk companion, outside the process of zagg."""


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


def look_up(names: Mapping[str, str] = NAMES) -> Names:
    """Import zagg and return names, by default those of a run.

    Raises
    ------
    MissingName
        If zagg lacks one; the message has the name, and the versions that have all.
    """
    import_module("zagg")
    found = {}
    for name, place in names.items():
        try:
            owner, attribute = _owner(place)
            found[name] = getattr(owner, attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            if isinstance(error, ModuleNotFoundError) and not place.startswith(str(error.name)):
                raise  # zagg lacks a package, not a name
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
