"""The judge finds what is planted: it would find it in a product, too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from pyproj import Transformer

from tests.aggregation.real.site import Site
from tests.harness import judge

# Of an output on HEALPix, the arrays of counts: of leaves, of overviews beside and above them.
LEAF, COLUMN, NODE = "**/run-*/9/count", "**/all.pyramid.zarr/7/count", "*/all.zarr/2/count"


@pytest.fixture(scope="module")
def outputs(archive, one_earthdata, tmp_path_factory) -> Site:
    """A site of which both grids are aggregated; tests copy what they spoil."""
    from tests.aggregation.real.site import COARSE

    site = Site(archive, COARSE, tmp_path_factory.mktemp("judged"))
    site.publish()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in one_earthdata.environment.items():
            patch.setenv(name, value)
        for grid in site.configs:
            assert site.aggregate(grid).error is None
    return site


def spoil(site: Site, grid: str, copy: Path) -> Path:
    return Path(shutil.copytree(site.place(grid), copy))


def one_more(array: Path) -> None:
    """Count a point more in the first cell that has some."""
    stored = zarr.open_array(str(array), mode="r+")
    values = stored[...]
    values.flat[np.flatnonzero(values)[0]] += 1
    stored[...] = values


@pytest.mark.parametrize("grid", ["healpix", "polar"])
def test_an_output_is_right(outputs, grid) -> None:
    verdict = outputs.judge(grid)
    assert verdict.right, str(verdict)
    assert verdict.points > 1000


@pytest.mark.parametrize("pattern", [LEAF, COLUMN, NODE])
def test_a_count_of_healpix_is_wrong(outputs, tmp_path, pattern) -> None:
    copy = spoil(outputs, "healpix", tmp_path / "copy")
    one_more(min(copy.glob(pattern)))
    verdict = outputs.judge("healpix", output=copy, repository=repository(outputs))
    assert len(verdict.wrong) == 1, str(verdict)
    assert "count is" in verdict.wrong[0]
    assert verdict.missing == verdict.extra == []


def repository(site: Site):
    return judge.open_local(Path(site.place("healpix")))


def test_a_shard_of_healpix_is_missing(outputs, tmp_path) -> None:
    copy = spoil(outputs, "healpix", tmp_path / "copy")
    shutil.rmtree(min(copy.glob("**/-*.zarr")))
    verdict = outputs.judge("healpix", output=copy, repository=repository(outputs))
    assert verdict.missing
    assert verdict.wrong == verdict.extra == []


def test_an_overview_of_healpix_is_missing(outputs, tmp_path) -> None:
    copy = spoil(outputs, "healpix", tmp_path / "copy")
    shutil.rmtree(min(copy.glob("*/*/all.zarr")))
    verdict = outputs.judge("healpix", output=copy, repository=repository(outputs))
    assert {text.partition(" cell")[0] for text in verdict.missing} == {"node 1 order 3"}


def test_a_chunk_of_icechunk_is_spoilt(outputs, tmp_path) -> None:
    """The repository refers to the files of the output: it sees what becomes of them."""
    site = Site(outputs.archive, outputs.area, tmp_path / "moved")
    shutil.copytree(outputs.place("healpix"), site.place("healpix"))
    original = repository(outputs)
    assert site.judge("healpix", repository=original).right
    leaf = min(Path(outputs.place("healpix")).glob("**/run-*/9/count"))
    before = {path: path.read_bytes() for path in leaf.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in before}  # the checksums of a folder
    one_more(leaf)
    try:
        with pytest.raises(Exception, match="checksum"):
            site.judge("healpix", repository=original)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
            os.utime(path, ns=(times[path], times[path]))


@pytest.mark.parametrize(
    ("change", "kind"), [(1, "wrong"), (None, "missing")], ids=["wrong", "missing"]
)
def test_a_cell_of_a_rectilinear_grid_differs(outputs, tmp_path, change, kind) -> None:
    copy = spoil(outputs, "polar", tmp_path / "copy")
    stored = zarr.open_group(str(copy), mode="r+")["rectilinear/count"]
    row, column = np.argwhere(stored[...] > 0)[0]
    stored[row, column] = 0 if change is None else stored[row, column] + change
    verdict = outputs.judge("polar", output=copy)
    assert len(getattr(verdict, kind)) == 1, str(verdict)


def test_a_cell_of_a_rectilinear_grid_is_one_too_many(outputs, tmp_path) -> None:
    copy = spoil(outputs, "polar", tmp_path / "copy")
    stored = zarr.open_group(str(copy), mode="r+")["rectilinear/count"]
    rows, columns = np.nonzero(stored[...] > 0)
    stored[rows[0] + 1, columns[0]] = 1 + stored[rows[0] + 1, columns[0]]
    verdict = outputs.judge("polar", output=copy)
    assert len(verdict.extra) + len(verdict.wrong) == 1, str(verdict)


def test_a_height_is_wrong(outputs, tmp_path) -> None:
    copy = spoil(outputs, "polar", tmp_path / "copy")
    stored = zarr.open_group(str(copy), mode="r+")["rectilinear/h_mean"]
    row, column = np.argwhere(np.isfinite(stored[...]))[0]
    stored[row, column] += 0.01
    verdict = outputs.judge("polar", output=copy)
    assert len(verdict.wrong) == 1, str(verdict)


def test_an_empty_output_is_not_right(outputs, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    verdict = outputs.judge("healpix", output=tmp_path / "empty")
    assert not verdict.right
    assert verdict.missing


@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:3413"])
def test_the_judges_projection_is_that_of_proj(crs) -> None:
    south = crs == "EPSG:3031"
    lats, lons = np.meshgrid(np.linspace(-89.9, -60.0, 9), np.linspace(-180.0, 179.0, 11))
    lats = lats if south else -lats
    found = judge.project(crs, lats, lons)
    proj = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lons, lats)
    assert np.allclose(found, proj, atol=1e-3)


def test_the_judges_latitude_is_that_of_proj() -> None:
    lats = np.linspace(-90.0, 90.0, 181)
    area = Transformer.from_crs("EPSG:4326", "+proj=cea +ellps=WGS84", always_xy=True)
    _, y = area.transform(np.zeros(181), lats)
    assert np.allclose(np.sin(np.radians(judge.authalic(lats))), y / y.max(), atol=1e-9)
