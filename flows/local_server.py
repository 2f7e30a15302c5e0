"""A local Prefect server, and child processes that end with it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import certifi
import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.worker import EventsWorker
from prefect.logging import get_logger
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows.server_database import copy_database

ROOT = Path(__file__).parents[1]
# An idle machine needs ten seconds.
START_SECONDS = 300.0
# After so many a command says that it waits.
SLOW_SECONDS = 30.0
TAIL = 1500
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----\n"
# Prefect keeps them in memory: a slot that is taken when the server is killed is never free again.
_FILES = "prefect.server.concurrency.lease_storage.filesystem"
LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _FILES}
# Types of blocks are registered when a block is saved. With all of them, a server imports all
# integrations, such as those of Kubernetes and AWS, which takes as long as the rest of its start.
WITHOUT_BLOCKS = {
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
# Shorter intervals than the defaults, for a user who waits.
QUICK = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    # Each client would ask for a token, which this server does not need.
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
}


class LocalFailure(Exception):
    """Raised when a process does not start, ends too early, or does not do its work in time."""


def wait_for[T](
    condition: Callable[[], T], what: str, seconds: float = 60, every: float = 0.2
) -> T:
    """Return the first true value of a condition, which is called periodically.

    Raises `LocalFailure` if it stays false; the message begins with `what`.
    """
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise LocalFailure(f"{what}: not done within {seconds:g} s.")
        time.sleep(every)
    return value


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block, so that a child just started is not lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])


class Process:
    """A child process in a new process group; its output is appended to a log file."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path = ROOT
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Content of the log file."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._child.poll() is None

    def check(self) -> None:
        """Raise `LocalFailure` with the end of the log if the process has ended."""
        if not self.running:
            code = self._child.returncode
            raise LocalFailure(
                f"A process ended with code {code}; its log, {self.log}, ends:"
                f" {self.output[-TAIL:]}"
            )

    def end(self, sign: int = signal.SIGTERM, seconds: float = 15) -> None:
        """End the process, and kill the rest of its group after some seconds."""
        if self.running:
            self._child.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
        # macOS refuses to signal a group that has only zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


class LocalServer:
    """``prefect server start`` on a free port, with its own home and all services.

    ```python
    with LocalServer(Path("demo/prefect")) as prefect, prefect.serve({"ZAGG_CATALOG_STORE": …}):
        prefect.start_run("watch-cycles/hourly")
    ```

    `folder` is the home of the server. It has the database, which stays, so that the server can be
    started again. `settings` are further environment variables of the server; with
    ``PREFECT_SERVER_API_AUTH_STRING`` among them, it asks for that login.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        own = {
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            # By default its web pages use the default port.
            "PREFECT_SERVER_UI_API_URL": self.api_url,
            **LEASES,
            **WITHOUT_BLOCKS,
        }
        self._settings = own | dict(settings or {})
        self._process: Process | None = None
        self.login = self._settings.get("PREFECT_SERVER_API_AUTH_STRING")
        login = httpx.BasicAuth(*self.login.split(":", 1)) if self.login else None
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used: the server speaks http
        # A proxy of the environment is not for this machine.
        self._http = httpx.Client(trust_env=False, timeout=30, auth=login)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a process that uses this server."""
        own = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_SSL_CERT_FILE": str(self._one_authority()),
            **QUICK,
        }
        if self.login:
            own["PREFECT_API_AUTH_STRING"] = self.login
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return inherited | own | dict(more or {})

    def _one_authority(self) -> Path:
        """Return a file with one certificate, of which clients of a server without TLS need none.

        By default each client reads those of all authorities, which takes longer than a request.
        """
        path = self.folder / "authority.pem"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            first, end, _ = Path(certifi.where()).read_text().partition(_END_OF_CERTIFICATE)
            path.write_text(first + end)
        return path

    @property
    def log(self) -> Path:
        """Log of the server."""
        return self.folder / "server.log"

    def launch(self) -> None:
        """Start the server, or start it again, without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = dict(self._settings)
        # Prefect reads that of the server, and of the API, its older name.
        named = any(name.endswith("_DATABASE_CONNECTION_URL") for name in settings)
        if not named and copy_database(self.folder):
            settings["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "false"
        command = [program("prefect"), "server", "start", "--host", "127.0.0.1"]
        command += ["--port", str(self.port)]
        with interrupts_deferred():
            self._process = Process(command, self.log, self.environment(settings))

    def start(self) -> Self:
        """Start the server, or start it again, and wait until it is healthy."""
        try:
            self.launch()
            wait_for(self.healthy, "Prefect's server starts", START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def healthy(self) -> bool:
        """Return whether the server answers; raise `LocalFailure` if its process has ended."""
        if self._process is not None:
            self._process.check()
        return _answers(self._http, self.api_url)

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """End the server."""
        if self._process is not None:
            self._process.end(sign)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server for good."""
        self.stop()
        self._http.close()

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Yield a client of this server."""
        plain = {"verify": self._tls}
        with SyncPrefectClient(self.api_url, auth_string=self.login, httpx_settings=plain) as made:
            yield made

    @contextlib.contextmanager
    def process(
        self, command: Sequence[str], name: str, env: Mapping[str, str] | None = None
    ) -> Iterator[Process]:
        """Run a command until the block ends; its log is ``NAME.log``."""
        child = None
        try:
            with interrupts_deferred():
                child = Process(command, self.folder / f"{name}.log", self.environment(env))
            yield child
        finally:
            if child is not None:
                child.end(signal.SIGINT)

    @contextlib.contextmanager
    def serve(self, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Run ``python -m flows.serve``: all deployments and automations, polled every second."""
        with self.begin_to_serve(env) as served:
            yield served()

    @contextlib.contextmanager
    def begin_to_serve(
        self, env: Mapping[str, str] | None = None
    ) -> Iterator[Callable[[], Process]]:
        """Run ``python -m flows.serve``; yield a function that waits until it serves.

        The server may still be starting.
        """
        command = [sys.executable, "-m", "flows.serve", "--wait", f"{START_SECONDS:g}"]
        with self.process(command, "serve", env) as child:
            before = child.output.count("being served")

            def served() -> Process:
                wait_for(
                    lambda: _printed(child, "being served", before), "flows.serve", START_SECONDS
                )
                return child

            yield served

    def start_run(self, deployment: str, parameters: Mapping[str, Any] | None = None) -> UUID:
        """Start a run of a deployment, ``flow/name``; return its id."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            given = dict(parameters or {})
            return client.create_flow_run_from_deployment(found.id, parameters=given).id

    def runs(self, flow: str) -> list[FlowRun]:
        """Return the runs of a flow, see `runs_of`."""
        return self.runs_of([flow])[flow]

    def runs_of(self, flows: Sequence[str]) -> dict[str, list[FlowRun]]:
        """Return the newest 200 runs of some flows by flow, the oldest first.

        Scheduled runs that are not due are left out.
        """
        wanted = FlowFilter(name=FlowFilterName(any_=list(flows)))
        with self.client() as client:
            names = {one.id: one.name for one in client.read_flows(flow_filter=wanted)}
            newest = FlowRunSort.EXPECTED_START_TIME_DESC
            runs = client.read_flow_runs(flow_filter=wanted, sort=newest)
        found: dict[str, list[FlowRun]] = {flow: [] for flow in flows}
        for run in sorted(runs, key=lambda run: str(run.created)):
            if not _ahead(run):
                found[names[run.flow_id]].append(run)
        return found

    def events(self, prefix: str) -> list[dict[str, Any]]:
        """Return the newest 50 events whose name has this prefix, the oldest first."""
        wanted = {"filter": {"event": {"prefix": [prefix]}}, "limit": 50}
        answer = self._http.post(f"{self.api_url}/events/filter", json=wanted).raise_for_status()
        events: list[dict[str, Any]] = answer.json()["events"]
        return sorted(events, key=lambda event: str(event["occurred"]))


# Its standard input ends with the process that started it, however that ends.
_UVICORN = """
import os, signal, threading, uvicorn

