"""Taking over the pairs of an earlier map: the bytes of a build from scratch, or the reason."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, HealpixGrid, RectilinearGrid, ShardMap
from zagg_catalog.regions import bbox_region
from zagg_catalog.sandbox import simulate
from zagg_catalog.shardmap import cell_index, index_footprints
from zagg_catalog.shardmap.cells import footprint_cells
from zagg_catalog.shardmap.model import build_checked

SOUTH = bbox_region((-180, -90, 180, -60))
PENINSULA = bbox_region((-70, -72, -55, -66))
GRIDS = {
    "healpix": (HealpixGrid(5, 10), SOUTH),
    "finer than the cells": (HealpixGrid(10, 14), PENINSULA),
    "plate carrée": (RectilinearGrid("EPSG:4326", 0.05, [-180, -90, 180, -60], [100, 100]), SOUTH),
    "polar": (RectilinearGrid("EPSG:3031", 2000, [-3.2e6, -3.2e6, 3.2e6, 3.2e6]), SOUTH),
    "UTM": (RectilinearGrid("EPSG:32720", 500, [2e5, 1.9e6, 8e5, 2.9e6], [50, 50]), PENINSULA),
}
GRANULES = simulate("ATL06", cycle=22, tracks=range(1, 1388, 60), regions=[11, 12], gaps=False)
RINGS = np.split(np.column_stack([GRANULES.lons, GRANULES.lats]), GRANULES.offsets[1:-1])
COUNT = 16
# Around the pole, so that cells are inside; a bow-tie, which is repaired; and one without an area.
BROAD = [(lon, -84.0) for lon in range(-180, 181, 20)]
BOW_TIE = [(-62, -68), (-61, -69), (-61, -68), (-62, -69)]
LINE = [(-62, -68), (-61, -69), (-62, -68)]
SHAPES = {"broad": BROAD, "bow-tie": BOW_TIE, "line": LINE, "none": None}


@dataclass(frozen=True)
class Granule:
    """A granule of the catalogs to compare."""

    number: int
    here: bool = True
    revision: int = 1
    older: bool = False  # the revision before is there, too
    copied: bool = False  # another provider has its file, too
    host: str = "a"
    shape: str = "swath"
    ring: int = 0

    def changed(self, what):
        changes = {
            "toggle": {"here": not self.here},
            "revise": {"revision": self.revision + 1},
            "keep the older": {"older": not self.older},
            "copy": {"copied": not self.copied},
            "another address": {"host": self.host + "a"},
            "move": {"ring": self.ring + 5, "shape": "swath"},
        }
        return replace(self, **changes.get(what, {"shape": what}))

    def rows(self):
        """Id, host and polygon of each of its rows."""
        ring = RINGS[(self.number * 7 + self.ring) % len(RINGS)]
        ring = SHAPES.get(self.shape, ring)
        if not self.here:
            return
        for revision in range(self.revision - self.older, self.revision + 1):
            name = f"ATL06_20231218211600_{self.number + 1:04d}2211_007_{revision:02d}.h5"
            yield name, name, self.host, ring
            if self.copied:
                yield f"SC:{name}", name, f"z{self.host}", ring


CHANGES = ["toggle", "revise", "keep the older", "copy", "another address", "move", *SHAPES]
STEP = st.lists(st.tuples(st.integers(0, COUNT - 1), st.sampled_from(CHANGES)), max_size=5)


@dataclass
class World:
    """Catalogs that change step by step."""

    granules: list = field(default_factory=lambda: [Granule(n, n < 12) for n in range(COUNT)])

    def change(self, step):
        for number, what in step:
            self.granules[number] = self.granules[number].changed(what)

    def catalog(self, *, backwards=False):
        rows = sorted((row for one in self.granules for row in one.rows()), reverse=backwards)
        made = make_catalog(*(ring for *_, ring in rows), metadata={"complete": True})
        ids, names, hosts, _ = zip(*rows, strict=True) if rows else ((), (), (), ())
        hrefs = {
            slot: [f"{scheme}://{host}/{name}" for host, name in zip(hosts, names, strict=True)]
            for slot, scheme in (("data", "https"), ("data_s3", "s3"))
        }
        assets = [
            {slot: {"href": href[row]} for slot, href in hrefs.items()} for row in range(len(rows))
        ]
        table = made.table
        for name, values in (("id", list(ids)), ("assets", assets)):
            place, kind = table.schema.get_field_index(name), table.schema.field(name)
            table = table.set_column(place, kind, pa.array(values, kind.type))
        return Catalog(table, made.metadata | {"total_granules": len(rows)})


def content(shard_map, folder):
    shard_map.to_parquet(folder / "map.parquet")
    shard_map.to_json(folder / "map.json")
    return (folder / "map.parquet").read_bytes(), (folder / "map.json").read_bytes()


def build(catalog, grid, region=SOUTH, previous=None, **options):
    (found,) = build_checked(catalog, [grid], region=region, previous=[previous], **options)
    return found


@pytest.mark.parametrize("footprint", ["swath", "beams"])
@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(STEP, st.booleans()), min_size=2, max_size=4))
def test_a_map_that_takes_over_has_the_bytes_of_one_from_scratch(
    tmp_path_factory, name, footprint, steps
):
    """Whatever was added, removed, revised, moved or readdressed, step after step."""
    folder, (grid, region) = tmp_path_factory.mktemp("maps"), GRIDS[name]
    world, previous = World(), None
    for step, backwards in [([], False), *steps]:
        world.change(step)
        catalog = world.catalog(backwards=backwards)
        scratch = build(catalog, grid, region, footprint=footprint).shard_map
        found = build(catalog, grid, region, previous, footprint=footprint)
        assert content(found.shard_map, folder) == content(scratch, folder)
        assert previous is None or found.taken_over.reason is None
        # The next build takes over of a map that took over, and that was written.
        suffix = "json" if backwards else "parquet"
        content(found.shard_map, folder)
        previous = getattr(ShardMap, f"from_{suffix}")(folder / f"map.{suffix}"), catalog


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(STEP, st.booleans()), min_size=2, max_size=4))
def test_stored_cells_that_are_taken_over_give_the_bytes_of_new_ones(tmp_path_factory, steps):
    path, world, previous = tmp_path_factory.mktemp("cells") / "c.parquet", World(), None
    for step, backwards in [([], False), *steps]:
        world.change(step)
        index_footprints(world.catalog(backwards=backwards)).to_geoparquet(path)
        scratch = path.read_bytes()
        found = index_footprints(world.catalog(backwards=backwards), previous=previous)
        found.to_geoparquet(path)
        assert path.read_bytes() == scratch
        previous = found if backwards else Catalog.from_geoparquet(path)


def test_only_new_and_changed_footprints_get_cells(world, monkeypatch):
    previous = index_footprints(world.catalog())
    world.change([(0, "move"), (1, "revise"), (2, "another address"), (3, "toggle")])
    covered = []

    def noted(footprints, first, last):
        covered.append(last - first)
        return footprint_cells(footprints, first, last)

    monkeypatch.setattr(cell_index, "footprint_cells", noted)
    index_footprints(world.catalog(), previous=previous)
    assert covered == [2]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def previous(world):
    catalog = world.catalog()
    return build(catalog, GRIDS["healpix"][0]).shard_map, catalog


def test_only_new_and_changed_granules_are_paired(world, previous):
    world.change(
        [(0, "move"), (1, "revise"), (2, "another address"), (3, "toggle"), (14, "toggle")]
    )
    catalog = world.catalog()
    found = build(catalog, GRIDS["healpix"][0], previous=previous).taken_over
    old = previous[0].pairs().to_pydict()["id"]
    changed = [f"_{number + 1:04d}2211_007_01" for number in (0, 1, 3)]
    assert found.granules == len(catalog) - 3
    assert found.pairs == sum(not any(name in one for name in changed) for one in old)
    assert found.sentence(len(catalog)) == (
        f"Took over {found.pairs:,} pairs of 9 granules, and paired 3."
    )


def test_the_log_says_what_was_taken_over_or_why_nothing_was(world, previous, caplog):
    caplog.set_level(logging.INFO, "zagg_catalog.shardmap")
    grid, other = GRIDS["healpix"][0], HealpixGrid(6, 10)
    ShardMap.build(world.catalog(), grid, region=SOUTH, previous=previous)
    ShardMap.build(world.catalog(), other, region=SOUTH, previous=previous)
    took, scratch = (record.getMessage() for record in caplog.records)
    assert took.startswith("Took over")
    assert scratch.startswith(
        "Built from scratch: the earlier map is of another grid, parent_order"
    )


REASONS = {
    "grid": "the earlier map is of another grid, parent_order is 5 in the recorded signature",
    "region": "the earlier map's region_digest is",
    "footprint": "the earlier map's footprint is 'swath', and now it is 'beams'",
    "order": "the earlier map's mortie_order is 9, and now it is 10",
    "backend": "the earlier map's backend is 'mortie', and now it is 'spherely'",
    "rule": "the earlier map's geometry_rule is 1, and now it is 2",
    "backend version": "the earlier map's backend_version is '0.9'",
    "no rule": "the earlier map's geometry_rule is None, and now it is 1",
    "selection": "the earlier map is a selection of shards",
    "counts": "the earlier map's total_pairs is 1, and it has",
    "catalog": "the earlier map was not built from the earlier catalog",
    "harvest": "the earlier map was not built from the earlier catalog",
    "product": "the earlier catalog is of another product",
}


@pytest.mark.parametrize("what", REASONS)
def test_a_map_that_was_built_otherwise_is_not_used(world, previous, monkeypatch, what):
    (shard_map, catalog), (grid, region), options = previous, GRIDS["healpix"], {}
    now = world.catalog()
    if what == "grid":
        grid = HealpixGrid(6, 10)
    elif what == "region":
        region = PENINSULA
    elif what == "footprint":
        options = {"footprint": "beams"}
    elif what == "order":
        options = {"mortie_order": 10}
    elif what == "backend":
        pytest.importorskip("spherely")
        options = {"backend": "spherely"}
    elif what == "rule":
        monkeypatch.setattr("zagg_catalog.shardmap.build.GEOMETRY_RULE", 2)
    elif what == "backend version":
        shard_map.metadata["backend_version"] = "0.9"
    elif what == "no rule":
        del shard_map.metadata["geometry_rule"]
    elif what == "selection":
        shard_map = shard_map.select(shard_map.shard_keys[:5])
    elif what == "counts":
        shard_map.metadata["total_pairs"] = 1
    elif what == "catalog":
        world.change([(0, "toggle")])
        catalog = world.catalog()
    elif what == "harvest":
        shard_map.metadata["harvest"] = {"kept": 1}
    elif what == "product":
        now = Catalog(now.table, now.metadata | {"collection": "ATL21_003"})
    found = build(now, grid, region, (shard_map, catalog), **options)
    assert REASONS[what] in found.taken_over.reason
    scratch = build(now, grid, region, **options).shard_map
    assert found.shard_map.pairs() == scratch.pairs()


def test_without_an_earlier_map_nothing_is_said(world):
    assert build(world.catalog(), GRIDS["healpix"][0]).taken_over is None
