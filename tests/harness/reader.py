"""A reader's terminal: it runs the commands of a page in a folder, one after the other."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.harness.pages import Command
from tests.harness.servers import free_port
from zagg_catalog.cli.main import main as zagg_catalog

BIN = Path(sys.executable).parent
# What a page writes for a place that a test has not.
BUCKETS = ("s3://my-bucket/", "s3://bucket/")
# Ports that pages use; each becomes a free one.
PORTS = ("8300", "8917")


@dataclass
class Terminal:
    """A folder, an environment, and the servers that were started in the background."""

    folder: Path
    patch: pytest.MonkeyPatch
    servers: list[subprocess.Popen] = field(default_factory=list)
    ports: dict[str, str] = field(default_factory=lambda: {one: str(free_port()) for one in PORTS})
    code: int = 0

    def type(self, command: Command) -> str:
        """Run a command; return what it prints, in the words of the page."""
        text = self.here(command.text)
        if text.endswith(" &"):
            shown = self._start(text.removesuffix(" &"))
        elif text == "echo $?":
            shown, self.code = str(self.code), 0
        else:
            self.code, shown = self._run(Command(text, None))
        for port, mine in self.ports.items():
            shown = shown.replace(f":{mine}", f":{port}")
        return shown

    def here(self, text: str) -> str:
        """Replace the buckets and ports of a page by a folder and ports that are free."""
        for bucket in BUCKETS:
            text = text.replace(bucket, f"{self.folder}/bucket/")
        for port, mine in self.ports.items():
            text = text.replace(f":{port}", f":{mine}").replace(f"--port {port}", f"--port {mine}")
        return text

    def _run(self, command: Command) -> tuple[int, str]:
        match command.words:
            case ["export", *variables]:
                for variable in variables:
                    self.patch.setenv(*variable.split("=", 1))
                return 0, ""
            case ["cd", folder]:
                self.patch.chdir(folder)
                return 0, ""
            case ["zagg-catalog", *arguments]:
                return _call(arguments)
            case ["python", "-m", "zagg_catalog", *arguments]:
                return _call(arguments)
        environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", command.text],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout

    def _start(self, text: str) -> str:
        """Start a server and return its first line."""
        self.close()
        words = shlex.split(text)
        assert words[0] == "python", text
        server = subprocess.Popen(
            [sys.executable, *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        return server.stdout.readline()

    def close(self) -> None:
        while self.servers:
            server = self.servers.pop()
            server.terminate()
            server.communicate(timeout=60)


@contextlib.contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    """Open a terminal in a folder; the environment is as before in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        opened = Terminal(folder, patch)
        try:
            yield opened
        finally:
            opened.close()


def _call(arguments: list[str]) -> tuple[int, str]:
    """Call the command line here; the start of a process would take longer than most commands."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        try:
            code = zagg_catalog(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
    return code, shown.getvalue()
