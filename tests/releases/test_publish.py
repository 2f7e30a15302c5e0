"""Publishing: what fits together is stored whole, and only once."""

from __future__ import annotations

import getpass
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.releases import inputs
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.catalog.harvest_report import Transfer
from zagg_catalog.errors import (
    InvalidCatalog,
    InvalidConfig,
    InvalidName,
    InvalidRelease,
    InvalidShardMap,
    NewerVersion,
    PointerConflict,
    SignatureMismatch,
)
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.releases import MapToPublish, find_release, list_releases, rollback, verify


def keys(store):
    return {info.key for info in store.list()}


def test_a_release_is_stored_and_latest_points_to_it(store, publish):
    done = publish("first")
    assert (done.moved, done.latest, done.unchanged) == (True, True, False)
    assert set(done.written) == {done.key, *(file.key for file in done.record.files)}
    assert keys(store) == {*done.written, done.record.release_key.pointer()}
    assert find_release(store, *inputs.RELEASE_KEY).record == done.record
    assert verify(store).findings == []


@inputs.IN_A_FOLDER
def test_the_record_says_what_the_catalog_and_the_maps_say(publish):
    record = publish("first").record
    assert (record.product, record.region, record.cycle) == inputs.RELEASE_KEY
    assert record.cycle_convention == "mission"
    assert record.query.bbox == (-180, -90, 180, -60)
    assert (record.catalog.rows, record.catalog.complete) == (8, True)
    healpix, plate = record.grids
    assert (healpix.name, healpix.backend, healpix.order) == ("healpix", "mortie", 9)
    assert (plate.name, plate.backend, plate.order) == ("plate", "shapely", None)
    assert (plate.shards, plate.pairs, plate.granules) == (72, 72, 8)
    assert plate.signature["crs"] == "EPSG:4326"


def test_the_publication_says_who_when_and_with_what(publish):
    transfer = Transfer(requests=12, pages=11, seconds=3.5)
    done = publish("first", clock=lambda: inputs.NOON, transfer=transfer)
    said = done.publication
    assert (said.published_at, said.published_by) == (inputs.NOON, "someone@somewhere")
    assert (said.action, said.supersedes, said.history) == ("publish", None, ())
    assert {"zagg-catalog", "pyarrow", "mortie"} <= set(said.packages)
    assert (said.transfer.requests, said.transfer.pages) == (12, 11)


@inputs.IN_A_FOLDER
def test_the_publisher_is_user_and_host_by_default(publish):
    by = publish("first", published_by=None).publication.published_by
    assert by.startswith(f"{getpass.getuser()}@")


def test_publishing_the_same_again_writes_nothing_at_all(store, publish):
    first = publish("first")
    before = {(info.key, info.modified) for info in store.list()}
    again = publish("first")
    assert again.unchanged
    assert (again.digest, again.written, again.moved) == (first.digest, [], False)
    assert again.publication == first.publication
    assert {(info.key, info.modified) for info in store.list()} == before


def test_another_folder_and_another_day_give_the_same_bytes(tmp_path, store, publish, files):
    """Nothing of the place, the day or the person is in what is digested."""
    first = publish("first")
    moved = tmp_path / "elsewhere"
    shutil.copytree(files, moved)
    inputs.write(moved, "first", inputs.CATALOGS["first"])
    options = {"clock": lambda: inputs.NOON, "published_by": "another@machine"}
    again = inputs.publish(store, moved, "first", **options)
    assert again.digest == first.digest
    assert again.unchanged


def test_the_next_release_supersedes_and_names_what_shrank(publish):
    first, second = publish("first"), publish("next")
    assert second.publication.supersedes == first.digest
    assert [entry.digest for entry in second.publication.history] == [first.digest]
    # Granule 0 is gone; granule 3 is there in another revision.
    assert second.contraction.ids == (inputs.granule(0),)
    assert second.publication.contraction.count == 1


