"""Runs of `flows.serve` as forks: what Prefect's runner is told of them, and when they are none."""

import os
import subprocess
import sys

import pytest

from flows.local_server import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere runs are not forked")

# A runner of one run, as Prefect's own: it prints the process and its exit code.
RUNNER = """
import sys
import anyio
from prefect.runner import _starter_engine
from prefect.runner._process_manager import ProcessHandle
from flows.forks import fork_runs

async def main(command, env, cwd):
    class Status:
        def started(self, handle):
            print("started", handle.pid, flush=True)
            self.handle = handle
    status = Status()
    await _starter_engine.run_process(
        command=command, stream_output=True, task_status=status,
        task_status_handler=ProcessHandle, env=env, cwd=cwd,
    )
    print("ended", status.handle.returncode)

if __name__ == "__main__":
    fork_runs(sys.argv[2:3])
    anyio.run(main, [sys.executable, *sys.argv[3:]], {"MARK": "of the run"}, sys.argv[1])
"""


@pytest.fixture
def run(tmp_path):
    """Run a command as a run; return the lines that it and the runner said."""
    (tmp_path / "runner.py").write_text(RUNNER)
    (tmp_path / "with_a_thread.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )

    def call(preloaded: str, *command: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "runner.py", str(ROOT), preloaded, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return (done.stdout + done.stderr).splitlines()

    return call


def test_a_fork_runs_prefects_engine_and_its_exit_code_is_known(run):
    said = run("prefect.flow_engine", "-m", "prefect.engine")
    assert any("Invalid flow run id" in line for line in said), said  # nothing names one
    assert "ended 1" in said


def test_where_an_import_has_started_a_thread_a_run_is_a_new_program(run):
    program = "import os; print('own', os.getpid(), os.environ['MARK'], os.getcwd())"
    said = run("with_a_thread", "-c", program)
    pid = next(line.split()[1] for line in said if line.startswith("started"))
    assert f"own {pid} of the run {ROOT}" in said, said
    assert "ended 0" in said
