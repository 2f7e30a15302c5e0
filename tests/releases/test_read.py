"""Resolving: a local manifest that zagg loads, or an error that names the file."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest

from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.errors import CorruptObject, InvalidName, InvalidRelease, ObjectMissing
from zagg_catalog.jsonio import canonical_digest, canonical_json
from zagg_catalog.releases import MapToPublish, ReleaseSummary, list_releases, resolve, show


def by_shard(shard_map):
    return {
        key: sorted(granule["id"] for granule in granules)
        for key, granules in zip(shard_map.shard_keys, shard_map.granules, strict=True)
    }


@pytest.mark.parametrize("json_manifests", [True, False])
@pytest.mark.parametrize("grid", inputs.CONFIGS)
def test_a_grid_resolves_to_the_manifest_that_was_published(
    store, publish, files, tmp_path, grid, json_manifests
):
    record = publish("first", json_manifests=json_manifests).record
    path = resolve(store, *inputs.RELEASE_KEY, grid, folder=tmp_path / "m")
    manifest = record.grid(grid).manifest
    assert (manifest.document is not None) == json_manifests
    assert path.name == f"{grid}-{(manifest.document or manifest.parquet).digest}.json"
    published = ShardMap.from_parquet(files / f"first-{grid}.parquet")
    resolved = ShardMap.from_json(path)
    assert by_shard(resolved) == by_shard(published)
    assert resolved.grid_signature == published.grid_signature


def test_an_earlier_release_resolves_by_its_digest_or_the_beginning_of_it(store, publish, tmp_path):
    first = publish("first")
    publish("next")
    latest = resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    for digest in (first.digest, first.digest[:10]):
        old = resolve(store, *inputs.RELEASE_KEY, "plate", digest=digest, folder=tmp_path)
        assert f'"id": "{inputs.granule(0)}"' in old.read_text()
    assert f'"id": "{inputs.granule(0)}"' not in latest.read_text()


@pytest.mark.parametrize("json_manifests", [True, False])
def test_an_existing_manifest_is_reused_and_an_altered_one_replaced(
    store, publish, tmp_path, json_manifests
):
    publish("first", json_manifests=json_manifests)
    path = resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    content, when = path.read_bytes(), path.stat().st_mtime_ns
    assert resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path) == path
    assert path.stat().st_mtime_ns == when
    path.write_bytes(content.replace(b"2201", b"2301", 1))
    resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    assert path.read_bytes() == content
    path.with_suffix(".sha256").unlink()
    resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    assert path.read_bytes() == content
    assert {each.suffix for each in tmp_path.glob("plate*")} == {".json", ".sha256"}


@inputs.IN_A_FOLDER
def test_missing_releases_and_grids_are_reported(store, publish, files, tmp_path):
    with pytest.raises(ObjectMissing, match="no latest release of ATL06_007, antarctica, cycle 22"):
        resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    healpix, plate = inputs.builds(files, "first")
    failed = [healpix, type(plate)("plate", plate.config, error="The disk was full.")]
    publish("first", maps=failed, partial_latest=True)
    with pytest.raises(ObjectMissing, match="'x'; it has healpix, plate"):
        resolve(store, *inputs.RELEASE_KEY, "x", folder=tmp_path)
    with pytest.raises(ObjectMissing, match="no map of grid plate, which failed: The disk"):
        resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    with pytest.raises(ObjectMissing, match="no release 'ffff'"):
        resolve(store, *inputs.RELEASE_KEY, "plate", digest="ffff", folder=tmp_path)
    with pytest.raises(InvalidName, match="region"):
        resolve(store, "ATL06_007", "../x", 22, "plate", folder=tmp_path)
    assert list(tmp_path.glob("*.json")) == []


@inputs.IN_A_FOLDER
def test_a_beginning_that_two_digests_share_is_refused(store, publish):
    letters = Counter(publish(name).digest[:1] for name in inputs.CATALOGS)
    beginning = next((letter for letter, count in letters.items() if count > 1), "")
    with pytest.raises((InvalidName, ObjectMissing)):
        show(store, *inputs.RELEASE_KEY, digest=beginning)


def test_a_damaged_manifest_record_or_pointer_is_refused_by_name(place, publish, tmp_path):
    done = publish("first")
    store = place.open()
    manifest = done.record.grid("plate").manifest.document.key
    for key in (manifest, done.key):
        content = store.get(key)
        place.overwrite(key, content[:100] + bytes([content[100] ^ 1]) + content[101:])
        with pytest.raises(CorruptObject) as caught:
            resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
        assert key in str(caught.value)
        place.overwrite(key, content)
    pointer = done.record.release_key.pointer()
    store.swap_pointer(pointer, b"{", store.read_pointer(pointer).token)
    with pytest.raises(InvalidRelease, match=pointer):
        resolve(store, *inputs.RELEASE_KEY, "plate", folder=tmp_path)
    assert list(tmp_path.glob("*.json")) == []


def forge(store, done, change):
    """Store a record that was changed and is consistent in itself, and return its digest."""
    document = json.loads(done.record.to_bytes())
    change(document)
    ref = store.put(done.record.release_key.folder("releases"), canonical_json(document), ".json")
    return ref.digest


def other_signature(document):
    signature = document["grids"][1]["signature"]
    signature["shape"] = [1, 1]
    document["grids"][1]["signature_digest"] = canonical_digest(signature)


def other_count(document):
    document["grids"][1]["pairs"] += 1


@inputs.IN_A_FOLDER
@pytest.mark.parametrize(
    ("change", "says"), [(other_signature, "its signature is"), (other_count, "72 pairs and")]
)
def test_a_manifest_that_is_not_what_the_release_says_is_refused(
    store, publish, tmp_path, change, says
):
    digest = forge(store, publish("first"), change)
    with pytest.raises(InvalidRelease, match=says):
        resolve(store, *inputs.RELEASE_KEY, "plate", digest=digest, folder=tmp_path)
    assert list(tmp_path.glob("*.json")) == []


@inputs.IN_A_FOLDER
@pytest.mark.zagg
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("json_manifests", [True, False])
def test_zagg_loads_what_was_resolved(store, publish, tmp_path, json_manifests):
    pytest.importorskip("zagg")
    from zagg.runner import _load_catalog

    record = publish("first", json_manifests=json_manifests).record
    for grid in record.grids:
        loaded = _load_catalog(str(resolve(store, *inputs.RELEASE_KEY, grid.name, folder=tmp_path)))
        assert loaded["grid_signature"] == grid.signature
        assert len(loaded["shard_keys"]) == grid.shards


def publish_all(publish, files):
    """Releases of two regions: a partial one before the first, two, and a partial one."""
    plate = MapToPublish("plate", files / "plate.yaml", error="Out of memory.")
    for region in ("antarctica", "greenland"):
        publish("small", region=region, maps=[plate])
        for name in ("first", "next"):
            publish(name, region=region)
        publish("next", region=region, maps=[plate])


def test_listing_takes_two_listings_and_one_read_of_each_pointer(store, publish, files, calls):
    """However many products, regions, cycles and releases there are."""
    publish_all(publish, files)
    calls.clear()
    found = list_releases(store)
    assert sorted(one.latest for one in found) == [False] * 6 + [True] * 2
    assert {key for method, key in calls if method == "list"} == {"releases", "pickups"}
    assert set(calls.values()) == {1}
    assert len(calls) == 2 + 2
    for one in found:
        assert one.summary == ReleaseSummary.of(one.record)
        assert one.summary.status == ("complete" if len(one.record.grids) == 2 else "partial")


@inputs.IN_A_FOLDER
def test_records_are_read_where_pointers_have_no_facts(place, store, publish, files, calls):
    """Of an older version, say; and a damaged one is listed as such."""
    publish_all(publish, files)
    expected = list_releases(store)
    for pointer in {one.release_key.pointer() for one in expected}:
        content = json.loads(store.read_pointer(pointer).value)
        del content["summary"], content["held"], content["record"]
        for entry in content["history"]:
            del entry["summary"]
        place.overwrite(pointer, json.dumps(content).encode())
    calls.clear()
    assert list_releases(store) == expected
    assert {key for method, key in calls if method == "get"} == {one.key for one in expected}
    assert set(calls.values()) == {1}
    place.overwrite(expected[0].key, b"{}")
    (damaged,) = [one for one in list_releases(store) if one.problem]
    assert (damaged.summary, damaged.record) == (None, None)
    assert expected[0].key in damaged.problem


@inputs.IN_A_FOLDER
def test_a_damaged_record_is_listed_as_such_although_its_pointer_has_its_facts(
    place, store, publish
):
    done = publish("first")
    place.overwrite(done.key, store.get(done.key)[:-9])
    (row,) = list_releases(store)
    assert (row.summary, row.record) == (None, None)
    assert done.key in row.problem


def test_s3_is_read_side_by_side(s3_place):
    """Each of two reads ends only when the other one runs."""
    both = threading.Barrier(2)
    read = s3_place.open().read_each(lambda one: (both.wait(60), one)[1], range(2))
    assert read == [0, 1]


def test_show_reads_no_object_twice(store, publish, calls):
    publish("first")
    publish("next")
    calls.clear()
    show(store, *inputs.RELEASE_KEY)
    assert max(calls.values()) == 1
    assert sum(calls.values()) == 3, "the pointer, the record, and the list of the pick-ups"


def test_a_list_reads_one_pointer_for_each_product_region_and_cycle(store, publish, calls):
    for region in ("antarctica", "east", "west"):
        for name in ("first", "next"):
            publish(name, region=region)
    calls.clear()
    assert len(list_releases(store)) == 6
    assert max(calls.values()) == 1
    assert sum(calls.values()) == 3 + 2, "a pointer each, and two lists"
