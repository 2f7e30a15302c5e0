"""The demo: the whole chain, offline, from one command; and nothing of it stays behind."""

import signal
import subprocess
import sys

import pytest

from flows.demo import main
from flows.local_server import ROOT, interrupts_deferred
from tests.harness.processes import processes_with
from zagg_catalog.releases import verify
from zagg_catalog.releases.read import list_releases
from zagg_catalog.store import open_store

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.zagg
def test_the_demo_goes_from_a_new_cycle_to_gridded_heights(tmp_path, capsys):
    pytest.importorskip("zagg")
    assert main(["--folder", str(tmp_path), "--every", "40", "--once"]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "watch-cycles announced cycle 22 (new: 448 granules)" in said
    for region, maps in {"antarctica": 3, "greenland": 2}.items():
        assert f"prepare-cycle published {region}: {maps} maps of " in said
        assert f"aggregate picked {region} up: {maps} maps checked by zagg" in said
    assert said.count("process") == 0
    assert "4 of 4 shards done, 0 granules unread." in said
    assert "data files, read without zagg: 0 cells wrong, 0 missing, 0 extra." in said
    assert "prefect server start" in said
    assert said.index("less than a minute") < said.index("cycle 22 (new")
    assert "/artifacts/key/release-atl06-007-antarctica-c22" in said
    store = open_store(str(tmp_path / "chain-1" / "store"))
    found = verify(store)
    assert found.clean
    assert found.releases == 2
    standings = {one.release_key.region: len(one.standings) for one in list_releases(store)}
    assert standings == {"antarctica": 3, "greenland": 2}
    assert processes_with(str(tmp_path)) == []


@pytest.mark.zagg
def test_an_interrupt_ends_everything_that_the_demo_started(tmp_path):
    pytest.importorskip("zagg")
    command = [sys.executable, "-m", "flows.demo", "--folder", str(tmp_path), "--every", "400"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        # The server's process runs, and does not answer yet.
        assert any("The source, a simulated CMR-STAC" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=600)[0]
    assert demo.returncode == 130
    assert "Interrupted." in said
    assert processes_with(str(tmp_path)) == []


@pytest.fixture
def interruptible():
    """Python's own handler: a shell that starts the tests in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_a_child_starts_comes_after_it_is_known():
    children = []

    def start() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            children.append("a child")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert children == ["a child"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
