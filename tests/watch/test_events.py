"""``zagg-catalog notify``: the event that it sends, and what it says when it cannot."""

import base64
import json
from http.server import BaseHTTPRequestHandler

import pytest

from tests.harness.http_server import HttpServer
from zagg_catalog.cli import main
from zagg_catalog.errors import InvalidQuery, NotifyFailed
from zagg_catalog.watch.events import event_body, send

SECRET = "pnu_very_secret"


@pytest.fixture
def api():
    """Something that takes events as Prefect does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            server.seen.append((self.path, dict(self.headers), body))
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(server.says)))
            self.end_headers()
            self.wfile.write(server.says)

        def log_message(self, *_):
            pass

    with HttpServer(Handler) as server:
        server.seen, server.status, server.says = [], 204, b""
        server.url = f"{server.origin}/api"
        yield server


def test_the_event_says_what_the_watch_would_say():
    event = event_body("atl06", "7", 22)
    assert event["event"] == "zagg-catalog.cycle.available"
    assert event["resource"]["prefect.resource.id"] == "zagg-catalog.cycle.atl06-007-c22"
    assert event["payload"] == {
        "product": "ATL06",
        "version": "007",
        "cycle": 22,
        "why": "by-hand",
        "notice": None,
        "granules": {"before": None, "now": None, "expected": None},
    }


def test_it_is_posted_to_the_events_of_the_api(api, capsys):
    call = ["notify", "--product", "ATL06", "--cycle", "22", "--api-url", f"{api.url}/"]
    assert main(call) == 0
    ((path, headers, (event,)),) = api.seen
    assert path == "/api/events"
    assert headers["Content-Type"] == "application/json"
    assert event["payload"]["cycle"] == 22
    assert "ATL06_007, cycle 22: announced at" in capsys.readouterr().out


def test_it_prints_the_body_for_curl(capsys):
    assert main(["notify", "--product", "ATL06", "--cycle", "22", "--print"]) == 0
    (event,) = json.loads(capsys.readouterr().out)
    assert set(event) == {"id", "occurred", "event", "resource", "related", "payload"}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("PREFECT_API_KEY", f"Bearer {SECRET}"),
        ("PREFECT_API_AUTH_STRING", f"Basic {base64.b64encode(SECRET.encode()).decode()}"),
    ],
)
def test_it_logs_in_as_prefect_does(api, variable, expected):
    send(event_body("ATL06", "007", 22), api.url, {variable: SECRET})
    assert api.seen[0][1]["Authorization"] == expected


@pytest.mark.parametrize(
    ("status", "says", "match"),
    [(401, b"", "refused the login .*PREFECT_API_KEY"), (404, b"Not Found", "HTTP 404: Not Found")],
)
def test_a_refusal_is_a_sentence_without_secrets(api, status, says, match):
    api.status, api.says = status, says
    with pytest.raises(NotifyFailed, match=match) as caught:
        send(event_body("ATL06", "007", 22), api.url, {"PREFECT_API_KEY": SECRET})
    assert SECRET not in str(caught.value)


def test_an_unreachable_api_is_a_sentence():
    event = event_body("ATL06", "007", 22)
    with pytest.raises(NotifyFailed, match="that the server is running") as caught:
        send(event, f"http://user:{SECRET}@127.0.0.1:9/api", {})
    assert SECRET not in str(caught.value)


def test_an_address_is_needed():
    with pytest.raises(InvalidQuery, match="--api-url or PREFECT_API_URL"):
        send(event_body("ATL06", "007", 22), None, {})


@pytest.mark.parametrize(
    "call",
    [
        ["--product", "SEAICE", "--cycle", "22"],
        ["--product", "ATL06", "--cycle", "100"],
        ["--product", "ATL06", "--version", "seven", "--cycle", "22"],
    ],
)
def test_a_wrong_call_is_a_sentence_and_sends_nothing(api, call, capsys):
    assert main(["notify", *call, "--api-url", api.url]) == 2
    assert "zagg-catalog:" in capsys.readouterr().err
    assert not api.seen
