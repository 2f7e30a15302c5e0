"""The aggregator: zagg in a process of its own, which can hang or die without harm to ours."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zagg_catalog.errors import (
    AggregationFailed,
    MissingAggregator,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.messages import clean_text
from zagg_catalog.releases.publication import version_of

CHILD = Path(__file__).with_name("zagg_process.py")
TAIL = 2000
GRACE = 10.0
POLL = 0.2


class ZaggOptions(BaseModel):
    """How zagg runs; what is left out is as in zagg.

    Attributes
    ----------
    backend : {"local", "lambda"}
        Threads of one machine, or AWS Lambda.
    driver : {"s3", "https"} or None
        How granules are read.
    max_workers : int or None
        Workers at once.
    overwrite : bool
        Replace the output's template, and with it everything there.
    region : str or None
        AWS region of the output and of Lambda.
    function_name : str or None
        Lambda function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["local", "lambda"] = "local"
    driver: Literal["s3", "https"] | None = None
    max_workers: int | None = Field(default=None, ge=1)
    overwrite: bool = False
    region: str | None = None
    function_name: str | None = None

    def given(self) -> dict[str, Any]:
        """Return what differs from zagg's own defaults."""
        return {name: value for name, value in self.model_dump().items() if value}


@dataclass(frozen=True, kw_only=True)
class ZaggCall:
    """One call of zagg.

    Parameters
    ----------
    config, catalog : str
        Pipeline config and manifest, files.
    store : str
        Where it writes to.
    dry_run : bool
        Only say what it would do.
    allow_contraction : bool
        Let zagg rewrite shards whose granules became fewer, or were revised.
    shards : int
        Shards in the manifest.
    signature : dict
        Spatial signature that zagg must compute from the config.
    options : dict
        Further arguments of ``zagg.agg``.
    """

    config: str
    catalog: str
    store: str
    dry_run: bool
    allow_contraction: bool = False
    shards: int
    signature: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def command(self) -> str:
        """Return the command that does the same on a machine that has zagg."""
        words = ["python", "-m", "zagg", "--config", self.config, "--catalog", self.catalog]
        words += ["--store", self.store]
        for name, value in self.options.items():
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        words += ["--allow-contraction"] if self.allow_contraction else []
        words += ["--dry-run"] if self.dry_run else []
        asks = self.options.get("backend") == "lambda" and not self.dry_run
        words += ["--yes"] if asks else []
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class ZaggAnswer:
    """What zagg said.

    Parameters
    ----------
    version : str
        Of zagg.
    signature : dict
        Spatial signature that it computes from the config.
    summary : dict
        Numbers and names of its summary.
    """

    version: str
    signature: dict[str, Any]
    summary: dict[str, Any]


def zagg_version() -> str | None:
    """Return the version of the installed zagg, or None."""
    return (version_of("zagg") or "unknown") if find_spec("zagg") is not None else None


def require_zagg(call: ZaggCall) -> None:
    """Check that zagg is installed.

    Raises
    ------
    MissingAggregator
        With the command that does the same where it is.
    """
    if zagg_version() is None:
        raise MissingAggregator(
            "zagg is not installed here, so nothing was aggregated; install"
            " zagg-catalog[aggregator], or run this where zagg is, with these files:"
            f" {call.command()}"
        )


def run_zagg(
    call: ZaggCall,
    folder: Path,
    *,
    timeout: float,
    stop: Callable[[], str | None] = lambda: None,
) -> ZaggAnswer:
    """Run zagg in a process of its own, and wait for it.

    Parameters
    ----------
    call : ZaggCall
        What to run.
    folder : Path
        Where its log and its answer go.
    timeout : float
        Seconds that it may take; then it is killed, with all that it started.
    stop : callable
        Returns why zagg must be killed, or None while it may go on.

    Returns
    -------
    ZaggAnswer
        What it said.

    Raises
    ------
    SignatureMismatch
        If zagg reads another grid from the config than the manifest is for; nothing was run.
    PickupRefused
        If it cannot be imported, or does not take config or manifest; nothing was run.
    AggregationFailed
        If it raised, hung, died or was stopped; the message has the end of its log.
    """
    log, answer = folder / "zagg.log", folder / "answer.json"
    answer.unlink(missing_ok=True)
    request = folder / "call.json"
    request.write_text(json.dumps(asdict(call)), encoding="utf-8")
    # As a file, and without its folder on the path: importing ours would take a second.
    command = [sys.executable, "-P", str(CHILD), str(request), str(answer)]
    with log.open("wb") as output:
        # It reads its input only to notice that this process has gone.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            why = _wait(child, answer, timeout, stop)
        finally:
            _end(child)
    return _read(answer, log, why or _ended(child.returncode))


def _wait(
    child: subprocess.Popen[bytes], answer: Path, timeout: float, stop: Callable[[], str | None]
) -> str | None:
    """Wait for the end; return why it must be killed, or None."""
    give_up = time.monotonic() + timeout
    answered: float | None = None
    while child.poll() is None:
        now = time.monotonic()
        if answer.exists():
            answered = answered or now
            if now > answered + GRACE:
                return None  # it said all that it has to say, and hangs
        elif now > give_up:
            return f"it took more than {timeout:g} s and was killed"
        if why := stop():
            return f"it was killed, since {why}"
        time.sleep(POLL)
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of it, and of all that it started."""
    # macOS refuses to signal a group of which only the dead are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _ended(code: int) -> str:
    if code < 0:
        return f"its process was killed by signal {-code}"
    return f"its process ended with code {code} and without an answer"


def _read(answer: Path, log: Path, why: str) -> ZaggAnswer:
    try:
        said = json.loads(answer.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        tail = log.read_bytes()[-TAIL:].decode("utf-8", "replace")
        raise AggregationFailed(
            f"zagg did not finish: {why}. Its log, {log}, ends: {_last_lines(tail)}"
        ) from None
    if "error" in said:
        kinds = {"signature": SignatureMismatch, "inputs": PickupRefused}
        kind = kinds.get(said["error"]["kind"], AggregationFailed)
        raise kind(clean_text(f"zagg: {said['error']['text']}", limit=800))
    return ZaggAnswer(**said)


def _last_lines(text: str) -> str:
    lines: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return clean_text(" | ".join(lines[-5:]) or "nothing", limit=600)
