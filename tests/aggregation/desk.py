"""An aggregator's desk: a store with releases, its own registry, and a zagg that is watched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.releases import inputs
from zagg_catalog import ShardMap
from zagg_catalog.aggregation.batches import run_in_turn
from zagg_catalog.aggregation.output_place import open_output, read_config
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.aggregation.run import PickupResult, pick_up
from zagg_catalog.aggregation.zagg import ShardResult, ZaggAnswer, ZaggCall
from zagg_catalog.aggregation.zagg_start import ZaggForks
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import Acknowledgement, MapToPublish, Published, ReleaseKey
from zagg_catalog.releases import publish as publish_release
from zagg_catalog.releases.batches import OutputCheck
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_history
from zagg_catalog.store import Store, open_store

RELEASE_KEY = ReleaseKey(*inputs.RELEASE_KEY)
GRIDS = ("healpix", "plate")

_HEAD = """data_source:
  reader: h5coro
  driver: s3
  groups: [gt1l]
  coordinates:
    latitude: "/{group}/land_ice_segments/latitude"
    longitude: "/{group}/land_ice_segments/longitude"
  variables:
    h_li: "/{group}/land_ice_segments/h_li"
aggregation:
  coordinates: {morton: {dtype: uint64, fill_value: 0}}
  variables:
    count: {function: len, source: h_li, dtype: int32, fill_value: 0}
