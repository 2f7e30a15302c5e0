"""Simulated granules, served once for all tests of a whole fetch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.served import fetch
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sources import Catalog


@pytest.fixture(scope="package")
def granules() -> Granules:
    """Cycle 22 with its neighbours, in the first and the last tracks of each."""
    return simulate(cycle=[21, 22, 23], tracks=[*range(1, 31), *range(1358, 1388)])


@pytest.fixture(scope="package")
def server(granules: Granules) -> Iterator[SandboxServer]:
    with SandboxServer(granules) as running:
        yield running


@pytest.fixture(scope="package")
def truth(server: SandboxServer) -> Catalog:
    return fetch(server)


@pytest.fixture(scope="package")
def few() -> Granules:
    """One cycle of 6 tracks: 84 granules, which are four pages of 25."""
    return simulate(cycle=22, tracks=range(1, 7))


@pytest.fixture(scope="package")
def few_truth(few: Granules) -> Catalog:
    with SandboxServer(few, page_size=25) as server:
        return fetch(server)
