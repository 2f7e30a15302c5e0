"""Checks before publishing: each finds a release that is spoilt in one way, and passes a good one.

The good one is a cycle of the sandbox, which simulates names and swaths of ICESat-2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import shapely

from benchmarks.simulated import catalog_table
from tests.releases import inputs
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.registry.check_rules import CheckPlan, CheckRules
from zagg_catalog.releases import find_release, publish, rollback, show, verify
from zagg_catalog.releases.check_results import CheckFinding, CheckResults
from zagg_catalog.releases.checks import CHECKS
from zagg_catalog.releases.results import results_key
from zagg_catalog.sandbox import simulate
from zagg_catalog.store import open_store

PRODUCT, REGION = "ATL06_007", "south"
TRACKS, REGIONS = range(401, 413), (10, 11, 12)
LATER = datetime(2026, 11, 1, tzinfo=UTC)


def catalog(cycle: int = 22, tracks=TRACKS, **options) -> Catalog:
    """A cycle of the sandbox in which all is well, with its harvest report."""
    granules = simulate(
        "ATL06", cycle=cycle, tracks=tracks, regions=REGIONS, suffixed=0.0, revised=0.0
    )
    table = catalog_table(granules).sort_by("id")
    rows = len(table)
    declared = {"declared_before": rows, "declared_after": rows, "harvested": rows}
    report = {"complete": True, "shared": 0, "kept": rows, "outside_cycle": 0} | declared
    report |= {"superseded": [], "quarantined": []}
    report["slices"] = [{"bbox": [-180, -90, 180, -50], **declared}]
    metadata = {
        "collection": PRODUCT,
        "cycle": cycle,
        "cycle_convention": "mission",
        "bbox": [-180, -90, 180, -50],
        "complete": True,
        "harvest": report,
    }
    return Catalog(table, metadata | options)


def with_column(good: Catalog, name: str, values: pa.Array) -> Catalog:
    place = good.table.schema.get_field_index(name)
    table = good.table.set_column(place, good.table.schema.field(place), values)
    return Catalog(table, good.metadata)


def renamed(good: Catalog, pattern: str, new: str, rows=slice(0, 1)) -> Catalog:
    """A catalog in which the ids of some rows are others."""
    ids = np.array(good.table["id"].to_pylist(), dtype=object)
    changed = pc.replace_substring_regex(pa.array(ids[rows]), pattern, new).to_pylist()
    assert changed != ids[rows].tolist()
    ids[rows] = changed
    return with_column(good, "id", pa.array(ids, pa.string()))


def with_footprint(good: Catalog, shape: shapely.Geometry) -> Catalog:
    """A catalog whose first granule has another footprint."""
    wkb = good.table["geometry"].to_pylist()
    wkb[0] = shapely.to_wkb(shape)
    return with_column(good, "geometry", pa.array(wkb, pa.binary()))


def another_cycle(good):
    return renamed(good, r"(_\d{4})22", r"\121")


def one_row_less(good):
    return Catalog(good.table.slice(1), good.metadata)


def declared_more(good):
    harvest = good.metadata["harvest"]
    return Catalog(
        good.table,
        good.metadata | {"harvest": harvest | {"declared_after": harvest["kept"] + 2}},
    )


def with_row(good: Catalog, more: Catalog) -> Catalog:
    """A catalog with the first row of another one, counted by the harvest report."""
    table = pa.concat_tables([good.table, more.table.slice(0, 1)])
    counted = ("declared_before", "declared_after", "harvested", "kept")
    harvest = good.metadata["harvest"] | dict.fromkeys(counted, len(table))
    return Catalog(table, good.metadata | {"harvest": harvest})


def two_revisions(good):
    return with_row(good, renamed(good, r"_\d\d\.h5$", "_07.h5"))


def one_file_twice(good):
    """Another item with the same file, as CMR lists some granules of two providers."""
    return with_row(good, renamed(good, r"^.*$", "copy of the first"))


def mixed_revisions(good):
    return renamed(good, r"_\d\d\.h5$", "_05.h5", slice(0, 9))


def another_release(good):
    return renamed(good, r"_007_", "_006_", slice(0, 2))


def in_the_north(good):
    return with_footprint(good, shapely.box(10, 60, 10.2, 70))


def too_long(good):
    """A band along the latitudes of region 10, instead of across them."""
    lons = np.linspace(-170, 170, 60)
    waves = np.sin(np.arange(60)) - 60
    outline = np.column_stack([[*lons, *lons[::-1]], [*waves, *(waves[::-1] - 0.1)]])
    return with_footprint(good, shapely.Polygon(outline))


SPOILT: dict[Callable[[Catalog], Catalog], tuple[str, str]] = {
    another_cycle: ("cycle", "of cycle 22, by their names, and 1 of 36 are not"),
    one_row_less: ("declared", "declared 36 granules of the catalog, without those left out"),
    declared_more: ("declared", "declared 38 granules of the catalog"),
    two_revisions: ("duplicates", "2 rows are revisions or files of others"),
    one_file_twice: ("duplicates", "copy of the first"),
    mixed_revisions: ("revisions", "9 of 36 differ from most: 27 revision 01, 9 revision 05"),
    another_release: ("revisions", "should be of data release 007, and 2 are of another one"),
    in_the_north: ("footprints", "1 reach beyond the latitudes of theirs, and 0 are longer"),
    too_long: ("footprints", "0 reach beyond the latitudes of theirs, and 1 are longer"),
}


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def released(store, tmp_path):
    """Publish a catalog without a map."""

    def released(given: Catalog, **options):
        given.to_geoparquet(tmp_path / "catalog.parquet")
        place = {"catalog": tmp_path / "catalog.parquet", "maps": [], "region": REGION}
        return publish(store, **place | {"clock": lambda: LATER} | options)

    return released


def rules(**values) -> CheckPlan:
    return CheckPlan(rules={PRODUCT: CheckRules.model_validate(values)})


def found(done) -> dict[str, CheckFinding]:
    return {one.check: one for one in done.checks.findings}


def test_every_check_has_a_severity_in_the_registry():
    severities = {name for name in CheckRules.model_fields if not name.endswith("_share")}
    assert severities == set(CHECKS)


def test_a_cycle_in_which_all_is_well_passes(released):
    done = released(catalog())
    assert done.checks.findings == ()
    assert done.checks.passed == ("cycle", "declared", "duplicates", "revisions", "footprints")
    # No earlier cycle, no grid, no registry and no release before.
    assert done.checks.skipped == ("tracks", "hrefs", "signatures", "drift")
    assert done.latest
    assert done.publication.checks == done.checks


@pytest.mark.parametrize(
    ("spoil", "expected"), SPOILT.items(), ids=[spoil.__name__ for spoil in SPOILT]
)
def test_what_is_spoilt_is_found_and_nothing_else(released, spoil, expected):
    check, words = expected
    done = released(spoil(catalog()))
    assert [one.check for one in done.checks.findings] == [check]
    finding = found(done)[check]
    assert words in finding.text
    assert finding.severity == getattr(CheckRules(), check)
    assert sum(finding.counts.values()) > 0
    assert done.latest is (finding.severity == "warn")


def test_real_granules_of_a_cycle_pass(released, real_data):
    """ATL03 over sites in the east of North America, as CMR describes them."""
    real = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    mine = pc.match_substring_regex(real.table["id"], r"_\d{4}22\d\d_007_")
    metadata = real.metadata | {"cycle": 22, "complete": True}
    done = released(Catalog(real.table.filter(mine), metadata), product="ATL03_007")
    assert done.record.catalog.rows == 72
    assert done.checks.findings == ()
    assert {"cycle", "duplicates", "revisions", "footprints"} <= set(done.checks.passed)


def test_names_that_are_not_of_icesat2_are_not_compared(released):
    done = released(renamed(catalog(), "^ATL06", "GEDI", slice(None)), product="GEDI_002")
    assert done.checks.findings == ()
    assert {"cycle", "revisions", "footprints", "tracks"} <= set(done.checks.skipped)


def test_a_nominal_cycle_has_granules_of_two_mission_cycles(released):
    other = another_cycle(catalog(cycle_convention="nominal"))
    assert "cycle" in released(other).checks.skipped


def test_an_incomplete_catalog_is_partial_and_its_counts_are_not_compared(released):
    done = released(one_row_less(catalog(complete=False)))
    assert "declared" in done.checks.skipped
    assert done.held_back == ("it is partial",)
    assert released(one_row_less(catalog(complete=False)), partial_latest=True).latest


def test_a_selection_of_a_fetched_catalog_has_what_it_declares(released):
    done = released(catalog().filter(tracks="401-404", granule_regions=10))
    assert done.record.catalog.rows == 4
    assert "declared" in done.checks.passed


def without(cycle: int, *tracks: int) -> Catalog:
    return catalog(cycle, [track for track in TRACKS if track not in tracks])


def test_tracks_that_the_last_settled_cycle_has_are_missing(released):
    released(catalog(20))
    released(without(21, 401))
    # Cycle 21 lacks track 401; only its own tracks are expected.
    done = released(without(22, 401, 405))
    finding = found(done)["tracks"]
    assert (finding.severity, done.latest) == ("warn", True)
    assert finding.counts == {"expected": 33, "missing": 3, "in_gaps": 0, "not_due": 0}
    assert finding.ids == ("04052210", "04052211", "04052212")
    assert "of cycle 21, and lacks 3 in all: 04052210" in finding.text
    assert "tracks" in released(without(22, 401)).checks.passed


def test_tracks_in_a_known_gap_may_be_missing(released):
    """The instrument was off from 10 May to 21 June 2024, from track 811 of cycle 23 on."""
    released(catalog(22, [1, 2, 900, 901]))
    assert "tracks" in released(catalog(23, [1, 2])).checks.passed
    counts = found(released(catalog(23, [1]), allow_contraction=True))["tracks"].counts
    assert counts == {"expected": 12, "missing": 3, "in_gaps": 6, "not_due": 0}


def test_tracks_whose_granules_are_not_due_may_be_missing(released):
    released(catalog(22))
    # Track 405 of cycle 23 passed on 13 April.
    june, july = (datetime(2024, month, 20, tzinfo=UTC) for month in (6, 7))
    assert "tracks" in released(without(23, 405), clock=lambda: june).checks.passed
    assert "tracks" in found(released(without(23, 405), clock=lambda: july))


def test_a_partial_release_and_a_cycle_that_is_not_settled_are_no_measure(released):
    released(catalog(20, complete=False))
    end_of_21 = datetime(2023, 12, 20, tzinfo=UTC)
    released(catalog(21))
    assert "tracks" in released(without(22, 405), clock=lambda: end_of_21).checks.skipped


def test_another_selection_of_granules_is_no_measure(released):
    released(catalog(21))
    small = catalog(22, range(401, 405), bbox=[-180, -90, 180, -60])
    assert "tracks" in released(small).checks.skipped


def test_a_damaged_earlier_cycle_does_not_stop_the_next_one(released, store):
    store.delete(released(catalog(21)).record.catalog.key)
    done = released(without(22, 405))
    assert done.latest
    assert "tracks" in done.checks.skipped


def test_a_share_of_the_tracks_may_be_missing(released):
    released(catalog(21))
    assert "tracks" in found(released(without(22, 405)))
    assert "tracks" in released(without(22, 405), checks=rules(tracks_share=0.1)).checks.passed


def half_a_region(files, name):
    """The maps of a catalog, of a region whose file lost its east."""
    catalog = Catalog.from_geoparquet(files / f"{name}.parquet")
    west = [([-1, -1, 2, 2], [-1, 9, 9, -1])]
    return [
        replace(one, shard_map=ShardMap.build(catalog, one.output_grid, region=west))
        for one in inputs.builds(files, name)
    ]


def test_shards_and_pairs_that_drift_are_found(store, files):
    first = inputs.publish(store, files, "first")
    assert "drift" in first.checks.skipped
    assert "drift" in inputs.publish(store, files, "next").checks.passed
    done = inputs.publish(store, files, "next", maps=half_a_region(files, "next"))
    finding = found(done)["drift"]
    assert (finding.severity, finding.ids, done.latest) == ("warn", ("healpix", "plate"), True)
    assert "plate has 24 shards and had 72" in finding.text
    assert "since the granules went from 8 to 8" in finding.text


def test_shards_and_pairs_may_change_as_the_granules_do(store, files):
    inputs.publish(store, files, "small")
    done = inputs.publish(store, files, "first")
    assert "drift" in done.checks.passed
    assert "drift" in inputs.publish(store, files, "small").checks.passed


def test_maps_of_another_grid_than_the_registrys_keep_latest(store, files):
    grids = inputs.publish(store, files, "first").record.grids
    digests = {one.name: one.signature_digest for one in grids}
    same = inputs.publish(store, files, "next", checks=CheckPlan(signatures=digests))
    assert "signatures" in same.checks.passed
    other = CheckPlan(signatures=digests | {"plate": "0" * 64, "not released": "1" * 64})
    done = inputs.publish(store, files, "first", checks=other)
    assert (done.latest, found(done)["signatures"].ids) == (False, ("plate",))
    assert done.accepted_by == ("allow_failed_checks",)
    assert "1 of 2 differ" in done.held_back[0]


def test_addresses_that_the_readers_of_the_grids_use_are_missing(store, files, tmp_path):
    assert "hrefs" in inputs.publish(store, files, "first").checks.passed
    spoilt = Catalog.from_geoparquet(files / "first.parquet")
    assets = spoilt.table["assets"].to_pylist()
    assets[2]["data_s3"]["href"] = None
    assets[5]["data_s3"]["href"] = "http://nsidc.example/granule.h5"
    column = pa.array(assets, spoilt.table.schema.field("assets").type)
    with_column(spoilt, "assets", column).to_geoparquet(tmp_path / "spoilt.parquet")
    finding = found(inputs.publish(store, files, "first", catalog=tmp_path / "spoilt.parquet"))
    assert finding["hrefs"].counts == {"without_s3": 2}
    assert finding["hrefs"].ids == (inputs.granule(2), inputs.granule(5))
    assert "s3://…, which the driver of grid healpix, plate reads" in finding["hrefs"].text


def test_an_error_keeps_latest_where_it_is_until_it_is_accepted(store, released):
    first = released(catalog(), published_by="somebody@somewhere")
    spoilt = two_revisions(catalog())
    done = released(spoilt)
    assert (done.moved, done.latest, done.publication.digest) == (False, False, first.digest)
    (why,) = done.held_back
    assert why.startswith("the check duplicates failed: Each granule should occur once")
    assert done.checks.counts == {"error": 1, "warn": 0}
    assert show(store, PRODUCT, REGION, 22, digest=done.digest).checks == done.checks
    assert released(spoilt).publication == done.publication
    accepted = released(spoilt, allow_failed_checks=True)
    assert (accepted.moved, accepted.held_back, accepted.accepted_by) == (True, (), ())
    assert accepted.publication.checks == done.checks
    assert find_release(store, PRODUCT, REGION, 22).digest == done.digest
    assert released(spoilt).latest
    assert verify(store).clean


def test_results_of_the_first_releases_stand_in_the_store_before_there_is_a_latest(store, released):
    odd, odder = two_revisions(catalog()), one_file_twice(catalog())
    done = [released(one) for one in (odd, odder, odd)]
    assert [one.publication for one in done] == [None] * 3
    for one in done:
        assert show(store, PRODUCT, REGION, 22, digest=one.digest).checks == one.checks
        assert one.checks.counts == {"error": 1, "warn": 0}
    assert verify(store).clean
    back = rollback(store, PRODUCT, REGION, 22, done[0].digest)
    assert back.checks == done[0].checks


def test_results_that_cannot_be_read_are_not_known(store, released):
    done = released(two_revisions(catalog()))
    key = results_key(done.record.release_key, "checks.json")
    store.swap_pointer(key, b"rubbish", store.read_pointer(key).token)
    assert show(store, PRODUCT, REGION, 22, digest=done.digest).checks is None
    assert released(two_revisions(catalog())).digest == done.digest
    assert show(store, PRODUCT, REGION, 22, digest=done.digest).checks == done.checks


def test_results_stay_with_a_release_when_another_becomes_the_latest(store, released):
    odd = released(mixed_revisions(catalog()))
    released(catalog(), allow_contraction=True)
    assert show(store, PRODUCT, REGION, 22, digest=odd.digest).checks == odd.checks
    back = rollback(store, PRODUCT, REGION, 22, odd.digest)
    assert back.checks == odd.checks


def test_the_latest_release_is_not_held_back_by_other_rules(store, released):
    """As by a command without a registry: publishing it again changes nothing."""
    done = released(mixed_revisions(catalog()), checks=rules(revisions="off"))
    pointer = store.read_pointer(done.record.release_key.pointer())
    again = released(mixed_revisions(catalog()), checks=rules(revisions="error"))
    assert (again.latest, again.held_back) == (True, ())
    assert again.publication.held == ()
    assert store.read_pointer(done.record.release_key.pointer()) == pointer


def test_the_registry_sets_severities_and_thresholds(released):
    spoilt = mixed_revisions(catalog())
    strict = released(spoilt, checks=rules(revisions="error"))
    assert not strict.latest
    assert released(spoilt, checks=rules(revisions_share=0.3)).checks.findings == ()
    moved = {"allow_contraction": True}
    off = released(another_cycle(spoilt), checks=rules(cycle=False, revisions="off"), **moved)
    assert (off.checks.off, off.latest) == (("cycle", "revisions"), True)
    everything = dict.fromkeys(CHECKS, "off")
    assert released(spoilt, checks=rules(**everything)).checks == CheckResults(off=tuple(CHECKS))


def test_a_finding_is_bounded_and_clean():
    finding = CheckFinding(
        check="cycle",
        severity="warn",
        text="one\n\x1b[31mtwo " + "x" * 2000,
        ids=("https://user:secret@host/" + "y" * 500,),
    )
    assert finding.text.startswith("one [31mtwo")
    assert len(finding.text) < 700
    assert len(finding.ids[0]) < 200
    assert "secret" not in finding.ids[0]
    assert CheckResults(findings=(finding,), off=("cycle",)).summary == "1 warning, 1 off"
