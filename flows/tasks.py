"""Tasks: each calls one function of the library, and may run more than once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, cast

import yaml
from prefect import task

from flows.results import given_key
from flows.runtime import check_cancelled
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.errors import EmptyHarvest, InvalidConfig
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.registry import read_region
from zagg_catalog.releases import MapToPublish, Published, ReleaseKey, publish
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.query_slices import merge_slices
from zagg_catalog.sources.report import Transfer
from zagg_catalog.store import Store, open_store

Values = dict[str, Any]

_loading = Lock()


@task(
    task_run_name="fetch {label}",
    cache_key_fn=given_key,
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
def fetch_slice(query: Values, source: Values, key: str, label: str) -> Values:
    """Fetch one slice of a query.

    Parameters
    ----------
    query : dict
        Arguments of `Query`.
    source : dict
        ``root`` of the API, ``api``, and if wanted ``connections`` and ``checkpoint``.
    key : str
        Name of the result.
    label : str
        What the run is called.

    Returns
    -------
    dict
        ``state`` is ``fetched``, ``empty``, or ``unusable`` where all that matches was set
        aside; ``catalog`` the parquet file in base64; ``granules`` and ``transfer``.
    """
    given = dict(source)
    checkpoint = given.pop("checkpoint", None)
    cmr = CMRSource(root_url=given.pop("root"), **given)
    try:
        catalog = cmr.fetch(
            Query(**query), progress=lambda done, total: check_cancelled(), checkpoint=checkpoint
        )
    except EmptyHarvest as error:
        state = "unusable" if error.matched else "empty"
        return {"state": state, "why": str(error), "matched": error.matched}
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        path = Path(folder, "slice.parquet")
        catalog.to_geoparquet(path)
        content = base64.b64encode(path.read_bytes()).decode()
    assert cmr.last_report is not None
    return {
        "state": "fetched",
        "catalog": content,
        "granules": len(catalog),
        "transfer": cmr.last_report.transfer.model_dump(),
    }


@task(task_run_name="catalog {slot[0]} {slot[1]} cycle {slot[2]}", persist_result=False)
def store_catalog(query: Values, slot: list[Any], store: str, slices: list[Values]) -> Values:
    """Merge the slices of a query, and store the catalog.

    Parameters
    ----------
    query : dict
        Arguments of `Query`, the whole one.
    slot : list
        Product, region and cycle.
    store : str
        URL of the store.
    slices : list of dict
        What `fetch_slice` returned.

    Returns
    -------
    dict
        ``key``, ``digest``, ``size``, ``rows``, ``complete``, ``written``, ``harvest`` (counts)
        and ``transfer``.
    """
    fetched = [part for part in slices if part["state"] == "fetched"]
    if len(slices) == 1 and not fetched:
        raise EmptyHarvest(slices[0]["why"], matched=slices[0].get("matched", 0))
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        path = Path(folder, "catalog.parquet")
        catalog = merge_slices(Query(**query), [_decoded(part, path) for part in fetched])
        # The cells of the footprints go along: every grid, now or later, is built from them.
        catalog = catalog.index_footprints()
        catalog.to_geoparquet(path)
        folder_of = ReleaseKey(*slot).folder("catalogs")
        ref = open_store(store).put(folder_of, path, ".parquet")
    harvest = catalog.metadata["harvest"]
    counts = ("declared_after", "harvested", "shared", "kept", "outside_cycle")
    return {
        "key": ref.key,
        "digest": ref.digest,
        "size": ref.size,
        "rows": len(catalog),
        "complete": catalog.complete,
        "written": ref.written,
        "harvest": {name: harvest[name] for name in counts}
        | {name: len(harvest[name]) for name in ("superseded", "quarantined", "slices")},
        "transfer": _sum_of([part["transfer"] for part in fetched]),
    }


@task(
    task_run_name="build {spec[grid]}",
    cache_key_fn=given_key,
    persist_result=True,
    result_serializer="json",
)
def build_grid(spec: Values, store: str, key: str) -> Values:
    """Build the shard map of one grid, and store it.

    Parameters
    ----------
    spec : dict
        What the map depends on, see `flows.jobs.build_values`.
    store : str
        URL of the store.
    key : str
        Name of the result.

    Returns
    -------
    dict
        ``grid``, ``manifest`` (key), ``digest``, ``size``, ``shards``, ``pairs``, ``granules``,
        ``quarantined``, ``complete``, ``backend`` and ``seconds``.
    """
    place = open_store(store)
    product, region, cycle = spec["slot"]
    grid = from_config(_config(spec["config"], spec["grid"]))
    shard_map = ShardMap.build(
        _load_catalog(store, spec["catalog"]),
        grid,
        region=read_region(spec["region"].encode()),
        **spec["options"],
    )
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        path = Path(folder, "map.parquet")
        shard_map.to_parquet(path)
        ref = place.put(
            ReleaseKey(product, region, cycle).folder("shardmaps", spec["grid"]), path, ".parquet"
        )
    metadata = shard_map.metadata
    return {
        "grid": spec["grid"],
        "manifest": ref.key,
        "digest": ref.digest,
        "size": ref.size,
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
        "quarantined": len(metadata["quarantined"]),
        "complete": metadata["complete"],
        "backend": metadata["backend"],
        "seconds": metadata["build_wall_s"],
    }


@task(task_run_name="publish {slot[0]} {slot[1]} cycle {slot[2]}", persist_result=False)
def publish_release(
    slot: list[Any],
    store: str,
    catalog: Values,
    grids: list[Values],
    partial_latest: bool,
) -> Published:
    """Publish what was built as one release.

    Parameters
    ----------
    slot : list
        Product, region and cycle.
    store : str
        URL of the store.
    catalog : dict
        What `store_catalog` returned.
    grids : list of dict
        ``grid``, ``config``, and ``manifest`` or ``error``.
    partial_latest : bool
        Move the pointer to the release even if it is partial.
    """
    place = open_store(store)
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        path = place.download(catalog["key"], Path(folder, "catalog.parquet"))
        return publish(
            place,
            catalog=path,
            maps=[_grid_build(place, entry, Path(folder)) for entry in grids],
            product=slot[0],
            region=slot[1],
            cycle=slot[2],
            partial_latest=partial_latest,
            transfer=Transfer(**catalog["transfer"]) if catalog.get("transfer") else None,
        )


class UnknownGrid:
    """Stands for the grid of a config that defines none, so that its failure is recorded."""

    kind = "unknown"

    def spatial_signature(self) -> Values:
        """Return an empty signature, which no map has."""
        return {}


def _grid_build(store: Store, entry: Values, folder: Path) -> MapToPublish:
    config = entry["config"].encode()
    if entry.get("error"):
        grid = cast(OutputGrid, UnknownGrid()) if entry.get("broken") else None
        return MapToPublish(entry["grid"], config, grid=grid, error=entry["error"])
    path = store.download(entry["manifest"], folder / f"{entry['grid']}.parquet")
    return MapToPublish(entry["grid"], config, shard_map=ShardMap.from_parquet(path))


def _config(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidConfig(f"The config of grid {name} is not YAML: {error}") from None


def _decoded(part: Values, path: Path) -> Catalog:
    path.write_bytes(base64.b64decode(part["catalog"]))
    return Catalog.from_geoparquet(path)


def _load_catalog(store: str, key: str) -> Catalog:
    """Return a catalog; the grids that a process builds side by side share it."""
    with _loading:
        return _kept_catalog(store, key)


@lru_cache(maxsize=1)
def _kept_catalog(store: str, key: str) -> Catalog:
    with TemporaryDirectory(prefix="zagg-catalog-") as folder:
        return Catalog.from_geoparquet(open_store(store).download(key, Path(folder, "c.parquet")))


def _sum_of(transfers: Sequence[Values]) -> Values:
    return {name: sum(transfer[name] for transfer in transfers) for name in Transfer.model_fields}
