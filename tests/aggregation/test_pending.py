"""What a catch-up reads of a store: its listings, and each pointer once; what it notices."""

from __future__ import annotations

from dataclasses import replace

from zagg_catalog.aggregation.pending import pending_releases
from zagg_catalog.releases import ReleaseKey


def test_a_catch_up_that_finds_nothing_reads_each_pointer_once(desk, monkeypatch):
    store, registry, lists, reads = desk.store, desk.registry, [], []
    keys = [ReleaseKey("ATL06_007", name, 22) for name in ("antarctica", "east", "west")]
    for key in keys:
        desk.publish("first", region=key.region)
    desk.pick("healpix")
    for name, calls in (("list", lists), ("get", reads), ("read_pointer", reads)):
        plain = getattr(store, name)

        def counted(key, plain=plain, calls=calls):
            calls.append(key)
            return plain(key)

        monkeypatch.setattr(store, name, counted)
    picked = replace(registry, grids={"healpix": registry.grids["healpix"]})
    found = pending_releases(store, desk.request(), picked, region="antarctica")
    assert [(one.release_key, one.grids, one.problem) for one in found] == [(keys[0], (), None)]
    assert len(lists) == 2
    # A folder lists no digests, so that each record is read, too.
    records = [key for key in reads if not key.endswith("latest.json")]
    pointers = [keys[0].pointer("pickups", "healpix"), keys[0].pointer()]
    assert sorted(reads) == sorted([*pointers, *records])
    assert len(records) == 1
    lists.clear()
    reads.clear()
    none = replace(registry, grids={})
    assert [one.release_key for one in pending_releases(store, desk.request(), none)] == keys
    assert sorted(lists) == ["pickups", "releases"]
    assert len(reads) == len({*reads}) == 2 * len(keys) + 1


def test_a_catch_up_that_finds_nothing_notices_a_damaged_record(desk):
    done = desk.publish("first")
    path = desk.store.root / done.key
    path.write_bytes(path.read_bytes()[:-2] + b" \n")
    (found,) = pending_releases(desk.store, desk.request(), replace(desk.registry, grids={}))
    assert done.key in found.problem
