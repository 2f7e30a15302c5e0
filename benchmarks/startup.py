"""Start-up time of programs: CPU time, and its ratio to `python -c "import argparse"`.

`python benchmarks/startup.py [--runs N]` prints a table; `python -X importtime -m zagg_catalog …`
shows which import takes the time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from simulated import write_cycle  # noqa: E402

BASE = "python -c 'import argparse'"
CLI = [sys.executable, "-c", "import sys; from zagg_catalog.cli import main; sys.exit(main())"]


def programs(folder: Path) -> dict[str, tuple[list[str], float | None]]:
    """Return the commands to start, and the largest accepted ratio of each."""
    catalog = folder / "catalog.parquet"
    write_cycle(catalog, 22, every=10, south=True)
    python = sys.executable
    return {
        BASE: ([python, "-c", "import argparse"], None),
        "import zagg_catalog": ([python, "-c", "import zagg_catalog"], None),
        "zagg-catalog --help": ([*CLI, "--help"], 6),
        "zagg-catalog show FILE.parquet": ([*CLI, "show", str(catalog)], 15),
        "zagg-catalog build --help": ([*CLI, "build", "--help"], 15),
        "zagg-catalog status --help": ([*CLI, "status", "--help"], 15),
        "python -m flows.cycle --help": ([python, "-m", "flows.cycle", "--help"], None),
    }


def seconds(command: list[str]) -> tuple[float, float]:
    """Run a command; return its CPU time, user and system, and its wall time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=9, help="of each program (default: 9)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zagg-catalog-") as folder:
        started = programs(Path(folder))
        cpu: dict[str, list[float]] = {name: [] for name in started}
        wall: dict[str, list[float]] = {name: [] for name in started}
        for _ in range(options.runs):  # in turn, so that load on the machine affects all programs
            for name, (command, _limit) in started.items():
                spent, passed = seconds(command)
                cpu[name].append(spent)
                wall[name].append(passed)
    base = statistics.median(cpu[BASE])
    print("| program | CPU | wall | ratio | target |\n|---|---:|---:|---:|---:|")
    for name, (_command, limit) in started.items():
        median = statistics.median(cpu[name])
        print(
            f"| `{name}` | {median:.3f} s | {statistics.median(wall[name]):.3f} s"
            f" | {median / base:.1f} | {limit or ''} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
