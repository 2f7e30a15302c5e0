"""Fixtures that every test module shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.harness.stores"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real granules and grid configs, or skip."""
    folder = os.environ.get("ZAGG_CATALOG_TEST_DATA")
    if not folder or not Path(folder, "atl03_007_neon.parquet").is_file():
        pytest.skip("no real granules: set ZAGG_CATALOG_TEST_DATA to the folder that holds them")
    return Path(folder)
