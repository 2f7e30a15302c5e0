"""Canonical JSON, versioned documents, and pydantic errors as sentences."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from zagg_catalog.errors import InvalidRelease, NewerVersion
from zagg_catalog.files import digest_of, parse_json
from zagg_catalog.messages import shown


def canonical_json(value: Any) -> bytes:
    """Return a JSON value as UTF-8 with sorted keys, an indent of two and a final newline.

    NaN and infinity raise `ValueError`.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def canonical_digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a value's canonical JSON."""
    return digest_of([canonical_json(value)])[0]


def as_json(value: Any) -> Any:
    """Return a value after a round trip through JSON, without tuples and numpy numbers."""
    return json.loads(json.dumps(value, default=lambda number: number.item()))


class StrictModel(BaseModel):
    """Base of models that are stored as JSON: frozen, strict, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _as_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return value.astimezone(UTC)


Time = Annotated[datetime, AfterValidator(_as_utc)]
"""A time in UTC; another time zone is converted, and a time without one is refused."""


class Document(StrictModel):
    """Base of a JSON document with the field ``schema_version``."""

    noun: ClassVar[str]
    """Name of the kind of document in errors, with an article."""
    newest: ClassVar[int] = 1
    """Newest schema version that this version of the program reads."""

    def to_bytes(self) -> bytes:
        """Return the document as canonical JSON, the stored form."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def load(cls, content: bytes, source: str | None = None) -> Self:
        """Read a document; `source` is its name in errors, such as ``Pointer releases/…``.

        Raises `NewerVersion` if it has a newer schema version, or `InvalidRelease` if the content
        is not JSON, has no schema version, or does not fit the model.
        """
        name = source or "The document"
        try:
            version = _version(content)
            if version <= cls.newest:
                return cls.model_validate_json(content)
        except ValidationError as error:
            problem = f"is not {cls.noun}: {first_problem(error)}"
        except ValueError as error:
            problem = str(error)
        else:
            raise NewerVersion(
                f"{name} has schema_version {version} and this program knows up to {cls.newest};"
                " update zagg-catalog."
            )
        raise InvalidRelease(f"{name} {problem}.")


def _version(content: bytes) -> int:
    """Return the version of a document, or raise `ValueError` with the predicate of a sentence."""
    try:
        document = parse_json(content)
    except ValueError as error:
        raise ValueError(str(error).partition(":")[0]) from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("has no schema_version; it was not written by this program")
    return version


def model_problems(
    error: ValidationError, *, place: str = "", known: Iterable[str] = (), advise: bool = False
) -> list[str]:
    """Return the distinct problems of a pydantic error, as ``key: problem``.

    Parameters
    ----------
    error : ValidationError
        Raised by a model.
    place : str
        Prefix of each key.
    known : iterable of str
        Keys of the model, to suggest one for a mistyped key.
    advise : bool
        Whether to show the value and a remedy.
    """
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    found = []
    for item in items:
        loc = item["loc"]
        # A problem of a list counts only if none of its items has one.
        if any(len(other) > len(loc) and other[: len(loc)] == loc for other in places):
            continue
        where = ".".join(map(str, [place, *loc] if place else loc))
        problem = _advice(item, known) if advise else _plain_message(item)
        found.append(f"{where}: {problem}" if where else problem)
    return list(dict.fromkeys(found))


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a pydantic error, as ``key: problem``."""
    return model_problems(error)[0]


def closest(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that is closest to a mistyped one, if any is close."""
    return next(iter(difflib.get_close_matches(key, list(known), n=1, cutoff=0.85)), None)


def no_such_key(key: str, known: Iterable[str]) -> str:
    """Return advice for an unknown key."""
    meant = closest(key, known)
    advice = f"did you mean {meant}?" if meant else "remove it or correct its spelling."
    return f"there is no such key; {advice}"


def _plain_message(item: ErrorDetails) -> str:
    return item["msg"].removeprefix("Value error, ").rstrip(".")


def _advice(item: ErrorDetails, known: Iterable[str]) -> str:
    if item["type"] == "extra_forbidden":
        return no_such_key(str(item["loc"][-1]), known)
    if item["type"] == "missing":
        return "the key is missing; add it."
    if item["type"] == "value_error":
        return f"{_plain_message(item)}."
    return f"{_plain_message(item)}; it is {shown(item['input'])}; correct it."
