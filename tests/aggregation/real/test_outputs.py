"""Outputs that cannot be written, or that hold something else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.aggregation.real.site import GRIDS, ONE_GRID, Site
from zagg_catalog.aggregation.run import PickupResult


def check_right(site: Site, grid: str, result: PickupResult, **given) -> None:
    assert result.error is None
    assert result.acknowledgement.outcome == "aggregated"
    verdict = site.judge(grid, **given)
    assert verdict.right, str(verdict)


@GRIDS
def test_a_shard_cannot_be_written(make_site, tmp_path, grid) -> None:
    """A file lies where its folder has to be."""
    sound = make_site(output=str(tmp_path / "sound"))
    sound.publish()
    assert sound.aggregate(grid).error is None
    where = {"healpix": "**/*-*.zarr", "polar": "rectilinear/count/c/*/*"}[grid]
    shard = min(Path(sound.place(grid)).glob(where)).relative_to(sound.place(grid))
    site = Site(sound.archive, sound.area, tmp_path)
    blocked = Path(site.place(grid)) / shard
    (blocked if grid == "polar" else blocked.parent).mkdir(parents=True)
    if grid == "healpix":
        blocked.write_bytes(b"")
    result = site.aggregate(grid)
    assert result.acknowledgement.outcome == "failed"
    assert result.acknowledgement.states.failed == 1
    assert "1 failed" in str(result.error)
    blocked.rmdir() if grid == "polar" else blocked.unlink()
    again = site.aggregate(grid)
    assert again.acknowledgement.shards == 1
    check_right(site, grid, again)


@ONE_GRID
def test_the_disk_is_full(make_site, tmp_path, grid) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.getuid() != 0:
        pytest.skip("a small disk is mounted, which needs root")
    size = {"healpix": "300k", "polar": "64k"}[grid]
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.decode().strip()}")
    try:
        site = make_site(output=str(disk / "output"))
        site.publish()
        result = site.aggregate(grid)
        assert result.acknowledgement.outcome == "failed"
        assert "space" in str(result.error)
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        check_right(site, grid, site.aggregate(grid))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_output_is_a_file(site, tmp_path) -> None:
    place = Path(site.place("polar"))
    place.parent.mkdir(parents=True)
    place.write_text("a file")
    result = site.aggregate("polar")
    assert result.error is not None
    assert str(place) in str(result.error)
    place.unlink()
    check_right(site, "polar", site.aggregate("polar"))


@ONE_GRID
def test_another_cycle_in_the_output(make_site, grid) -> None:
    """It is refused before zagg starts; what the output holds stays right."""
    site = make_site()
    output = str(site.folder / "shared/{grid}")
    place = site.folder / "shared" / grid
    site.publish()
    site.publish(cycle=23)
    check_right(site, grid, site.aggregate(grid, output=output), output=place)
    result = site.aggregate(grid, cycle=23, output=output)
    assert result.acknowledgement.outcome == "refused"
    assert f"cycle 22, grid {grid}" in str(result.error)
    verdict = site.judge(grid, output=place)
    assert verdict.right, str(verdict)
    separate = str(site.folder / "shared/{cycle}/{grid}")
    check_right(
        site,
        grid,
        site.aggregate(grid, cycle=23, output=separate),
        cycle=23,
        output=site.folder / "shared/23" / grid,
    )


@ONE_GRID
def test_the_aggregation_changes(site, grid) -> None:
    """It is refused before zagg starts, with the remedy, which helps."""
    check_right(site, grid, site.aggregate(grid))
    before = site.configs[grid]
    more = "    h_max:\n      function: max\n      source: h_li\n      dtype: float32\n\noutput:"
    site.configs[grid] = before.replace("\noutput:", more)
    result = site.aggregate(grid, force=True)
    assert result.acknowledgement.outcome == "refused"
    assert "aggregation.variables.h_max is new" in str(result.error)
    site.output = str(site.folder / "other")
    check_right(site, grid, site.aggregate(grid))


@ONE_GRID
def test_force_does_everything_again(site, grid) -> None:
    first = site.aggregate(grid)
    again = site.aggregate(grid, force=True)
    check_right(site, grid, again)
    said = again.acknowledgement
    assert said.states.done == first.acknowledgement.states.done == said.shards
    assert said.observations == first.acknowledgement.observations
