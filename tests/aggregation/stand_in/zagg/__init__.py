"""A zagg that ends in the way that ZAGG_ENDS names; first on the path of a child process.

It runs the shards of its manifest as the real one does, and its results have the same keys.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from zagg import processing, runner

__version__ = "0.61.0"

if "ZAGG_IMPORTS" in os.environ:
    with Path(os.environ["ZAGG_IMPORTS"]).open("a") as noted:
        noted.write("1")
if "ZAGG_STARTS_THREAD" in os.environ:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def agg(config, **call):
    how = os.environ["ZAGG_ENDS"]
    Path(os.environ["ZAGG_PID"]).write_text(str(os.getpid()))
    print("zagg at work, token=hunter2&x=1", flush=True)
    if how == "raises":
        raise RuntimeError("no such bucket")
    if how == "dies":
        os._exit(3)
    if how == "asks":
        input("Password: ")
    if how == "stalls":
        processing.h5coro.H5Coro("bucket/ATL06_b.h5", None)
    if how in ("hangs", "stalls"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["ZAGG_PID"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    summary = {"total_cells": 1, "nan": float("nan"), "results": [object()], "dry_run": True}
    summary |= {"store_path": call["store"]}
    return summary if call["dry_run"] else runner.run(config, call, summary)
