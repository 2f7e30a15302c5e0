"""Flow runs as forks of a process that has imported the flows once, for `flows.serve`.

Prefect's runner starts ``python -m prefect.engine`` for each run, which imports for two seconds. A
fork of the fork server of `multiprocessing` is a process of its own as well, and begins at once.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import anyio
from prefect.runner import _starter_engine

from zagg_catalog.lazy import import_geometry, rarely_collect

# Imports of numpy and pyarrow start no thread with these; a fork would lack it.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
# Set in the environment of the fork server.
_PRELOADS = "_ZAGG_CATALOG_FLOWS_TO_FORK"
_fit = False


def fork_runs(modules: Sequence[str]) -> None:
    """Start a process that imports modules, and let Prefect's runner here fork it for each run.

    It is called by the main program. Elsewhere than on Linux it does nothing.
    """
    if sys.platform != "linux":
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    own = ONE_THREAD | {_PRELOADS: " ".join(modules)}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

    async def run(
        *,
        command: list[str],
        env: dict[str, str],
        cwd: Path | str | None,
        task_status: anyio.abc.TaskStatus[Any],
        task_status_handler: Callable[[Any], Any],
        **_: object,
    ) -> None:
        process = context.Process(target=_become, args=(command, env, cwd))
        process.start()
        task_status.started(task_status_handler(process))
        await anyio.to_thread.run_sync(process.join, abandon_on_cancel=True)

    # The module calls it by this name, so that it can be replaced.
    _starter_engine.run_process = run  # type: ignore[assignment, attr-defined]


def _become(command: list[str], env: dict[str, str], cwd: Path | str | None) -> None:
    """Run Prefect's engine in this process, a fork, as `command` does in one of its own."""
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    if not _fit:
        os.execve(command[0], command, env)
    sys.argv = command[2:]
    sys.modules.pop("prefect.engine", None)  # it is run as a program
    rarely_collect()
    try:
        with _new_settings():
            runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    finally:
        # `multiprocessing` leaves them out; Prefect sends its last log lines and events in them.
        atexit._run_exitfuncs()


@contextlib.contextmanager
def _new_settings() -> Any:
    """Let Prefect read its settings from the environment of this run."""
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    profile = get_settings_context().profile
    with SettingsContext(profile=profile, settings=Settings()):
        yield


def _preload(modules: Sequence[str]) -> bool:
    """Import modules in the fork server; return whether its forks lack no thread."""
    import_geometry("odc.geo.geobox")
    for name in modules:
        import_module(name)
    gc.collect()
    gc.freeze()  # so that the collector writes to no page that the forks share
    return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1


if _PRELOADS in os.environ:
    _fit = _preload(os.environ.pop(_PRELOADS).split())
    for _name in ONE_THREAD:
        os.environ.pop(_name, None)
