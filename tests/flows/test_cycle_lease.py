"""One run of a cycle at a time, by a lease in the store, which no Prefect server can block."""

import signal
import threading

import pytest

from flows.runtime import CycleLease
from tests.flows.live import LiveServer
from tests.harness.waiting import wait_for
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store.lease import Leased, StoredLease


@pytest.fixture
def taken(team):
    """The lease of another run."""
    return CycleLease(team.store, "ATL06_007", 22).acquire({"run": "brisk-owl"}, wait=0)


def test_a_run_waits_for_the_one_that_holds_the_lease_and_names_it(team, taken, caplog):
    def waiting():
        return [text for text in caplog.messages if text.startswith("Waiting")]

    states = []
    run = threading.Thread(target=lambda: states.append(team.run(regions=["greenland"])))
    with taken:
        run.start()
        wait_for(waiting)
    run.join()
    assert states[0].is_completed(), states[0].message
    assert "run brisk-owl of " in waiting()[0]
    assert "has been preparing ATL06_007, cycle 22 since" in waiting()[0]


def test_no_run_waits_without_end(team, taken, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_CYCLE_WAIT", "0")
    with taken:
        state = team.run(regions=["greenland"])
    assert state.is_failed()
    with pytest.raises(ZaggCatalogError, match="has held the lease of ATL06_007, cycle 22 since"):
        state.result()


@pytest.fixture
def prefect(tmp_path):
    with LiveServer(tmp_path / "prefect") as server:
        yield server


@pytest.mark.slow
@pytest.mark.integration
def test_a_prefect_server_that_is_killed_twice_blocks_no_cycle(team, prefect):
    """Prefect's own slots of a killed server stay taken for ever."""
    tracks = simulate("ATL06", cycle=22, tracks=range(1, 1388, 100))
    with SandboxServer(tracks, faults=["latency=1"]) as stac:
        team.stac_root, team.api_url = stac.root_url, prefect.api_url
        env = {"ZAGG_CATALOG_FLOW_LEASE": "3"}
        for _ in range(2):
            asked = len(stac.requests)
            process = team.start("--force", env=env)
            wait_for(lambda asked=asked: len(stac.requests) > asked)
            prefect.stop(signal.SIGKILL)
            prefect.start()
            process.communicate(timeout=900)  # it survives the server, or it does not
        last = team.start(env=env)
        said = last.communicate(timeout=900)[0]
    assert last.returncode == 0, said
    assert team.release("greenland").record.status == "complete"
    lease = team.store.read_pointer("watch/product=ATL06_007/cycle=22/lease.json")
    assert Leased[StoredLease].load(lease.value).claim is None
