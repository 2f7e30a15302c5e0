"""Maps and releases of several products: what `measure.py million_ours` runs.

For each product the maps of all cycles are built, and one map of all of them per grid. A release
of each cycle is published to a store in a folder, then its index is renewed and all releases are
listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zagg_catalog.archive import ArchiveGrid, ArchiveMap, build_archive, catalog_files
from zagg_catalog.config import parse_config
from zagg_catalog.grids import from_config
from zagg_catalog.grids.new import NewGrid, Product, config_text
from zagg_catalog.index import renew_index
from zagg_catalog.regions import bbox_region
from zagg_catalog.releases import MapToPublish, list_releases, publish
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store, open_store

SOUTH = (-180.0, -90.0, 180.0, -60.0)


def maps_and_releases(
    products: Mapping[Product, Sequence[str]], orders: Sequence[int], folder: Path
) -> tuple[int, int]:
    """Build and publish everything; return the numbers of pairs and of granules in merged maps.

    `products` has the catalog files of each product.
    """
    store = open_store(str(folder / "store"))
    pairs = granules = 0
    for product, files in products.items():
        configs = {f"o{order}": _config(product, order) for order in orders}
        grids = [
            ArchiveGrid(name=name, grid=from_config(parse_config(config, source=name)))
            for name, config in configs.items()
        ]
        report = build_archive(
            catalog_files(files),
            grids,
            output=folder / "maps",
            region=bbox_region(SOUTH),
            merge=True,
        )
        if report.failed:
            raise SystemExit(f"Maps failed: {report.failed[0].error}")
        pairs += sum(one.pairs for one in report.merged)
        granules += report.merged[0].granules
        for file in files:
            maps = [one for one in report.maps if one.catalog == Path(file).stem]
            _release(store, file, maps, configs)
    renew_index(store)
    count = sum(map(len, products.values()))
    if len(list_releases(store)) != count:
        raise SystemExit(f"The store does not list the {count} releases that were published.")
    return pairs, granules


def _config(product: Product, order: int) -> bytes:
    lines = ("type: healpix", "indexing_scheme: nested")
    orders = (f"parent_order: {order}", f"child_order: {order + 6}")
    return config_text(NewGrid(lines=lines + orders, sizes="HEALPix"), product=product).encode()


def _release(
    store: Store, file: str, maps: Sequence[ArchiveMap], configs: Mapping[str, bytes]
) -> None:
    built = [
        MapToPublish(
            name=one.grid, config=configs[one.grid], shard_map=ShardMap.from_parquet(one.path)
        )
        for one in maps
    ]
    # A simulated catalog has no report of its fetch, so its maps are not known to be complete.
    done = publish(store, catalog=file, maps=built, region="antarctica", partial_latest=True)
    if not done.latest:
        raise SystemExit(f"The release of {file} is not the latest: {'; '.join(done.held_back)}.")
