"""A zagg that ends in the way that ZAGG_ENDS names; first on the path of a child process."""

import os
import subprocess
import sys
import time
from pathlib import Path

__version__ = "0.61.0"


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
    if how == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["ZAGG_PID"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    summary = {"total_cells": 1, "nan": float("nan"), "results": [object()], "dry_run": True}
    return summary | {"store_path": call["store"]}
