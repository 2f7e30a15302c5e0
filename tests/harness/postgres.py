"""A PostgreSQL of our own, of the programs where Debian puts them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 300.0
Command = list[str | Path]


@dataclass
class Cluster:
    """A PostgreSQL of our own, gone after the tests."""

    programs: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.environment['PGPORT']}"

    def sql(self, statement: str) -> None:
        run([self.programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", statement], self)


def run(command: Command, cluster: Cluster) -> None:
    done = subprocess.run(
        command, env=cluster.environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def newest_programs(having: str = "") -> Path | None:
    """Return the programs of the newest PostgreSQL, with an extension such as ``postgis``."""
    folder = Path("/usr/lib/postgresql")
    found = [path.parents[1].name for path in folder.glob("*/bin/initdb")]
    extension = "/usr/share/postgresql/{}/extension/" + f"{having}.control"
    versions = [one for one in found if not having or Path(extension.format(one)).is_file()]
    return folder / max(versions, key=int) / "bin" if versions else None


@contextmanager
def postgresql(programs: Path, name: str = "postgres", password: str = "") -> Iterator[Cluster]:
    """Run a new cluster, as the user postgres where we are root, which PostgreSQL refuses.

    `name` is its user, which may do anything, and its database.
    """
    root = os.geteuid() == 0
    user: dict[str, Any] = {}
    if root:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="zagg-catalog-postgres-") as place:
        folder, port, password = Path(place), free_port(), password or secrets.token_hex(16)
        (folder / "password").write_text(password)
        for path in (folder, folder / "password") if root else ():
            shutil.chown(path, "postgres", "postgres")
        _initialise(programs, folder, name, user)
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options |= {"fsync": "off", "log_destination": "stderr"}
        command: Command = [programs / "postgres", "-D", folder / "data"]
        command += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGDATABASE": "postgres"}
        environment |= {"PGUSER": name, "PGPASSWORD": password}
        ready: Command = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        with running(
            command,
            log=folder / "log",
            is_up=lambda: subprocess.run(ready, check=False).returncode == 0,
            cwd=folder,
            **user,
        ):
            cluster = Cluster(programs, environment)
            if name != "postgres":
                cluster.sql(f'CREATE DATABASE "{name}"')
            yield cluster


def _initialise(programs: Path, folder: Path, name: str, user: dict[str, Any]) -> None:
    command: Command = [programs / "initdb", "-D", folder / "data", "-U", name, "--no-sync"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256"]
    command += ["--pwfile", folder / "password"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, **user
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running(
    command: Command, *, log: Path, is_up: Callable[[], bool], **options: Any
) -> Iterator[None]:
    """Run a server from the moment it is up until the block ends."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_up():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start: {log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        # An interrupt is the fast, orderly end of both PostgreSQL and uvicorn.
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
