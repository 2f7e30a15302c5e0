"""The database of a new Prefect server, migrated once for a run of the tests.

A server on an empty folder migrates its database first, which takes twice as long as its start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Folder that all processes of a run share; `tests/conftest.py` sets it.
SHARED = "ZAGG_CATALOG_TEST_SHARED"


def copy_database(home: Path, name: str = "prefect.db") -> None:
    """Let a Prefect home that is new begin with a migrated database."""
    if (home / name).exists() or SHARED not in os.environ:
        return
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(_migrated(Path(os.environ[SHARED])) / "prefect.db", home / name)


def _migrated(shared: Path) -> Path:
    """Return a home with a migrated database; the first process that asks makes it."""
    home = shared / "prefect"
    with (shared / "prefect.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            made = shared / "prefect.new"
            env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
            program = Path(sys.executable).with_name("prefect")
            subprocess.run(
                [program, "server", "database", "upgrade", "--yes"],
                env=env | {"PREFECT_HOME": str(made)},
                check=True,
                capture_output=True,
            )
            made.rename(home)
    return home
