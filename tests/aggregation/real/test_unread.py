"""Granules that zagg cannot read: they are named, and the next run reads them."""

from __future__ import annotations

import pytest

from tests.aggregation.real.site import (
    CENTRE,
    CROSSING,
    GRIDS,
    LATE,
    ONE_GRID,
    WEST,
    Site,
    spoilt,
    with_noise,
)
from zagg_catalog.aggregation.run import PickupResult

PAGE = b"<!DOCTYPE html><html><head><title>Earthdata Login</title></head></html>"


def check_unread(result: PickupResult, *names: str) -> None:
    """The pick-up says which granules it could not read."""
    said = result.acknowledgement
    assert said.outcome == "unread", said.reason
    assert set(said.unread.names) == set(names)
    assert said.unread.count == len(names)
    assert said.affected.count == said.states.unread
    for name in names:
        assert name in str(result.error)


def check_next(site: Site, grid: str, result: PickupResult, name: str = "first") -> None:
    """The next run processes the affected shards only, and then the content is right."""
    again = site.aggregate(grid)
    assert again.error is None
    assert again.acknowledgement.outcome == "aggregated"
    assert again.acknowledgement.shards == result.acknowledgement.affected.count
    verdict = site.judge(grid, name)
    assert verdict.right, str(verdict)
    assert site.aggregate(grid).status == "already"


@GRIDS
def test_damaged_files(make_site, archive, grid) -> None:
    """One is gone, one a page of HTML, one has noise in it, one is cut short."""
    site = make_site()
    site.publish("late")
    files = [archive.file(orbit) for orbit in (CENTRE, WEST, CROSSING, LATE)]
    third, fourth = (file.read_bytes() for file in files[2:])
    contents = [None, PAGE, with_noise(third), fourth[: len(fourth) // 2]]
    with spoilt(dict(zip(files, contents, strict=True))):
        result = site.aggregate(grid)
    check_unread(result, *(file.name for file in files))
    check_next(site, grid, result, "late")


@ONE_GRID
def test_one_file_is_gone(site, archive, grid) -> None:
    west = archive.file(WEST)
    with spoilt({west: None}):
        result = site.aggregate(grid)
    check_unread(result, west.name)
    assert 0 < result.acknowledgement.states.unread < result.acknowledgement.shards
    assert "404" in str(result.error)
    check_next(site, grid, result)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [("denied", "403"), ("page", "web page"), ("reset", "onnection")],
    ids=["denied", "login page", "server down"],
)
def test_every_read_is_refused(site, archive, earthdata, refusal, words) -> None:
    earthdata.refusals["*"] = refusal
    result = site.aggregate("healpix")
    check_unread(result, *(file.name for file in archive.files("first")))
    assert result.acknowledgement.cells == 0
    assert words in str(result.error)
    earthdata.refusals.clear()
    check_next(site, "healpix", result)


def test_a_server_that_does_not_answer(site, archive, earthdata) -> None:
    west = archive.file(WEST).name
    earthdata.refusals[west] = "hang"
    result = site.aggregate("healpix", stall=5.0)
    assert not result.acknowledgement.finished
    assert west in str(result.error)
    earthdata.refusals.clear()
    check_next(site, "healpix", result)


def test_no_login(site, monkeypatch, tmp_path) -> None:
    with monkeypatch.context() as without:
        without.delenv("EARTHDATA_TOKEN")
        without.setenv("HOME", str(tmp_path))
        result = site.aggregate("healpix")
    assert result.error is not None
    assert "Earthdata" in str(result.error)
    assert "EARTHDATA_TOKEN" in str(result.error)
    check_next(site, "healpix", result)


def test_a_wrong_secret(make_site, one_earthdata, archive, bucket, monkeypatch) -> None:
    site = make_site(driver="s3")
    site.publish()
    key, _ = one_earthdata.s3_credentials
    with monkeypatch.context() as wrong:
        wrong.setattr(one_earthdata, "s3_credentials", (key, "wrong"))
        result = site.aggregate("healpix")
    check_unread(result, *(file.name for file in archive.files("first")))
    assert result.acknowledgement.cells == 0
    check_next(site, "healpix", result)


def test_a_file_that_the_bucket_does_not_have(make_site, archive, bucket) -> None:
    site = make_site(driver="s3")
    site.publish()
    west = archive.file(WEST).name
    bucket.proxy.fail("missing", west, times=1000)
    result = site.aggregate("polar")
    check_unread(result, west)
    bucket.proxy.faults.clear()
    check_next(site, "polar", result)


def test_credentials_expire(make_site, bucket, earthdata) -> None:
    """In the middle of a batch: the next run logs in again, and reads what was lost."""
    site = make_site(driver="s3")
    site.publish()
    bucket.lifetime = 40
    result = site.aggregate("healpix")
    assert result.acknowledgement.outcome == "unread"
    assert "ExpiredToken" in str(result.error)
    bucket.lifetime = None
    check_next(site, "healpix", result)


def test_each_batch_logs_in(make_site, bucket, earthdata) -> None:
    site = make_site(driver="s3")
    site.publish()
    logins = len(earthdata.sessions)
    result = site.aggregate("polar", batch=3)
    assert result.error is None
    assert len(result.acknowledgement.batches) > 1
    sessions = earthdata.sessions[logins:]
    assert len(sessions) > 1
    assert bucket.reads.keys() == {*sessions}
    verdict = site.judge("polar")
    assert verdict.right, str(verdict)


def test_a_beam_that_a_granule_lacks_is_a_note(site, archive) -> None:
    result = site.aggregate("polar")
    assert result.acknowledgement.outcome == "aggregated"
    assert any(archive.file(WEST).name in note for note in result.notes)