"""
CONFIGS = {
    "healpix": _HEAD + "output:\n  grid: {type: healpix, parent_order: 5, child_order: 8}\n",
    "plate": _HEAD + "output:\n  grid: {type: rectilinear, crs: EPSG:4326, resolution: 0.1,"
    " bounds: [-10, -10, 30, 10], chunk_shape: [10, 10]}\n",
}
# Granule number → revision. `more` has a granule more and one revised, `fewer` lost the first.
CATALOGS = {
    "first": dict.fromkeys(range(6), 1),
    "more": dict.fromkeys(range(7), 1) | {3: 2},
    "most": dict.fromkeys(range(8), 1) | {3: 2},
    "fewer": dict.fromkeys(range(1, 6), 1),
}
BOX = "[-1, -1, 28, 2]"
REGION = [([-1, -1, 2, 2], [-1, 28, 28, -1])]


def write_inputs(folder: Path) -> None:
    """Write the catalogs, and a map of each for every grid."""
    for grid, config in CONFIGS.items():
        (folder / f"{grid}.yaml").write_text(config)
    for name, numbers in CATALOGS.items():
        catalog = inputs.make(numbers)
        catalog.to_geoparquet(folder / f"{name}.parquet")
        for grid in GRIDS:
            build = MapToPublish(grid, folder / f"{grid}.yaml")
            built = ShardMap.build(catalog, build.output_grid, region=REGION)
            built.to_parquet(folder / f"{name}-{grid}.parquet")


class Desk:
    """What a test acts on; `calls` are the calls of the zagg that `watched` puts in place."""

    check = OutputCheck(checked_at=datetime(2026, 1, 1, tzinfo=UTC))
    """What the comparison of an output finds; the stand-in for zagg writes none."""

    def __init__(self, inputs_folder: Path, folder: Path, store_url: str | None = None) -> None:
        self.inputs, self.folder = inputs_folder, folder
        self.store_url = store_url or str(folder / "store")
        self.registry_file = folder / "registry.yaml"
        self.calls: list[ZaggCall] = []
        self.handed: list[list[int]] = []
        self.ending: Exception | None = None
        self.summary: dict = {}
        # The steps that concern the whole output, with their shards.
        self.steps: list[tuple[str, list[int]]] = []
        self.step_ending: Exception | None = None
        # What zagg says of a shard, by key, where it is not `done`; and of absent beams.
        self.results: dict[int, dict] = {}
        self.absent: dict[str, tuple[str, ...]] = {}
        for grid, config in CONFIGS.items():
            (folder / f"{grid}.yaml").write_text(config)
        self.register(*GRIDS)

    @property
    def store(self) -> Store:
        return open_store(self.store_url)

    @property
    def registry(self) -> Registry:
        return load_registry(self.registry_file, tolerate_broken_grids=True)

    def register(self, *grids: str, region: str = "antarctica") -> None:
        entry = "{{config: {0}.yaml, products: [ATL06_007], region: {1}}}"
        lines = [f"  {grid}: {entry.format(grid, region)}" for grid in grids]
        boxes = f"regions: {{antarctica: {{bbox: {BOX}}}, greenland: {{bbox: {BOX}}}}}"
        self.registry_file.write_text("\n".join([boxes, "grids:", *lines]))

    def configure(self, grid: str, old: str, new: str) -> None:
        """Change the aggregator's own config of a grid."""
        path = self.folder / f"{grid}.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def shards(self, name: str, grid: str = "healpix") -> list[int]:
        """Shard keys of the map of an input catalog."""
        return self.map(name, grid).shard_keys

    def map(self, name: str, grid: str = "healpix") -> ShardMap:
        """The map of an input catalog."""
        return ShardMap.from_parquet(self.inputs / f"{name}-{grid}.parquet")

    def publish(self, name: str, *, failed: tuple[str, ...] = (), **options) -> Published:
        builds = [
            MapToPublish(grid, self.inputs / f"{grid}.yaml", error="Out of memory.")
            if grid in failed
            else MapToPublish(
                grid,
                self.inputs / f"{grid}.yaml",
                shard_map=ShardMap.from_parquet(self.inputs / f"{name}-{grid}.parquet"),
            )
            for grid in GRIDS
        ]
        catalog = self.inputs / f"{name}.parquet"
        given = {"catalog": catalog, "maps": builds, "region": inputs.REGION}
        given |= {"allow_contraction": True}
        return publish_release(self.store, **(given | options))

    def request(self, grid: str = "healpix", **changes) -> PickupRequest:
        given = {
            "release_key": RELEASE_KEY,
            "grid": grid,
            "folder": self.folder / "work",
            "by": "someone@somewhere",
            "lease": timedelta(seconds=30),
            "wait": 0.0,
            "timeout": 600.0,
        }
        return PickupRequest(**(given | changes))

    def pick(self, grid: str = "healpix", run_batches=run_in_turn, **changes) -> PickupResult:
        request = self.request(grid, **changes)
        return pick_up(self.store, request, self.registry, run_batches=run_batches)

    def aggregate(self, grid: str = "healpix", **changes) -> PickupResult:
        """Pick up without a dry run."""
        return self.pick(grid, **({"dry_run": False, "output": str(self.folder / "out")} | changes))

    def history(self, grid: str = "healpix") -> PickupHistory:
        return read_pickup_history(self.store, RELEASE_KEY, grid)[0]

    def acknowledgement(self, grid: str = "healpix") -> Acknowledgement:
        """The newest acknowledgement."""
        key = self.history(grid).entries[0].key
        return Acknowledgement.load(self.store.get(key))

    def files(self) -> dict[str, int]:
        root = Path(self.store_url)
        return {
            str(path.relative_to(root)): path.stat().st_mtime_ns
            for path in root.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    def watch(self, monkeypatch, zagg=None) -> None:
        """Put a stand-in for zagg in place, by default one that notes its calls."""
        for place in ("run", "batches"):
            monkeypatch.setattr(f"zagg_catalog.aggregation.{place}.run_zagg", zagg or self.zagg)
        monkeypatch.setattr(ZaggForks, "begin", lambda _: None)
        compare = "zagg_catalog.aggregation.hand_over.compare_output"
        monkeypatch.setattr(compare, lambda *_, **__: self.check)

    def zagg(self, call: ZaggCall, folder: Path, **_: object) -> ZaggAnswer:
        """Stand in for zagg: read what it would read, and say what it would say."""
        if call.step in ("open", "close"):
            return self._whole(call)
        document = json.loads(Path(call.catalog).read_text())
        self.calls.append(call)
        self.handed.append(document["shard_keys"])
        if not call.dry_run and "://" not in call.store:
            write_output(call)
        if self.ending is not None:
            raise self.ending
        summary = {"total_cells": len(document["shard_keys"]), "dry_run": call.dry_run}
        return ZaggAnswer(
            version="0.61.0",
            signature=document["grid_signature"],
            summary=summary | self.summary,
            shards=() if call.dry_run else tuple(self._results(document)),
            absent={} if call.dry_run else self.absent,
        )

    def _whole(self, call: ZaggCall) -> ZaggAnswer:
        self.steps.append((call.step, list(call.keys)))
        if self.step_ending is not None:
            raise self.step_ending
        return ZaggAnswer(version="0.61.0", signature=call.signature, summary={})

    def _results(self, document: dict) -> Iterator[ShardResult]:
        """The result of each shard of a manifest: done, unless a test wants another."""
        for key, granules in zip(document["shard_keys"], document["granules"], strict=True):
            count = len(granules)
            done = {"state": "done", "observations": 10 * count, "cells": count}
            done |= {"granules": count, "read": count}
            yield ShardResult(key=key, **(done | self.results.get(key, {})))


def write_output(call: ZaggCall) -> None:
    """Write what zagg writes first to an output."""
    config = read_config(Path(call.config).read_bytes())
    place = open_output(call.store, config, create=True)
    assert place is not None
    place.write(place.first_key, b"{}")


def alter(path: str | os.PathLike[str]) -> None:
    """Change one byte in the middle of a file."""
    file = Path(path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
