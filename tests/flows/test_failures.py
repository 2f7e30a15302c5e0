"""A known mistake is one line in the log and the same in the state, without a traceback."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from prefect import flow, task
from prefect.flow_engine import run_flow
from prefect.logging import get_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from flows import automations, deploy, fetch, serve
from flows.aggregate import aggregate
from flows.cycle import prepare_cycle
from flows.failures import RunFailed, plainly, sentence_of
from flows.fetch import fetch_catalog
from flows.local_server import ROOT
from flows.shardmaps import build_shardmaps
from flows.watch import watch_cycles
from tests.harness.http_server import HttpServer
from tests.harness.proxy import proxied
from tests.harness.servers import SECRET, free_port, new_bucket
from zagg_catalog.errors import InvalidQuery

FUTURE = "Cycle 99 is in the future: it begins on 2043-02-09, and the current one is cycle "


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    """Warnings and errors that runs and tasks log."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    loggers = [logging.getLogger(f"prefect.{name}") for name in ("flow_runs", "task_runs")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


def assert_plain(state, log: list[logging.LogRecord], sentence: str) -> None:
    """The run failed with a sentence, which the log has on one line, too."""
    assert state.is_failed()
    assert sentence in state.message
    assert "\n" not in state.message
    assert "encountered an exception" not in state.message
    assert "Error" not in state.message.split(":")[0]
    errors = [one for one in log if one.levelno >= logging.ERROR and "flow" in one.name]
    assert [record.getMessage() in state.message for record in errors] == [True]
    assert not any(record.exc_info for record in log)


CALLS = {
    "a wrong region of a fetch": (
        fetch_catalog,
        {"region": "atlantis"},
        "The registry has no region 'atlantis'; it has ",
    ),
    "a wrong region of a cycle": (prepare_cycle, {"regions": ["atlantis"]}, "atlantis"),
    "a wrong grid": (prepare_cycle, {"grids": ["nonsense"]}, "nonsense"),
    "a cycle in the future": (prepare_cycle, {"cycle": 99}, FUTURE),
    "a fetch of the future": (fetch_catalog, {"cycle": 99}, FUTURE),
    "a store below a file": (
        prepare_cycle,
        {"store": "{file}/store"},
        "/store: Not a directory; check the folder, its permissions",
    ),
    "a watch below a file": (
        watch_cycles,
        {"store": "{file}/store", "products": ["ATL06_007"]},
        "/store: Not a directory; check the folder, its permissions",
    ),
    "a folder that takes no files": (
        prepare_cycle,
        {"store": "/sys/zagg", "regions": ["greenland"]},
        " in store /sys/zagg: ",
    ),
    "a fetch into a folder that takes no files": (
        fetch_catalog,
        {"store": "/sys/zagg", "region": "greenland"},
        " in store /sys/zagg: ",
    ),
    "no registry": (prepare_cycle, {"registry": "{file}.yaml"}, "registry"),
    "a wrong catalog": (build_shardmaps, {"catalog": "catalogs/x.parquet"}, "catalogs/x.parquet"),
    "a wrong release": (
        aggregate,
        {"product": "ATL06", "region": "greenland", "cycle": 22, "release": "abcd"},
        "release",
    ),
    "no store of S3": (aggregate, {"store": "s4://bucket"}, "A store in s4://… is not supported"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_parameter_is_a_sentence(team, log, tmp_path, call):
    flow, changes, sentence = CALLS[call]
    file = tmp_path / "file"
    file.write_text("")
    known = flow.parameters.properties
    parameters = {name: one for name, one in team.parameters().items() if name in known}
    given = {n: v.format(file=file) if isinstance(v, str) else v for n, v in changes.items()}
    state = flow(**parameters | given, return_state=True)
    assert_plain(state, log, sentence)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("denied", "refused the credentials or their rights (AccessDenied, HTTP 403: told to)"),
        ("expired", "the session token has expired (ExpiredToken, HTTP 400: told to)"),
        (None, "the bucket does not exist; create it or correct ZAGG_CATALOG_STORE"),
    ],
)
@pytest.mark.parametrize("flow", [prepare_cycle, watch_cycles], ids=lambda flow: flow.name)
def test_a_bucket_that_cannot_be_used_is_a_sentence(
    team, log, moto, monkeypatch, flow, kind, sentence
):
    with proxied("127.0.0.1", moto.port) as proxy:
        proxy.decide = lambda *_: kind
        bucket = new_bucket(moto.endpoint) if kind else "gone"
        for name, value in {
            "ENDPOINT": proxy.endpoint,
            "REGION": "us-east-1",
            "ACCESS_KEY_ID": "testkey",
            "SECRET_ACCESS_KEY": SECRET,
        }.items():
            monkeypatch.setenv(f"ZAGG_CATALOG_S3_{name}", value)
        known = flow.parameters.properties
        given = team.parameters(store=f"s3://{bucket}/team", products=["ATL06_007"])
        parameters = {name: value for name, value in given.items() if name in known}
        state = flow(**parameters, return_state=True)
    assert_plain(state, log, sentence)


