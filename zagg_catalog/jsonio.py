"""Canonical JSON and versioned documents: written, read and validated."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.files import digest_of


def canonical_json(value: Any) -> bytes:
    """Return a JSON value as bytes that depend on the value only.

    Parameters
    ----------
    value : dict, list, str, int, float, bool or None
        No NaN and no infinity, for which JSON has no word.

    Returns
    -------
    bytes
        UTF-8; keys sorted, indented by two, a newline at the end.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def canonical_digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a value's canonical JSON."""
    return digest_of([canonical_json(value)])[0]


def as_json(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples as lists, numpy numbers as Python's."""
    return json.loads(json.dumps(value, default=lambda number: number.item()))


def load_model[Model: BaseModel](
    model: type[Model], content: bytes, source: str, *, noun: str, newest: int
) -> Model:
    """Validate a versioned JSON document.

    Parameters
    ----------
    model : type of BaseModel
        Model of the document.
    content : bytes
        The document, UTF-8.
    source : str
        Name of the document in errors, such as ``Pointer releases/…``.
    noun : str
        Name of its kind in errors, with an article, such as ``a release record``.
    newest : int
        Newest ``schema_version`` that this version of the program reads.

    Raises
    ------
    InvalidRelease
        If the content is not JSON, has no known version, or does not fit the model.
    """
    read_version(content, source, newest=newest)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise InvalidRelease(f"{source} is not {noun}: {first_problem(error)}.") from None


def read_version(content: bytes, source: str, *, newest: int) -> int:
    """Return the schema version that a file says it has.

    Raises
    ------
    InvalidRelease
        If it is not a JSON object with a version from 1 to `newest`.
    """
    try:
        document: Any = json.loads(content)
    except ValueError:
        raise InvalidRelease(f"{source} is not JSON.") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRelease(f"{source} has no schema_version; it was not written by this program.")
    if version > newest:
        raise InvalidRelease(
            f"{source} has schema_version {version} and this program knows up to {newest};"
            " update zagg-catalog."
        )
    return version


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong, and where."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    text = problem["msg"].rstrip(".")
    return f"{where}: {text}" if where else text
