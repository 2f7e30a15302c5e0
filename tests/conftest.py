"""Fixtures that every test module shares."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, without a time limit: no outcome depends on chance or speed.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

pytest_plugins = ["tests.harness.stores", "tests.harness.browser"]

S3_SERVERS = {"moto", "juicefs", "rclone", "disk_server"}
# Modules here take up to minutes: they begin first, so that no worker is alone with one at the end.
LONG = ("aggregation/real", "flows", "integration", "docs", "browser", "archive")


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """Give freed memory, hundreds of MB, back after each module, where the C library can."""
    yield
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real granules and grid configs, or skip."""
    folder = os.environ.get("ZAGG_CATALOG_TEST_DATA")
    if not folder or not Path(folder, "atl03_007_neon.parquet").is_file():
        pytest.skip("no real granules: set ZAGG_CATALOG_TEST_DATA to the folder that holds them")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long modules come first, and mark the tests that ask for a browser or an S3 server."""
    here = Path(__file__).parent
    first = [here / folder for folder in LONG]
    items.sort(key=lambda item: not any(map(item.path.is_relative_to, first)))
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
        place = getattr(item, "callspec", None) and item.callspec.params.get("place")
        if place == "s3" or S3_SERVERS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.integration)
