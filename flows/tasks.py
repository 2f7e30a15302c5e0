"""Tasks of the flows; each may run more than once, and takes and returns JSON values and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, cast

from prefect import get_run_logger, task

from flows.results import (
    read_received,
    read_result,
    read_slice,
    write_received,
    write_result,
)
from flows.runtime import check_cancelled
from zagg_catalog.archive.build import ArchiveGrid, build_stored
from zagg_catalog.archive.catalogs import load_catalog
from zagg_catalog.build import write_indexed
from zagg_catalog.catalog.completeness import explain_missing
from zagg_catalog.catalog.harvest_report import FetchFacts, Transfer
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.config import parse_config
from zagg_catalog.errors import (
    BadResponse,
    CorruptObject,
    EmptyHarvest,
    InvalidCatalog,
    InvalidShardMap,
    ObjectMissing,
    RequestFailed,
    SourceDown,
    ZaggCatalogError,
)
from zagg_catalog.files import scratch
from zagg_catalog.grids import OutputGrid, from_config
from zagg_catalog.messages import clean_text
from zagg_catalog.registry import read_region
from zagg_catalog.registry.check_rules import CheckPlan
from zagg_catalog.releases import MapToPublish, Published, ReleaseKey, publish
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.shardmap.takeover import Earlier, TakenOver
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.checkpoint import StoredSlices
from zagg_catalog.sources.query_slices import merge_slices
from zagg_catalog.sources.received import Received, joined
from zagg_catalog.sources.update import CannotUpdate, Previous
from zagg_catalog.store import ObjectRef, Store, open_store

Values = dict[str, Any]

_loading = Lock()


@task(task_run_name="{label}", persist_result=False)
def fetch_slice(query: Values, source: Values, store: str, key: str, label: str) -> Values:
    """Fetch one slice of a query, unless the store has it already.

    Returns
    -------
    dict
        ``state`` is ``fetched``, ``empty``, or ``unusable`` if every granule was quarantined. A
        fetched slice has ``granules``, ``transfer`` and ``catalog``, the key of its parquet file.
    """
    place = open_store(store)
    found = read_slice(place, key)
    if found is None:
        found = _fetch(query, place, key, **source)
        write_result(place, key, found)
    return found


@task(
    task_run_name="{release_key[1]} c{release_key[2]}: store the catalog",
    persist_result=False,
)
def store_catalog(
    query: Values,
    release_key: list[Any],
    store: str,
    slices: list[Values],
    earlier: str | None = None,
    source: Values | None = None,
    why: str | None = None,
) -> Values:
    """Merge the slices of a query, and store the catalog with the cells of its footprints.

    `earlier` is the key of the catalog of the earlier release, if there is one. With the `source`
    also what was left out is stored, so that the next fetch may be an update; `why` is the reason
    why this one is not.
    """
    place = open_store(store)
    fetched = [part for part in slices if part["state"] == "fetched"]
    if len(slices) == 1 and not fetched:
        raise EmptyHarvest(slices[0]["why"], matched=slices[0].get("matched", 0))
    with scratch() as folder:
        path = Path(folder, "catalog.parquet")
        parts = [Catalog.from_geoparquet(place.download(part["catalog"], path)) for part in fetched]
        tables = [part.table for part in parts]
        merged = merge_slices(Query(**query), parts)
        catalog = write_indexed(merged, path, previous=_earlier_catalog(place, earlier))
        ref = place.put(ReleaseKey(*release_key).folder("catalogs"), path, ".parquet")
        if source is not None and catalog.complete:
            received = _joined_received(place, fetched, tables, merged, Path(folder))
            if received is not None:
                key = _source(source).fetch_key(Query(**query))
                received = received.of_fetch(key)
                write_received(place, ReleaseKey(*release_key), received, ref)
    facts = _fetch_facts(fetched, parts, catalog).model_copy(update={"full_because": why})
    return _stored(catalog, ref, facts, _sum_of([part["transfer"] for part in fetched]))


@task(
    task_run_name="{release_key[1]} c{release_key[2]}: update the catalog",
    persist_result=False,
)
def update_catalog(query: Values, release_key: list[Any], store: str, source: Values) -> Values:
    """Update the catalog of the last fetch by what has changed at the source, and store it.

    Returns
    -------
    dict
        As `store_catalog`; or ``why``, the reason why everything has to be fetched.
    """
    place, key = open_store(store), ReleaseKey(*release_key)
    held = read_received(place, key)
    if held is None:
        return {"why": None}
    cmr, pages = _source(source), list[int]()

    def progress(done: int, total: int | None) -> None:
        pages.append(done)
        check_cancelled()

    with scratch() as folder:
        path = Path(folder, "catalog.parquet")
        try:
            previous = Previous(
                catalog=place.download(held["catalog"], Path(folder, "held.parquet")),
                received=place.download(held["received"], Path(folder, "received.parquet")),
            )
            found = cmr.update(Query(**query), previous, progress=progress, partial=True)
        except (CannotUpdate, ObjectMissing, CorruptObject) as error:
            return {"why": clean_text(str(error), limit=500)}
        except (RequestFailed, BadResponse) as error:
            if source.get("first") and not pages and not getattr(error, "final", False):
                raise SourceDown(str(error)) from None
            raise
        report = cmr.last_report
        assert report is not None
        catalog = write_indexed(found, path, previous=_earlier_catalog(place, held["catalog"]))
        ref = place.put(key.folder("catalogs"), path, ".parquet")
        if cmr.last_received is not None:
            write_received(place, key, cmr.last_received, ref)
    return _stored(catalog, ref, report.facts, report.transfer.model_dump())


def _source(values: Values) -> CMRSource:
    return CMRSource(root_url=values["root"], api=values["api"], connections=values["connections"])


def _joined_received(
    place: Store, fetched: Sequence[Values], tables: list[Any], merged: Catalog, folder: Path
) -> Received | None:
    """Return what the slices of a catalog received beside it; None if one does not say it."""
    keys = [part.get("received") for part in fetched]
    try:
        parts = [
            Received.from_parquet(place.download(key, folder / f"received-{number}.parquet"))
            for number, key in enumerate(keys)
            if key is not None
        ]
    except (ObjectMissing, CorruptObject, InvalidCatalog):
        return None
    return joined(parts, tables, merged.table) if len(parts) == len(keys) else None


def _stored(catalog: Catalog, ref: ObjectRef, facts: FetchFacts, transfer: Values) -> Values:
    """Return the facts of a stored catalog as JSON values."""
    harvest = catalog.metadata["harvest"]
    counts = ("declared_after", "harvested", "shared", "outside_cycle")
    return {
        "key": ref.key,
        "digest": ref.digest,
        "size": ref.size,
        "rows": len(catalog),
        "complete": catalog.complete,
        "lacks": None if catalog.complete else explain_missing(catalog.metadata),
        "written": ref.written,
        "harvest": {name: getattr(facts, name) for name in counts}
        | {name: len(harvest[name]) for name in ("superseded", "quarantined")}
        | {"kept": harvest["kept"], "slices": len(facts.slices)},
        "fetch": facts.model_dump(mode="json"),
        "transfer": transfer,
    }


@task(
    task_run_name="{spec[release_key][1]} c{spec[release_key][2]}: build {spec[grid]}",
    persist_result=False,
)
def build_grid(
    spec: Values, store: str, key: str, *, again: bool = False, earlier: Values | None = None
) -> Values:
    """Build the shard map that `flows.jobs.build_values` describes, and store it.

    `earlier` is what `flows.earlier.earlier_map` returns. It changes nothing of the map.

    Returns
    -------
    dict
        Facts of the map, and `key` as ``result``. They are those of an earlier build with the same
        key, unless `again` is set or the store lost its map; then ``restored`` is true. A map that
        was built now has ``taken_over``, a number of pairs, and ``from_scratch``, why it is zero.
    """
    place = open_store(store)
    known = None if again else read_result(place, key)
    if known is not None and place.exists(known["manifest"]):
        return known | {"result": key}
    built, taken = _build(spec, place, earlier or {"reason": "no earlier release was given"})
    write_result(place, key, built)
    facts = {"taken_over": taken.pairs, "from_scratch": taken.reason}
    return built | {"result": key, "restored": known is not None} | facts


def _build(spec: Values, place: Store, earlier: Values) -> tuple[Values, TakenOver]:
    """Build a map and store it; return its facts, and what was taken over."""
    product, region, cycle = spec["release_key"]
    grid = ArchiveGrid.of(spec["grid"], _grid(spec), spec["options"])
    catalog = _selected(place, spec["catalog"], spec)
    previous = _earlier_map(place, earlier, spec)
    used = None if isinstance(previous, str) else previous
    region_of = read_region(spec["region"].encode())
    built = build_stored(catalog, [grid], region_of, previous=[used])[0]
    taken = built.taken_over or TakenOver(reason=str(previous))
    get_run_logger().info("Grid %s: %s", spec["grid"], taken.sentence(len(catalog)))
    shard_map = grid.accepted(built)
    with scratch() as folder:
        path = Path(folder, "map.parquet")
        shard_map.to_parquet(path)
        ref = place.put(
            ReleaseKey(product, region, cycle).folder("shardmaps", spec["grid"]), path, ".parquet"
        )
    metadata = shard_map.metadata
    facts = {
        "grid": spec["grid"],
        "manifest": ref.key,
        "digest": ref.digest,
        "size": ref.size,
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules": shard_map.table.num_rows,
        "quarantined": len(metadata["quarantined"]),
        "complete": metadata["complete"],
        "lacks": explain_missing(metadata) if metadata["complete"] is False else None,
        "beyond_area": built.area.sentence() if built.area.beyond else None,
        "backend": metadata["backend"],
        "seconds": metadata["build_wall_s"],
    }
    return facts, taken


def _selected(store: Store, key: str, spec: Values) -> Catalog:
    """Return the granules of a stored catalog that the filters of the region select.

    A catalog that was stored before the region had filters has other granules, too.
    """
    return _load_catalog(store, key).filter(**spec.get("filters", {}))


def _earlier_map(store: Store, earlier: Values, spec: Values) -> Earlier | str:
    """Return the earlier map and its catalog, or why they cannot be used."""
    if "reason" in earlier:
        return str(earlier["reason"])
    try:
        with scratch() as folder:
            path = store.download(earlier["manifest"], Path(folder, "map.parquet"))
            return ShardMap.from_parquet(path), _selected(store, earlier["catalog"], spec)
    except ZaggCatalogError as error:
        return f"the earlier map cannot be read, {clean_text(str(error).rstrip('.'), limit=300)}"


def _earlier_catalog(store: Store, key: str | None) -> Catalog | None:
    """Return the catalog of the earlier release; None if it cannot be read."""
    try:
        return None if key is None else _load_catalog(store, key)
    except ZaggCatalogError as error:
        get_run_logger().info("Found the cells of all footprints: %s", clean_text(str(error)))
        return None


@task(
    task_run_name="{release_key[1]} c{release_key[2]}: publish",
    persist_result=False,
)
def publish_release(
    release_key: list[Any],
    store: str,
    catalog: Values,
    grids: list[Values],
    partial_latest: bool,
    allow_contraction: bool = False,
    allow_failed_checks: bool = False,
    checks: Values | None = None,
) -> Published:
    """Publish a catalog and its maps as one release.

    Each of `grids` has ``grid``, ``config``, and ``manifest`` or ``error``; `checks` are the fields
    of a `CheckPlan`.
    """
    place = open_store(store)
    with scratch() as folder:
        path = place.download(catalog["key"], Path(folder, "catalog.parquet"))
        return publish(
            place,
            catalog=path,
            maps=[_grid_build(place, entry, Path(folder)) for entry in grids],
            product=release_key[0],
            region=release_key[1],
            cycle=release_key[2],
            partial_latest=partial_latest,
            allow_contraction=allow_contraction,
            allow_failed_checks=allow_failed_checks,
            checks=CheckPlan.model_validate(checks or {}),
            transfer=Transfer(**catalog["transfer"]) if catalog.get("transfer") else None,
            fetch=FetchFacts.of_json(catalog["fetch"]) if catalog.get("fetch") else None,
            fetched_at=catalog.get("fetched_at"),
        )


def _fetch(
    query: Values, place: Store, key: str, root: str, first: bool = False, **options: Any
) -> Values:
    """Fetch a slice; `first` if the source has not answered this run yet."""
    cmr, pages = CMRSource(root_url=root, **options), list[int]()
    parts = StoredSlices(place, key.removesuffix(".json"))

    def progress(done: int, total: int | None) -> None:
        pages.append(done)
        check_cancelled()

    try:
        catalog = cmr.fetch(Query(**query), progress=progress, checkpoint=parts)
    except (RequestFailed, BadResponse) as error:
        if first and not pages and not getattr(error, "final", False):
            raise SourceDown(str(error)) from None
        raise
    except EmptyHarvest as error:
        state = "unusable" if error.matched else "empty"
        return {"state": state, "why": str(error), "matched": error.matched}
    with scratch() as folder:
        path = Path(folder, "slice.parquet")
        catalog.to_geoparquet(path)
        ref = place.put(key.rpartition("/")[0], path, ".parquet")
        received = None
        if cmr.last_received is not None:
            cmr.last_received.to_parquet(path)
            received = place.put(key.rpartition("/")[0], path, ".parquet").key
    assert cmr.last_report is not None
    return {
        "state": "fetched",
        "catalog": ref.key,
        "received": received,
        "granules": len(catalog),
        "transfer": cmr.last_report.transfer.model_dump(),
        "fetch": cmr.last_report.facts.model_dump(mode="json"),
    }


class UnknownGrid:
    """Placeholder for the grid of an invalid config, so that its failure is recorded."""

    kind = "unknown"

    def spatial_signature(self) -> Values:
        """Return an empty signature, which no map has."""
        return {}


def _grid_build(store: Store, entry: Values, folder: Path) -> MapToPublish:
    config = entry["config"].encode()
    if entry.get("error"):
        return MapToPublish(entry["grid"], config, grid=_grid_of(entry), error=entry["error"])
    path = store.download(entry["manifest"], folder / f"{entry['grid']}.parquet")
    try:
        shard_map = ShardMap.from_parquet(path)
    except InvalidShardMap as error:
        return MapToPublish(entry["grid"], config, grid=_grid_of(entry), error=str(error))
    return MapToPublish(entry["grid"], config, shard_map=shard_map)


def _grid_of(entry: Values) -> OutputGrid:
    """Return the grid of a config, or a placeholder, since a broken one stops no release."""
    if not entry.get("broken"):
        try:
            return _grid(entry)
        except Exception as error:  # noqa: BLE001  (the entry has the failure of this grid)
            get_run_logger().debug("Grid %s: %s", entry["grid"], error)
    return cast(OutputGrid, UnknownGrid())


def _grid(values: Values) -> OutputGrid:
    """Return the grid of a config; raise `InvalidConfig`, which names the grid."""
    source = f"The config of grid {values['grid']}"
    return from_config(parse_config(values["config"], source=source))


def _load_catalog(store: Store, key: str) -> Catalog:
    """Return a stored catalog; grids that are built in the same process share it."""
    with _loading:
        return _cached_catalog(store.url, key)


# The catalog of this release, and that of the earlier one.
@lru_cache(maxsize=2)
def _cached_catalog(store: str, key: str) -> Catalog:
    return load_catalog(open_store(store), key)


def _fetch_facts(
    fetched: Sequence[Values], catalogs: Sequence[Catalog], merged: Catalog
) -> FetchFacts:
    """Return how the slices of a catalog were fetched, all together."""
    counts = [catalog.metadata["harvest"]["harvested"] for catalog in catalogs]
    shared = sum(counts) - merged.metadata["harvest"]["harvested"]
    return FetchFacts.joined([FetchFacts.of_json(one["fetch"]) for one in fetched], shared=shared)


def _sum_of(transfers: Sequence[Values]) -> Values:
    fields = Transfer.model_fields  # a slice that an older version has fetched may lack some
    return {name: sum(transfer.get(name, 0) for transfer in transfers) for name in fields}
