"""Verification: one flipped byte, one wrong count, one missing file are each found by name."""

from __future__ import annotations

import json

import pytest

from tests.releases import inputs
from tests.releases.test_read import forge, other_count, other_signature
from zagg_catalog.errors import StoreUnavailable
from zagg_catalog.releases import rollback, verify
from zagg_catalog.releases.read import find_release
from zagg_catalog.releases.verify import verify_release


def test_a_store_of_several_releases_is_clean(store, publish):
    for name in inputs.CATALOGS:
        publish(name)
    found = verify(store)
    assert found.clean
    assert (found.releases, found.files) == (3, 15)


def test_an_empty_store_is_clean(store):
    assert verify(store).clean


def test_one_flipped_byte_anywhere_is_found_and_names_the_file(place, publish):
    done = publish("first")
    store = place.open()
    every = [info for info in store.list() if not info.key.endswith("latest.json")]
    assert len(every) == 6
    for number, info in enumerate(every):
        content = store.get(info.key)
        at = (0, info.size // 2, info.size - 1)[number % 3]
        place.overwrite(info.key, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        found = verify(store)
        assert info.key in {finding.key for finding in found.findings}
        if info.key != done.key:
            assert not verify_release(store, find_release(store, *inputs.RELEASE_KEY)).clean
        place.overwrite(info.key, content)
    assert verify(store).clean


def test_a_damaged_pointer_is_found(store, publish):
    pointer = publish("first").record.release_key.pointer()
    store.swap_pointer(pointer, b"{}", store.read_pointer(pointer).token)
    assert [finding.key for finding in verify(store).findings] == [pointer]


@pytest.mark.parametrize("place_of_facts", ["latest", "history", "held"])
def test_facts_in_a_pointer_that_are_not_those_of_the_record_are_found(
    store, publish, place_of_facts
):
    first, second = publish("first"), publish("next")
    held = publish("small", allow_contraction=False)
    key = first.record.release_key.pointer()
    pointer = store.read_pointer(key)
    content = pointer.json()
    found = {"latest": content, "history": content["history"][0], "held": content["held"][0]}
    found[place_of_facts]["summary"]["granules"] += 1
    store.swap_pointer(key, json.dumps(content).encode(), pointer.token)
    (finding,) = verify(store).findings
    wrong = {"latest": second, "history": first, "held": held}[place_of_facts]
    assert (finding.key, wrong.key in finding.problem) == (key, True)


def test_missing_files_are_found(store, publish):
    first, second = publish("first"), publish("next")
    for key in (second.record.catalog.key, first.key):
        store.delete(key)
    findings = {finding.key: finding.problem for finding in verify(store).findings}
    assert second.record.catalog.key in findings
    # The history still leads to the first release.
    assert first.key in findings[first.record.release_key.pointer()]


def test_what_no_release_refers_to_has_its_digest_checked_too(place):
    store = place.open()
    ref = store.put("catalogs/product=A/region=b/cycle=1", b"an orphan", ".parquet")
    assert verify(store).clean
    place.overwrite(ref.key, b"an ORPHAN")
    assert [finding.key for finding in verify(store).findings] == [ref.key]
    assert verify(store, "ATL06_007").clean


@inputs.IN_A_FOLDER
def test_strange_files_are_found(store):
    store.put("releases/product=A", b"{}", ".json")
    (finding,) = verify(store).findings
    assert "does not follow the layout" in finding.problem


def other_rows(document):
    document["catalog"]["rows"] += 1


def other_query(document):
    document["query"]["provider"] = "ELSEWHERE"


def other_size(document):
    document["catalog"]["size"] += 1


def other_completeness(document):
    document["grids"][0]["quarantined"] = 5


@inputs.IN_A_FOLDER
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_signature, "Its signature is"),
        (other_count, "It has 72 pairs and the release records 73."),
        (other_rows, "Its rows is not that of"),
        (other_query, "Its query is not that of"),
        (other_size, "bytes and the release records"),
        (other_completeness, "Its missing granules are not"),
    ],
)
def test_a_record_that_says_something_else_than_its_files_is_found(store, publish, change, says):
    forge(store, publish("first"), change)
    findings = verify(store).findings
    assert any(says in finding.problem for finding in findings), findings


@inputs.IN_A_FOLDER
def test_a_map_of_granules_that_the_catalog_has_not_is_found(store, publish):
    """Two releases whose records were crossed: this one's catalog, that one's maps."""
    first, second = publish("first"), publish("next")

    def crossed(document):
        document["grids"] = [grid.model_dump(mode="json") for grid in second.record.grids]

    forge(store, first, crossed)
    problems = [finding.problem for finding in verify(store).findings]
    assert any("not in the release's catalog" in problem for problem in problems)


@inputs.IN_A_FOLDER
def test_two_manifests_that_pair_differently_are_found(store, publish):
    first, second = publish("first"), publish("next")
    theirs = second.record.grid("plate").manifest.document.model_dump(mode="json")

    def crossed(document):
        document["grids"][1]["manifest"]["json"] = theirs

    forge(store, first, crossed)
    problems = [finding.problem for finding in verify(store).findings]
    assert "The two manifests of grid plate have different pairs." in problems


@inputs.IN_A_FOLDER
def test_a_record_in_the_wrong_place_is_found(store, publish):
    done = publish("first")
    ref = store.put(
        done.record.release_key.folder("releases").replace("22", "23"),
        done.record.to_bytes(),
        ".json",
    )
    (finding,) = verify(store).findings
    assert (finding.key, "not of its key" in finding.problem) == (ref.key, True)


@inputs.IN_A_FOLDER
def test_a_record_that_another_program_wrote_is_found(store, publish):
    done = publish("first")
    store.put(done.record.release_key.folder("releases"), done.record.to_bytes() + b"\n", ".json")
    (finding,) = verify(store).findings
    assert "not canonical" in finding.problem


def test_a_store_that_cannot_be_read_is_no_finding(store, publish, monkeypatch):
    publish("first")

    def refuse(*_):
        raise StoreUnavailable("no")

    monkeypatch.setattr(store, "_download", refuse)
    with pytest.raises(StoreUnavailable):
        verify(store)


def test_a_rolled_back_store_is_clean(store, publish):
    first = publish("first")
    publish("next")
    rollback(store, *inputs.RELEASE_KEY, first.digest)
    assert verify(store).clean
