"""The process that runs zagg: ``python -P zagg_process.py CALL ANSWER``.

It imports only the standard library, and modules that do the same, until it imports zagg.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zagg_catalog.aggregation.earthdata_login import NoLogin, check_login, check_s3_credentials
from zagg_catalog.aggregation.granule_files import find_absent, watch_files
from zagg_catalog.aggregation.granule_reads import GranuleReads, granule_name, short_reason
from zagg_catalog.aggregation.shard_results import PlannedShard, ShardRecord, classify, flat
from zagg_catalog.aggregation.zagg_names import NAMES, WHOLE_OUTPUT, MissingName, Names, look_up
from zagg_catalog.aggregation.zagg_output import (
    NotClosed,
    close_output,
    leave_out_whole,
    open_output,
)

ORPHANED = 70
# Other values, such as zagg's list of results by shard, are left out of the summary.
_SCALARS = (bool, int, float, str)
TEXT = 500
WHOLE_STEPS = {"open": open_output, "close": close_output}


def main(call_file: str, answer_file: str) -> int:
    """Run one call, and write its result or its error to the answer file, atomically."""
    parent = _detach_stdin()
    threading.Thread(target=_exit_with, args=(parent,), name="parent", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    call = json.loads(Path(call_file).read_text(encoding="utf-8"))
    try:
        result = _run(call, GranuleReads(Path(call_file).with_name("reading.json")))
    except Exception as error:
        logging.getLogger(__name__).exception("zagg raised")
        result = _error("run", _words(error))
    path = Path(answer_file)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, default=str), encoding="utf-8")
    temporary.replace(path)
    return 0


def _run(call: dict[str, Any], reads: GranuleReads) -> dict[str, Any]:
    try:
        whole = call["step"] in WHOLE_STEPS
        zagg = look_up(NAMES | WHOLE_OUTPUT) if whole else look_up()
        config = zagg.load_config(call["config"])
        catalog = None if whole else zagg.load_catalog(call["catalog"])
        grid = zagg.from_config(config)
    except Exception as error:  # noqa: BLE001  (it is reported; no shard was processed)
        return _error("inputs", _words(error))
    signature = json.loads(json.dumps(grid.spatial_signature(), default=_scalar))
    # A dry run of zagg does not compare signatures.
    if signature != call["signature"]:
        return _error("signature", _difference(call["signature"], signature))
    answer = {"version": zagg.version, "signature": signature}
    if catalog is None:
        step = WHOLE_STEPS[call["step"]]
        return answer | {"summary": step(zagg, config, grid, call)}
    try:
        zagg.check_signature(grid, catalog)
    except ValueError as error:
        return _error("signature", str(error))
    if call["step"] == "part":
        leave_out_whole(config)
    if not call["shards"]:
        return answer | {"summary": {"total_cells": 0}}
    if call["dry_run"]:
        return answer | {"summary": _short(_aggregate(zagg, config, call))}
    return answer | _watched(zagg, config, catalog, call, reads)


def _watched(
    zagg: Names, config: Any, catalog: dict[str, Any], call: dict[str, Any], reads: GranuleReads
) -> dict[str, Any]:
    """Aggregate, and return the summary, the result of each shard, and the beams not there."""
    driver = call["options"].get("driver") or zagg.get_driver(config)
    source = config.data_source or {}
    check_login(driver, source.get("credentials_provider"), os.environ)
    _check_credentials(zagg, source.get("credentials_provider"))
    watch_files(zagg, reads, call["granule_endpoint"])
    raised: dict[int, str] = {}
    zagg.replace("dispatch", _noting(zagg.dispatch, raised))
    summary = _aggregate(zagg, config, call)
    results: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in summary.get("results") or ():
        results[int(result["shard_key"])].append(result)
    elsewhere = call["options"].get("backend", "local") != "local"
    absent = _absent_elsewhere(zagg, catalog, results, reads, source) if elsewhere else {}
    shards = []
    for shard in _planned(catalog, driver):
        record = ShardRecord(
            results=results[shard.key],
            error=raised.get(shard.key),
            reads=None if elsewhere else reads.of_shard(shard.key),
            absent=sum(len(absent.get(name, ())) for name in shard.files),
            not_opened=reads.not_opened,
        )
        beams = source.get("groups") or ()
        shards.append(classify(shard, record, beams=beams, benign=zagg.benign_errors).document())
    absent = absent or reads.absent_beams()
    return {"summary": _short(summary), "shards": shards, "absent": absent}


def _absent_elsewhere(
    zagg: Names,
    catalog: dict[str, Any],
    results: dict[int, list[dict[str, Any]]],
    reads: GranuleReads,
    source: dict[str, Any],
) -> dict[str, list[str]]:
    """Return the beams that granules lack, where other machines read them.

    zagg counts a beam that is not there like one that cannot be read, so the granules of shards
    with such counts are opened here.
    """
    lost = {
        key for key, found in results.items() if any(flat(one).get("read_errors") for one in found)
    }
    addresses = [
        entry["https"]
        for key, granules in zip(catalog["shard_keys"], catalog["granules"], strict=True)
        for entry in granules
        if int(key) in lost and entry.get("https")
    ]
    return find_absent(zagg, reads, addresses, source) if addresses else {}


def _aggregate(zagg: Names, config: Any, call: dict[str, Any]) -> dict[str, Any]:
    summary: dict[str, Any] = zagg.agg(
        config,
        catalog=call["catalog"],
        store=call["store"],
        dry_run=call["dry_run"],
        allow_contraction=call["allow_contraction"],
        **(call["options"] | ({"overwrite": True} if call["overwrite"] else {})),
    )
    return summary


def _planned(catalog: dict[str, Any], driver: str) -> list[PlannedShard]:
    """Return the shards of a manifest, with the names of the granules that a driver reads."""
    link = "https" if driver == "https" else "s3"
    return [
        PlannedShard(
            key=int(key),
            granules=len(granules),
            files=tuple(granule_name(entry[link]) for entry in granules if entry.get(link)),
        )
        for key, granules in zip(catalog["shard_keys"], catalog["granules"], strict=True)
    ]


def _noting(dispatch: Callable[..., Any], raised: dict[int, str]) -> Callable[..., Any]:
    """Return zagg's loop over shards, which also notes the errors of shards that raised."""

    def noting(*args: Any, accumulate: Callable[..., None], **options: Any) -> Any:
        def note(report: Any, index: int, outcome: dict[str, Any]) -> None:
            if outcome.get("ok") is False:
                raised[int(outcome["shard_key"])] = short_reason(outcome["error"])
            accumulate(report, index, outcome)

        return dispatch(*args, accumulate=note, **options)

    return noting


def _check_credentials(zagg: Names, provider: str | None) -> None:
    """Let zagg stop where Earthdata gives no S3 credentials; it would read without any."""
    given = zagg.s3_credentials
    zagg.replace("s3_credentials", lambda config: check_s3_credentials(given(config), provider))


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    keys = [key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
    shown = "; ".join(f"{key} is {found.get(key)!r}, not {expected.get(key)!r}" for key in keys)
    return f"it reads another grid from the config than the map was built for: {shown}"


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "text": text}}


def _words(error: Exception) -> str:
    """Return an error as text; a sentence of this package without the name of its type."""
    if isinstance(error, (MissingName, NoLogin, NotClosed)):
        return str(error)
    return f"{type(error).__name__}: {error}"


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
