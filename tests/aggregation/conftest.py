"""A desk for each test; its releases are made once."""

from __future__ import annotations

import pytest

from tests.aggregation.desk import Desk, write_inputs


@pytest.fixture(scope="session")
def pickup_inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pickup-inputs")
    write_inputs(folder)
    return folder


@pytest.fixture
def real_desk(pickup_inputs, tmp_path) -> Desk:
    """A desk whose zagg is the installed one."""
    return Desk(pickup_inputs, tmp_path)


@pytest.fixture
def desk(real_desk, monkeypatch) -> Desk:
    """A desk whose zagg only notes what it was called with."""
    real_desk.watch(monkeypatch)
    return real_desk
