"""Granules and their servers, once for all tests, and a site for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aggregation.conftest import forked_calls
from tests.aggregation.real.site import COARSE, Archive, Area, Site
from tests.harness import servers
from tests.harness.granule_bucket import GranuleBucket, granule_bucket
from tests.harness.output_bucket import OutputBucket
from zagg_catalog.aggregation.zagg import run_zagg
from zagg_catalog.aggregation.zagg_start import OwnProcess
from zagg_catalog.sandbox import EarthdataServer

MakeSite = Callable[..., Site]
# Modules whose zagg is a process of its own: what kills them, and whole flows.
OWN_PROCESSES = {"test_flow", "test_killed"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs zagg, with granules from servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in ("zagg", "slow", "integration"):
                item.add_marker(getattr(pytest.mark, mark))


@pytest.fixture(scope="module", autouse=True)
def forks_where_they_fit(request) -> Iterator[None]:
    """Let the calls of most modules be forks of one process that has imported zagg."""
    if request.path.stem in OWN_PROCESSES:
        yield
        return
    with forked_calls(request.getfixturevalue("zagg_forks")):
        yield


@pytest.fixture
def own_process(monkeypatch) -> None:
    """Let zagg be a process of its own, which reads its environment when it imports."""
    assert run_zagg.__kwdefaults__ is not None
    monkeypatch.setitem(run_zagg.__kwdefaults__, "start", OwnProcess)


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Archive:
    pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
    pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")
    return Archive(tmp_path_factory.mktemp("buckets"))


@pytest.fixture(scope="session")
def one_earthdata(archive) -> Iterator[EarthdataServer]:
    credentials = (servers.KEY_ID, servers.SECRET)
    with EarthdataServer(archive.folder, s3_credentials=credentials) as server:
        yield server


@pytest.fixture
def earthdata(one_earthdata, monkeypatch) -> Iterator[EarthdataServer]:
    """Earthdata; processes that a test starts are logged in."""
    for name, value in one_earthdata.environment.items():
        monkeypatch.setenv(name, value)
    one_earthdata.reads.clear()
    yield one_earthdata
    one_earthdata.refusals.clear()
    one_earthdata.on_read = lambda _: None
    assert one_earthdata.refused == []


@pytest.fixture(scope="session")
def one_bucket(archive, tmp_path_factory) -> Iterator[GranuleBucket]:
    with granule_bucket(archive.folder, tmp_path_factory.mktemp("rclone")) as bucket:
        yield bucket


@pytest.fixture
def bucket(one_bucket, earthdata, monkeypatch) -> Iterator[GranuleBucket]:
    """Granules on S3; processes that a test starts are led there."""
    for name, value in one_bucket.environment.items():
        monkeypatch.setenv(name, value)
    one_bucket.reads.clear()
    yield one_bucket
    one_bucket.lifetime = None
    one_bucket.proxy.faults.clear()


@pytest.fixture
def output_bucket(moto, monkeypatch) -> OutputBucket:
    """A bucket that zagg may write to."""
    bucket = OutputBucket(moto.endpoint, servers.new_bucket(moto.endpoint))
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def make_site(archive, earthdata, tmp_path) -> MakeSite:
    """Make a site, by default of the coarse area, with granules by https."""

    def make(area: Area = COARSE, **given) -> Site:
        return Site(archive, area, tmp_path, **given)

    return make


@pytest.fixture
def site(make_site) -> Site:
    """The coarse area, with its first release."""
    made = make_site()
    made.publish()
    return made
