"""The status of a store: what each cycle has, what it lacks, and how little is read."""

import json
import re
from collections import Counter
from dataclasses import astuple

import pytest

from tests.releases import inputs
from tests.watch.conftest import PRODUCT
from tests.watch.desk import CYCLE, REGION, Desk, write_files, write_registry
from zagg_catalog import CMRSource
from zagg_catalog.registry.check_rules import CheckPlan
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.rollback import rollback
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.watch.source_counts import with_source
from zagg_catalog.watch.status import read_status

KEY = ReleaseKey(PRODUCT, REGION, CYCLE)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def desk(make_watch, files, tmp_path):
    desk = Desk(make_watch(first_cycle=22), files)
    desk.registry = write_registry(tmp_path, files, first_cycle=22)
    return desk


def status_of(desk, **filters):
    return read_status(desk.watch.store, desk.registry, desk.watch.now, **filters)


def row_of(desk):
    return next(row for row in status_of(desk).rows if row.release_key == KEY)


def test_a_settled_cycle_with_current_maps_is_complete(desk):
    desk.settle()
    row = row_of(desk)
    assert (row.state, row.complete, row.lacks) == ("settled", True, [])
    assert (row.held, row.declared) == (8, 8)
    assert [one.condition for one in row.maps] == ["current", "current"]
    assert row.since == desk.watch.now


def test_each_watched_cycle_has_a_row_and_what_is_missing_has_a_clause(desk):
    desk.poll()
    found = status_of(desk)
    assert [(row.release_key.cycle, row.state) for row in found.rows] == [
        (22, "overdue"),
        (23, "filling"),
        (24, "open"),
    ]
    assert found.rows[0].lacks == ["there is no release"]
    assert not found.complete
    assert found.unprepared == {(PRODUCT, REGION): (21,)}


def damage_record(desk):
    (desk.watch.store.root / row_of(desk).publication.key).write_bytes(b"{}")


def damage_pointer(desk):
    (desk.watch.store.root / KEY.pointer()).write_bytes(b"{}")


def change_config(desk):
    config = inputs.CONFIGS["plate"].replace("resolution: 0.1", "resolution: 0.2")
    (desk.files / "plate.yaml").write_text(config)
    desk.registry = write_registry(desk.watch.store.root.parent, desk.files)
    (desk.files / "plate.yaml").write_text(inputs.CONFIGS["plate"])


def grow(desk):
    desk.watch.probe.counts[CYCLE] += 1
    desk.poll()


def go_back(desk):
    first = row_of(desk).publication.digest
    desk.publish("next")
    rollback(desk.watch.store, *astuple(KEY), first, clock=lambda: desk.watch.now)
    desk.poll()