WRONG = {
    "ZAGG_CATALOG_FLOW_RETRIES": "many",
    "ZAGG_CATALOG_CONNECTIONS": "99",
    "ZAGG_CATALOG_FLOW_TASK_RUNNER": "processes",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("flow", [prepare_cycle, aggregate], ids=lambda flow: flow.name)
def test_a_wrong_setting_is_a_sentence_with_its_name(team, log, monkeypatch, flow, name):
    monkeypatch.setenv(name, WRONG[name])
    assert_plain(flow(return_state=True), log, f"{name}={WRONG[name]}: Input should be ")


def test_a_list_that_is_not_json_is_a_sentence(team, log, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_EVENT_STORES", "s3://one,s3://two")
    sentence = "ZAGG_CATALOG_FLOW_EVENT_STORES is not JSON, expected a list such as"
    assert_plain(prepare_cycle(return_state=True), log, sentence)


def test_a_folder_that_cannot_be_used_is_a_sentence():
    error = OSError(errno.EROFS, "Read-only file system", "/work/zagg-pickups")
    assert sentence_of(error) == (
        "Cannot use /work/zagg-pickups: Read-only file system; check the folder, its permissions"
        " and the free space."
    )
    assert sentence_of(OSError(errno.EBADF, "Bad file descriptor")) is None


def test_an_error_that_nobody_foresaw_has_its_traceback(prefect_server, log):
    @flow
    @plainly
    def divided() -> float:
        return 1 / 0

    state = divided(return_state=True)
    assert "ZeroDivisionError" in state.message
    assert [record.exc_info[0] for record in log] == [ZeroDivisionError]


def test_a_task_with_a_known_mistake_has_no_traceback(prefect_server, log):
    @task
    def fails(error: Exception) -> None:
        raise error

    @flow
    @plainly
    def run(error: Exception) -> None:
        fails(error)

    assert_plain(run(InvalidQuery("No such cycle."), return_state=True), log, "No such cycle.")
    log.clear()
    run(KeyError("lost"), return_state=True)
    assert [one.exc_info[0] for one in log if one.exc_info] == [KeyError, KeyError]


@pytest.mark.parametrize(
    ("error", "tracebacks"),
    [
        (InvalidQuery("No such cycle."), 0),
        (RunFailed("The map of one grid is missing."), 0),
        (KeyError("lost"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_process_of_a_run_adds_no_traceback(prefect_server, log, error, tracebacks):
    """It raises the error of the state once more, and logs that."""

    @flow
    @plainly
    def ended() -> object:
        return Failed(message="Something is missing.", data=error)

    with pytest.raises(type(error)):
        run_flow(ended, parameters={}, error_logger=get_logger("flow_runs"))
    assert len([one for one in log if one.exc_info]) == tracebacks


@pytest.mark.slow
def test_a_wrong_setting_is_one_line_of_a_command(prefect_server):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cycle", "--cycle", "22"],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": prefect_server} | WRONG,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert len(said) == 1
    assert done.stdout.strip() in said[0]


ANSWERS = {
    "no server": (None, " does not answer (ConnectError); start it, or correct PREFECT_API_URL."),
    "a login": (401, " wants a login (HTTP 401); set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY"),
    "another path": (404, " is not an API of Prefect (HTTP 404); correct PREFECT_API_URL, which"),
    "web pages": (200, " is not an API of Prefect (not JSON); correct PREFECT_API_URL, which"),
    "a server that refuses": (422, " refuses a request (HTTP 422): <html>Welcome</html>"),
    "a broken server": (500, " fails (HTTP 500); see its log."),
}


@pytest.fixture
def address(answer) -> Iterator[str]:
    status, _ = ANSWERS[answer]
    if status is None:
        yield f"http://127.0.0.1:{free_port()}"
        return

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b"<html>Welcome</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_) -> None:
            """Stay quiet."""

    with HttpServer(Handler) as server:
        yield server.origin


COMMANDS = {
    "fetch": lambda: fetch.main([]),
    "automations": lambda: automations.main([]),
    "deploy": lambda: deploy.main([]),
    "serve": lambda: serve.main([]),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_cannot_be_used_is_one_line(command, address, answer, capfd):
    url = address.replace("//", "//user:hunter2@") + "/api"
    with temporary_settings(updates={PREFECT_API_URL: url}):
        assert COMMANDS[command]() == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{address}/api{ANSWERS[answer][1]}" in line
    assert "hunter2" not in line
