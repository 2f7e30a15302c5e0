"""Conditions of maps: what a release and the registry say about missing, failed and stale ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.releases import inputs
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.regions import bbox_region, region_digest
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import find_release
from zagg_catalog.releases.record import ReleaseRecord, status_of
from zagg_catalog.releases.stale import map_conditions
from zagg_catalog.store import open_store

OLD = Path(__file__).parents[1] / "store_versions" / "0.1.0"
PRODUCT, REGION = "ATL06_007", "greenland"
HEALPIX, POLAR = "atl06-greenland-healpix", "atl06-greenland-polar"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(OLD / "registry.yaml")


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> ReleaseRecord:
    """A release that was stored before records had the facts of a map's region and rule."""
    folder = tmp_path_factory.mktemp("old") / "store"
    shutil.copytree(OLD / "store", folder)
    return find_release(open_store(str(folder)), PRODUCT, REGION, 22).record


@pytest.fixture(scope="module")
def built(old, registry) -> ReleaseRecord:
    """The same release with these facts, as the registry has them now."""
    now = {"region_digest": registry.regions[REGION].digest, "geometry_rule": 1}
    return _with(old, {grid.name: now for grid in old.grids})


def _with(record: ReleaseRecord, changes) -> ReleaseRecord:
    grids = tuple(grid.model_copy(update=changes.get(grid.name, {})) for grid in record.grids)
    status = status_of(record.catalog, grids)
    return record.model_copy(update={"grids": grids, "status": status})


def _without(record: ReleaseRecord, name: str) -> ReleaseRecord:
    left = tuple(grid for grid in record.grids if grid.name != name)
    return record.model_copy(update={"grids": left})


def conditions(record, registry, rule=1):
    found = map_conditions(record, registry, PRODUCT, REGION, rule=rule)
    return {one.grid: (one.condition, *one.reasons) for one in found}


def test_without_a_release_every_grid_is_missing(registry):
    why = ("missing", "there is no release")
    assert conditions(None, registry) == {HEALPIX: why, POLAR: why}


def test_a_release_of_this_registry_is_current(built, registry):
    assert conditions(built, registry) == {HEALPIX: ("current",), POLAR: ("current",)}


def test_a_grid_that_was_registered_later_is_missing(built, registry):
    found = conditions(_without(built, POLAR), registry)
    assert found[POLAR] == ("missing", "the release was published without it")
    assert found[HEALPIX] == ("current",)


def test_a_grid_that_is_not_registered_is_left_out(built, registry):
    fewer = replace(registry, grids={POLAR: registry.grids[POLAR]})
    assert list(conditions(built, fewer)) == [POLAR]


def test_a_grid_of_another_product_or_region_is_left_out(built, registry):
    polar = registry.grids[POLAR]
    for other in (replace(polar, products=("ATL03_007",)), replace(polar, region="serc")):
        moved = replace(registry, grids=registry.grids | {POLAR: other})
        assert list(conditions(built, moved)) == [HEALPIX]


def test_a_failed_build_has_its_error(built, registry):
    failed = {"status": "failed", "error": "The tide was out.", "manifest": None}
    found = conditions(_with(built, {HEALPIX: failed}), registry)
    assert found == {HEALPIX: ("failed", "The tide was out."), POLAR: ("current",)}


def test_a_grid_whose_config_is_broken_now_would_fail(built, registry):
    broken = replace(registry.grids[POLAR], grid=None, problem="It has no grid.")
    found = conditions(built, replace(registry, grids=registry.grids | {POLAR: broken}))
    assert found == {HEALPIX: ("current",), POLAR: ("failed", "It has no grid.")}


def test_a_region_that_is_broken_now_fails_its_grids(built, registry):
    found = conditions(built, replace(registry, regions={}))
    assert found[HEALPIX] == ("failed", "region greenland is not valid.")


def test_a_config_with_another_signature_makes_its_map_stale(old, registry):
    coarser = HealpixGrid(parent_order=5, child_order=12)
    other = replace(registry.grids[HEALPIX], grid=coarser)
    found = conditions(old, replace(registry, grids=registry.grids | {HEALPIX: other}))
    assert found[HEALPIX][0] == "stale"
    assert found[HEALPIX][1].startswith("the config gives another grid: parent_order is ")
    assert found[POLAR] == ("current",)


def test_a_config_with_other_bytes_and_the_same_signature_is_current(built, registry):
    same = replace(registry.grids[HEALPIX], config=b"other bytes", config_digest="0" * 64)
    found = conditions(built, replace(registry, grids=registry.grids | {HEALPIX: same}))
    assert found[HEALPIX] == ("current",)


def test_a_changed_region_makes_all_its_maps_stale(built, registry):
    moved = replace(registry.regions[REGION], region=bbox_region((-74.0, 58.0, -10.0, 84.0)))
    now, then = moved.digest[:12], registry.regions[REGION].digest[:12]
    why = ("stale", f"region greenland has changed from {then} to {now}")
    found = conditions(built, replace(registry, regions={REGION: moved}))
    assert found == {HEALPIX: why, POLAR: why}


def test_a_new_geometry_rule_makes_all_maps_stale(built, registry):
    why = ("stale", "the geometry rule is 2, and was 1")
    assert conditions(built, registry, rule=2) == {HEALPIX: why, POLAR: why}


def test_another_footprint_makes_a_map_stale(built, registry):
    grid = registry.grids[POLAR]
    beams = replace(grid, options=grid.options | {"footprint": "beams"})
    found = conditions(built, replace(registry, grids=registry.grids | {POLAR: beams}))
    assert found[POLAR] == ("stale", "the registry has footprint beams, and had swath")


def test_facts_that_an_old_record_lacks_make_nothing_stale(old, registry):
    moved = replace(registry.regions[REGION], region=bbox_region((-74.0, 58.0, -10.0, 84.0)))
    found = conditions(old, replace(registry, regions={REGION: moved}), rule=2)
    assert found == {HEALPIX: ("current",), POLAR: ("current",)}


def test_facts_that_a_record_lacks_are_not_written(old):
    assert b"region_digest" not in old.to_bytes()
    assert b"geometry_rule" not in old.to_bytes()


@inputs.IN_A_FOLDER
def test_a_published_map_has_the_digest_of_its_region(publish):
    corners = bbox_region((-1.0, -1.0, 28.0, 2.0))
    maps = inputs.maps_of_region("first", corners)
    record = publish("first", maps=maps).record
    assert {grid.region_digest for grid in record.grids} == {region_digest(corners)}
