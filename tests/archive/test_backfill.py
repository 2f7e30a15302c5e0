"""The plan of a backfill: what is missing, stale or failed, and whether it needs a fetch."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.releases import inputs
from tests.watch.desk import write_files, write_registry
from zagg_catalog.archive.backfill import (
    Only,
    Scope,
    by_cycle,
    declared_counts,
    plan_backfill,
    read_cycles,
    totals,
)
from zagg_catalog.cli import main
from zagg_catalog.errors import InvalidQuery, RequestFailed
from zagg_catalog.grids import HealpixGrid
from zagg_catalog.regions import bbox_region
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import CMRSource
from zagg_catalog.store import Store, open_store

OLD = Path(__file__).parents[1] / "store_versions" / "0.1.0"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEALPIX, POLAR = "atl06-greenland-healpix", "atl06-greenland-polar"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(OLD / "registry.yaml")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A store with a release of cycle 22; not to be changed."""
    folder = tmp_path_factory.mktemp("store") / "store"
    shutil.copytree(OLD / "store", folder)
    return open_store(str(folder))


def never(key, area):
    raise AssertionError(f"The source was asked for {key}.")


def plan(store, registry, count=never, now=NOW, **scope):
    return plan_backfill(store, registry, Scope(**scope), count, now)


def with_grid(registry, name, **changes):
    changed = replace(registry.grids[HEALPIX], name=name, **changes)
    return replace(registry, grids=registry.grids | {name: changed})


@pytest.mark.parametrize("only", Only)
def test_a_release_that_is_current_needs_nothing(store, registry, only):
    (planned,) = plan(store, registry, cycles="22", only=only)
    assert planned.action == "none"
    assert planned.reasons == ("all maps are current",)
    assert totals([planned]) == "Nothing to do: 1 release looked at."


def test_a_grid_that_was_registered_later_is_built_from_the_stored_catalog(store, registry):
    (planned,) = plan(store, with_grid(registry, "later"), cycles="22", only=Only.MISSING)
    assert (planned.action, planned.grids, planned.requests) == ("build", ("later",), 0)
    assert planned.reasons == ("later missing: the release was published without it",)


def test_a_grid_whose_shards_reach_beyond_the_stored_catalog_needs_a_fetch(store, registry):
    coarse = with_grid(registry, "coarse", grid=HealpixGrid(parent_order=3, child_order=8))
    (planned,) = plan(store, coarse, lambda *_: (10, 3), cycles="22")
    assert (planned.action, planned.granules, planned.requests) == ("fetch", 10, 3)
    assert planned.reasons[1] == (
        "grid coarse needs granules beyond the area of the stored catalog"
    )


def test_a_config_with_another_signature_is_stale_and_not_missing(store, registry):
    changed = with_grid(registry, HEALPIX, grid=HealpixGrid(parent_order=9, child_order=13))
    assert plan(store, changed, cycles="22", only=Only.MISSING)[0].action == "none"
    (planned,) = plan(store, changed, cycles="22", only=Only.STALE)
    assert (planned.action, planned.grids) == ("build", (HEALPIX,))


def test_force_fetches_current_maps_too(store, registry):
    (planned,) = plan(store, registry, lambda *_: (10, 3), cycles="22", force=True)
    assert (planned.action, planned.grids) == ("fetch", (HEALPIX, POLAR))


def test_a_cycle_without_a_release_needs_a_fetch(store, registry):
    asked = []

    def count(key, area):
        asked.append((key.cycle, len(area)))
        return 4000, 10

    plans = plan(store, registry, count, cycles="21-23")
    assert [one.action for one in plans] == ["fetch", "none", "fetch"]
    assert sorted(asked) == [(21, 1), (23, 1)]
    assert totals(plans) == (
        "2 of 3 releases to make, 4 maps; 0 from stored catalogs;"
        " 2 to fetch: about 20 requests for 8,000 granules."
    )
    assert [some[0].release_key.cycle for some in by_cycle(plans)] == [23, 21]


def test_a_cycle_without_granules_lacks_its_maps_only_if_it_was_named(store, registry):
    (named,) = plan(store, registry, lambda *_: (0, 2), cycles="21")
    assert (named.action, named.reasons) == ("lacks", ("the source has no granule of cycle 21",))
    every = plan(store, registry, lambda *_: (0, 2), cycles="all")
    assert {one.action for one in every} == {"none"}
    assert [one.release_key.cycle for one in every] == list(range(1, 34))


