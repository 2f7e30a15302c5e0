"""Rolling back: the pointer goes to an earlier release, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.releases import inputs
from zagg_catalog.errors import InvalidRelease, ObjectMissing
from zagg_catalog.releases import (
    MapToPublish,
    collect_garbage,
    find_release,
    rollback,
    show,
    verify,
)


def test_the_pointer_moves_back_and_records_it(store, publish):
    first, second = publish("first"), publish("next")
    said = rollback(store, *inputs.RELEASE_KEY, first.digest[:12], clock=lambda: inputs.NOON)
    assert find_release(store, *inputs.RELEASE_KEY).digest == first.digest
    assert show(store, *inputs.RELEASE_KEY).publication == said
    assert (said.action, said.supersedes) == ("rollback", second.digest)
    assert said.published_at == inputs.NOON
    assert [entry.digest for entry in said.history] == [second.digest, first.digest]
    assert said.contraction.ids == (inputs.granule(8),)


def test_going_back_to_where_it_is_writes_nothing(store, publish):
    done = publish("first")
    before = store.read_pointer(done.record.release_key.pointer()).value
    assert rollback(store, *inputs.RELEASE_KEY, done.digest) == done.publication
    assert store.read_pointer(done.record.release_key.pointer()).value == before


def test_a_release_that_is_not_there_is_refused(store, publish):
    publish("first")
    with pytest.raises(ObjectMissing):
        rollback(store, *inputs.RELEASE_KEY, "0" * 64)


def test_a_release_that_does_not_verify_is_refused(place, store, publish):
    first, second = publish("first"), publish("next")
    key = first.record.grids[0].manifest.parquet.key
    place.overwrite(key, b"x" + store.get(key)[1:])
    with pytest.raises(InvalidRelease, match=key):
        rollback(store, *inputs.RELEASE_KEY, first.digest)
    assert find_release(store, *inputs.RELEASE_KEY).digest == second.digest


@inputs.IN_A_FOLDER
def test_a_partial_release_that_was_never_the_latest_is_refused(store, files, publish):
    whole = publish("first")
    healpix, _ = inputs.builds(files, "first")
    failed = MapToPublish("plate", files / "plate.yaml", error="Out of memory.")
    part = publish("first", maps=[healpix, failed])
    with pytest.raises(InvalidRelease, match="is partial, and was not the latest before: grid pl"):
        rollback(store, *inputs.RELEASE_KEY, part.digest)
    assert find_release(store, *inputs.RELEASE_KEY).digest == whole.digest
    rollback(store, *inputs.RELEASE_KEY, part.digest, partial_latest=True)
    rollback(store, *inputs.RELEASE_KEY, whole.digest)
    assert rollback(store, *inputs.RELEASE_KEY, part.digest).digest == part.digest


@pytest.mark.parametrize("how", ["lost", "spoilt"])
@inputs.IN_A_FOLDER
def test_a_publication_after_its_pointer_was_lost_knows_the_releases_before(
    place, store, publish, files, how
):
    """So they can be rolled back to, and are no garbage."""
    first = publish("first")
    part = publish("first", maps=[MapToPublish("plate", files / "plate.yaml", error="It failed.")])
    pointer = first.record.release_key.pointer()
    store.delete(pointer) if how == "lost" else place.overwrite(pointer, b"{")
    second = publish("next")
    assert second.publication.digests == [second.digest, first.digest]
    assert second.contraction.count is None
    assert pointer in second.contraction.problem
    assert [one.digest for one in second.publication.held] == [part.digest]
    garbage = collect_garbage(
        store,
        delete=True,
        grace=timedelta(0),
        releases_after=timedelta(0),
        clock=lambda: datetime.now(UTC) + timedelta(days=400),
    )
    assert [info.key for info in garbage.releases] == [part.key]
    assert rollback(store, *inputs.RELEASE_KEY, first.digest).digest == first.digest
    assert verify(store).clean


def test_publishing_after_a_rollback_continues_from_there(store, publish):
    first = publish("first")
    publish("next")
    rollback(store, *inputs.RELEASE_KEY, first.digest)
    again = publish("next")
    assert (again.moved, again.written) == (True, [])
    assert [entry.action for entry in again.publication.history] == [
        "rollback",
        "publish",
        "publish",
    ]
