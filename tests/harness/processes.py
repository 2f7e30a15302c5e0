"""Processes of this machine."""

from __future__ import annotations

import psutil


def processes_with(text: str) -> list[list[str]]:
    """Return the commands of processes in whose environment a text stands."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(text in value for value in process.environ().values()):
                found.append(process.cmdline())
        except psutil.Error:
            continue  # not ours to look into, or ended
    return found


def flow_processes(run_id: object) -> list[int]:
    """Return the processes of a flow run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run_id):
                found.append(process.pid)
        except psutil.Error:
            continue  # not ours to look into, or gone
    return found