def test_a_release_that_shrank_becomes_the_latest_only_on_request(store, publish):
    first = publish("first")
    second = publish("next", allow_contraction=False)
    assert (second.moved, second.latest, second.publication.digest) == (False, False, first.digest)
    assert second.record.status == "complete"
    (why,) = second.held_back
    assert "lacks granules of the latest release in any revision, 1 in all" in why
    assert inputs.granule(0) in why
    assert store.exists(second.key)
    again = publish("next", allow_contraction=False)
    assert (again.unchanged, again.latest, again.held_back) == (True, False, second.held_back)
    accepted = publish("next")
    assert (accepted.moved, accepted.held_back) == (True, ())
    assert accepted.publication.supersedes == first.digest
    assert publish("next", allow_contraction=False).held_back == ()


@inputs.IN_A_FOLDER
def test_a_long_contraction_is_counted_and_cut(publish, monkeypatch):
    monkeypatch.setattr("zagg_catalog.releases.publication.MAX_LISTED", 2)
    publish("first")
    shrunk = publish("small").contraction
    assert (shrunk.count, len(shrunk.ids)) == (5, 2)


@inputs.IN_A_FOLDER
def test_the_history_is_cut_too(publish, monkeypatch):
    monkeypatch.setattr("zagg_catalog.releases.publication.HISTORY", 3)
    digests = [publish(name).digest for name in ("first", "next", "small") * 2]
    history = publish("first").publication.history
    assert [entry.digest for entry in history] == digests[:2:-1]


def test_an_incomplete_catalog_is_partial_and_latest_stays(store, publish, files, tmp_path):
    whole = publish("first")
    shutil.copytree(files, tmp_path / "inputs")
    inputs.write(tmp_path / "inputs", "part", inputs.CATALOGS["small"], complete=False)
    part = inputs.publish(store, tmp_path / "inputs", "part")
    assert part.record.status == "partial"
    assert part.held_back == ("it is partial",)
    assert {grid.status for grid in part.record.grids} == {"partial"}
    assert (part.moved, part.latest, part.publication.digest) == (False, False, whole.digest)
    assert find_release(store, *inputs.RELEASE_KEY).digest == whole.digest
    asked = inputs.publish(store, tmp_path / "inputs", "part", partial_latest=True)
    assert (asked.moved, asked.written) == (True, [])
    assert find_release(store, *inputs.RELEASE_KEY).digest == part.digest
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_a_failed_grid_is_recorded_with_its_error(store, publish, files):
    healpix, plate = inputs.builds(files, "first")
    error = "Timed out at https://user:secret@host/x?token=abc\nafter 3 attempts."
    failed = replace(plate, shard_map=None, error=error)
    done = publish("first", maps=[failed, healpix])
    entry = done.record.grid("plate")
    assert (entry.status, entry.manifest, entry.shards) == ("failed", None, 0)
    assert "after 3 attempts" in entry.error
    assert "secret" not in entry.error
    assert "abc" not in entry.error
    assert (done.record.status, done.moved, done.publication) == ("partial", False, None)
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_quarantined_granules_make_a_grid_partial(store, publish, files):
    healpix, plate = inputs.builds(files, "first")
    gone = [{"id": inputs.granule(7), "reason": "no footprint"}]
    plate.shard_map.metadata |= {"quarantined": gone, "complete": False}
    record = publish("first", maps=[healpix, plate]).record
    assert [(g.status, g.quarantined) for g in record.grids] == [("complete", 0), ("partial", 1)]
    assert verify(store).clean


def test_a_damaged_latest_release_does_not_stop_the_next_one(store, publish):
    first = publish("first")
    store.delete(first.record.catalog.key)
    second = publish("next")
    assert second.moved
    assert second.contraction.count is None
    assert first.record.catalog.key in second.contraction.problem


def test_an_unreadable_pointer_is_replaced(store, publish):
    first = publish("first")
    token = store.read_pointer(first.record.release_key.pointer()).token
    store.swap_pointer(first.record.release_key.pointer(), b"rubbish", token)
    again = publish("first")
    assert (again.moved, again.written) == (True, [])
    assert "not JSON" in again.contraction.problem


