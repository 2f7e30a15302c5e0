"""The source itself: how many granules it declares now."""

import pytest

from zagg_catalog import CMRSource, Query
from zagg_catalog.sandbox import SandboxServer, simulate

BOX = (-74.0, 59.0, -10.0, 84.0)


@pytest.fixture(scope="module")
def server():
    """Three cycles, whose border days have granules of two."""
    cycles = [21, 22, 23]
    content = simulate("ATL06", cycle=cycles, tracks=[*range(1, 20), *range(1370, 1388)])
    with SandboxServer(content) as server:
        yield server


@pytest.mark.parametrize("api", ["stac", "cmr"])
def test_the_count_of_a_cycle_has_no_granule_of_its_neighbours(server, api):
    root = server.root_url if api == "stac" else server.cmr_url
    source = CMRSource(root_url=root, api=api)
    query = Query.for_cycle("ATL06", "007", 22, BOX)
    before = len(server.requests)
    count = source.count(query)
    assert len(server.requests) == before + 1
    source.fetch(query, progress=False)
    report = source.last_report
    assert count == report.kept + len(report.superseded)
    if api == "stac":
        assert report.outside_cycle > 0
