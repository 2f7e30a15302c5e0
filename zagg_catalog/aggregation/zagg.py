"""Run zagg in a separate process, so that a crash or a hang does not affect this one."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zagg_catalog.aggregation.granule_reads import REASON
from zagg_catalog.aggregation.shard_results import ShardResult
from zagg_catalog.aggregation.zagg_start import Child, Files, OwnProcess, Start
from zagg_catalog.errors import (
    AggregationFailed,
    MissingAggregator,
    PickupRefused,
    SignatureMismatch,
)
from zagg_catalog.messages import clean_text, first_few
from zagg_catalog.releases.publication import version_of
from zagg_catalog.settings import get_settings

# Bytes of the end of zagg's log that an error quotes.
TAIL = 2000
# Characters of an error of zagg that are kept.
LONGEST = 800
# Seconds from the answer to the end of the process, before it is killed.
GRACE = 10.0
POLL = 0.2
# Default of `run_zagg`'s stall, in seconds.
STALL = 600.0


class ZaggOptions(BaseModel):
    """Options of zagg; None means zagg's default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["local", "lambda"] = "local"
    """Threads of this machine, or AWS Lambda."""
    driver: Literal["s3", "https"] | None = None
    """Protocol for reading granules."""
    max_workers: int | None = Field(default=None, ge=1)
    """Number of workers."""
    overwrite: bool = False
    """Replace the output's template, and with it the whole output."""
    region: str | None = None
    """AWS region of the output and of Lambda."""
    function_name: str | None = None
    """Name of the Lambda function."""

    def arguments(self) -> dict[str, Any]:
        """Return the options that differ from zagg's defaults."""
        return {name: value for name, value in self.model_dump().items() if value}


