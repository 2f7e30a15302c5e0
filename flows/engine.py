"""The process of a flow run, as workers start it, in a container or without one.

Without a command of the pool, Prefect starts one Python to prepare the folder of the flow, and a
second one to run it. Each imports Prefect, which takes most of the time until the first line.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shlex
import sys
from pathlib import Path

from zagg_catalog.lazy import import_geometry, rarely_collect


def command() -> str:
    """Return the command that starts this program with the Python that runs now."""
    return shlex.join([sys.executable, "-P", str(Path(__file__).resolve())])


def command_in_image() -> str:
    """Return the command that starts this program where it is installed, such as in an image."""
    return "python -P -m flows.engine"


def main() -> None:
    """Run the flow run that the environment names, in a process group of its own."""
    # Otherwise a signal to the worker's group, such as Ctrl-C, ends its runs as well.
    with contextlib.suppress(PermissionError):
        os.setsid()
    rarely_collect()
    import_geometry("odc.geo.geobox")
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
