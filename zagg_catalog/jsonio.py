"""Canonical JSON, versioned documents, and the errors of pydantic as sentences."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from zagg_catalog.errors import InvalidRelease, ZaggCatalogError
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


class StrictModel(BaseModel):
    """Base of what is stored as JSON: frozen, strictly typed, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Document(StrictModel):
    """Base of a JSON file or pointer, with its version in the field `version_field`."""

    # Name of the kind in errors, with an article.
    noun: ClassVar[str]
    version_field: ClassVar[str] = "schema_version"
    # The newest version that this version of the program reads.
    newest: ClassVar[int] = 1
    # Raised where the content is not valid, and what its message ends with.
    error: ClassVar[type[ZaggCatalogError]] = InvalidRelease
    advice: ClassVar[str] = ""

    def to_bytes(self) -> bytes:
        """Return the document as it is stored: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def load(cls, content: bytes, source: str | None = None) -> Self:
        """Read a document that this version of the program or an earlier one wrote.

        Parameters
        ----------
        content : bytes
            The document, UTF-8.
        source : str, optional
            Its name in errors, such as ``Pointer releases/…``.

        Raises
        ------
        InvalidRelease
            If the content is not JSON, has no known version, or does not fit the model. A
            subclass may raise another error.
        """
        try:
            version = _version(content, cls.version_field)
            if version > cls.newest:
                raise ValueError(
                    f"has {cls.version_field} {version} and this program knows up to"
                    f" {cls.newest}; update zagg-catalog"
                )
            return cls.model_validate_json(content)
        except ValidationError as error:
            problem = f"is not {cls.noun}: {first_problem(error)}"
        except ValueError as error:
            problem = str(error)
        raise cls.error(f"{source or 'The document'} {problem}.{cls.advice}")


def _version(content: bytes, field: str) -> int:
    """Return the version of a document, or raise `ValueError` with the predicate of a sentence."""
    try:
        document: Any = json.loads(content)
    except ValueError:
        raise ValueError("is not JSON") from None
    version = document.get(field) if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"has no {field}; it was not written by this program")
    return version


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a pydantic error, with the field's place."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    text = problem["msg"].rstrip(".")
    return f"{where}: {text}" if where else text
