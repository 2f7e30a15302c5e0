"""Runs that fail, die or never start, on a real server: each reaches the team's webhook."""

import json
import signal
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.states import Failed, Pending

from flows.automations import (
    FAILED,
    ensure_automation,
    heartbeat_automation,
    pending_automation,
    stalled_alert,
    stalled_automation,
)
from tests.flows.conftest import Team
from tests.flows.live import LiveServer
from tests.harness.http_server import HttpServer
from tests.harness.waiting import wait_for
from zagg_catalog.sandbox import SandboxServer, simulate

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.random_order(disabled=True),  # one story on one server
]

BLOCK = "custom-webhook/team"
HOURLY = "watch-cycles/hourly"
# The least that Prefect accepts for the absence of an event.
SOON = timedelta(seconds=10)


class Inbox:
    """What a webhook received."""

    def __init__(self):
        self.messages, self.lock = [], threading.Lock()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                with inbox.lock:
                    inbox.messages.append(json.loads(content))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                """Stay quiet."""

        self.handler = Handler

    def about(self, words):
        """Wait for a message with such a subject."""
        found = wait_for(lambda: [one for one in self.messages if words in one["subject"]])
        return found[0]


@pytest.fixture(scope="module")
def inbox():
    found = Inbox()
    with HttpServer(found.handler) as server:
        found.url = server.origin
        yield found


@pytest.fixture(scope="module")
def prefect(inbox, tmp_path_factory):
    """A server with a webhook, on which `flows.serve` ran and ended."""
    with LiveServer(tmp_path_factory.mktemp("live") / "prefect") as server:
        with server.here():
            webhook = CustomWebhookNotificationBlock(
                name="team",
                url=inbox.url,
                json_data={"subject": "{{subject}}", "body": "{{body}}"},
                allow_private_urls=True,
            )
            server.block_id = webhook.save("team")
        with server.serve({"ZAGG_CATALOG_FLOW_ALERT_BLOCK": BLOCK}) as served:
            assert f"Automation {FAILED!r}: created." in served.output
        yield server


def test_schedules_go_on_when_serve_ends(prefect):
    """Another process serves the same deployments, or is about to replace this one."""
    with prefect.client() as client:
        found = [one for each in client.read_deployments() for one in each.schedules]
    assert len(found) == 4
    assert {one.slug for one in found if not one.active} == {"listening"}  # paused from the start


def test_a_command_that_is_killed_is_crashed_and_the_team_is_told(
    prefect, inbox, registry_folder, tmp_path
):
    with prefect.here():
        ensure_automation(heartbeat_automation(SOON))
    tracks = simulate("ATL06", cycle=22, tracks=range(1, 1388, 400))
    with SandboxServer(tracks, faults=["latency=600"]) as stac:
        team = Team(str(tmp_path / "store"), registry_folder, stac.root_url, prefect.api_url)
        process = team.start()
        wait_for(lambda: prefect.events("prefect.flow-run.heartbeat"))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run = wait_for(
        lambda: [one for one in prefect.runs("prepare-cycle") if one.state.is_crashed()]
    )[0]
    assert set(run.tags) == {"zagg-catalog", "prepare-cycle"}
    told = inbox.about(f"prepare-cycle/{run.name} Crashed")
    assert told["body"].startswith("No heartbeat: the process has died.")


def test_the_team_is_told_of_a_run_that_fails(prefect, inbox):
    run_id = prefect.start_run(HOURLY)
    with prefect.client() as client:
        client.set_flow_run_state(run_id, Failed(message="The source is down."), force=True)
        name = client.read_flow_run(run_id).name
    assert "The source is down." in inbox.about(f"watch-cycles/{name} Failed")["body"]


def test_a_run_that_never_starts_is_crashed_and_its_schedule_is_reported(prefect, inbox):
    stalled = stalled_automation(HOURLY, stalled_alert(HOURLY, block_id=prefect.block_id), SOON)
    with prefect.here():
        ensure_automation(pending_automation(SOON))
        ensure_automation(stalled)
    run_id = prefect.start_run(HOURLY)
    with prefect.client() as client:
        client.set_flow_run_state(run_id, Pending())
        run = wait_for(lambda: (one := client.read_flow_run(run_id)).state.is_crashed() and one)
    assert run.state.message.startswith("It did not start")
    assert inbox.about(f"watch-cycles/{run.name} Crashed")
    told = inbox.about("watch-cycles/hourly does not complete")
    assert "whether a worker is running" in told["body"]


@pytest.mark.parametrize(("state", "cycle"), [("overdue", 21), ("revised", 22)])
def test_a_state_that_needs_attention_is_reported(prefect, inbox, state, cycle):
    resource = f"zagg-catalog.state.atl06-007-greenland-c{cycle}"
    said = f"ATL06_007, greenland, cycle {cycle} is {state}."
    payload = {"state": state, "message": said}
    prefect.emit("zagg-catalog.state.settled", resource, payload)  # no alert hangs on this one
    prefect.emit(f"zagg-catalog.state.{state}", resource, payload)
    assert inbox.about(f"{resource} is {state}")["body"] == said
    assert len([one for one in inbox.messages if resource in one["subject"]]) == 1
