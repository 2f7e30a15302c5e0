"""The process of a flow run, as workers start it, in a container or without one.

Without a command of the pool, Prefect starts one Python to prepare the folder of the flow, and a
second one to run it. Each imports Prefect, which takes most of the time until the first line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import runpy
import shlex
import sys
from pathlib import Path

# Packages that mortie and odc.geo import only because they are there, which takes a third of a
# second at every start. What needs one later imports it.
UNUSED = ("pandas", "dask")
# Objects until the garbage collector looks; by default it takes a tenth of the time of imports.
GARBAGE = 50_000


def command() -> str:
    """Return the command that starts this program with the Python that runs now."""
    return shlex.join([sys.executable, "-P", str(Path(__file__).resolve())])


def command_in_image() -> str:
    """Return the command that starts this program where it is installed, such as in an image."""
    return "python -P -m flows.engine"


def import_geometry() -> None:
    """Import what the registry needs, without `UNUSED`; no other thread runs yet."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        with contextlib.suppress(ImportError):  # what needs them reports it
            importlib.import_module("mortie")
            importlib.import_module("odc.geo.geobox")
    finally:
        for name in hidden:
            del sys.modules[name]


def main() -> None:
    """Run the flow run that the environment names, in a process group of its own."""
    # Otherwise a signal to the worker's group, such as Ctrl-C, ends its runs as well.
    with contextlib.suppress(PermissionError):
        os.setsid()
    gc.set_threshold(GARBAGE)
    import_geometry()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
