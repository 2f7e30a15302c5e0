"""A Prefect server on this machine, with processes beside it; all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0
TAIL = 1500
# A laptop serves one person, who waits.
QUICK = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


class LocalFailure(Exception):
    """Raised when a process does not start, ends too early, or does not do what is waited for."""


def wait_for[T](
    condition: Callable[[], T], what: str, seconds: float = 60, every: float = 0.2
) -> T:
    """Return the first true value of a condition.

    Parameters
    ----------
    condition : callable
        Asked again and again.
    what : str
        What is waited for, for the message.
    seconds, every : float
        How long, and how often.

    Raises
    ------
    LocalFailure
        If it did not become true in time.
    """
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise LocalFailure(f"{what}: not within {seconds:g} s.")
        time.sleep(every)
    return value


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Process:
    """A child with a process group of its own, its output in a file; ended with all its own.

    Parameters
    ----------
    command : sequence of str
        What to run, in the root of the repository.
    log : Path
        File that its output is appended to.
    env : mapping
        Its environment.
    cwd : Path
        Its working directory.
    """

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
    def said(self) -> str:
        """Its output until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def check(self) -> None:
        """Check that it has not ended.

        Raises
        ------
        LocalFailure
            With the end of its log.
        """
        if not self.running:
            code = self._child.returncode
            raise LocalFailure(
                f"A process ended with code {code}; its log, {self.log}, ends: {self.said[-TAIL:]}"
            )

    def end(self, sign: int = signal.SIGTERM, seconds: float = 15) -> None:
        """End the process; whatever is left of its group after some seconds is killed."""
        if self.running:
            self._child.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
        # macOS refuses to signal a group of which only the dead are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


class LocalServer:
    """``prefect server start`` on a free port, with a home of its own and all its services.

    ```python
    with LocalServer(Path("demo/prefect")) as prefect, prefect.serve({"ZAGG_CATALOG_STORE": …}):
        prefect.start_run("watch-cycles/hourly")
    ```

    Parameters
    ----------
    folder : Path
        Its home: the database stays, so that the same server can be started again.
    settings : mapping
        Further environment variables of the server.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        own = {
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            # Its web pages would ask the default port.
            "PREFECT_SERVER_UI_API_URL": self.api_url,
        }
        self._settings = own | dict(settings or {})
        self._process: Process | None = None
        # A proxy of the environment is for the world, not for this machine.
        self._http = httpx.Client(trust_env=False, timeout=30)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of a process that talks to this server."""
        own = {"PREFECT_HOME": str(self.folder), "PREFECT_API_URL": self.api_url, **QUICK}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return kept | own | dict(more or {})

    @property
    def log(self) -> Path:
        """File of the server's output."""
        return self.folder / "server.log"

    def launch(self) -> None:
        """Start it, or start it again, without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [program("prefect"), "server", "start", "--host", "127.0.0.1"]
        command += ["--port", str(self.port)]
        self._process = Process(command, self.log, self.environment(self._settings))

    def start(self) -> Self:
        """Start it, or start it again; returns when it is healthy.

        Raises
        ------
        LocalFailure
            If it does not start.
        """
        self.launch()
        try:
            wait_for(self.healthy, "Prefect's server starts", START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def healthy(self) -> bool:
        """Whether it answers.

        Raises
        ------
        LocalFailure
            If its process has ended.
        """
        if self._process is not None:
            self._process.check()
        try:
            return self._http.get(f"{self.api_url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            self._process.end(sign)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, for good."""
        self.stop()
        self._http.close()

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Yield a client of this server, whatever the settings say."""
        with SyncPrefectClient(self.api_url) as client:
            yield client

    @contextlib.contextmanager
    def process(
        self, command: Sequence[str], name: str, env: Mapping[str, str] | None = None
    ) -> Iterator[Process]:
        """Run a command beside the server until the block ends; its log is ``NAME.log``."""
        child = Process(command, self.folder / f"{name}.log", self.environment(env))
        try:
            yield child
        finally:
            child.end(signal.SIGINT)

    @contextlib.contextmanager
    def serve(self, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """``python -m flows.serve``: all deployments and automations, looked at every 2 s."""
        with self.process([sys.executable, "-m", "flows.serve"], "serve", env) as child:
            before = child.said.count("being served")
            wait_for(lambda: _said(child, "being served", before), "flows.serve", START_SECONDS)
            yield child

    @contextlib.contextmanager
    def work(self, pool: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """``prefect worker start``: deployments of a work pool, looked at every 2 s."""
        command = [program("prefect"), "worker", "start", "--pool", pool]
        with self.process(command, "worker", env) as child:
            before = child.said.count("started!")
            wait_for(lambda: _said(child, "started!", before), "A worker", START_SECONDS)
            yield child

    def start_run(self, deployment: str, parameters: Mapping[str, Any] | None = None) -> UUID:
        """Start a run of a deployment, ``flow/name``; return its id."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            given = dict(parameters or {})
            return client.create_flow_run_from_deployment(found.id, parameters=given).id

    def schedule(self, deployment: str, in_seconds: float) -> None:
        """Give a deployment one more schedule: daily, the first time in so many seconds.

        The server looks for new schedules every minute, unless
        ``PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS`` says otherwise; one in between is missed.
        """
        at = datetime.now(UTC) + timedelta(seconds=in_seconds)
        daily = IntervalSchedule(interval=timedelta(days=1), anchor_date=at)
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            made = DeploymentScheduleCreate(schedule=daily, active=True)
            client.create_deployment_schedules(found.id, [made])

    def runs(self, flow: str) -> list[FlowRun]:
        """Return the runs of a flow, see `runs_of`."""
        return self.runs_of([flow])[flow]

    def runs_of(self, flows: Sequence[str]) -> dict[str, list[FlowRun]]:
        """Return the newest 200 runs of some flows by flow, the oldest first.

        Runs that wait for the time that a schedule gave them are left out.
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
        """Return the newest 50 recorded events whose name begins so, the oldest first."""
        wanted = {"filter": {"event": {"prefix": [prefix]}}, "limit": 50}
        answer = self._http.post(f"{self.api_url}/events/filter", json=wanted).raise_for_status()
        events: list[dict[str, Any]] = answer.json()["events"]
        return sorted(events, key=lambda event: str(event["occurred"]))


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(Path(sys.executable).with_name(name))


def utc(value: Any) -> datetime:
    """Return a time of Prefect's as Python's own."""
    return datetime.fromtimestamp(value.timestamp(), UTC)


def _ahead(run: FlowRun) -> bool:
    expected = run.expected_start_time if run.auto_scheduled else None
    waits = run.state is None or run.state.is_scheduled()
    return waits and expected is not None and utc(expected) > datetime.now(UTC)


def _said(child: Process, words: str, before: int) -> bool:
    child.check()
    return child.said.count(words) > before
