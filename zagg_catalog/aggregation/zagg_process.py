"""The process that runs zagg: ``python -P child.py CALL ANSWER``; it imports nothing of ours."""

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
# zagg's list of what came of each shard, for instance, does not belong into an answer.
_SCALARS = (bool, int, float, str)
TEXT = 500


def main(call_file: str, answer_file: str) -> int:
    """Run one call, and write what came of it; the answer appears whole or not at all.

    Returns
    -------
    int
        0 if there is an answer, of whatever kind.
    """
    parent = _take_input()
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    call = json.loads(Path(call_file).read_text(encoding="utf-8"))
    try:
        said = _run(call)
    except Exception as error:
        logging.getLogger(__name__).exception("zagg raised")
        said = _error("run", f"{type(error).__name__}: {error}")
    path = Path(answer_file)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(said, default=str), encoding="utf-8")
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
    except Exception as error:  # noqa: BLE001  (nothing was started, and it is told)
        return _error("inputs", f"{type(error).__name__}: {error}")
    signature = json.loads(json.dumps(grid.spatial_signature(), default=_plain))
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
            **call["options"],
        )
    return {"version": zagg.__version__, "signature": signature, "summary": _short(summary)}


def _difference(said: dict[str, Any], found: dict[str, Any]) -> str:
    keys = [key for key in sorted({*said, *found}) if said.get(key) != found.get(key)]
    shown = "; ".join(f"{key} is {found.get(key)!r}, not {said.get(key)!r}" for key in keys)
    return f"it reads another grid from the config than the map was built for: {shown}"


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "text": text}}


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and short texts of a summary."""
    kept: dict[str, Any] = {}
    for name, value in summary.items():
        plain = _plain(value)
        if isinstance(plain, float) and not math.isfinite(plain):
            continue  # JSON has no word for it
        if isinstance(plain, _SCALARS):
            kept[name] = plain[:TEXT] if isinstance(plain, str) else plain
    return kept


def _plain(value: Any) -> Any:
    """Return a numpy number as Python's."""
    return value.item() if hasattr(value, "item") else value


def _take_input() -> int:
    """Keep our input to ourselves; whoever asks for a password then hears that there is none."""
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return parent


def _end_with(parent: int) -> None:
    """End when the parent has gone: nobody would know of what is done here."""
    while os.read(parent, 1024):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with all that zagg started
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
