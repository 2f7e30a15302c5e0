"""S3 servers as processes of their own, and settings that reach them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.harness.waiting import wait_for
from zagg_catalog.settings import Settings

KEY_ID, SECRET = "testkey", "test-secret-key"


@dataclass
class Server:
    """A command that serves S3 on a port; it can be killed and started again."""

    command: list[str]
    port: int
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        env = os.environ | self.env
        self.process = subprocess.Popen(self.command, stdout=quiet, stderr=quiet, env=env)
        try:
            wait_for(lambda: self.answers() or self.process.poll() is not None)
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command[0]} did not start")
        except BaseException:
            self.kill()
            raise

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        plain_client(server.endpoint).close()
        server.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def program(name: str) -> str:
    """The path of a program of this environment, or skip."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        pytest.skip(f"{name} is not installed: it comes with the dev extra")
    return str(path)


def moto() -> Server:
    port = free_port()
    return Server([sys.executable, "-m", "tests.harness.moto_server", str(port)], port)


def juicefs(folder: Path) -> Server:
    """A JuiceFS gateway: checks signatures, keeps data on disk, ignores conditions."""
    port, meta = free_port(), f"sqlite3://{folder}/meta.db"
    juicefs = program("juicefs")
    made = [juicefs, "format", "--storage", "file", "--bucket", f"{folder}/data/", meta, "store"]
    subprocess.run(made, check=True, capture_output=True)
    flags = ["--multi-buckets", "--keep-etag", "--object-meta", "--no-banner"]
    flags += ["--no-usage-report"]
    where = ["--log", f"{folder}/gateway.log", "--cache-dir", f"{folder}/cache"]
    command = [juicefs, "gateway", *flags, *where, meta, f"127.0.0.1:{port}"]
    return Server(command, port, {"MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET})


# rclone keeps listings of folders for five minutes; tests add files behind its back. With 0s its
# writes never end.
FRESH = ("--dir-cache-time", "10ms", "--poll-interval", "0s")


def rclone(folder: Path) -> Server:
    """``rclone serve s3``: checks signatures, keeps data on disk, ignores conditions."""
    port = free_port()
    (folder / "data").mkdir()
    command = [program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY_ID},{SECRET}", "--vfs-cache-mode", "writes", *FRESH]
    command += ["--cache-dir", f"{folder}/cache", "--config", f"{folder}/none", f"{folder}/data"]
    return Server(command, port)


def settings_for(endpoint: str, **changes) -> Settings:
    values = {
        "s3_endpoint": endpoint,
        "s3_region": "us-east-1",
        "s3_access_key_id": KEY_ID,
        "s3_secret_access_key": SECRET,
        "s3_timeout": 10,
    }
    return Settings(_env_file=None, **(values | changes))


@cache
def plain_client(endpoint: str):
    """boto3 without the store, to prepare and to look behind its back; one per server."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )


def new_bucket(endpoint: str) -> str:
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    plain_client(endpoint).create_bucket(Bucket=bucket)
    return bucket
