"""Grid builds: the shard maps that are to be published, and whether they belong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from zagg_catalog.errors import InvalidConfig, InvalidRelease, InvalidShardMap, SignatureMismatch
from zagg_catalog.files import digest_of
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import clean_text
from zagg_catalog.releases.catalog_file import CatalogFile
from zagg_catalog.releases.publication import version_of
from zagg_catalog.releases.record import GridRecord, ManifestFiles
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import check_name

ERROR_LENGTH = 500


@dataclass(frozen=True, eq=False)
class GridBuild:
    """What came of building the map of one grid.

    Parameters
    ----------
    name : str
        Name of the grid, part of its keys.
    config : Path or bytes
        The zagg pipeline config, as a file or its content.
    grid : OutputGrid or None
        The config's grid; read from the config by default.
    shard_map : ShardMap or None
        The map; None where it failed.
    error : str or None
        Why it failed, a sentence.
    """

    name: str
    config: Path | bytes
    grid: OutputGrid | None = None
    shard_map: ShardMap | None = None
    error: str | None = None

    @cached_property
    def config_bytes(self) -> bytes:
        """Content of the config.

        Raises
        ------
        InvalidConfig
            If the file cannot be read.
        """
        if isinstance(self.config, bytes):
            return self.config
        try:
            return Path(self.config).read_bytes()
        except OSError as error:
            raise InvalidConfig(f"Cannot read config {self.config}: {error.strerror}.") from None

    @cached_property
    def output_grid(self) -> OutputGrid:
        """The grid, given or read from the config.

        Raises
        ------
        InvalidConfig
            If the config does not define one.
        """
        if self.grid is not None:
            return self.grid
        try:
            return from_config(yaml.safe_load(self.config_bytes))
        except yaml.YAMLError as error:
            raise InvalidConfig(f"The config of grid {self.name} is not YAML: {error}") from None

    def record(self, manifest: ManifestFiles | None) -> GridRecord:
        """Return what the release says of the grid, given the stored files of its map."""
        signature = plain(self.output_grid.spatial_signature())
        facts: dict[str, Any] = {
            "status": "failed",
            "error": clean_text(self.error or "", limit=ERROR_LENGTH),
        }
        if self.shard_map is not None:
            facts = _map_facts(self.shard_map)
        return GridRecord(
            name=self.name,
            config_digest=digest_of([self.config_bytes])[0],
            signature=signature,
            signature_digest=canonical_digest(signature),
            manifest=manifest,
            **facts,
        )


def check_builds(builds: Sequence[GridBuild], catalog: CatalogFile) -> None:
    """Check that maps belong to their grids and to a catalog.

    Raises
    ------
    InvalidRelease
        If two grids have one name, or a build has neither or both of a map and an error.
    InvalidName
        If a grid's name cannot be part of a key.
    InvalidConfig
        If a config does not define a grid.
    SignatureMismatch
        If a map was built for another grid.
    InvalidGrid
        If a map has keys that are no shards of its grid.
    InvalidShardMap
        If a map was built from another catalog.
    """
    names = [check_name(build.name, "grid") for build in builds]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRelease(f"Grid {name} is there more than once; give each grid one map.")
    for build in builds:
        if (build.shard_map is None) != bool(build.error and build.error.strip()):
            raise InvalidRelease(
                f"Grid {build.name} needs a shard map, or else an error that says why it has none."
            )
        if build.shard_map is not None:
            _check_map(build.name, build.shard_map, build.output_grid, catalog)


def _check_map(name: str, shard_map: ShardMap, grid: OutputGrid, catalog: CatalogFile) -> None:
    try:
        shard_map.check(grid)
    except SignatureMismatch as error:
        raise SignatureMismatch(f"Grid {name}: {error}") from None
    grid.check_keys(shard_map.shards)
    strangers = missing_ids(shard_map, catalog.ids)
    if strangers:
        raise InvalidShardMap(
            f"The map of grid {name} has {len(strangers):,} granules that the catalog has not,"
            f" {strangers[0]} for instance; build it from this catalog."
        )
    considered = shard_map.metadata.get("total_granules")
    # zagg's own maps count without granules that it screens out, and do not say `complete`.
    if "complete" in shard_map.metadata and considered not in (None, catalog.rows):
        raise InvalidShardMap(
            f"The map of grid {name} was built from {considered:,} granules and the catalog has"
            f" {catalog.rows:,}; build it from this catalog."
        )


def missing_ids(shard_map: ShardMap, ids: pa.ChunkedArray) -> list[str]:
    """Return the ids of a map's granules that are not among the given ones."""
    own = shard_map.table["id"]
    missing: list[str] = own.filter(pc.invert(pc.is_in(own, value_set=ids))).to_pylist()
    return missing


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples as lists, numpy numbers as Python's."""
    return json.loads(json.dumps(value, default=lambda number: number.item()))


def _map_facts(shard_map: ShardMap) -> dict[str, Any]:
    metadata = shard_map.metadata
    backend = metadata.get("backend")
    version = metadata.get("backend_version") or (version_of(backend) if backend else None)
    return {
        "status": "complete" if metadata.get("complete", True) else "partial",
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
        "quarantined": len(metadata.get("quarantined") or []),
        "backend": backend,
        "backend_version": version,
        "order": metadata.get("mortie_order"),
        "footprint": metadata.get("footprint"),
    }
