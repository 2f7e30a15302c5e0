"""Which release is picked up: the store's latest, an event and an artifact have to agree."""

import pytest

from tests.aggregation.desk import SLOT
from tests.releases import inputs
from zagg_catalog.aggregation.choose import choose
from zagg_catalog.aggregation.references import (
    GRIDS,
    Announcement,
    announce,
    artifact_reference,
    event_reference,
)
from zagg_catalog.errors import PickupRefused
from zagg_catalog.releases import rollback


def event(desk, published, **changes):
    said = announce(desk.store.url, published).model_dump(mode="json")
    return event_reference(Announcement.model_validate(said | changes))


def artifact(desk, published, *, named=True, **changes):
    grid = published.record.grid("healpix")
    row = {
        "product": SLOT.product,
        "region": SLOT.region,
        "cycle": SLOT.cycle,
        "grid": "healpix",
        "manifest": desk.store.uri(grid.manifest.parquet.key),
        "digest": grid.manifest.parquet.digest,
        "signature_digest": grid.signature_digest,
        "release": published.digest,
        "record": desk.store.uri(SLOT.key("releases", changes.get("release", published.digest))),
    }
    return artifact_reference("shardmap-a", row | changes, named=named)


@pytest.fixture
def two(desk):
    return desk.publish("first"), desk.publish("more")


def test_all_three_ways_lead_to_the_latest(desk, two):
    latest = two[1]
    for references in ([], [event(desk, latest)], [artifact(desk, latest)]):
        choice = choose(desk.store, SLOT, references=references)
        assert choice.release.digest == latest.digest
        assert (choice.latest, choice.before, choice.notes) == (True, two[0].digest, ())


def test_an_event_that_is_older_than_the_latest_is_superseded(desk, two):
    choice = choose(desk.store, SLOT, references=[event(desk, two[0])])
    assert choice.release.digest == two[1].digest
    (note,) = choice.notes
    assert note.startswith(f"The event names release {two[0].digest[:12]};")
    assert "has superseded it" in note


def test_an_event_that_a_rollback_overtook_is_superseded(desk, two):
    rollback(desk.store, *inputs.SLOT, two[0].digest)
    choice = choose(desk.store, SLOT, references=[event(desk, two[1])])
    assert choice.release.digest == two[0].digest
    assert choice.notes


def test_an_event_of_a_release_that_never_was_the_latest_is_refused(desk):
    partial = desk.publish("first", failed=("plate",))
    desk.publish("more")
    with pytest.raises(PickupRefused, match="neither is nor ever was the latest"):
        choose(desk.store, SLOT, references=[event(desk, partial)])


def test_an_event_of_another_store_or_slot_is_refused(desk, two):
    with pytest.raises(PickupRefused, match="names a release in s3://elsewhere"):
        choose(desk.store, SLOT, references=[event(desk, two[1], store="s3://elsewhere")])
    other = type(SLOT)(SLOT.product, SLOT.region, 23)
    with pytest.raises(PickupRefused, match="leave one of the two out"):
        choose(desk.store, other, references=[event(desk, two[1])])


def test_an_event_and_another_release_by_its_digest_are_refused(desk, two):
    with pytest.raises(PickupRefused, match="leave one out"):
        choose(desk.store, SLOT, release=two[0].digest, references=[event(desk, two[1])])


def test_a_release_that_is_named_is_taken_and_a_newer_one_is_mentioned(desk, two):
    choice = choose(desk.store, SLOT, release=two[0].digest[:10])
    assert choice.release.digest == two[0].digest
    assert not choice.latest
    assert f"{two[1].digest[:12]} is the latest" in choice.notes[0]


def test_an_artifact_in_no_release_is_refused(desk, two):
    with pytest.raises(PickupRefused, match="neither is nor ever was"):
        choose(
            desk.store, SLOT, references=[artifact(desk, two[1], release="0" * 64, digest="1" * 64)]
        )


def test_an_artifact_of_another_store_is_refused(desk, two):
    strange = artifact(desk, two[1], record="s3://elsewhere/record.json")
    with pytest.raises(PickupRefused, match="s3://elsewhere"):
        choose(desk.store, SLOT, references=[strange])


def test_an_artifact_of_a_map_that_did_not_change_since_agrees(desk, two):
    """Artifacts are renewed only when the map is another."""
    same = artifact(desk, two[1], release=two[0].digest)
    assert choose(desk.store, SLOT, references=[same]).notes == ()


def test_an_artifact_of_a_partial_release_matters_only_if_it_was_named(desk):
    latest = desk.publish("first")
    partial = desk.publish("more", failed=("plate",))
    seen = artifact(desk, partial, named=False)
    choice = choose(desk.store, SLOT, references=[seen])
    assert choice.release.digest == latest.digest
    assert "never was the latest" in choice.notes[0]
    with pytest.raises(PickupRefused, match="by its digest"):
        choose(desk.store, SLOT, references=[artifact(desk, partial)])


def test_an_artifact_of_something_else_is_refused():
    with pytest.raises(PickupRefused, match="not that of a shard map: region: Field required"):
        artifact_reference("release-a", {"product": "ATL06_007"})


def test_an_announcement_stays_small_whatever_the_number_of_grids(desk):
    published = desk.publish("first")
    grid = published.record.grids[0]
    many = tuple(grid.model_copy(update={"name": f"grid-{n:05d}"}) for n in range(5000))
    crowd = published.record.model_copy(update={"grids": many})
    said = announce(desk.store.url, type(published)(**{**vars(published), "record": crowd}))
    assert len(said.grids) == GRIDS
    assert (said.grid_count, said.whole) == (5000, False)
    assert len(said.model_dump_json()) < 256_000
    few = announce(desk.store.url, published)
    assert few.whole
    assert Announcement.model_validate_json(few.model_dump_json()) == few


def test_an_announcement_whose_record_is_of_another_release_is_refused(desk):
    said = announce(desk.store.url, desk.publish("first")).model_dump()
    with pytest.raises(ValueError, match="is not that of release"):
        Announcement.model_validate(said | {"release": "0" * 64})
