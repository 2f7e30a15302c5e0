"""On a real server: a release's event starts the aggregator, and a second one changes nothing."""

import time

import pytest

from flows.events import RELEASE_PUBLISHED
from tests.flows.live import LiveServer, wait_for
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.pickups import read_pickup_histories
from zagg_catalog.store import open_store

SLOT = ReleaseKey("ATL06_007", "greenland", 22)


@pytest.mark.integration
def test_a_published_release_is_picked_up_and_a_second_event_is_harmless(
    stac, registry_folder, tmp_path
):
    pytest.importorskip("zagg")
    store, registry = str(tmp_path / "store"), str(registry_folder / "registry.yaml")
    env = {
        "ZAGG_CATALOG_STORE": store,
        "ZAGG_CATALOG_REGISTRY": registry,
        "ZAGG_CATALOG_STAC_ROOT": stac.root_url,
        "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(tmp_path / "work"),
    }
    call = ("-m", "flows.cycle", "--cycle", "22", "--regions", "greenland")
    with LiveServer(tmp_path / "prefect") as prefect, prefect.serve(env=env):
        prefect.run(*call, env=env)
        published = time.monotonic()
        (run,) = wait_for(lambda: ended(prefect, 1))
        print(f"picked up {time.monotonic() - published:.1f} s after prepare-cycle ended")
        assert run.state.message == "Grids: 2 checked.", run.state.message
        (event,) = prefect.events(RELEASE_PUBLISHED)
        prefect.emit(RELEASE_PUBLISHED, event["resource"]["prefect.resource.id"], event["payload"])
        again = wait_for(lambda: ended(prefect, 2))[1]
        assert again.state.message == "Grids: 2 already.", again.state.message
    found = read_pickup_histories(open_store(store), SLOT)
    assert [len(standing.entries) for standing in found.values()] == [1, 1]


def ended(prefect, count):
    """The runs of aggregate, once so many have ended."""
    runs = prefect.runs("aggregate")
    done = [run for run in runs if run.state is not None and run.state.is_final()]
    return runs if len(done) >= count else None
