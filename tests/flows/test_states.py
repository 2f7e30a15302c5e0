"""Events of states: each transition reaches the server once, also if the watch is killed."""

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml
from prefect.client.orchestration import get_client

from flows.watch import watch_cycles
from tests.flows.conftest import ROOT, artifact_of
from tests.harness.waiting import wait_for
from zagg_catalog.watch.states import read_states

PRODUCT = "ATL06_007"
KILLED = """
import os, signal, sys
from flows import watch
setattr(watch, sys.argv.pop(1), lambda *_: os.kill(os.getpid(), signal.SIGKILL))
watch.main()
"""


@pytest.fixture
def arguments(team):
    """Parameters of a watch of one small region."""
    path = team.registry / "registry.yaml"
    content = yaml.safe_load(path.read_text())
    content["watch"] = {PRODUCT: {"first_cycle": 22, "overdue_days": 75}}
    content["grids"] = {k: g for k, g in content["grids"].items() if "antarctica" not in k}
    path.write_text(yaml.safe_dump(content))
    return {
        "store": team.store_url,
        "stac_root": team.stac_root,
        "registry": str(path),
        "products": [PRODUCT],
    }


def killed_before(step, team, arguments):
    """Run a watch in a process that ends before it calls a function."""
    options = [
        f"--{key.replace('_', '-')}={value}"
        for key, value in arguments.items()
        if key != "products"
    ]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, "--products", PRODUCT, *options],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": team.api_url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def events_of(ids):
    """The events with these ids that the server has."""
    with get_client(sync_client=True) as client:
        body = {"filter": {"id": {"id": ids}}, "limit": 50}
        return client.request("POST", "/events/filter", json=body).json()["events"]


def test_each_transition_is_emitted_once_across_two_kills(team, arguments):
    killed_before("deliver", team, arguments)  # the states are stored, and nothing is sent
    states = read_states(team.store, PRODUCT)[0]
    ids = [str(one.id) for one in states.unsent]
    assert [one.after for one in states.unsent if one.cycle == 22] == ["overdue"]
    assert events_of(ids) == []
    killed_before("mark_sent", team, arguments)  # all is sent, and the store does not know
    assert read_states(team.store, PRODUCT)[0] == states
    state = watch_cycles(**arguments, return_state=True)
    assert state.is_completed(), state.message
    rows = json.loads(artifact_of(state, "status-atl06-007").data)
    assert [(row["cycle"], row["state"], row["lacks"]) for row in rows[:1]] == [
        (22, "overdue", "there is no release")
    ]
    assert read_states(team.store, PRODUCT)[0].unsent == ()
    found = wait_for(lambda: (all_of := events_of(ids)) and len(all_of) >= len(ids) and all_of)
    assert sorted(event["id"] for event in found) == sorted(ids)
    (late,) = [one for one in found if one["payload"]["cycle"] == 22]
    assert late["event"] == "zagg-catalog.state.overdue"
    assert late["resource"]["prefect.resource.id"] == "zagg-catalog.state.atl06-007-greenland-c22"
    assert late["payload"]["message"].startswith(
        "ATL06_007, greenland, cycle 22 is overdue: it has"
    )


def test_the_status_is_renewed_by_a_run_that_changes_it(team, arguments):
    assert watch_cycles(**arguments, return_state=True).is_completed()
    state = team.run(regions=["greenland"], registry=arguments["registry"])
    assert state.is_completed(), state.message
    table = artifact_of(state, "status-atl06-007")
    (row,) = [one for one in json.loads(table.data) if one["cycle"] == 22]
    assert row["state"] == "filling"
    assert (row["held"], row["maps"], row["lacks"]) == (row["declared"], "2/2", "")
    assert table.description.startswith("Cycles by product and region: 1 of ")
    again = watch_cycles(**arguments, return_state=True)  # the state is stored now
    with pytest.raises(ValueError, match="empty"):
        artifact_of(again, "status-atl06-007")
