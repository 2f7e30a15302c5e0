"""The process that imports zagg once, and forks for each call: ``python -P zagg_forks.py``.

It reads requests from stdin, a JSON document a line, and writes answers to stdout in the same way:

- It first says ``{"unfit": …}``: null, or why it cannot fork safely; then it ends.
- The request ``{"start": 1, "call": …, "answer": …, "log": …, "folder": …, "environment": …}``
  starts a call, in a process group of its own; ``{"kill": 1}`` kills it with all that it started.
- The answer ``{"ended": 1, "code": …}`` says that it has ended, negative for a signal, and that
  nothing is left of its group.

When stdin ends, or the process dies, its calls die with it. It imports only the standard library,
and modules that do the same, until it imports zagg.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from zagg_catalog.aggregation.zagg_names import look_up
from zagg_catalog.aggregation.zagg_process import main

# The code of a call for which there is no process.
NOT_FORKED = 71


def serve() -> int:
    """Import zagg, say whether it can be forked, and obey requests until stdin ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # for what an import prints
    why = unfit()
    forks = Forks(answers)
    forks.tell({"unfit": why})
    if why is None:
        forks.obey_all()
    return 0


def unfit() -> str | None:
    """Import zagg, and return why this process cannot be forked, or None.

    A fork has the thread that forks only. What another one holds, such as a lock, stays locked.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    gc.disable()
    try:
        look_up()
    except Exception as error:  # noqa: BLE001  (a process of its own finds the same, and says it)
        return f"zagg cannot be imported: {type(error).__name__}"
    gc.enable()
    gc.freeze()  # so that the collector writes to no page that the forks share
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    return None if threads == 1 else f"zagg's imports started {threads - 1} threads"


class Forks:
    """The calls that run."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        # Its end for writing is in this process only, so that reading it ends when this one does.
        self._alive, self._mine = os.pipe()
        self._numbers: dict[int, int] = {}

    def obey_all(self) -> None:
        """Obey requests until stdin ends."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        rest = b""
        while True:
            ready, _, _ = select.select([0, woken], [], [])
            if woken in ready:
                os.read(woken, 1024)
                self._reap()
            if 0 in ready:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def tell(self, answer: dict[str, Any]) -> None:
        """Write an answer; one that nothing reads any more is lost."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._answers, json.dumps(answer).encode() + b"\n")

    def _obey(self, request: dict[str, Any]) -> None:
        if "kill" in request:
            for pid, number in self._numbers.items():
                if number == request["kill"]:
                    _kill_group(pid)
            return
        try:
            pid = os.fork()
        except OSError as error:
            Path(request["log"]).write_text(f"No process could be started: {error}\n")
            self.tell({"ended": request["start"], "code": NOT_FORKED})
            return
        if pid == 0:
            self._become(request)
        with contextlib.suppress(OSError):  # the fork does the same; one of them is first
            os.setpgid(pid, pid)
        self._numbers[pid] = request["start"]

    def _reap(self) -> None:
        """Say which calls have ended, after what is left of their groups is killed."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self._numbers and (found := os.waitid(os.P_ALL, 0, options)) is not None:
            _kill_group(found.si_pid)  # its number is not free yet
            _, status = os.waitpid(found.si_pid, 0)
            number = self._numbers.pop(found.si_pid, None)
            if number is not None:
                self.tell({"ended": number, "code": os.waitstatus_to_exitcode(status)})

    def _become(self, request: dict[str, Any]) -> NoReturn:
        """Run a call in this process, a fork, as `zagg_process` does in one of its own."""
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._mine)
            os.close(self._answers)
            os.dup2(self._alive, 0)
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(request["environment"])
            os.chdir(request["folder"])
            code = main(request["call"], request["answer"])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001  (it must not return into the loop of the other one)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _kill_group(pid: int) -> None:
    """Kill a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(serve())
