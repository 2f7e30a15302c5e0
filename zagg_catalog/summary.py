"""What is in a catalog or a shard map, as plain values for people and programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.table import Catalog, granule_entries
from zagg_catalog.cycles import granule_name_columns
from zagg_catalog.shardmap import ShardMap

Summary = dict[str, Any]

_PROVENANCE = (
    "collection",
    "source",
    "stac_root",
    "provider",
    "cycle",
    "cycle_convention",
    "start_date",
    "end_date",
    "bbox",
)


def summarise_catalog(catalog: Catalog) -> Summary:
    """Describe a catalog.

    Returns
    -------
    dict
        Counts of granules, by cycle and by along-track region, the time range, missing hrefs,
        completeness and the harvest report.
    """
    names = granule_name_columns(pc.cast(catalog.table["id"], pa.string()))
    entries = granule_entries(catalog.table)
    times = [name for name in ("start_datetime", "datetime") if name in catalog.table.schema.names]
    span = pc.min_max(catalog.table[times[0]]).as_py() if times and len(catalog) else {}
    return {
        "granules": len(catalog),
        "complete": catalog.complete,
        **{key: catalog.metadata[key] for key in _PROVENANCE if catalog.metadata.get(key)},
        "first_granule": _text(span.get("min")),
        "last_granule": _text(span.get("max")),
        "cycles": _counts(names["cycle"]),
        "regions": _counts(names["region"]),
        "tracks": len(pc.unique(names["rgt"].drop_null())),
        "without_s3": entries["s3"].null_count,
        "without_https": entries["https"].null_count,
        "harvest": catalog.metadata.get("harvest", {}),
    }


def summarise_map(shard_map: ShardMap) -> Summary:
    """Describe a shard map.

    Returns
    -------
    dict
        Signature, counts, granules per shard (least, median, most, and the fullest shards),
        provenance, and the granules that were quarantined.
    """
    per_shard = np.diff(shard_map.offsets)
    fullest = np.argsort(-per_shard, kind="stable")[:5]
    spread = (
        {
            "least": int(per_shard.min()),
            "median": float(np.median(per_shard)),
            "most": int(per_shard.max()),
        }
        if len(per_shard)
        else {}
    )
    metadata = shard_map.metadata
    keys = (*_PROVENANCE, "backend", "backend_version", "footprint", "mortie_order")
    return {
        "grid_signature": shard_map.grid_signature,
        "shards": len(shard_map),
        "pairs": shard_map.n_pairs,
        "granules_assigned": shard_map.table.num_rows,
        "granules_considered": metadata.get("total_granules"),
        "complete": metadata.get("complete", True),
        "granules_per_shard": spread,
        "fullest_shards": {str(shard_map.shards[i]): int(per_shard[i]) for i in fullest},
        **{key: metadata[key] for key in keys if metadata.get(key) is not None},
        "quarantined": metadata.get("quarantined", []),
        "repaired": metadata.get("repaired", []),
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column.combine_chunks().drop_null()).to_pylist()
    return {str(row["values"]): row["counts"] for row in sorted(counted, key=lambda r: r["values"])}


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat()
