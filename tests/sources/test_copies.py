"""A granule that a server lists twice, at two addresses, is once in the catalog."""

from __future__ import annotations

import json
from typing import Any

from tests.sources.served import WORLD, fetch, ids
from zagg_catalog.sandbox import Granules, SandboxServer
from zagg_catalog.sandbox.items import from_items, item_dict
from zagg_catalog.sources import Query
from zagg_catalog.sources.query_slices import merge_slices

ROOT = "https://host/stac"


def twice(granules: Granules) -> list[Any]:
    """The first granules, and a copy of the first without an S3 address, under another id."""
    items = [item_dict(granules, row, ROOT, "NSIDC_CPRD") for row in range(3)]
    copy = item_dict(granules, 0, ROOT, "NSIDC_ECS")
    copy["id"] = "ecs-12345"
    copy["assets"] = {
        "ecs": {"href": f"https://ecs.example.org/{items[0]['id']}", "roles": ["data"]}
    }
    return [*items, copy]


def query(items: list[Any]) -> Query:
    days = sorted(item["properties"]["start_datetime"][:10] for item in items)
    return Query("ATL06", "007", days[0], days[-1], WORLD)


def test_the_copy_is_superseded_by_the_granule_on_s3(few: Granules) -> None:
    items = twice(few)
    with SandboxServer(from_items(items)) as server:
        catalog = fetch(server, query(items))
    assert ids(catalog) == sorted(item["id"] for item in items[:3])
    harvest = catalog.metadata["harvest"]
    assert {"id": items[3]["id"], "by": items[0]["id"]} in harvest["superseded"]
    assert harvest["harvested"] == harvest["kept"] + 1
    assert catalog.complete


def test_of_two_ids_of_a_file_the_one_on_s3_counts_and_a_newer_revision_before_both(
    few: Granules,
) -> None:
    """The suffix of an id says nothing; the superseded copy names the granule that counts."""
    item = item_dict(few, 0, ROOT, "NSIDC_CPRD")
    bare, suffixed, newer = (json.loads(json.dumps(item)) for _ in range(3))
    bare["assets"] = {k: a for k, a in bare["assets"].items() if a["href"].startswith("https")}
    suffixed["id"] += "_dpyQXxz6"
    with SandboxServer(from_items([bare, suffixed])) as server:
        catalog = fetch(server, query([item]))
    assert ids(catalog) == [suffixed["id"]]
    newer["id"] = item["id"].replace("_01.h5", "_09.h5")
    for asset in newer["assets"].values():
        asset["href"] = asset["href"].replace(item["id"], newer["id"])
    with SandboxServer(from_items([bare, suffixed, newer])) as server:
        catalog = fetch(server, query([item]))
    assert ids(catalog) == [newer["id"]]
    superseded = {entry["id"]: entry["by"] for entry in catalog.metadata["harvest"]["superseded"]}
    assert superseded == {bare["id"]: newer["id"], suffixed["id"]: newer["id"]}


def test_copies_in_two_time_slices_are_found(few: Granules) -> None:
    items = twice(few)
    with SandboxServer(from_items(items[:3])) as one, SandboxServer(from_items(items[3:])) as two:
        parts = [fetch(one, query(items)), fetch(two, query(items))]
    merged = merge_slices(query(items), parts)
    assert ids(merged) == sorted(item["id"] for item in items[:3])
    assert len(merged.metadata["harvest"]["superseded"]) == 1
