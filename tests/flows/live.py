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
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local_server import ROOT, LocalServer


def wait_for[T](condition: Callable[[], T], seconds: float = 60, every: float = 0.2) -> T:
    """Return the first true value of a condition, or fail."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, f"not within {seconds:g} s"
        time.sleep(every)
    return value


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
                # What still has something to send would look for this server when it is gone.
                EventsWorker.drain_all(timeout=10)
                APILogWorker.drain_all(timeout=10)

    def run(self, *arguments: str, env: Mapping[str, str] = {}, timeout: float = 60) -> str:
        """Run ``python ARGUMENTS`` to its end, and return what it said."""
        return self.call(sys.executable, *arguments, env=env, timeout=timeout)

    def call(self, *command: str, env: Mapping[str, str] = {}, timeout: float = 60) -> str:
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

    def emit(self, event: str, resource: str, payload: Mapping[str, Any]) -> str:
        """Send one event, and return its id."""
        body = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": resource},
            "payload": dict(payload),
        }
        self._http.post(f"{self.api_url}/events", json=[body]).raise_for_status()
        return str(body["id"])
