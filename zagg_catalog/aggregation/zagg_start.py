"""How zagg's processes are started: each by itself, or as forks of one that has imported zagg."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

# Seconds until a process that imports zagg is not waited for any more.
IMPORTING = 120.0
# Seconds until the end of a fork that was killed, before the process that forked it is killed.
KILLING = 10.0
# Imports of numpy and pyarrow start no thread with these. For dry runs, which compute nothing.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_HERE = Path(__file__)


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files of a call of zagg."""

    call: Path
    answer: Path
    log: Path


class Child(Protocol):
    """A process that runs a call of zagg."""

    @property
    def code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None if it runs."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it has ended."""

    def end(self) -> None:
        """Kill it, and all processes that it started, even if it has ended."""


Start = Callable[[Files], Child]
"""Starts a process that runs a call."""


class OwnProcess:
    """A process that imports zagg for one call."""

    def __init__(self, files: Files) -> None:
        # Run as a file, since `-m` would import this package, which takes a second.
        program = str(_HERE.with_name("zagg_process.py"))
        command = [sys.executable, "-P", program, str(files.call), str(files.answer)]
        with files.log.open("wb") as output:
            # The process reads stdin only to notice that this process has ended.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
            )

    @property
    def code(self) -> int | None:
        """See `Child.code`."""
        return self._process.poll()

    def wait(self, seconds: float) -> bool:
        """See `Child.wait`."""
        if self.code is None:
            time.sleep(seconds)
        return self.code is not None

    def end(self) -> None:
        """See `Child.end`."""
        _kill(self._process)


class ZaggForks:
    """Starts calls as forks of one process, which imports zagg once.

    A context manager, and a `Start`. For dry runs: what a call changes is gone with its fork, but
    the libraries compute in one thread. Where zagg's imports start threads nevertheless, which a
    fork would lack, or where there is no Linux, each call has a process of its own.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = threading.Event()
        self._fit = False
        self._running: dict[int, _Fork] = {}
        self._last = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Let the process import zagg, unless it does already; the first call waits for it."""
        with self._lock:
            if self._process is not None or sys.platform != "linux" or find_spec("zagg") is None:
                return
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_HERE.with_name("zagg_forks.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment() | _ONE_THREAD,
            )
        listen = threading.Thread(
            target=self._listen, args=(self._process,), name="answers of zagg", daemon=True
        )
        listen.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the process, and with it all calls that run."""
        if self._process is not None:
            _kill(self._process)

    def __call__(self, files: Files) -> Child:
        """Start a call."""
        self.begin()
        if self._process is None or not (self._answered.wait(IMPORTING) and self._fit):
            return OwnProcess(files)
        with self._lock:
            self._last += 1
            fork = self._running[self._last] = _Fork(self, self._last)
        request = {
            "start": fork.number,
            **{name: str(path.absolute()) for name, path in vars(files).items()},
            "folder": str(Path.cwd()),
            "environment": environment(),
        }
        if self.send(request):
            return fork
        self._running.pop(fork.number, None)
        return OwnProcess(files)

    def send(self, request: Mapping[str, Any]) -> bool:
        """Send a request; return False if the process has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):  # it has ended, or was closed
                return False
        return True

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Read the answers until the process ends; then all its calls have ended."""
        assert process.stdout is not None
        with process.stdout as answers:
            for line in answers:
                answer = json.loads(line)
                if "unfit" in answer:
                    self._fit = answer["unfit"] is None
                    self._answered.set()
                else:
                    self._running.pop(answer["ended"]).ended(answer["code"])
        self._fit = False
        self._answered.set()
        code = process.wait()
        for number in list(self._running):
            self._running.pop(number).ended(code)


@dataclass
class _Fork:
    """A call that runs in a fork."""

    forks: ZaggForks
    number: int
    code: int | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def ended(self, code: int) -> None:
        """Record that the process has ended, and all that it started."""
        self.code = code
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """See `Child.wait`."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """See `Child.end`."""
        if not self._ended.is_set():
            self.forks.send({"kill": self.number})
            if not self._ended.wait(KILLING):
                self.forks.close()
                self._ended.wait(KILLING)


def environment() -> dict[str, str]:
    """Return what zagg needs of the environment, which has no login of a Prefect server."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return found | {"PYTHONUNBUFFERED": "1"}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and all of the group."""
    # macOS refuses to signal a group that has only zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # of a request that was not read
            process.stdin.close()
