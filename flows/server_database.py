"""``python -m flows.server_database``: a migrated database, with which new Prefect homes begin.

A server on an empty folder first migrates its database, which takes as long as its start.
``make env`` makes the database once for an environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prefect import __version__

TEMPLATE = Path(sys.prefix, "share", "zagg-catalog", f"prefect-{__version__}.db")


def copy_database(home: Path, name: str = "prefect.db") -> bool:
    """Let a home that has no database begin with the migrated one, if this environment has it.

    Returns whether the database was copied, so that its server need not migrate it.
    """
    if not TEMPLATE.is_file() or (home / name).exists():
        return False
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATE, home / name)
    return True


def make_template() -> None:
    """Make the database of this environment unless it is there; callers at once do no harm."""
    if TEMPLATE.is_file():
        return
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    with tempfile.TemporaryDirectory(dir=TEMPLATE.parent) as home:
        subprocess.run(
            [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "--yes"],
            env=inherited | {"PREFECT_HOME": home},
            check=True,
            capture_output=True,
        )
        Path(home, "prefect.db").replace(TEMPLATE)


if __name__ == "__main__":
    with contextlib.suppress(subprocess.CalledProcessError, OSError):  # each server migrates then
        make_template()
