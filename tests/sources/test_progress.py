"""A bar on a terminal, nothing where standard error is piped."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness.terminal import Terminal
from zagg_catalog.sources.progress import Progress, show_progress

CODE = """
from zagg_catalog.sources.progress import show_progress
with show_progress("ATL06_007") as progress:
    progress.start(250)
    progress.update("", 100)
    progress.update("", 250)
    input()  # until the bar was read
"""


def test_a_terminal_gets_a_bar() -> None:
    with Terminal([sys.executable, "-c", CODE], stdin=subprocess.PIPE) as terminal:
        assert "fetch ATL06_007" in terminal.read_until("250 of 250 granules")
        terminal.process.communicate(b"\n")
        assert terminal.rest().count("granules") <= 1  # at most the last repaint


def test_a_pipe_gets_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=b"\n", capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_bar_can_be_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress("ATL06_007", False) as progress:
        progress.start(5)
        progress.update("", 3)
    assert capfd.readouterr() == ("", "")


def test_a_callable_takes_the_place_of_the_bar(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int | None]] = []
    with show_progress("ATL06_007", lambda done, total: told.append((done, total))) as progress:
        progress.update("", 3)
    assert told == [(3, None)]
    assert capfd.readouterr() == ("", "")


def test_slices_and_searches_add_up_and_never_fall() -> None:
    told: list[tuple[int, int | None]] = []
    progress = Progress(lambda done, total: told.append((done, total)))
    progress.start(10)
    progress.update("a", 4)
    progress.update("b", 5)
    progress.update("a", 1)  # read again
    progress.update("a", 6)  # a granule of both
    progress.end(10)
    progress.start(3)
    progress.update("c", 2)
    assert told == [(4, 10), (9, 10), (9, 10), (10, 10), (12, 13)]