@dataclass(frozen=True, kw_only=True)
class ZaggCall:
    """One call of zagg."""

    config: str
    """Path of the pipeline config."""
    catalog: str
    """Path of the JSON manifest."""
    store: str
    """Output."""
    dry_run: bool
    """Report the plan and write nothing."""
    allow_contraction: bool = False
    """Let zagg rewrite shards that lost granules, or whose granules were revised."""
    shards: int
    """Number of shards in the manifest."""
    signature: dict[str, Any]
    """Spatial signature that zagg must compute from the config."""
    overwrite: bool = False
    """Let zagg rewrite the shards of the manifest even if it finds them current.

    On HEALPix this leaves other shards as they are; on a rectilinear grid it empties the output
    first.
    """
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of ``zagg.agg``."""
    step: Literal["run", "part", "open", "close"] = "run"
    """A whole run of zagg; one without what only one process at a time may write to an output,
    for processes side by side; or what must come before these or after them, see `needs_opening`
    and `needs_closing`."""
    keys: tuple[int, ...] = ()
    """Keys of the shards that the step ``close`` is for."""

    def command(self) -> str:
        """Return the equivalent shell command, for a machine where zagg is installed."""
        words = ["python", "-m", "zagg", "--config", self.config, "--catalog", self.catalog]
        words += ["--store", self.store]
        for name, value in self.options.items():
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        if self.overwrite and not self.options.get("overwrite"):
            words += ["--overwrite"]
        words += ["--allow-contraction"] if self.allow_contraction else []
        words += ["--dry-run"] if self.dry_run else []
        prompts = self.options.get("backend") == "lambda" and not self.dry_run
        words += ["--yes"] if prompts else []
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class ZaggAnswer:
    """Result of a call of zagg."""

    version: str
    """Version of zagg."""
    signature: dict[str, Any]
    """Spatial signature that zagg computed from the config."""
    summary: dict[str, Any]
    """Numbers and short strings of zagg's summary."""
    shards: tuple[ShardResult, ...] = ()
    """Result of each shard of the call, in the order of the manifest; none after a dry run."""
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Beams that a granule does not have, by file name of the granule; no failure."""

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> ZaggAnswer:
        """Read the answer of the process."""
        shards = tuple(_load_shard(shard) for shard in document.get("shards", ()))
        absent = {
            clean_text(name): tuple(map(clean_text, beams))
            for name, beams in document.get("absent", {}).items()
        }
        return cls(**{**document, "shards": shards, "absent": absent})


def needs_closing(config: Mapping[str, Any], backend: str = "local") -> bool:
    """Return whether a step ``close`` has to follow batches of the step ``part``.

    Parameters
    ----------
    config : mapping
        Pipeline config.
    backend : str
        Backend of zagg; on Lambda, zagg closes an output itself.
    """
    output = config["output"]
    healpix = output["grid"].get("type", "healpix") == "healpix"
    return backend == "local" and healpix and _shards_are_apart(config)


def needs_opening(config: Mapping[str, Any], backend: str = "local") -> bool:
    """Return whether a step ``open`` has to precede batches that run side by side."""
    rectilinear = config["output"]["grid"].get("type", "healpix") == "rectilinear"
    return backend == "local" and rectilinear


def may_run_side_by_side(config: Mapping[str, Any], backend: str = "local") -> bool:
    """Return whether several processes of zagg may write to one output at the same time."""
    return needs_closing(config, backend) or needs_opening(config, backend)


def _shards_are_apart(config: Mapping[str, Any]) -> bool:
    """Return whether every shard has one store of its own in the output."""
    output = config["output"]
    return (
        output.get("store_layout", "hive") == "hive"
        and not output.get("windowing")
        and (config.get("data_source") or {}).get("reader") != "raster"
    )


def zagg_version() -> str | None:
    """Return the version of the installed zagg, or None."""
    return (version_of("zagg") or "unknown") if find_spec("zagg") is not None else None


def require_zagg(call: ZaggCall) -> None:
    """Raise `MissingAggregator`, with the command to run elsewhere, if zagg is not installed."""
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
    stall: float = STALL,
    stop: Callable[[], str | None] = lambda: None,
    start: Start = OwnProcess,
) -> ZaggAnswer:
    """Run zagg in a separate process, and wait for it; `folder` is for its log and its answer.

    `start` starts the process; see `zagg_catalog.aggregation.zagg_start.ZaggForks`.

    After `timeout` seconds, when no granule was read for `stall` seconds, or when `stop` returns
    a reason, the process is killed with all processes that it started.

    Raises
    ------
    SignatureMismatch
        If zagg computes another grid from the config than that of the manifest; no shard was
        processed.
    PickupRefused
        If zagg cannot be imported, or cannot read config or manifest; no shard was processed.
    AggregationFailed
        If zagg raised, hung, crashed or was stopped; the message has the end of its log, and
        the attribute `granules` names the granules that were being read.
    """
    log, answer, request = (folder / name for name in ("zagg.log", "answer.json", "call.json"))
    reading = _Reading(folder / "reading.json")
    for old in (answer, reading.file):
        old.unlink(missing_ok=True)
    here = {"granule_endpoint": get_settings().granule_s3_endpoint}
    request.write_text(json.dumps(asdict(call) | here), encoding="utf-8")
    child = start(Files(call=request, answer=answer, log=log))
    try:
        why = _wait(child, answer, timeout, lambda: stop() or reading.stalled(stall))
        code = child.code
    finally:
        child.end()
    return _read(answer, log, why or _ended(code), reading.granules())


@dataclass
class _Reading:
    """File in which the process names the granules that it is reading."""

    file: Path
    changed: tuple[int, float] = (0, 0.0)
    """Time of the file, and when it was found here."""

    def granules(self) -> tuple[str, ...]:
        """Return the file names of the granules."""
        try:
            names = json.loads(self.file.read_text(encoding="utf-8"))["granules"]
        except (FileNotFoundError, ValueError):
            return ()
        return tuple(map(clean_text, names))

    def stalled(self, limit: float) -> str | None:
        """Return a reason if granules are being read, and none was finished within the limit."""
        now = time.monotonic()
        try:
            written = self.file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if written != self.changed[0]:
            self.changed = (written, now)
        if now - self.changed[1] <= limit or not (names := self.granules()):
            return None
        return f"no read of a granule ended for {limit:g} s; it was reading {first_few(names)}"


def _wait(child: Child, answer: Path, timeout: float, stop: Callable[[], str | None]) -> str | None:
    """Wait for the process; return why it must be killed, or None."""
    give_up = time.monotonic() + timeout
    answered: float | None = None
    while not child.wait(POLL):
        now = time.monotonic()
        if answer.exists():
            answered = answered or now
            if now > answered + GRACE:
                return None  # it has answered, and does not exit
        elif now > give_up:
            return f"it took more than {timeout:g} s and was killed"
        if why := stop():
            return f"it was killed: {why}"
    return None


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was killed by signal {-code}"
    return f"its process ended with code {code} and without an answer"


def _read(answer: Path, log: Path, why: str, granules: tuple[str, ...]) -> ZaggAnswer:
    try:
        result = json.loads(answer.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        tail = log.read_bytes()[-TAIL:].decode("utf-8", "replace")
        raise AggregationFailed(
            f"zagg did not finish: {why}. Its log, {log}, ends: {_last_lines(tail)}",
            granules=granules,
        ) from None
    if "error" in result:
        kinds = {"signature": SignatureMismatch, "inputs": PickupRefused}
        kind = kinds.get(result["error"]["kind"], AggregationFailed)
        raise kind(f"zagg: {_both_ends(result['error']['text'])}")
    return ZaggAnswer.load(result)


def _load_shard(document: Mapping[str, Any]) -> ShardResult:
    reason = document["reason"]
    cleaned = {
        "unread": tuple(map(clean_text, document["unread"])),
        "reason": None if reason is None else clean_text(reason, limit=REASON),
    }
    return ShardResult(**{**document, **cleaned})


def _both_ends(text: str) -> str:
    """Return a long text without its middle: zagg's advice is at the end of its errors."""
    if len(text) <= LONGEST:
        return clean_text(text, limit=LONGEST)
    half = LONGEST // 2
    return f"{clean_text(text[:half], limit=half)} … {clean_text(text[-half:], limit=half)}"


def _last_lines(text: str) -> str:
    lines: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return clean_text(" | ".join(lines[-5:]) or "nothing", limit=600)
