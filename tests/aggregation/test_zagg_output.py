"""Processes of zagg side by side, and the steps around them, make what one process makes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyproj import Transformer

from tests.harness.output_content import content_of
from zagg_catalog import from_config
from zagg_catalog.aggregation.zagg import (
    ZaggCall,
    may_run_side_by_side,
    needs_closing,
    needs_opening,
    run_zagg,
)
from zagg_catalog.errors import AggregationFailed
from zagg_catalog.sandbox.earthdata import DATA_HOST, EarthdataServer

BEAMS = ("gt1l", "gt1r", "gt2l", "gt2r", "gt3l", "gt3r")
HEALPIX = {"type": "healpix", "indexing_scheme": "nested"}
HEALPIX |= {"parent_order": 6, "chunk_inner": 7, "child_order": 10}
POLAR = {"type": "rectilinear", "crs": "EPSG:3413", "resolution": 4000}
POLAR |= {"bounds": [-400000, -2300000, 200000, -1900000], "chunk_shape": [32, 32]}
AXES = ("latitude", "longitude")
TIMEOUT = 600


def config_of(grid: dict) -> dict:
    segments = "/{group}/land_ice_segments"
    coordinates = {} if grid is POLAR else {"morton": {"dtype": "uint64", "fill_value": 0}}
    return {
        "data_source": {
            "reader": "h5coro",
            "driver": "https",
            "groups": list(BEAMS),
            "coordinates": {name: f"{segments}/{name}" for name in ("latitude", "longitude")},
            "variables": {"h_li": f"{segments}/h_li"},
        },
        "aggregation": {
            "coordinates": coordinates,
            "variables": {
                "count": {"function": "len", "source": "h_li", "dtype": "int32", "fill_value": 0},
                "h_max": {"function": "max", "source": "h_li", "dtype": "float32"},
            },
        },
        "output": {"touch": "never", "grid": grid},
    }


def real(test):
    """Mark a test that runs zagg, in forks of one process."""
    for name in ("zagg", "slow", "integration"):
        test = getattr(pytest.mark, name)(test)
    return pytest.mark.usefixtures("forked_zagg")(test)


@dataclass
class Output:
    """An output, and the shards of a map that processes of zagg write to it."""

    folder: Path
    grid: dict
    shards: dict[int, list[dict]]

    @property
    def place(self) -> Path:
        return self.folder / "output"

    @property
    def step(self) -> str:
        return "part" if needs_closing(config_of(self.grid)) else "run"

    def call(self, name: str, shards: dict[int, list[dict]] | None = None, **given) -> ZaggCall:
        folder = self.folder / name
        folder.mkdir(parents=True)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(config_of(self.grid)))
        signature = from_config(config).spatial_signature()
        manifest = {"metadata": {}, "grid_signature": signature}
        manifest |= {"shard_keys": list(shards or {}), "granules": list((shards or {}).values())}
        (folder / "map.json").write_text(json.dumps(manifest))
        return ZaggCall(
            config=str(config),
            catalog=str(folder / "map.json"),
            store=str(self.place),
            dry_run=False,
            shards=len(shards or {}),
            signature=signature,
            **given,
        )

    def run(self, name: str, *args, **given):
        call = self.call(name, *args, **given)
        return run_zagg(call, Path(call.config).parent, timeout=TIMEOUT)

    def run_side_by_side(self, parts: int = 2) -> None:
        keys = np.array_split(np.array(list(self.shards), np.uint64), parts)
        with ThreadPoolExecutor(parts) as pool:
            calls = [pool.submit(self._part, n, some.tolist()) for n, some in enumerate(keys)]
        for call in calls:
            states = {shard.state for shard in call.result().shards}
            assert states == {"done"}

    def _part(self, number: int, keys: list[int]):
        shards = {key: self.shards[key] for key in keys}
        return self.run(f"part-{number}", shards, step=self.step)

    def close(self, name: str = "close"):
        return self.run(name, step="close", keys=tuple(self.shards))


@pytest.fixture(scope="module")
def tracks(tmp_path_factory) -> Path:
    """Three granules that cross West Greenland, at addresses of Earthdata."""
    h5py = pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
    folder = tmp_path_factory.mktemp("tracks")
    (folder / "bucket").mkdir()
    random = np.random.default_rng(1)
    for number in range(3):
        along = np.linspace(0, 1, 400)
        name = f"ATL06_2024010{number + 1}000000_{100 + number:04d}2203_007_01.h5"
        with h5py.File(folder / "bucket" / name, "w") as file:
            for beam, group in enumerate(BEAMS):
                segments = file.create_group(f"{group}/land_ice_segments")
                segments["latitude"] = 70 + 2 * along
                segments["longitude"] = -50 + number + 1.2 * along + 0.02 * beam
                segments["h_li"] = (1000 + random.standard_normal(400)).astype("f4")
    return folder


@pytest.fixture
def earthdata(tracks, monkeypatch) -> Iterator[EarthdataServer]:
    pytest.importorskip("trustme", reason="trustme comes with the extra sandbox")
    with EarthdataServer(tracks) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["healpix", "polar"])
def grid(request) -> dict:
    return HEALPIX if request.param == "healpix" else POLAR


@pytest.fixture
def make_output(earthdata, tracks, tmp_path):
    def make(name: str, grid: dict) -> Output:
        return Output(tmp_path / name, grid, shards_of(tracks, grid))

    return make


def shards_of(tracks: Path, grid: dict) -> dict[int, list[dict]]:
    import h5py

    shards: dict[int, list[dict]] = {}
    for path in sorted((tracks / "bucket").iterdir()):
        place = f"bucket/{path.name}"
        entry = {"id": path.name, "s3": f"s3://{place}", "https": f"https://{DATA_HOST}/{place}"}
        with h5py.File(path) as file:
            keys = [
                keys_of(grid, *(file[f"{beam}/land_ice_segments/{axis}"][:] for axis in AXES))
                for beam in BEAMS
            ]
        for key in np.unique(np.concatenate(keys)).tolist():
            shards.setdefault(key, []).append(entry)
    return dict(sorted(shards.items()))


def keys_of(grid: dict, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
    """The shards of points, on the polar grid by its definition."""
    if grid is HEALPIX:
        return np.asarray(from_config(config_of(grid)).shard_at(lats, lons))
    x, y = Transformer.from_crs(4326, 3413, always_xy=True).transform(lons, lats)
    west, _, east, north = grid["bounds"]
    side = grid["resolution"] * grid["chunk_shape"][0]
    columns = -(-(east - west) // side)
    rows, column = np.floor((north - y) / side), np.floor((x - west) / side)
    return (rows * columns + column).astype(int)


@real
def test_side_by_side_makes_what_one_process_makes(make_output, grid):
    whole, parts = make_output("whole", grid), make_output("parts", grid)
    whole.run("run", whole.shards)
    if needs_opening(config_of(grid)):
        parts.run("open", step="open")
    parts.run_side_by_side()
    if needs_closing(config_of(grid)):
        summary = parts.close().summary
        assert (summary["closed_shards"], summary["rollups_failed"]) == (len(parts.shards), 0)
    assert content_of(parts.place) == content_of(whole.place)


@real
def test_a_closing_makes_a_torn_output_whole(make_output):
    """The process that closed it was killed, and left zagg's lease on the overviews."""
    whole, torn = make_output("whole", HEALPIX), make_output("torn", HEALPIX)
    whole.run("run", whole.shards)
    torn.run_side_by_side()
    half = dict(list(torn.shards.items())[:2])
    torn.run("half", step="close", keys=tuple(half))
    ago = (datetime.now(UTC) - timedelta(seconds=178)).isoformat(timespec="seconds")
    lease = {"spec": "zagg-sweep-lease/1", "run_id": "dead", "scope": None, "ttl_s": 180}
    lease |= {"acquired_at": ago, "heartbeat_at": ago}
    (torn.place / "sweep.lease.json").write_text(json.dumps(lease))
    torn.close()
    assert content_of(torn.place) == content_of(whole.place)
    assert not (torn.place / "sweep.lease.json").exists()


@real
def test_a_closing_fails_if_the_output_lacks_a_shard(make_output):
    output = make_output("output", HEALPIX)
    first = dict(list(output.shards.items())[:1])
    output.run("first", first, step="part")
    assert not (output.place / "coverage.moc").exists()
    missing = len(output.shards) - 1
    with pytest.raises(AggregationFailed, match=f"has no data of {missing} shards"):
        output.close()
    shutil.rmtree(output.place)
    with pytest.raises(AggregationFailed, match=f"has no data of {missing + 1} shards"):
        output.close("again")


def test_which_outputs_allow_side_by_side():
    healpix, polar = config_of(HEALPIX), config_of(POLAR)
    assert (needs_opening(healpix), needs_closing(healpix)) == (False, True)
    assert (needs_opening(polar), needs_closing(polar)) == (True, False)
    windows = healpix | {"output": healpix["output"] | {"windowing": {"schedule": "monthly"}}}
    assert not may_run_side_by_side(windows)
    assert not may_run_side_by_side(healpix, "lambda")
    assert not may_run_side_by_side(polar, "lambda")
