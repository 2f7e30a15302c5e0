"""Which release is picked up: the store's latest, an event and an artifact have to agree."""

import json
import shutil
from pathlib import Path

import pytest

from tests.aggregation.desk import RELEASE_KEY, alter
from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.aggregation.checks import resolve_release
from zagg_catalog.aggregation.references import (
    MAX_GRIDS,
    Announcement,
    announce,
    artifact_reference,
    event_reference,
)
from zagg_catalog.aggregation.zagg import ZaggCall, run_zagg
from zagg_catalog.errors import (
    CorruptObject,
    InvalidRelease,
    ObjectMissing,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.files import digest_of
from zagg_catalog.jsonio import canonical_json
from zagg_catalog.releases import rollback


def event(desk, published, **changes):
    said = announce(desk.store.url, published).model_dump(mode="json")
    return event_reference(Announcement.model_validate(said | changes))


def artifact(desk, published, *, named=True, **changes):
    grid = published.record.grid("healpix")
    row = {
        "product": RELEASE_KEY.product,
        "region": RELEASE_KEY.region,
        "cycle": RELEASE_KEY.cycle,
        "grid": "healpix",
        "manifest": desk.store.uri(grid.manifest.parquet.key),
        "digest": grid.manifest.parquet.digest,
        "signature_digest": grid.signature_digest,
        "release": published.digest,
        "record": desk.store.uri(
            RELEASE_KEY.key("releases", changes.get("release", published.digest))
        ),
    }
    return artifact_reference("shardmap-a", row | changes, named=named)


@pytest.fixture
def two(desk):
    return desk.publish("first"), desk.publish("more")


def test_all_three_ways_lead_to_the_latest(desk, two):
    latest = two[1]
    for references in ([], [event(desk, latest)], [artifact(desk, latest)]):
        resolved = resolve_release(desk.store, RELEASE_KEY, references=references)
        assert resolved.release.digest == latest.digest
        assert (resolved.latest, resolved.previous, resolved.notes) == (True, two[0].digest, ())


def test_an_event_that_is_older_than_the_latest_is_superseded(desk, two):
    resolved = resolve_release(desk.store, RELEASE_KEY, references=[event(desk, two[0])])
    assert resolved.release.digest == two[1].digest
    (note,) = resolved.notes
    assert note.startswith(f"The event names release {two[0].digest[:12]};")
    assert "has superseded it" in note


def test_an_event_that_a_rollback_overtook_is_superseded(desk, two):
    rollback(desk.store, *inputs.RELEASE_KEY, two[0].digest)
    resolved = resolve_release(desk.store, RELEASE_KEY, references=[event(desk, two[1])])
    assert resolved.release.digest == two[0].digest
    assert resolved.notes


def test_an_event_of_a_release_that_never_was_the_latest_is_refused(desk):
    partial = desk.publish("first", failed=("plate",))
    desk.publish("more")
    with pytest.raises(PickupRefused, match="neither is nor ever was the latest"):
        resolve_release(desk.store, RELEASE_KEY, references=[event(desk, partial)])


def test_an_event_of_another_store_or_slot_is_refused(desk, two):
    with pytest.raises(PickupRefused, match="names a release in s3://elsewhere"):
        resolve_release(
            desk.store, RELEASE_KEY, references=[event(desk, two[1], store="s3://elsewhere")]
        )
    other = type(RELEASE_KEY)(RELEASE_KEY.product, RELEASE_KEY.region, 23)
    with pytest.raises(PickupRefused, match="leave one of the two out"):
        resolve_release(desk.store, other, references=[event(desk, two[1])])


def test_an_event_and_another_release_by_its_digest_are_refused(desk, two):
    with pytest.raises(PickupRefused, match="leave one out"):
        resolve_release(
            desk.store, RELEASE_KEY, release=two[0].digest, references=[event(desk, two[1])]
        )


def test_a_release_that_is_named_is_taken_and_a_newer_one_is_mentioned(desk, two):
    resolved = resolve_release(desk.store, RELEASE_KEY, release=two[0].digest[:10])
    assert resolved.release.digest == two[0].digest
    assert not resolved.latest
    assert f"{two[1].digest[:12]} is the latest" in resolved.notes[0]


def test_an_artifact_in_no_release_is_refused(desk, two):
    with pytest.raises(PickupRefused, match="neither is nor ever was"):
        resolve_release(
            desk.store,
            RELEASE_KEY,
            references=[artifact(desk, two[1], release="0" * 64, digest="1" * 64)],
        )


def test_an_artifact_of_another_store_is_refused(desk, two):
    strange = artifact(desk, two[1], record="s3://elsewhere/record.json")
    with pytest.raises(PickupRefused, match="s3://elsewhere"):
        resolve_release(desk.store, RELEASE_KEY, references=[strange])


def test_an_artifact_of_a_map_that_did_not_change_since_agrees(desk, two):
    """Artifacts are renewed only when the map is another."""
    same = artifact(desk, two[1], release=two[0].digest)
    assert resolve_release(desk.store, RELEASE_KEY, references=[same]).notes == ()


def test_an_artifact_of_a_partial_release_matters_only_if_it_was_named(desk):
    latest = desk.publish("first")
    partial = desk.publish("more", failed=("plate",))
    seen = artifact(desk, partial, named=False)
    resolved = resolve_release(desk.store, RELEASE_KEY, references=[seen])
    assert resolved.release.digest == latest.digest
    assert "never was the latest" in resolved.notes[0]
    with pytest.raises(PickupRefused, match="by its digest"):
        resolve_release(desk.store, RELEASE_KEY, references=[artifact(desk, partial)])


def test_an_artifact_of_something_else_is_refused():
    with pytest.raises(PickupRefused, match="not that of a shard map: grid: Field required"):
        artifact_reference("release-a", {"product": "ATL06_007"})


def test_an_announcement_stays_small_whatever_the_number_of_grids(desk):
    published = desk.publish("first")
    grid = published.record.grids[0]
    many = tuple(grid.model_copy(update={"name": f"grid-{n:05d}"}) for n in range(5000))
    crowd = published.record.model_copy(update={"grids": many})
    said = announce(desk.store.url, type(published)(**{**vars(published), "record": crowd}))
    assert len(said.grids) == MAX_GRIDS
    assert (said.grid_count, said.whole) == (5000, False)
    assert len(said.model_dump_json()) < 256_000
    few = announce(desk.store.url, published)
    assert few.whole
    assert Announcement.model_validate_json(few.model_dump_json()) == few


def test_an_announcement_whose_record_is_of_another_release_is_refused(desk):
    said = announce(desk.store.url, desk.publish("first")).model_dump()
    with pytest.raises(ValueError, match="is not that of release"):
        Announcement.model_validate(said | {"release": "0" * 64})


def refused(desk, kind, *words, grid="healpix", **changes):
    """Check that a pick-up is refused, and why."""
    picked = desk.pick(grid, **changes)
    assert isinstance(picked.error, kind), picked.error
    for word in words:
        assert word in str(picked.error)
    assert desk.calls == []
    said = desk.acknowledgement(grid)
    assert (said.outcome, said.started) == ("refused", False)
    assert said.reason == str(picked.error)
    assert not desk.history(grid).is_done(picked.release, dry_run=True, output=None)
    return said


def manifest_path(desk, published, grid="healpix") -> Path:
    return Path(desk.store_url, published.record.grid(grid).manifest.parquet.key)


def test_a_config_whose_grid_changed_after_the_build(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    refused(
        desk,
        SignatureMismatch,
        "The config of grid healpix defines another grid",
        "parent_order is 5 in the recorded signature, 6 in the grid",
        "Restore the config, or prepare the cycle again",
    )


def test_a_config_that_is_mended_is_picked_up(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    refused(desk, SignatureMismatch)
    desk.configure("healpix", "parent_order: 6", "parent_order: 5")
    assert desk.pick().acknowledgement.outcome == "checked"


def test_a_manifest_with_one_byte_changed(desk):
    published = desk.publish("first")
    path = manifest_path(desk, published)
    alter(path)
    refused(desk, CorruptObject, path.name)


def test_a_manifest_of_another_grid_under_the_right_key(desk):
    published = desk.publish("first")
    shutil.copy(manifest_path(desk, published, "plate"), manifest_path(desk, published))
    refused(desk, CorruptObject, manifest_path(desk, published).name)
    assert desk.pick("plate").acknowledgement.outcome == "checked", "the other grid goes on"


def test_a_manifest_of_another_grid_under_its_own_digest(desk):
    """A record that was forged with all its digests right."""
    published = desk.publish("first")
    place = manifest_path(desk, published).parent
    other = manifest_path(desk, published, "plate")
    shutil.copy(other, place / other.name)
    document = json.loads(published.record.to_bytes())
    mine, theirs = document["grids"]
    file = dict(theirs["manifest"]["parquet"])
    file["key"] = file["key"].replace("grid=plate", "grid=healpix")
    mine["manifest"]["parquet"] = file
    forged = canonical_json(document)
    digest = digest_of([forged])[0]
    desk.store.put_object(RELEASE_KEY.key("releases", digest), forged)
    refused(desk, SignatureMismatch, "built for another grid", release=digest)


def test_a_map_whose_counts_are_not_those_of_the_release(desk):
    published = desk.publish("first")
    document = json.loads(published.record.to_bytes())
    document["grids"][0]["pairs"] += 1
    forged = canonical_json(document)
    digest = digest_of([forged])[0]
    desk.store.put_object(RELEASE_KEY.key("releases", digest), forged)
    refused(desk, InvalidRelease, "pairs and the release records", release=digest)


def test_a_missing_manifest(desk):
    published = desk.publish("first")
    path = manifest_path(desk, published)
    path.unlink()
    refused(desk, ObjectMissing, path.name)


def test_a_missing_catalog(desk):
    published = desk.publish("first")
    Path(desk.store_url, published.record.catalog.key).unlink()
    refused(desk, ObjectMissing, published.record.catalog.key, "publish it again")


def test_a_missing_or_altered_record(desk):
    published = desk.publish("first")
    alter(Path(desk.store_url, published.key))
    with pytest.raises(CorruptObject, match=published.digest):
        desk.pick()
    Path(desk.store_url, published.key).unlink()
    with pytest.raises(ObjectMissing, match=published.digest):
        desk.pick()


def test_a_partial_release_unless_it_is_allowed(desk):
    published = desk.publish("first", failed=("plate",), partial_latest=True)
    refused(desk, PickupRefused, "is partial: grid plate is failed", "allow_partial")
    allowed = desk.pick(allow_partial=True)
    assert allowed.acknowledgement.outcome == "checked"
    none = desk.pick("plate", allow_partial=True)
    assert isinstance(none.error, ObjectMissing)
    assert "Out of memory" in str(none.error)
    assert published.record.status == "partial"


def test_a_contraction_unless_it_is_allowed(desk):
    """Measured against what was picked up last, not against what was published last."""
    desk.publish("first")
    desk.pick()
    desk.calls.clear()
    desk.publish("fewer")
    lost = "ATL06_20231218211600_00012201_007_01.h5"
    said = refused(desk, PickupRefused, f"1 in all: {lost}", "allow_contraction")
    assert (said.changes.granules_removed, said.changes.changed.count) == (1, 0)
    shards = shards_with(desk, "first", lost)
    assert shards
    assert all(str(key) in said.reason for key in shards)
    allowed = desk.pick(allow_contraction=True)
    assert allowed.acknowledgement.outcome == "checked"
    assert desk.calls[-1].allow_contraction
    assert any(lost in note for note in allowed.notes)


def test_a_contraction_against_the_release_before_where_nothing_was_picked_up(desk):
    desk.publish("first")
    desk.publish("fewer")
    refused(desk, PickupRefused, "ATL06_20231218211600_00012201_007_01.h5")


def test_a_contraction_that_cannot_be_determined(desk):
    first = desk.publish("first")
    desk.pick()
    desk.calls.clear()
    desk.publish("more")
    desk.publish("most")
    Path(desk.store_url, first.key).unlink()
    refused(desk, PickupRefused, "it is unknown which", first.digest[:12])
    assert desk.pick(allow_contraction=True).acknowledgement.outcome == "checked"


def test_a_revision_is_no_contraction_and_zagg_may_replace_it(desk):
    desk.publish("first")
    desk.aggregate()
    desk.publish("more")
    assert desk.aggregate().acknowledgement.outcome == "aggregated"
    assert [call.allow_contraction for call in desk.calls] == [False, True]


def test_a_grid_that_is_not_registered_or_for_another_region(desk):
    desk.publish("first")
    desk.register("plate")
    refused(desk, PickupRefused, "has no grid healpix; it has plate")
    desk.register("healpix", "plate", region="greenland")
    refused(desk, PickupRefused, "over greenland", "ATL06_007, antarctica, cycle 22")


def test_a_config_that_is_broken(desk):
    desk.publish("first")
    desk.configure("healpix", "type: healpix", "type: hexagons")
    refused(desk, PickupRefused, "The config of grid healpix is broken", "hexagons")


def test_a_config_that_asks_for_a_mask_which_the_map_has_not(desk):
    desk.publish("first")
    desk.configure("healpix", "output:\n", "output:\n  aoi_mask: true\n")
    refused(desk, PickupRefused, "aoi_mask", "prepare the cycle again")


def test_an_event_that_says_another_digest_than_the_release(desk):
    published = desk.publish("first")
    event = announce(desk.store.url, published)
    (mine, *others) = event.grids
    wrong = event.model_copy(
        update={"grids": (mine.model_copy(update={"digest": "0" * 64}), *others)}
    )
    refused(
        desk,
        PickupRefused,
        "differs in the event: manifest digest",
        references=(event_reference(wrong),),
    )


@pytest.mark.zagg
def test_a_zagg_that_reads_another_grid_from_the_config(real_desk):
    """The real one, with a signature that it does not compute."""
    pytest.importorskip("zagg")
    published = real_desk.publish("first")
    grid = published.record.grid("healpix")
    signature = grid.signature | {"child_order": 9}
    folder = real_desk.folder / "call"
    folder.mkdir()
    config, catalog = folder / "config.yaml", folder / "map.json"
    shutil.copy(real_desk.folder / "healpix.yaml", config)
    ShardMap.from_parquet(manifest_path(real_desk, published)).to_json(catalog)
    said = ZaggCall(
        config=str(config),
        catalog=str(catalog),
        store=str(folder / "out"),
        dry_run=True,
        shards=grid.shards,
        signature=signature,
    )
    with pytest.raises(SignatureMismatch, match="child_order is 8, not 9"):
        run_zagg(said, folder, timeout=600)


def test_the_same_refusal_is_recorded_once(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    desk.pick()
    before = desk.history().entries
    assert desk.pick().failed
    assert desk.history().entries == before
    assert desk.history().claim is None


def test_a_refused_grid_does_not_stop_the_other(desk):
    desk.publish("first")
    desk.configure("healpix", "parent_order: 5", "parent_order: 6")
    assert desk.pick().failed
    assert not desk.pick("plate").failed


def shards_with(desk, name, granule, grid="healpix"):
    """Keys of the shards of an input map that have a granule."""
    pairs = ShardMap.from_parquet(desk.inputs / f"{name}-{grid}.parquet").pairs().to_pylist()
    return [pair["shard_key"] for pair in pairs if pair["id"] == granule]