def test_a_pointer_of_a_newer_version_is_left_alone(store, publish):
    """It is not spoilt: it has what an older program does not know, and a history."""
    done = publish("first")
    key = done.record.release_key.pointer()
    pointer = store.read_pointer(key)
    newer = canonical_json(pointer.json() | {"schema_version": 3})
    store.swap_pointer(key, newer, pointer.token)
    refused = pytest.raises(NewerVersion, match=r"schema_version 3 .* update zagg-catalog\.$")
    before = keys(store)
    with refused:
        publish("next")
    with refused:
        rollback(store, *inputs.RELEASE_KEY, digest=done.digest)
    with refused:
        find_release(store, *inputs.RELEASE_KEY)
    assert (keys(store), store.read_pointer(key).value) == (before, newer)


def test_what_is_missing_from_a_release_is_stored_again(store, publish):
    first = publish("first")
    store.delete(first.record.grids[0].manifest.parquet.key)
    again = publish("first")
    assert again.written == [first.record.grids[0].manifest.parquet.key]
    assert verify(store).clean


def test_the_loser_of_two_publishes_can_retry(store, publish, files, monkeypatch):
    publish("first")
    pointer = store.read_pointer
    seen = []

    def overtaken(key):
        """Another run publishes right after the pointer was read."""
        found = pointer(key)
        if not seen:
            seen.append(key)
            publish("small")
        return found

    monkeypatch.setattr(store, "read_pointer", overtaken)
    with pytest.raises(PointerConflict, match="retry"):
        publish("next")
    assert verify(store).clean
    again = publish("next")
    assert (again.moved, again.written) == (True, [])
    # Against `small` now, which has fewer granules.
    assert again.contraction.ids == (inputs.granule(0),)


def test_two_publishes_of_the_same_release_both_succeed(store, publish, monkeypatch):
    pointer = store.read_pointer
    seen = []

    def overtaken(key):
        found = pointer(key)
        if not seen:
            seen.append(key)
            publish("first")
        return found

    monkeypatch.setattr(store, "read_pointer", overtaken)
    done = publish("first")
    assert (done.moved, done.latest) == (False, True)


def test_releases_are_listed_by_slot_and_time(store, publish):
    digests = [publish("first").digest, publish("next").digest]
    publish("first", region="greenland")
    listed = list_releases(store, region="antarctica")
    # S3 tells times to the second, so the order of these two is known in a folder only.
    assert {one.digest: one.latest for one in listed} == dict(
        zip(digests, [False, True], strict=True)
    )
    assert list_releases(store, *inputs.RELEASE_KEY) == listed
    assert {one.release_key.region for one in list_releases(store, cycle=22)} == {
        "antarctica",
        "greenland",
    }
    assert list_releases(store, "ATL03_007") == []
    assert list_releases(store, cycle=21) == []


def other_grid(files):
    return [replace(inputs.builds(files, "first")[0], name="x", config=files / "plate.yaml")]


def other_catalog(files):
    return [replace(build, name=f"{build.name}-x") for build in inputs.builds(files, "next")]


def older_catalog(files):
    return inputs.builds(files, "small")


def same_name_twice(files):
    return inputs.builds(files, "first")[:1] * 2


def neither_map_nor_error(files):
    return [MapToPublish("x", files / "plate.yaml")]


def bad_name(files):
    return [replace(inputs.builds(files, "first")[0], name="../x")]


def missing_config(files):
    return [MapToPublish("x", files / "no.yaml", error="It failed.")]


def odd_backend(files):
    build = inputs.builds(files, "first")[0]
    build.shard_map.metadata["footprint"] = 7
    return [build]


def no_shards_of_the_grid(files):
    build = inputs.builds(files, "first")[1]
    signature, granules = build.shard_map.grid_signature, build.shard_map.granules[:1]
    return [replace(build, shard_map=ShardMap(signature, [10**9], granules))]


