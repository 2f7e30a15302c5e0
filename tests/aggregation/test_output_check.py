"""A real output of zagg against what zagg reported, whole and damaged."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.harness import servers
from zagg_catalog.aggregation.output_check import Reported, check_output, check_text
from zagg_catalog.aggregation.output_place import open_output
from zagg_catalog.aggregation.semantics import aggregation_core
from zagg_catalog.errors import MissingPackage
from zagg_catalog.releases.batches import OutputCheck

pytestmark = pytest.mark.zagg
for package in ("zagg", "obstore", "h5py"):
    pytest.importorskip(package)


@dataclass
class Output:
    """An output of zagg, and what zagg reported of its shards: key → observations, cells."""

    url: str
    config: dict
    signature: dict
    reported: dict[int, tuple[int, int]]

    @property
    def folder(self) -> Path:
        return Path(self.url)

    @property
    def keys(self) -> list[int]:
        return sorted(self.reported)

    def check(self, reported: dict[int, tuple[int, int]] | None = None, **options) -> OutputCheck:
        results = [(key, "done", *values) for key, values in (reported or self.reported).items()]
        place = open_output(self.url, self.config)
        assert place is not None
        core = aggregation_core(self.config)
        return check_output(place, self.signature, core, Reported.of(results), **options)

    def leaf(self, key: int) -> Path:
        from mortie import MortonIndexArray

        words = np.asarray([key], np.uint64)
        return self.folder / MortonIndexArray.from_words(words).hive_path()[0]


def load(made: Path, grid: str, url: Path) -> Output:
    result = json.loads((made / f"{grid}-result.json").read_text())
    return Output(
        str(url),
        yaml.safe_load((made / f"{grid}.yaml").read_text()),
        result["signature"],
        {key: (observations, cells) for key, observations, cells in result["reported"] if cells},
    )


@pytest.fixture
def healpix(made, tmp_path) -> Output:
    """A copy that a test may damage, without the companion, which knows its own folder."""
    ignored = shutil.ignore_patterns("icechunk")
    shutil.copytree(made / "healpix", tmp_path / "healpix", ignore=ignored)
    return load(made, "healpix", tmp_path / "healpix")


@pytest.fixture
def plate(made, tmp_path) -> Output:
    shutil.copytree(made / "plate", tmp_path / "plate")
    return load(made, "plate", tmp_path / "plate")


def flip(path: Path) -> None:
    """Change a bit of the first byte."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))


def test_a_whole_healpix_output_agrees_at_every_order_and_in_icechunk(made):
    output = load(made, "healpix", made / "healpix")
    found = output.check()
    assert (found.problems, found.notes) == ((), ())
    assert (found.shards, found.read, found.icechunk) == (len(output.keys),) * 2 + (True,)
    assert found.overviews >= 6
    assert found.clean


def test_a_whole_rectilinear_output_agrees(plate):
    found = plate.check()
    assert (found.problems, found.notes) == ((), ())
    assert (found.shards, found.read, found.icechunk) == (len(plate.keys),) * 2 + (None,)


def test_a_missing_shard_is_named(healpix):
    lost = healpix.keys[1]
    shutil.rmtree(healpix.leaf(lost))
    found = healpix.check()
    assert found.problems == (f"Shard {lost}: it is missing, or zagg did not finish it.",)
    assert found.damaged.keys == (lost,)
    assert not found.clean
    assert f"Shards: 1 in all: {lost}" in check_text(found, healpix.url)


def test_a_shard_without_a_commit_is_not_finished(healpix):
    torn = healpix.keys[0]
    metadata = healpix.leaf(torn) / "zarr.json"
    metadata.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    assert healpix.check().damaged.keys == (torn,)


@pytest.mark.parametrize("variable", ["count", "h_mean", "morton"])
def test_a_value_that_changed_in_the_output_is_found(healpix, variable):
    hurt = healpix.keys[2]
    (chunk,) = healpix.leaf(hurt).glob(f"run-*/10/{variable}/c/0")
    flip(chunk)
    found = healpix.check()
    assert found.damaged.keys == (hurt,)
    assert f"10/{variable}" in found.problems[0]


def test_an_array_that_cannot_be_read_is_found(healpix):
    hurt = healpix.keys[0]
    (chunk,) = healpix.leaf(hurt).glob("run-*/10/h_mean/c/0")
    chunk.write_bytes(chunk.read_bytes()[:-9])
    found = healpix.check()
    assert found.damaged.keys == (hurt,)
    assert "cannot be read" in found.problems[0]


