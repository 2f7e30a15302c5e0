import atexit
import json
import os
import time
from pathlib import Path

from zagg import processing
from zagg.processing import worker


def _load_catalog(path):
    file = Path(path)
    return json.loads(file.read_text()) if file.exists() else {}


def _check_signature(grid, catalog):
    if os.environ["ZAGG_ENDS"] == "lingers":
        atexit.register(time.sleep, 600)


def _resolve_source_credentials(config):
    return {"accessKeyId": "key"} if os.environ["ZAGG_ENDS"] != "denied" else {}


def dispatch(executor, payloads, *, retry, accumulate):
    results = []
    for index, payload in enumerate(payloads, 1):
        accumulate(results, index, executor(payload))
    return results


def run(config, call, summary):
    """Run every shard; a key in ZAGG_RAISES raises, one in ZAGG_CURRENT is skipped."""
    _resolve_source_credentials(config)
    if call["backend"] == "lambda":  # its machines have a zagg of their own
        processing.h5coro.H5Coro = processing.H5Coro
        worker.index_from_config = worker.Reader
    catalog = _load_catalog(call["catalog"])

    def work(shard):
        key, granules = shard
        try:
            return {"shard_key": key, "ok": True, "meta": shard_result(config, key, granules)}
        except RuntimeError as error:
            return {"shard_key": key, "ok": False, "error": error}

    def accumulate(report, index, outcome):
        if outcome["ok"]:
            report.append(outcome["meta"])

    shards = zip(catalog["shard_keys"], catalog["granules"], strict=True)
    results = dispatch(work, shards, retry=None, accumulate=accumulate)
    if call["backend"] == "lambda":
        results = [
            {"shard_key": one["shard_key"], "status_code": 200, "body": one} for one in results
        ]
    return summary | {"results": results, "dry_run": False}


def shard_result(config, key, granules):
    """What zagg says of a shard, as `zagg.schema.ProcessingMetadata` has it."""
    if str(key) in os.environ.get("ZAGG_RAISES", "").split():
        raise RuntimeError(f"shard {key} cannot be written")
    result = {
        "shard_key": key,
        "cells_with_data": 0,
        "total_obs": 0,
        "granule_count": len(granules),
        "files_processed": 0,
        "duration_s": 0.1,
        "error": None,
    }
    if str(key) in os.environ.get("ZAGG_CURRENT", "").split():
        return result | {"current": True, "objects_touched": 3}
    lost, problems = {"granule_errors": 0, "read_errors": 0}, []
    for granule in granules:
        try:
            file = processing.h5coro.H5Coro(granule["s3"].removeprefix("s3://"), None)
        except OSError as error:
            lost["granule_errors"] += 1
            problems.append(f"{type(error).__name__}: {error}")
            continue
        result["files_processed"] += 1
        for beam in config.data_source["groups"]:
            index = worker.index_from_config(config)
            try:
                found = index.read_group(file, beam, config.data_source, key, None)
            except TypeError as error:
                lost["read_errors"] += 1
                problems.append(f"{type(error).__name__}: {error}")
            else:
                result["total_obs"] += found
                result["cells_with_data"] = min(result["total_obs"], 7)
        file.close()
    result |= {name: count for name, count in lost.items() if count}
    if problems:
        result["read_error_exemplars"] = problems[:3]
    if not result["total_obs"]:
        result["error"] = "No data after filtering"
    return result