def end_with_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_parent, daemon=True).start()
uvicorn.main()
"""


@contextlib.contextmanager
def temporary_server() -> Iterator[None]:
    """Run a Prefect server for the block, unless the settings name one.

    It is the server that Prefect itself starts, on the same database. But Prefect first imports
    the server into this process, which takes seconds.
    """
    if PREFECT_API_URL.value():
        yield
        return
    url = f"http://127.0.0.1:{free_port()}"
    get_logger().info("Starting temporary server on %s", url)
    command = [sys.executable, "-c", _UVICORN, "--factory", "prefect.server.api.server:create_app"]
    command += ["--port", url.rpartition(":")[2], "--log-level", "error", "--lifespan", "on"]
    own = {
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_UI_ENABLED": "0",
        **LEASES,
        **WITHOUT_BLOCKS,
    }
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    child = subprocess.Popen(command, env=os.environ | settings | own, stdin=subprocess.PIPE)
    slow, waits = time.monotonic() + SLOW_SECONDS, "Prefect's server starts slowly; waiting %g s."

    def started(http: httpx.Client) -> bool:
        nonlocal slow
        if child.poll() is not None:
            raise LocalFailure(f"Prefect's server ended with code {child.returncode}.")
        if time.monotonic() > slow:
            slow = math.inf
            get_logger().warning(waits, START_SECONDS)
        return _answers(http, f"{url}/api")

    try:
        with httpx.Client(trust_env=False) as http:
            wait_for(lambda: started(http), "Prefect's server starts", START_SECONDS)
        with temporary_settings(updates={PREFECT_API_URL: f"{url}/api"}):
            try:
                yield
            finally:
                send_pending()  # at the end of the process Prefect looks a minute for this server
    finally:
        child.terminate()
        child.communicate()


def send_pending() -> None:
    """Send the events and log lines that are queued in Prefect's threads."""
    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def _answers(http: httpx.Client, api_url: str) -> bool:
    try:
        return http.get(f"{api_url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(Path(sys.executable).with_name(name))


def utc(value: Any) -> datetime:
    """Return a time of Prefect as a `datetime`."""
    return datetime.fromtimestamp(value.timestamp(), UTC)


def _ahead(run: FlowRun) -> bool:
    expected = run.expected_start_time if run.auto_scheduled else None
    waits = run.state is None or run.state.is_scheduled()
    return waits and expected is not None and utc(expected) > datetime.now(UTC)


def _printed(child: Process, words: str, before: int) -> bool:
    child.check()
    return child.output.count(words) > before
