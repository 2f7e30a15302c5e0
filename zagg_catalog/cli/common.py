"""Exit codes, checks of paths and print functions that all commands share."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zagg_catalog.catalog.completeness import explain_missing
from zagg_catalog.errors import InputNotFound, InvalidQuery
from zagg_catalog.messages import HIDDEN, as_line

if TYPE_CHECKING:
    from zagg_catalog.catalog import Catalog
    from zagg_catalog.releases import ReleaseRecord
    from zagg_catalog.shardmap.columns import MapColumns

# Most further lines of an error.
_LINES = 500

DONE, WRONG_DATA, WRONG_CALL, INTERRUPTED, READER_LEFT = 0, 1, 2, 130, 141


def print_error(message: str) -> None:
    """Print a sentence on standard error; further lines are indented, so that none is forged."""
    lines = [as_line(line) for line in message.split("\n", _LINES)]
    further = (f"\n  {line.removeprefix('  ')}" for line in lines[1:])
    print(f"zagg-catalog: {lines[0]}{''.join(further)}", file=sys.stderr)


def print_line(text: object, *, file: TextIO | None = None) -> None:
    """Print a line on standard output, or to `file`."""
    print(as_line(str(text)), file=file)


def print_result(facts: object, show: Callable[[], object], *, as_json: bool) -> None:
    """Print the result of a command: what `show` prints, or `facts` as one JSON document."""
    if as_json:
        print_json(facts)
    else:
        show()


def print_json(value: object) -> None:
    """Print a value for programs; times and paths become strings, NaN and infinity null.

    Characters that would move or turn around the text of a terminal are escaped.
    """
    known = json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)
    text = json.dumps(known, indent=2, ensure_ascii=False)
    print("\n".join(HIDDEN.sub(_escape, line) for line in text.split("\n")))


def _plain(value: Any) -> Any:
    """Return what JSON has no type for: numbers of numpy as numbers, the rest as text."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else str(value)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def note_partial(record: ReleaseRecord) -> None:
    """Say what a release lacks, if it is partial."""
    if not record.complete:
        print_error(f"note: the release is partial: {'; '.join(record.lacks)}.")


def exit_code_of(data: Catalog | MapColumns, kind: str, *, partial: bool) -> int:
    """Return 1 for incomplete data, unless `partial`, else 0; say if it is not complete."""
    if data.completeness == "unknown":
        print_error(f"note: the {kind} does not say whether it is complete.")
    if data.completeness is not False:
        return DONE
    accepts = "" if partial else " --partial accepts that."
    print_error(f"the {kind} is incomplete: {explain_missing(data.metadata)}.{accepts}")
    return DONE if partial else WRONG_DATA


def check_file(path: Path) -> Path:
    """Return the path of an existing file; raise `InputNotFound` if it does not exist."""
    if not path.is_file():
        raise InputNotFound(f"There is no file {path}.")
    return path


def check_output(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Check the suffix and the folder of an output file before a long fetch or build."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise InvalidQuery(f"The output file must end in {' or '.join(suffixes)}; got {path}.")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidQuery(
            f"{path} cannot be written; it must be a file, and its folder must exist."
        )
    if not os.access(path.parent, os.W_OK):
        raise InvalidQuery(f"{path} cannot be written: its folder is read-only for you.")
