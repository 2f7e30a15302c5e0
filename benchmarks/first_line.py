"""Time from a click to the first line of a flow's code, with Prefect's own command and with ours.

``python benchmarks/first_line.py [--runs N]``: a server, the deployments of ``flows.deploy`` and a
worker; each run of ``aggregate/aggregate-one-release`` finds nothing to do in an empty store. The
two commands of the pool take turns. The CPU time is that of a run's processes, from their start to
their end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun

from flows.engine import command
from flows.local_server import LocalServer, program, utc, wait_for

POOL = "zagg-catalog"
COMMANDS = {"Prefect's own": None, "flows.engine": command()}


@contextlib.contextmanager
def worker(server: LocalServer, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """Run a worker, and yield its process."""
    start = [program("prefect"), "worker", "start", "--pool", POOL]
    with server.process(start, "worker", environment) as child:
        wait_for(lambda: child.check() or "started!" in child.output, "the worker starts", 300)
        (found,) = [one for one in psutil.Process().children() if "worker" in one.cmdline()]
        yield found


def set_command(server: LocalServer, value: str | None) -> None:
    """Set the command of the pool, with which the worker starts runs."""
    with server.client() as client:
        template = client.read_work_pool(POOL).base_job_template
        template["variables"]["properties"]["command"]["default"] = value
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def one_run(server: LocalServer, process: psutil.Process) -> tuple[float, float]:
    """Start a run; return seconds until its code begins, and CPU seconds of its processes."""
    before = children_cpu(process)
    number = server.start_run("aggregate/aggregate-one-release")

    def ended() -> FlowRun | None:
        with server.client() as client:
            run = client.read_flow_run(number)
        return run if run.state is not None and run.state.is_final() else None

    run = wait_for(ended, "the run ends", 600)
    assert run.state.is_completed(), run.state.message
    spent = wait_for(lambda: children_cpu(process) - before, "its process ends", 60)
    return (utc(run.start_time) - utc(run.created)).total_seconds(), spent


def children_cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of the children of a process that have ended."""
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=3, help="of each command (default: 3)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="zagg-catalog-") as name, LocalServer(Path(name, "p")) as server:
        environment = {"ZAGG_CATALOG_STORE": f"{name}/store"}
        with server.process([sys.executable, "-m", "flows.deploy"], "deploy", environment) as child:
            wait_for(lambda: not child.running, "flows.deploy", 300)
        results: dict[str, dict[str, list[float]]] = {
            what: {"wall_s": [], "cpu_s": []} for what in COMMANDS
        }
        with worker(server, environment) as process:
            for _ in range(options.runs):
                for what, value in COMMANDS.items():
                    set_command(server, value)
                    wall, cpu = one_run(server, process)
                    results[what]["wall_s"].append(round(wall, 2))
                    results[what]["cpu_s"].append(round(cpu, 2))
    medians = {
        what: {name: round(statistics.median(values), 2) for name, values in found.items()}
        for what, found in results.items()
    }
    print(json.dumps({"medians": medians, "runs": results}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