def test_fewer_cells_than_zagg_reported_are_found(healpix, plate):
    for output in (healpix, plate):
        key = output.keys[0]
        observations, cells = output.reported[key]
        found = output.check(output.reported | {key: (observations, cells + 1)})
        assert found.damaged.keys == (key,)
        assert f"zagg reported {cells + 1}" in found.problems[0].replace(f"{observations} in ", "")


def test_overviews_that_lack_a_shard_are_found(healpix):
    """As after a killed run of zagg, which folds only its own shards upwards."""
    node = healpix.leaf(healpix.keys[0]).parents[1]
    shutil.rmtree(node / "all.zarr")
    found = healpix.check()
    assert any("has 0 observations, and those below it have" in one for one in found.problems)
    assert healpix.keys[0] in found.damaged.keys


def test_a_companion_that_cannot_be_read_is_found(made, tmp_path):
    shutil.copytree(made / "healpix", tmp_path / "moved")
    found = load(made, "healpix", tmp_path / "moved").check()
    assert found.icechunk is False
    assert "Icechunk companion" in found.problems[0]


def test_a_manifest_of_another_grid_is_found(healpix):
    other = healpix.signature | {"child_order": 11}
    healpix.signature = other
    assert "has cell_order 10, and the grid 11" in healpix.check().problems[0]


def test_a_missing_chunk_of_a_rectilinear_output_is_named(plate):
    lost = plate.keys[3]
    row, column = divmod(lost, plate.signature["shape"][1] // 64)
    (plate.folder / f"rectilinear/count/c/{row}/{column}").unlink()
    found = plate.check()
    assert found.damaged.keys == (lost,)
    assert "it has 0 observations in 0 cells" in found.problems[0]


def test_a_missing_array_of_a_rectilinear_output_is_named(plate):
    shutil.rmtree(plate.folder / "rectilinear/h_mean")
    found = plate.check()
    assert found.problems == ("Array rectilinear/h_mean is missing or cannot be read.",)
    assert found.damaged.count == len(plate.keys)


def test_of_many_shards_some_are_drawn_and_that_is_noted(healpix, plate):
    for output in (healpix, plate):
        found = output.check(limit=2, seed="ab" * 32)
        assert (found.read, found.shards) == (2, len(output.keys))
        assert found.notes == (
            f"The cells of 2 of {len(output.keys)} shards were read, drawn at random.",
        )
        assert found.clean


def test_every_shard_of_a_healpix_output_is_looked_up_even_if_few_are_read(healpix):
    for key in healpix.keys:
        shutil.rmtree(healpix.leaf(key))
    assert healpix.check(limit=1).damaged.count == len(healpix.keys)


def test_without_a_count_only_the_values_are_compared(healpix):
    del healpix.config["aggregation"]["variables"]["count"]
    found = healpix.check()
    assert found.clean
    assert any("no variable with function len" in note for note in found.notes)


def test_the_newest_result_of_a_shard_counts():
    found = Reported.of(
        [
            *[(1, "done", 5, 2), (2, "done", 7, 3), (3, "failed", 0, 0), (4, "done", 1, 1)],
            *[(1, "done", 9, 4), (2, "empty", 0, 0), (3, "done", 8, 8), (4, "failed", 0, 0)],
            *[(1, "current", 0, 0), (5, "current", 0, 0), (6, "done", 0, 0)],
        ]
    )
    assert found.keys.tolist() == [1, 3]
    assert found.observations.tolist() == [9, 8]
    assert found.cells.tolist() == [4, 8]
    assert found.unknown == 3


def test_shards_whose_content_is_unknown_are_noted(plate):
    place = open_output(plate.url, plate.config)
    reported = Reported.of([(1, "failed", 0, 0)])
    found = check_output(place, plate.signature, aggregation_core(plate.config), reported)
    assert found.notes == ("What 1 shards hold is not known.",)


def test_zarr_is_named_if_it_is_missing(plate, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackage, match="pip install"):
        plate.check()


@pytest.mark.integration
def test_an_output_in_a_bucket_is_checked_in_the_same_way(healpix, moto, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
    bucket, client = servers.new_bucket(moto.endpoint), servers.plain_client(moto.endpoint)
    lost = healpix.keys[0]
    for path in healpix.folder.rglob("*"):
        if path.is_file() and healpix.leaf(lost) not in path.parents:
            key = f"out/{path.relative_to(healpix.folder)}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    healpix.url = f"s3://{bucket}/out"
    whole = {key: values for key, values in healpix.reported.items() if key != lost}
    assert healpix.check().damaged.keys == (lost,)
    assert healpix.check(whole).read == len(whole)
