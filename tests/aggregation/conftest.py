"""A desk for each test; its releases are made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.aggregation.desk import Desk, write_inputs
from zagg_catalog.aggregation.zagg import run_zagg
from zagg_catalog.aggregation.zagg_start import ZaggForks


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


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Outputs of the real zagg, with their configs and what zagg reported."""
    for package in ("zagg", "obstore", "h5py"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("outputs")
    command = [sys.executable, "-m", "tests.aggregation.real_outputs", str(folder)]
    subprocess.run(
        command, check=True, cwd=Path(__file__).parents[2], capture_output=True, timeout=600
    )
    return folder


@pytest.fixture(scope="session")
def zagg_forks():
    """The process that imports the installed zagg once for all tests of this process."""
    with ZaggForks() as forks:
        yield forks


@contextmanager
def forked_calls(forks: ZaggForks) -> Iterator[None]:
    """Let calls of zagg be forks, which spares each the imports, more than a second of CPU time.

    Tests of how processes start, die and are killed, and of whole flows, do without it.
    """
    assert run_zagg.__kwdefaults__ is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run_zagg.__kwdefaults__, "start", forks)
        yield


@pytest.fixture
def forked_zagg(zagg_forks) -> Iterator[None]:
    """Let calls of zagg be forks."""
    with forked_calls(zagg_forks):
        yield