def test_a_source_that_does_not_answer_is_asked_once(store, registry):
    asked = []

    def down(key, area):
        asked.append(key)
        raise RequestFailed("It does not answer.")

    plans = plan(store, registry, down, cycles="18-21")
    assert len(asked) == 1
    assert [one.action for one in plans] == ["fetch"] * 4
    assert plans[0].reasons[-1] == "the source gave no count: It does not answer."
    assert "4 without a count" in totals(plans)


def test_a_region_that_changed_makes_a_fetch_only_where_its_catalog_is_too_small(store, registry):
    region = registry.regions["greenland"]
    smaller = replace(region, region=bbox_region((-50.0, 70.0, -40.0, 75.0)))
    later = with_grid(replace(registry, regions={"greenland": smaller}), "later")
    (planned,) = plan(store, later, cycles="22", only=Only.MISSING)
    assert planned.action == "build"


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"cycles": "30-18"}, "Cycles are given as 1-30 or 3,5,7-9"),
        ({"cycles": "90"}, "Cycle 90 is in the future"),
        ({"grids": ["polar"]}, "has no grid polar for this backfill"),
        ({"regions": ["serc"]}, "has no region serc for this backfill"),
        ({"products": ["ATL03_007"]}, "has no product ATL03_007 for this backfill"),
    ],
)
def test_what_is_not_registered_is_refused(store, registry, scope, message):
    with pytest.raises(InvalidQuery, match=message):
        plan(store, registry, **scope)


def test_a_plan_lists_the_releases_and_reads_each_pointer_once(s3_place, tmp_path, monkeypatch):
    opened, files = s3_place.open(), write_files(tmp_path)
    registered = write_registry(tmp_path, files)
    done = inputs.publish(opened, files, "first")
    lists, reads = [], []
    for name, calls in (("list", lists), ("get", reads), ("read_pointer", reads)):
        plain = getattr(opened, name)
        monkeypatch.setattr(
            opened, name, lambda key, plain=plain, calls=calls: (calls.append(key), plain(key))[1]
        )
    (*_, planned) = plan_backfill(opened, registered, Scope(cycles=f"1-{inputs.CYCLE}"), now=NOW)
    assert planned.reasons == ("all maps are current",)
    assert lists == ["releases/product=ATL06_007"]
    assert reads == [ReleaseKey(*inputs.RELEASE_KEY).pointer()]
    content = opened.get(done.key)
    s3_place.overwrite(done.key, content[:-2] + b" \n")
    (planned,) = plan_backfill(opened, registered, Scope(cycles=str(inputs.CYCLE)), now=NOW)
    assert planned.action == "fetch"
    assert done.key in planned.reasons[-1]


def test_cycles_are_a_list_of_numbers_and_spans():
    assert read_cycles("18-20, 30,19") == [18, 19, 20, 30]


def test_the_command_prints_the_plan_with_the_counts_of_the_source(store, registry, capsys):
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 100))
    with SandboxServer(granules) as server:
        place = ["--store", store.url, "--registry", registry.source]
        code = main(
            [
                "backfill",
                "--cycles",
                "20,22-23",
                "--dry-run",
                "--stac-root",
                server.root_url,
                *place,
            ]
        )
        asked = len(server.requests)
        printed = capsys.readouterr().out
        stac = ["--stac-root", server.root_url]
        main(["backfill", "--cycles", "20,22", "--dry-run", "--json", "-v", *stac, *place])
    out, said = capsys.readouterr()
    assert json.loads(out)["releases"]
    for step in ("releases of ATL06_007: 2 of 2 releases", "counts of the source: 1 of 1 release"):
        assert step in said
    assert "plan of ATL06_007: 2 of 2 releases" in said
    assert re.search(r"^ +20  lacks +0 +0  \S+, \S+ *$", printed, re.MULTILINE)
    assert re.search(r"^  cycle 20: ", printed, re.MULTILINE)
    assert code == 1  # nothing can be made of cycle 20
    assert asked == 2
    assert "all maps are current" not in printed  # cycle 22 needs nothing
    assert "the source has no granule of cycle 20" in printed


def test_counts_are_those_that_a_fetch_declares(registry):
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 50))
    with SandboxServer(granules) as server:
        source = CMRSource(root_url=server.root_url)
        region = registry.regions["greenland"]
        key_area = tuple(registry.area_of("ATL06_007", "greenland"))
        query = region.query("ATL06_007", 22, area=key_area)
        catalog = source.fetch(query)
        count = declared_counts(source, registry)
        found, requests = count(ReleaseKey("ATL06_007", "greenland", 22), key_area)
    harvest = catalog.metadata["harvest"]
    assert found == harvest["declared_after"]
    assert requests == 8
