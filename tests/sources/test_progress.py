"""A bar on a terminal, nothing where standard error is piped."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from zagg_catalog.sources.progress import Progress, show_progress

CODE = """
from zagg_catalog.sources.progress import show_progress
with show_progress("ATL06_007") as progress:
    progress.start(250)
    progress.update("", 100)
    progress.update("", 250)
"""


def run(stderr: int) -> None:
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", CODE], stderr=stderr, check=True, env=environment)


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    run(theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # Linux ends a pty whose other side is closed with EIO.
    os.close(ours)
    assert b"ATL06_007" in shown
    assert b"250/250" in shown


def test_a_pipe_gets_nothing() -> None:
    ours, theirs = os.pipe()
    run(theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        assert stream.read() == b""


def test_a_bar_can_be_asked_for_and_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress("ATL06_007", True) as progress:
        progress.start(5)
        progress.update("", 3)
    assert "3/5" in capfd.readouterr().err
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