@pytest.mark.parametrize(
    ("happens", "clause"),
    [
        (damage_record, "the record of release .* is missing or damaged"),
        (damage_pointer, "Pointer releases/.*latest.json has no schema_version"),
        (change_config, "the map of plate is stale: the config gives another grid"),
        (grow, "the source has changed since the last run"),
        (go_back, "latest was rolled back"),
        (lambda desk: desk.publish("lacking"), "is newer and not the latest: .* no geometry"),
        (
            lambda desk: desk.publish("lacking", partial_latest=True),
            "the release is partial: .* no geometry",
        ),
        (
            lambda desk: desk.publish("first", maps=inputs.builds(desk.files, "first", ["plate"])),
            "the map of healpix is missing",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_nothing_that_is_missing_looks_complete(desk, happens, clause):
    desk.settle()
    happens(desk)
    row = row_of(desk)
    assert not row.complete
    assert any(re.search(clause, text) for text in row.lacks), row.lacks
    assert not status_of(desk, cycle=CYCLE).complete


def test_without_a_watch_a_release_is_not_known_to_be_all_there_is(desk):
    desk.publish("first")
    row = row_of(desk)
    assert row.state == "filling"
    assert row.lacks == ["it is not known whether the source has more, since no watch has looked"]


def test_time_alone_settles_nothing_while_nobody_polls(desk):
    desk.poll()
    desk.publish("first")
    desk.poll()
    desk.watch.now = desk.watch.now.replace(year=2026)
    assert row_of(desk).state == "filling"


def test_a_release_since_the_last_poll_is_not_settled(desk):
    desk.settle()
    desk.publish("next")
    assert row_of(desk).state == "filling"
    desk.poll()
    assert row_of(desk).state == "revised"


def test_a_run_that_found_nothing_new_covers_a_change_before_the_next_poll(desk):
    desk.settle()
    desk.watch.probe.counts[CYCLE] += 1
    desk.poll(days=2)
    assert row_of(desk).lacks == ["the source has changed since the last run"]
    desk.answer()
    assert row_of(desk).complete


def test_findings_of_checks_are_counted(desk):
    desk.settle()
    assert row_of(desk).checks["error"] == 0
    published = row_of(desk).publication
    finding = {"check": "revisions", "severity": "warn", "text": "Two revisions."}
    changed = json.loads(published.to_bytes())
    changed["checks"]["findings"] = [finding]
    path = desk.watch.store.root / KEY.pointer()
    path.write_text(json.dumps(changed))
    row = row_of(desk)
    assert (row.checks, row.complete) == ({"error": 0, "warn": 1}, True)
    assert "checks of the release: 1 warn, see release show" in row.notes
    changed["checks"]["findings"] = [finding | {"severity": "error"}]
    path.write_text(json.dumps(changed))
    assert row_of(desk).lacks == ["checks of the release: 1 error, see release show"]


def test_findings_of_a_first_release_that_is_held_back_are_counted(desk):
    desk.poll()
    digests = {one.name: "0" * 64 for one in inputs.builds(desk.files, "first")}
    done = desk.publish("first", checks=CheckPlan(signatures=digests))
    assert row_of(desk).lacks == [
        "there is no latest release",
        f"release {done.digest[:12]} is not the latest (checks: 1 error, 0 warn)",
    ]


def test_a_product_that_nothing_has_looked_at_is_named(desk):
    found = status_of(desk)
    assert found.rows == ()
    assert found.problems == (
        "ATL06_007, antarctica: no release, and no watch has looked for cycles.",
    )
    assert not found.complete


def test_filters_choose_rows(desk):
    desk.poll()
    assert [row.release_key.cycle for row in status_of(desk, cycle=23).rows] == [23]
    assert status_of(desk, region="elsewhere").rows == ()
    assert status_of(desk, product="ATL03_007").rows == ()


def test_without_a_registry_the_releases_of_the_store_have_rows(desk):
    desk.settle()
    desk.registry = None
    (row,) = status_of(desk).rows
    assert (row.state, row.maps) == ("settled", ())


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_a_store_is_listed_twice_and_no_object_is_read_twice(
    place, store, files, tmp_path, monkeypatch
):
    registry = write_registry(tmp_path, files)
    for region in (REGION, "elsewhere"):
        inputs.publish(store, files, "first", region=region)
    lists, reads = [], Counter()
    for name, seen in (("list", lists.append), ("read_pointer", None), ("get", None)):
        real = getattr(type(store), name)

        def watched(self, key, real=real, seen=seen):
            (seen or (lambda one: reads.update([one])))(str(key))
            return real(self, key)

        monkeypatch.setattr(type(store), name, watched)
    now = inputs.NOON
    assert len(read_status(store, registry, now).rows) == 2
    assert lists == ["releases", "pickups"]
    assert set(reads.values()) == {1}
    # A pointer for each region, and a record where the listing has no digest of it; the cursor and
    # the states of the product.
    assert len(reads) == 2 * (1 if place.url.startswith("s3://") else 2) + 2


def test_the_source_is_asked_once_for_each_row_and_a_difference_is_named(desk):
    desk.settle()
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 9))) as server:
        source = CMRSource(root_url=server.root_url, api="stac")
        before = len(server.requests)
        found = with_source(status_of(desk, cycle=22), source, desk.registry)
        assert len(server.requests) == before + 1
    (row,) = found.rows
    assert row.source.then == 8
    assert row.source.now != 8
    assert f"the source declares {row.source.now} granules, and the release is of 8" in row.lacks


def test_a_source_that_cannot_be_asked_is_no_proof(desk):
    desk.settle()
    with SandboxServer(simulate("ATL06", cycle=22, tracks=[1]), faults=["status=404"]) as server:
        source = CMRSource(root_url=server.root_url, api="stac")
        found = with_source(status_of(desk, cycle=22), source, desk.registry)
    (text,) = found.rows[0].lacks
    assert text.startswith("the source could not be asked: ")
    assert not found.complete
