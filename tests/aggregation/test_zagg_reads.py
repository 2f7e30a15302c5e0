"""The installed zagg over files that are damaged, refused or gone: what is said of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from zagg_catalog.aggregation.zagg import ZaggAnswer, ZaggCall, run_zagg
from zagg_catalog.grids import from_config
from zagg_catalog.sandbox.earthdata import EarthdataServer
from zagg_catalog.sandbox.hdf5 import LACKS_GT3R, write_granule
from zagg_catalog.sandbox.simulation import simulate

pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
pytest.importorskip("trustme", reason="trustme comes with the extra sandbox")

SOURCE = yaml.safe_load(Path("deployments/grids/atl06-antarctica-polar.yaml").read_text())
# Around the pole, where each of the tracks crosses both shards.
GRID = {"type": "rectilinear", "crs": "EPSG:3031", "resolution": 25_000, "chunk_shape": [80, 40]}
GRID |= {"bounds": [-1e6, -1e6, 1e6, 1e6]}


@dataclass
class Desk:
    """Granules on a server, and the manifest that names them."""

    folder: Path
    earthdata: EarthdataServer
    granules: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, track: int, damage: Callable[[Path], None] = lambda _: None) -> str:
        """Serve a granule, and return its name."""
        row = simulate(tracks=[track], regions=[11], gaps=False, suffixed=0).table.to_pylist()[0]
        name = row["data"].rpartition("/")[2]
        path = self.folder / "data" / urlsplit(row["data"]).path.strip("/")
        damage(write_granule(path, spacing=2000.0, latitudes=(-90.0, -80.0)))
        self.granules[name] = {"id": row["id"], "s3": row["data_s3"], "https": row["data"]}
        return name

    def aggregate(self, **options) -> ZaggAnswer:
        """Aggregate all granules into both shards."""
        config = {**SOURCE, "output": {"grid": GRID}}
        signature = from_config(config).spatial_signature()
        document = {"metadata": {}, "grid_signature": signature, "shard_keys": [0, 1]}
        document["granules"] = [list(self.granules.values())] * 2
        work = self.folder / "work"
        work.mkdir()
        (work / "config.yaml").write_text(yaml.safe_dump(config))
        (work / "map.json").write_text(json.dumps(document))
        call = ZaggCall(
            config=str(work / "config.yaml"),
            catalog=str(work / "map.json"),
            store=str(self.folder / "out"),
            dry_run=False,
            shards=2,
            signature=signature,
            options={"driver": "https"},
        )
        return run_zagg(call, work, **({"timeout": 600} | options))


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Iterator[Desk]:
    with EarthdataServer(tmp_path / "data") as earthdata:
        for name, value in earthdata.environment.items():
            monkeypatch.setenv(name, value)
        yield Desk(tmp_path, earthdata)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    """Write over 16 kB in the middle."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16384] = bytes((7 * i * i + 13) % 251 for i in range(16384))
    path.write_bytes(content)


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>Earthdata Login</body></html>")


def test_each_file_that_cannot_be_read_is_named_with_its_reason(desk):
    good, lacks = desk.add(1), desk.add(LACKS_GT3R)
    reasons = {
        desk.add(3, Path.unlink): "HTTP error 404",
        desk.add(4, page): "the server sent a web page",
        desk.add(5, cut): "the file is cut short",
        desk.add(6, noise): "gt2r: the file is damaged (invalid group b-tree signature",
    }
    answer = desk.aggregate()
    assert answer.absent == {lacks: ("gt3r",)}
    assert good
    for shard in answer.shards:
        assert shard.state == "unread"
        assert shard.unread == tuple(reasons)
        assert (shard.granules, shard.read) == (6, 3), "the damaged file has sound beams"
    assert answer.shards[0].reason == f"{shard.unread[0]}: HTTP error 404 - Failed to read"
