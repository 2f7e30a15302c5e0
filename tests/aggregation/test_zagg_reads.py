"""The installed zagg over files that are damaged, refused or gone: what is said of each."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.harness.servers import KEY_ID, SECRET, Server
from zagg_catalog.aggregation.granule_files import find_absent
from zagg_catalog.aggregation.granule_reads import GranuleReads
from zagg_catalog.aggregation.zagg import ZaggAnswer, ZaggCall, run_zagg
from zagg_catalog.aggregation.zagg_names import look_up
from zagg_catalog.errors import AggregationFailed
from zagg_catalog.grids import from_config
from zagg_catalog.sandbox.earthdata import EarthdataServer
from zagg_catalog.sandbox.hdf5 import LACKS_GT3R, write_granule
from zagg_catalog.sandbox.simulation import simulate

pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
h5py = pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
pytest.importorskip("trustme", reason="trustme comes with the extra sandbox")
pytestmark = [pytest.mark.zagg, pytest.mark.usefixtures("forked_zagg")]

GRIDS = Path(__file__).parents[2] / "deployments/grids"
SOURCE = yaml.safe_load((GRIDS / "atl06-antarctica-polar.yaml").read_text())
# Around the pole, where each of the tracks crosses both shards.
GRID = {"type": "rectilinear", "crs": "EPSG:3031", "resolution": 25_000, "chunk_shape": [80, 40]}
GRID |= {"bounds": [-1e6, -1e6, 1e6, 1e6]}
HEALPIX = {"type": "healpix", "indexing_scheme": "nested", "parent_order": 4, "child_order": 8}


@dataclass
class Desk:
    """Granules on a server, and the manifest that names them."""

    folder: Path
    earthdata: EarthdataServer
    driver: str = "https"
    shards: Sequence[int] = (0, 1)
    config: dict = field(default_factory=lambda: {**SOURCE, "output": {"grid": GRID}})
    granules: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, track: int, damage: Callable[[Path], None] = lambda _: None) -> str:
        """Serve a granule, and return its name."""
        row = simulate(tracks=[track], regions=[11], gaps=False, suffixed=0).table.to_pylist()[0]
        name = row["data"].rpartition("/")[2]
        path = self.earthdata.folder / urlsplit(row["data"]).path.strip("/")
        damage(write_granule(path, spacing=2000.0, latitudes=(-90.0, -80.0)))
        self.granules[name] = {"id": row["id"], "s3": row["data_s3"], "https": row["data"]}
        return name

    def aggregate(self, *names: str, call: Mapping[str, bool] = {}, **options) -> ZaggAnswer:
        """Aggregate granules, by default all, into both shards."""
        granules = [self.granules[name] for name in names or self.granules]
        signature = from_config(self.config).spatial_signature()
        document = {"metadata": {}, "grid_signature": signature, "shard_keys": list(self.shards)}
        document["granules"] = [granules] * len(self.shards)
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        (work / "config.yaml").write_text(yaml.safe_dump(self.config))
        (work / "map.json").write_text(json.dumps(document))
        asked = ZaggCall(
            config=str(work / "config.yaml"),
            catalog=str(work / "map.json"),
            store=str(self.folder / "out"),
            dry_run=False,
            shards=len(self.shards),
            signature=signature,
            options={"driver": self.driver},
            **call,
        )
        return run_zagg(asked, work, **({"timeout": 600} | options))


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Iterator[Desk]:
    """Granules over https."""
    with EarthdataServer(tmp_path / "data") as earthdata:
        for name, value in earthdata.environment.items():
            monkeypatch.setenv(name, value)
        yield Desk(tmp_path, earthdata)


@pytest.fixture
def s3_desk(desk, rclone, monkeypatch) -> Desk:
    """Granules on an S3 server that checks signatures, and not where outputs are."""
    desk.earthdata.folder = rclone_folder(rclone)
    desk.earthdata.s3_credentials = (KEY_ID, SECRET)
    desk.driver = "s3"
    monkeypatch.setenv("ZAGG_CATALOG_GRANULE_S3_ENDPOINT", rclone.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    return desk


def rclone_folder(server: Server) -> Path:
    return Path(server.command[-1])


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


def add_all(desk: Desk) -> tuple[str, dict[str, str]]:
    """Serve a sound granule, one without a beam, and damaged ones; return how they are named."""
    desk.add(1)
    lacks = desk.add(LACKS_GT3R)
    return lacks, {
        desk.add(3, Path.unlink): "does not exist" if desk.driver == "s3" else "HTTP error 404",
        desk.add(4, page): "the server sent a web page, as for a login, instead of the file",
        desk.add(5, cut): "the file is cut short: it has 1",
        desk.add(6, noise): "gt2r: the file is damaged (invalid group b-tree signature",
    }


def check_all(desk: Desk, answer: ZaggAnswer, lacks: str, reasons: dict[str, str]) -> None:
    log = (desk.folder / "work/zagg.log").read_text()
    assert answer.absent == {lacks: ("gt3r",)}
    for shard in answer.shards:
        assert shard.state == "unread"
        assert shard.unread == tuple(reasons)
        assert (shard.granules, shard.read) == (6, 3), "the damaged file has sound beams"
        assert shard.observations > 0
        assert all(reason in log for reason in reasons.values() if "damaged" not in reason)
        assert next(iter(reasons.values())) in shard.reason


def test_each_file_that_cannot_be_read_over_https_is_named_with_its_reason(desk):
    lacks, reasons = add_all(desk)
    check_all(desk, desk.aggregate(), lacks, reasons)


def test_each_object_that_cannot_be_read_from_s3_is_named_with_its_reason(s3_desk):
    """AWS_ENDPOINT_URL_S3, the server of outputs, is not asked for granules."""
    lacks, reasons = add_all(s3_desk)
    check_all(s3_desk, s3_desk.aggregate(), lacks, reasons)


def test_keys_that_are_not_accepted_leave_every_granule_unread(s3_desk):
    names = [s3_desk.add(track) for track in (1, 2)]
    s3_desk.earthdata.s3_credentials = (KEY_ID, "another-secret")
    for shard in s3_desk.aggregate().shards:
        assert (shard.state, shard.cells, shard.unread) == ("unread", 0, tuple(names))
        assert "SignatureDoesNotMatch" in shard.reason
        assert "another-secret" not in shard.reason


@pytest.mark.slow
def test_a_login_page_instead_of_a_granule_leaves_that_one_unread(desk):
    """As Earthdata sends it, with status 200, when a token ends in the middle."""
    _, name = [desk.add(track) for track in (1, 2)]
    desk.earthdata.refusals[name] = "page"
    for shard in desk.aggregate().shards:
        assert (shard.state, shard.unread, shard.read) == ("unread", (name,), 1)
        assert "a web page, as for a login" in shard.reason


def test_absent_beams_are_found_without_reading_and_a_damaged_file_has_none(desk):
    """As for granules that other machines read."""
    lacks = desk.add(LACKS_GT3R)
    for track, damage in [(1, lambda _: None), (3, Path.unlink), (5, cut), (6, noise)]:
        desk.add(track, damage)
    addresses = [granule["https"] for granule in desk.granules.values()]
    reads = GranuleReads(desk.folder / "reading.json")
    found = find_absent(look_up(), reads, addresses, SOURCE["data_source"])
    assert found == {lacks: ["gt3r"]}


@pytest.mark.slow
def test_a_password_that_is_not_accepted_ends_the_run_without_it(desk, monkeypatch):
    desk.add(1)
    monkeypatch.delenv("EARTHDATA_TOKEN")
    monkeypatch.setenv("EARTHDATA_USERNAME", "someone")
    monkeypatch.setenv("EARTHDATA_PASSWORD", "hunter2")
    with pytest.raises(AggregationFailed, match=r"^zagg: LoginAttemptFailure: .*invalid") as caught:
        desk.aggregate()
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["s3", "https"])
def test_a_token_that_is_not_accepted(desk, monkeypatch, driver):
    """By s3 no keys are given for it; by https each read is refused."""
    name, desk.driver = desk.add(1), driver
    monkeypatch.setenv("EARTHDATA_TOKEN", "of-yesterday")
    if driver == "s3":
        with pytest.raises(AggregationFailed, match=r"^zagg: Earthdata gave no S3 credentials"):
            desk.aggregate()
        return
    for shard in desk.aggregate().shards:
        assert (shard.state, shard.reason) == ("unread", f"{name}: HTTP error 401 - Failed to read")


@pytest.fixture
def healpix_desk(desk) -> Desk:
    """Two granules and the shard of HEALPix in which they cross."""
    mortie = pytest.importorskip("mortie")
    desk.config = yaml.safe_load((GRIDS / "atl06-antarctica-healpix.yaml").read_text())
    desk.config["output"]["grid"] = HEALPIX
    for track in (1, 2):
        desk.add(track)
    with h5py.File(next(desk.earthdata.folder.rglob("*.h5"))) as file:
        segments = file["gt1l/land_ice_segments"]
        place = [segments[name][0] for name in ("latitude", "longitude")]
    desk.shards = [int(mortie.geo2mort(*place, HEALPIX["parent_order"])[0])]
    return desk


@pytest.mark.slow
def test_what_zagg_writes_skips_refuses_and_writes_again_is_told_apart(healpix_desk):
    desk, first = healpix_desk, next(iter(healpix_desk.granules))

    def states(*names: str, **call: bool) -> list[tuple[str, str | None]]:
        return [(shard.state, shard.reason) for shard in desk.aggregate(*names, call=call).shards]

    assert states() == [("done", None)]
    assert states() == [("current", None)]
    assert states(first) == [
        ("refused", "granules that are in the output are not in the manifest: 1")
    ]
    assert states(overwrite=True) == [("done", None)]


@pytest.mark.slow
def test_a_shard_that_cannot_be_written_failed_with_zagg_s_reason(healpix_desk):
    """Without numbers of the cells, which zagg needs on HEALPix."""
    del healpix_desk.config["aggregation"]["coordinates"]
    (shard,) = healpix_desk.aggregate().shards
    assert (shard.state, shard.unread) == ("failed", ())
    assert "/morton" in shard.reason  # versions of zagg say it in other words


@pytest.mark.slow
def test_a_shard_that_is_done_is_right_whatever_fails_beside_it(desk):
    """Every 150th read is refused, in whichever shard and granule it happens to be."""
    zarr = pytest.importorskip("zarr")
    desk.config["output"] = {"grid": GRID | {"chunk_shape": [40, 40]}}
    desk.shards = (0, 1, 2, 3)
    for track in range(1, 6):
        desk.add(track)
    whole = desk.aggregate()
    right = zarr.open_array(desk.folder / "out/rectilinear/count", mode="r")[:]
    shutil.move(desk.folder / "out", desk.folder / "whole")
    reads = itertools.count(1)
    desk.earthdata.on_read = lambda _: None if next(reads) % 150 else "denied"
    found = desk.aggregate()
    counts = zarr.open_array(desk.folder / "out/rectilinear/count", mode="r")[:]
    assert {shard.state for shard in whole.shards} == {"done"}
    assert "unread" in {shard.state for shard in found.shards}
    for before, shard in zip(whole.shards, found.shards, strict=True):
        row, column = (40 * part for part in divmod(shard.key, 2))
        block = slice(row, row + 40), slice(column, column + 40)
        if shard.state == "done":
            assert shard == before
            assert (counts[block] == right[block]).all()
        else:
            assert shard.observations <= before.observations
            assert "403" in shard.reason


@pytest.mark.slow
def test_a_server_that_does_not_answer_ends_the_process_which_names_the_granule(desk):
    name = desk.add(1)
    desk.earthdata.refusals[name] = "hang"
    with pytest.raises(AggregationFailed, match="no read of a granule ended for 5 s") as caught:
        desk.aggregate(stall=5)
    assert caught.value.granules == (name,)
