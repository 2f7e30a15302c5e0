"""A write to a store that ends in SIGKILL at a named step, in a process of its own.

Steps are what a store does to the outside: in a folder each file that is begun, half written,
written, renamed; on S3 each request before it is sent, half sent, and answered.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from tests.harness import servers
from tests.harness.stores import Place
from zagg_catalog.settings import Settings
from zagg_catalog.store import Store, local, open_store, s3

# Reading boto3's descriptions of S3 takes longer than a publish; forked processes share this.
SESSION = s3.make_session(servers.settings_for("http://127.0.0.1:1"))
s3.make_client(SESSION, servers.settings_for("http://127.0.0.1:1")).close()
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.harness.killed", "tests.releases.inputs"])


def open_in_child(url: str, settings: dict) -> Store:
    """Open a store in a process that was forked from the server of `CONTEXT`."""
    s3.make_session = lambda _: SESSION
    return open_store(url, settings=Settings(_env_file=None, **settings))


def run(
    place: Place, write: Callable[[Store], object], step: str | None, scratch: Path
) -> tuple[int, list[str]]:
    """Write in a new process; return its exit code and, if it lived, its steps.

    Temporary files that a killed process leaves behind are in `scratch`.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    arguments = (place.url, place.settings.model_dump(), write, step, scratch, sender)
    child = CONTEXT.Process(target=_run, args=arguments)
    child.start()
    sender.close()
    try:
        steps = receiver.recv()
    except EOFError:
        steps = []
    child.join()
    receiver.close()
    return child.exitcode, steps


def _run(url, settings, write, step, scratch, sender) -> None:
    tempfile.tempdir = str(scratch)
    store = open_in_child(url, settings)
    trace = Trace(step)
    (_watch_s3 if url.startswith("s3://") else _watch_folder)(store, trace)
    write(store)
    sender.send(trace.steps)


class Trace:
    """The steps so far; reaching the fatal one kills the process."""

    LABELS: ClassVar = {"catalogs/": "catalog", "releases/": "record"}

    def __init__(self, fatal: str | None) -> None:
        self.fatal, self.steps, self.label = fatal, [], ""
        self.counts = Counter()

    def __call__(self, what: str) -> None:
        step = f"{self.label}: {what}"
        self.counts[step] += 1
        self.steps.append(step if self.counts[step] == 1 else f"{step}, {self.counts[step]}")
        if self.steps[-1] == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def name(self, key: str) -> None:
        """Set the label of the steps that follow."""
        self.label = "store"
        for part, label in self.LABELS.items():
            if part in key:
                self.label = label
        if "grid=" in key:
            grid, suffix = key.partition("grid=")[2].partition("/")[0], Path(key).suffix
            self.label = f"{grid}{suffix}"
        if key.endswith("latest.json"):
            self.label = "pointer"
        if ".probe" in key:
            self.label = "probe"


def _watch_folder(store, trace: Trace) -> None:
    methods = ("read_pointer", "put", "put_object", "exists", "get", "download", "swap_pointer")
    for method in methods:
        _watch_method(store, method, trace)
    real_rename, real_locked = local.rename_synced, local.locked

    def write(path, blocks):
        content = b"".join(blocks)
        with path.open("xb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            trace("half written")
            file.write(content[len(content) // 2 :])
            file.flush()
            os.fsync(file.fileno())
        trace("written")

    def rename(temporary, path):
        real_rename(temporary, path)
        trace("renamed")

    @contextmanager
    def locked(folder):
        with real_locked(folder):
            trace("locked")
            yield

    local.write_synced, local.rename_synced, local.locked = write, rename, locked


def _watch_method(store, method: str, trace: Trace) -> None:
    real = getattr(store, method)

    def watched(key, *arguments):
        trace.name(key)
        trace(f"{method} begins")
        result = real(key, *arguments)
        trace.name(key)
        trace(f"{method} ends")
        return result

    setattr(store, method, watched)


def _watch_s3(store, trace: Trace) -> None:
    events = store._client.meta.events
    real_send = http.client.HTTPConnection.send
    sending = []

    def before(request, event_name, **_):
        trace.name(unquote(request.url.partition("?")[0]))
        operation = event_name.rpartition(".")[2]
        trace(f"{operation} is sent")
        sending[:] = [operation] if request.body else []

    def send(self, data):
        if sending and isinstance(data, bytes) and not data.startswith((b"PUT /", b"POST /")):
            real_send(self, data[: len(data) // 2])
            trace(f"{sending.pop()} is half sent")
            data = data[len(data) // 2 :]
        real_send(self, data)

    def after(model, **_):
        trace(f"{model.name} is answered")

    events.register("before-send.s3", before)
    events.register("after-call.s3", after)
    http.client.HTTPConnection.send = send
