"""Exit codes, checks of paths and print functions that all commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zagg_catalog.errors import InputNotFound

DONE, WRONG_DATA, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130


def print_error(message: str) -> None:
    """Print a sentence on standard error."""
    print(f"zagg-catalog: {message}", file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value for programs; times and paths become strings."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def check_file(path: Path) -> Path:
    """Return the path of an existing file; raise `InputNotFound` if it does not exist."""
    if not path.is_file():
        raise InputNotFound(f"There is no file {path}.")
    return path
