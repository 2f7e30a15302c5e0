"""The process that runs zagg: ``python -P zagg_process.py CALL ANSWER``; standard library only."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

ORPHANED = 70
# Other values, such as zagg's list of results by shard, are left out of the answer.
_SCALARS = (bool, int, float, str)
TEXT = 500


def main(call_file: str, answer_file: str) -> int:
    """Run one call, and write its result or its error to the answer file, atomically."""
    parent = _detach_stdin()
    threading.Thread(target=_exit_with, args=(parent,), name="parent", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    call = json.loads(Path(call_file).read_text(encoding="utf-8"))
    try:
        result = _run(call)
    except Exception as error:
        logging.getLogger(__name__).exception("zagg raised")
        result = _error("run", f"{type(error).__name__}: {error}")
    path = Path(answer_file)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, default=str), encoding="utf-8")
    temporary.replace(path)
    return 0


def _run(call: dict[str, Any]) -> dict[str, Any]:
    try:
        import zagg
        from zagg import runner
        from zagg.config import load_config
        from zagg.grids import from_config

        config = load_config(call["config"])
        catalog = runner._load_catalog(call["catalog"])
        grid = from_config(config)
    except Exception as error:  # noqa: BLE001  (it is reported; no shard was processed)
        return _error("inputs", f"{type(error).__name__}: {error}")
    signature = json.loads(json.dumps(grid.spatial_signature(), default=_scalar))
    # A dry run of zagg does not compare signatures.
    if signature != call["signature"]:
        return _error("signature", _difference(call["signature"], signature))
    try:
        runner._check_signature(grid, catalog)
    except ValueError as error:
        return _error("signature", str(error))
    summary: dict[str, Any] = {"total_cells": 0}
    if call["shards"]:
        summary = zagg.agg(
            config,
            catalog=call["catalog"],
            store=call["store"],
            dry_run=call["dry_run"],
            allow_contraction=call["allow_contraction"],
            **(call["options"] | ({"overwrite": True} if call["overwrite"] else {})),
        )
    return {"version": zagg.__version__, "signature": signature, "summary": _short(summary)}


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    keys = [key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
    shown = "; ".join(f"{key} is {found.get(key)!r}, not {expected.get(key)!r}" for key in keys)
    return f"it reads another grid from the config than the map was built for: {shown}"


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "text": text}}


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and strings of a summary, strings shortened."""
    short: dict[str, Any] = {}
    for name, value in summary.items():
        value = _scalar(value)
        if isinstance(value, float) and not math.isfinite(value):
            continue  # not JSON
        if isinstance(value, _SCALARS):
            short[name] = value[:TEXT] if isinstance(value, str) else value
    return short


def _scalar(value: Any) -> Any:
    """Return a numpy scalar as a Python one."""
    return value.item() if hasattr(value, "item") else value


def _detach_stdin() -> int:
    """Detach stdin, so that a prompt gets EOF instead of hanging; return its old descriptor."""
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return parent


def _exit_with(parent: int) -> None:
    """Exit when the parent process dies."""
    while os.read(parent, 1024):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with the processes that zagg started
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
