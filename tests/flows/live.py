"""A real Prefect server in a process of its own, and processes that serve or run flows on it.

```python
with LiveServer(tmp_path / "prefect") as prefect, prefect.serve(env={...}) as served:
    prefect.emit("zagg-catalog.cycle.available", resource="…", payload={...})
    wait_for(lambda: prefect.runs("prepare-cycle"))
```
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local_server import ROOT, LocalServer, Process, program, send_pending
from flows.server_database import make_template
from tests.harness.waiting import wait_for


class LiveServer(LocalServer):
    """A `LocalServer` that looks for what did not happen every second.

    Parameters
    ----------
    folder : Path
        Its home.
    settings : str
        Further environment variables of the server.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        quick = {"PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S"}
        super().__init__(folder, quick | settings)

    def launch(self) -> None:
        make_template()
        super().launch()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return super().environment({"ZAGG_CATALOG_FLOW_RETRY_DELAY": "0", **(more or {})})

    @property
    def said(self) -> str:
        """Log of the server."""
        return self.log.read_text(errors="replace")

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Let flows that are called in this process run on this server."""
        with temporary_settings(updates={PREFECT_API_URL: self.api_url}):
            try:
                yield
            finally:
                send_pending()  # it would look for this server later

    def run(self, *arguments: str, env: Mapping[str, str] = {}, timeout: float = 600) -> str:
        """Run ``python ARGUMENTS`` to its end, and return what it said."""
        return self.call(sys.executable, *arguments, env=env, timeout=timeout)

    def call(self, *command: str, env: Mapping[str, str] = {}, timeout: float = 600) -> str:
        """Run a command to its end, and return what it said."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def runs(self, flow: str) -> list[FlowRun]:
        """Return the runs of a flow that no schedule started: what is due just now is no news."""
        return [run for run in super().runs(flow) if not run.auto_scheduled]

    @contextlib.contextmanager
    def work(
        self, pool: str, env: Mapping[str, str] | None = None, name: str = "worker"
    ) -> Iterator[Process]:
        """Run ``prefect worker start``: deployments of a work pool, polled every 2 s."""
        command = [program("prefect"), "worker", "start", "--pool", pool, "--name", name]
        with self.process(command, name, env) as child:
            before = child.output.count("started!")
            wait_for(lambda: child.check() or child.output.count("started!") > before)
            yield child

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

    def emit(
        self,
        event: str,
        resource: str,
        payload: Mapping[str, Any],
        follows: str | None = None,
    ) -> str:
        """Send one event, and return its id; the server weighs it after the one it follows."""
        body = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": resource},
            "payload": dict(payload),
            "follows": follows,
        }
        self._http.post(f"{self.api_url}/events", json=[body]).raise_for_status()
        return str(body["id"])
