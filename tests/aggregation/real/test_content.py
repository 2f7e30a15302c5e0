"""Shipped configs, aggregated by zagg: every cell of the output is that of the granules' points."""

from __future__ import annotations

import pytest

from tests.aggregation.real.site import FINE, Site


def check(site: Site, grid: str, **given) -> None:
    result = site.aggregate(grid)
    assert result.error is None
    assert result.acknowledgement.outcome == "aggregated"
    verdict = site.judge(grid, "close", **given)
    assert verdict.right, str(verdict)


def test_healpix_from_https_to_a_folder(make_site) -> None:
    site = make_site(FINE, footprint="swath")
    site.publish("close")
    check(site, "healpix")


def test_polar_from_s3_to_a_folder(make_site, bucket, earthdata) -> None:
    site = make_site(FINE, footprint="swath", driver="s3")
    site.publish("close")
    check(site, "polar")
    assert earthdata.reads == []
    assert bucket.reads.keys() == {*earthdata.sessions[-1:]}


@pytest.mark.usefixtures("own_process")
def test_healpix_beams_from_s3_to_another_s3(make_site, bucket, output_bucket, tmp_path) -> None:
    site = make_site(FINE, footprint="beams", driver="s3", output=output_bucket.url)
    site.publish("close")
    assert site.aggregate("healpix").error is None
    place = site.place("healpix")
    copy = output_bucket.download(place, tmp_path / "copy")
    verdict = site.judge(
        "healpix", "close", output=copy, repository=output_bucket.repository(place)
    )
    assert verdict.right, str(verdict)
    assert bucket.reads


def test_polar_beams_from_https_to_s3(make_site, output_bucket, tmp_path) -> None:
    site = make_site(FINE, footprint="beams", output=output_bucket.url)
    site.publish("close")
    assert site.aggregate("polar").error is None
    copy = output_bucket.download(site.place("polar"), tmp_path / "copy")
    verdict = site.judge("polar", "close", output=copy)
    assert verdict.right, str(verdict)