@inputs.IN_A_FOLDER
@pytest.mark.parametrize(
    ("maps", "error", "says"),
    [
        (other_grid, SignatureMismatch, "Grid x: The shard map was built for another grid"),
        (other_catalog, InvalidShardMap, "healpix-x has 2 granules that the catalog lacks"),
        (older_catalog, InvalidShardMap, "from 3 granules and the catalog has 8"),
        (same_name_twice, InvalidRelease, "healpix occurs more than once"),
        (neither_map_nor_error, InvalidRelease, "needs a shard map or the error"),
        (bad_name, InvalidName, "grid '../x'"),
        (missing_config, InvalidConfig, "no.yaml"),
        (odd_backend, InvalidRelease, "footprint"),
        (no_shards_of_the_grid, Exception, "1000000000"),
    ],
)
def test_maps_that_do_not_belong_are_refused_before_anything_is_written(
    store, publish, files, maps, error, says
):
    with pytest.raises(error) as caught:
        publish("first", maps=maps(files))
    assert says in str(caught.value)
    assert keys(store) == set()


@inputs.IN_A_FOLDER
def test_files_that_are_no_catalog_are_refused(store, publish, files, tmp_path):
    (tmp_path / "rubbish.parquet").write_text("rubbish")
    twice = Catalog.from_geoparquet(files / "first.parquet")
    Catalog.of_checked(twice.table.take([0, 0]), twice.metadata).to_geoparquet(
        tmp_path / "twice.parquet"
    )
    no_cycle = Catalog(twice.table, {"collection": "ATL06_007"})
    no_cycle.to_geoparquet(tmp_path / "no-cycle.parquet")
    text_cycle = Catalog.of_checked(twice.table, twice.metadata | {"cycle": "22"})
    text_cycle.to_geoparquet(tmp_path / "text-cycle.parquet")
    odd = Catalog(twice.table, twice.metadata | {"harvest": {"harvested": "many"}})
    odd.to_geoparquet(tmp_path / "odd.parquet")
    for name, error, says in [
        ("rubbish", InvalidCatalog, "not a readable parquet"),
        ("nowhere", InvalidCatalog, "does not exist"),
        ("twice", InvalidCatalog, "more than once"),
        ("odd", InvalidCatalog, "harvest report"),
        ("no-cycle", InvalidRelease, "records no cycle"),
        ("text-cycle", InvalidCatalog, "cycle"),
    ]:
        with pytest.raises(error, match=says):
            publish("first", catalog=tmp_path / f"{name}.parquet", maps=[])
    with pytest.raises(InvalidCatalog, match="missing: geometry, assets"):
        publish("first", catalog=files / "first-plate.parquet", maps=[])
    with pytest.raises(InvalidName, match="region"):
        publish("first", region="a/b")
    assert keys(store) == set()


@inputs.IN_A_FOLDER
def test_a_catalog_of_others_can_be_published_if_its_slot_is_named(store, files, tmp_path):
    """No provenance at all, as in a file that another program wrote."""
    table = Catalog.from_geoparquet(files / "first.parquet").table
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "theirs.parquet")
    record = inputs.publish(
        store,
        files,
        "first",
        catalog=tmp_path / "theirs.parquet",
        maps=[],
        product="ATL06_007",
        cycle=9,
    ).record
    assert (record.harvest, record.query.collection, record.cycle) == (None, None, 9)
    assert record.status == "partial", "the catalog does not say whether it is complete"
    assert verify(store).clean


@inputs.IN_A_FOLDER
def test_a_catalog_that_changes_meanwhile_is_refused(store, files, tmp_path, monkeypatch):
    path = shutil.copy(files / "first.parquet", tmp_path / "c.parquet")
    pointer = store.read_pointer

    def meanwhile(key):
        shutil.copy(files / "next.parquet", path)
        return pointer(key)

    monkeypatch.setattr(store, "read_pointer", meanwhile)
    with pytest.raises(InvalidCatalog, match="changed while"):
        inputs.publish(store, files, "first", catalog=path)
    assert keys(store) == set()
