"""The database of a new Prefect server, migrated once for an environment."""

from __future__ import annotations

from pathlib import Path

from flows import server_database


def copy_database(home: Path, name: str = "prefect.db") -> None:
    """Let a Prefect home that is new begin with a migrated database."""
    server_database.make_template()
    server_database.copy_database(home, name)
