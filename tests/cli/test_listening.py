"""Progress and log lines: on a terminal, with ``--verbose``, and with ``--quiet``."""

import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_build import HEALPIX
from zagg_catalog.cli import main
from zagg_catalog.sandbox import Fault, SandboxServer, simulate

CALL = ["build", "--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22"]
CALL += ["--bbox=-70,-80,-60,-75"]


@pytest.fixture(scope="module")
def server():
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 20))) as server:
        yield server


def on_a_terminal(folder, server, *flags):
    """Run a build whose standard error is a terminal; return what it prints there."""
    server.faults[:] = [Fault("status", 503, times=2)]
    ours, theirs = pty.openpty()
    call = [*CALL, "--stac-root", server.root_url, "--output", str(folder / "m.parquet"), *flags]
    done = subprocess.run(
        [Path(sys.executable).with_name("zagg-catalog"), *call],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "300"},
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 1 << 16):
            text += part
    except OSError:  # the terminal has no more writer
        pass
    os.close(ours)
    server.faults[:] = []
    assert done.returncode == 0, text
    return text.decode()


def test_a_terminal_shows_the_progress_and_requests_that_are_sent_again(tmp_path, server):
    shown = on_a_terminal(tmp_path, server)
    assert "granules" in shown
    assert "503" in shown
    assert "it is sent again." in shown


def test_quiet_says_nothing(tmp_path, server):
    assert on_a_terminal(tmp_path, server, "--quiet") == ""
    assert on_a_terminal(tmp_path, server, "-q") == ""


def test_verbose_says_each_step_with_its_time(tmp_path, server, capsys):
    call = [*CALL, "--stac-root", server.root_url, "--output", str(tmp_path / "m.parquet")]
    assert main([*call, "--verbose"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(" granules, fetched")
    assert " s  " in lines[0]
    assert lines[1].endswith("granules> built")
    assert lines[2].endswith("m.parquet written")
    assert not logging.getLogger("zagg_catalog").handlers


def test_a_pipe_gets_neither_progress_nor_log_lines(tmp_path, server, capsys):
    server.faults[:] = [Fault("status", 503, times=2)]
    call = [*CALL, "--stac-root", server.root_url, "--output", str(tmp_path / "m.parquet")]
    assert main(call) == 0
    assert capsys.readouterr().err == ""
