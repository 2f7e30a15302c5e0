"""What tests of a whole fetch share."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tests.sources.stub import quick
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.sources import Catalog, CMRSource, Query

WORLD = (-180, -90, 180, 90)


def cycle_22(region: Any = WORLD, **more: Any) -> Query:
    return Query.for_cycle("ATL06", "007", 22, region, **more)


def fetch(
    server: SandboxServer, query: Query | None = None, *, retries: int = 6, **more: Any
) -> Catalog:
    method = more.pop("method", None)
    timeout = more.pop("timeout", 5)
    with quick(retries=retries, timeout=timeout) as transport:
        source = CMRSource(root_url=server.root_url, method=method, transport=transport)
        return source.fetch(query or cycle_22(), **more)


def ids(catalog: Catalog) -> list[str]:
    return catalog.table["id"].to_pylist()


def same(one: Catalog, other: Catalog) -> bool:
    """Whether two catalogs are equal but for the servers' addresses."""
    left, right = (c.table.drop_columns(["links"]) for c in (one, other))
    meta = [{k: v for k, v in c.metadata.items() if k != "stac_root"} for c in (one, other)]
    return left.equals(right) and meta[0] == meta[1]


def known_to_both(catalog: Catalog) -> pa.Table:
    """The columns of a catalog that CMR and CMR-STAC know: all but the links."""
    return catalog.table.drop_columns(["links"])
