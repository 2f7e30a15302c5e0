"""Progress and log lines: on a terminal, with ``--verbose``, and with ``--quiet``."""

import logging
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.test_build import HEALPIX
from tests.harness.terminal import Terminal
from zagg_catalog.cli import main
from zagg_catalog.sandbox import Fault, SandboxServer, simulate
from zagg_catalog.sandbox.faults import KINDS, FaultKind

CALL = ["build", "--config", HEALPIX, "--short-name", "ATL06", "--cycle", "22"]
CALL += ["--bbox=-70,-80,-60,-75"]


@pytest.fixture(scope="module")
def server():
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 20))) as server:
        yield server


@pytest.fixture
def gate(server, monkeypatch):
    """Holds each page of a search until it is set."""
    opened = threading.Event()

    def hold(*_):
        assert opened.wait(600)

    held = FaultKind(
        name="gate", doc="", value=None, times=None, page=None, content=False, apply=hold
    )
    monkeypatch.setitem(KINDS, "gate", held)
    server.faults[:] = [Fault("gate")]
    yield opened
    opened.set()
    server.faults[:] = []


def command(folder, server, *flags):
    program = str(Path(sys.executable).with_name("zagg-catalog"))
    places = ["--stac-root", server.root_url, "--output", str(folder / "m.parquet")]
    return [program, *CALL, *places, *flags]


def test_a_terminal_shows_counts_and_time_and_cleans_up(tmp_path, server, gate):
    with Terminal(command(tmp_path, server)) as terminal:
        terminal.read_until("fetch ATL06_007")
        gate.set()
        assert terminal.screen() == ""
        assert terminal.process.wait() == 0


def test_an_interrupted_command_leaves_a_clean_terminal_and_no_file(tmp_path, server, gate):
    with Terminal(command(tmp_path, server)) as terminal:
        terminal.read_until("fetch ATL06_007")
        terminal.process.send_signal(signal.SIGINT)
        gate.set()
        assert terminal.screen() == "zagg-catalog: interrupted; no partial file was written."
        assert terminal.process.wait() == 130
    assert not list(tmp_path.iterdir())


def test_an_error_comes_after_the_bar(tmp_path, server, gate):
    server.faults[:0] = [Fault("status", 404, times=None)]
    with Terminal(command(tmp_path, server)) as terminal:
        terminal.read_until("fetch ATL06_007")
        gate.set()
        assert terminal.screen().startswith("zagg-catalog: ")
        assert terminal.process.wait() == 1


def on_a_terminal(folder, server, *flags):
    """Run a build whose standard error is a terminal; return what it prints there."""
    server.faults[:] = [Fault("status", 503, times=2)]
    with Terminal(command(folder, server, *flags), columns=300) as terminal:
        text = terminal.rest()
        assert terminal.process.wait() == 0, text
    server.faults[:] = []
    return text


def test_a_terminal_shows_requests_that_are_sent_again(tmp_path, server):
    shown = on_a_terminal(tmp_path, server)
    assert "503" in shown
    assert "it is sent again." in shown


def test_quiet_says_nothing(tmp_path, server):
    assert on_a_terminal(tmp_path, server, "--quiet") == ""


def test_verbose_says_each_step_with_its_time(tmp_path, server, capsys):
    call = [*CALL, "--stac-root", server.root_url, "--output", str(tmp_path / "m.parquet")]
    assert main([*call, "--verbose"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"zagg-catalog: +\d+\.\d s  ", line) for line in lines)
    said = re.sub(r"\d[\d,.]*", "N", "\n".join(line.partition(" s  ")[2] for line in lines))
    # Shards of a region are kept for later builds, so that their step may be absent.
    for step in ("fetch ATLN_N: N of N granules, N s", "pairs: N of"):
        assert step in said
    assert lines[-1].endswith("m.parquet written")
    assert not logging.getLogger("zagg_catalog").handlers


def test_a_pipe_gets_neither_progress_nor_log_lines(tmp_path, server, capsys):
    server.faults[:] = [Fault("status", 503, times=2)]
    call = [*CALL, "--stac-root", server.root_url, "--output", str(tmp_path / "m.parquet")]
    assert main(call) == 0
    assert capsys.readouterr().err == ""
