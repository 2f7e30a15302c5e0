"""A program whose standard error is a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

# Sequences that move the cursor or erase, as rich writes them, and those that colour.
_STYLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]")


def _hear_interrupts() -> None:
    """Let Ctrl-C end a program, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Runs a program; what it writes on standard error is read as a terminal reads it."""

    def __init__(self, command: Sequence[str], *, columns: int = 80, stdin: int | None = None):
        self._ours, theirs = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns)},
            preexec_fn=_hear_interrupts,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def read_until(self, text: str) -> str:
        """Read until a text has come; return all that has."""
        while text not in self.text:
            piece = self._read()
            assert piece, f"{text!r} did not come: {self.text!r}"
        return self.text

    def rest(self) -> str:
        """Read until the program ends; return what came since the last call."""
        before = len(self.text)
        while self._read():
            pass
        return self.text[before:]

    def screen(self) -> str:
        """Read until the program ends; return the lines that are left, without what was erased."""
        self.rest()
        lines, row = [""], 0
        for part in re.split(r"(\r\n|\n|\r|\x1b\[1A|\x1b\[2K)", _STYLE.sub("", self.text)):
            if part in ("\r\n", "\n"):
                row += 1
                lines += [""] * (row == len(lines))
            elif part == "\x1b[1A":
                row -= 1
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part not in ("", "\r"):
                lines[row] = part
        return "\n".join(lines).strip()

    def _read(self) -> str:
        try:
            piece = os.read(self._ours, 1 << 16).decode(errors="replace")
        except OSError:  # Linux ends a terminal whose other side is closed with EIO
            return ""
        self.text += piece
        return piece
