"""A watch of cycle 22, and somebody who publishes releases of one region into its store."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import yaml

from tests.releases import inputs
from tests.watch.conftest import PRODUCT, CountingStore, Watch
from zagg_catalog.regions import region_from_geojson
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.watch.answers import EventClaim
from zagg_catalog.watch.states import StoredState, move_states, read_states

REGION, CYCLE, DAY = inputs.REGION, inputs.CYCLE, 24
_RING = [[-1, -1], [28, -1], [28, 2], [-1, 2], [-1, -1]]
OUTLINE = {"type": "Polygon", "coordinates": [_RING]}


def harvest(**changes) -> dict:
    """The report of a harvest of the eight granules of the catalog `first`."""
    counts = dict.fromkeys(("declared_before", "declared_after", "harvested", "kept"), 8)
    none = {"shared": 0, "outside_cycle": 0, "superseded": [], "quarantined": [], "slices": []}
    return {"complete": True} | counts | none | changes


def write_files(folder: Path) -> Path:
    """Write catalogs of cycle 22 with their maps; `lacking` lacks a granule that was declared."""
    region = region_from_geojson(OUTLINE)
    for name, numbers in inputs.CATALOGS.items():
        report = {"harvest": harvest()} if name == "first" else {}
        inputs.write(folder, name, numbers, region, **report)
    aside = [{"id": "x", "reason": "no geometry"}]
    lacking = harvest(
        complete=False, declared_before=9, declared_after=9, harvested=9, quarantined=aside
    )
    numbers = inputs.CATALOGS["first"]
    inputs.write(folder, "lacking", numbers, region, complete=False, harvest=lacking)
    return folder


def write_registry(folder: Path, files: Path, **rules) -> Registry:
    """Write and read a registry with the grids of `files`, for one region of one product."""
    grids = {
        name: {"config": str(files / f"{name}.yaml"), "products": [PRODUCT], "region": REGION}
        for name in inputs.CONFIGS
    }
    (folder / "region.geojson").write_text(json.dumps(OUTLINE))
    content = {"regions": {REGION: {"geojson": "region.geojson"}}, "grids": grids}
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump(content | {"watch": {PRODUCT: rules}}))
    return load_registry(path)


class Desk:
    """A watch of cycle 22, and somebody who publishes releases of a region."""

    def __init__(self, watch: Watch, files: Path) -> None:
        self.watch, self.files = watch, files
        watch.probe.counts = {21: 1000, 22: 1000}

    def poll(self, *, days: float = 0.0, dry: bool = False) -> list[str]:
        """Poll, move the states, and return the transitions of cycle 22 as text."""
        found = self.watch.poll(hours=DAY * days)
        CountingStore.writes = 0
        self.moved = move_states(
            self.watch.store, found.cursor, [REGION], self.watch.rules, self.watch.now, dry=dry
        )
        mine = [one for one in self.moved.transitions if one.cycle == CYCLE]
        return [f"{one.before} → {one.after}" for one in mine]

    def publish(self, name: str, **options):
        """Publish a release an hour later."""
        self.watch.now += timedelta(hours=1)
        return inputs.publish(
            self.watch.store, self.files, name, clock=lambda: self.watch.now, **options
        )

    def settle(self) -> None:
        """Publish the catalog `first`, and poll until it is settled."""
        self.poll()
        self.publish("first")
        self.poll()
        self.poll(days=31)

    def answer(self) -> None:
        """End a run of prepare-cycle that began now."""
        EventClaim.take(self.watch.store, PRODUCT, CYCLE, []).mark_processed("run")

    @property
    def state(self) -> StoredState | None:
        """The stored state of cycle 22."""
        return read_states(self.watch.store, PRODUCT)[0].of(REGION, CYCLE)
