"""Keys: the validated names of objects.

A key is segments joined by ``/``; a segment is a name, or ``field=name``. The last segment of an
object's key is the digest of its content and a suffix.
"""

from __future__ import annotations

import re

from zagg_catalog.errors import InvalidName

NAME_LENGTH = 128
KEY_LENGTH = 900  # S3 allows 1,024 bytes, the store's own prefix included

_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9._-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")
_OBJECT = re.compile(rf"({_DIGEST.pattern})({_SUFFIX.pattern})")


def check_name(name: str, what: str = "name") -> str:
    """Return a name that is safe in a path, a URL and a hive partition.

    Parameters
    ----------
    name : str
        1 to 128 of the ASCII letters, digits and ``-_.``; no leading dot, no ``..``.
    what : str
        What the name is for, as the error calls it.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InvalidName
        If it is anything else.
    """
    if len(name) <= NAME_LENGTH and _NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"{what} {shown(name)} is not usable: a name has 1 to {NAME_LENGTH} ASCII letters, digits,"
        " '-', '_' or '.', does not begin with a dot and has no '..'; choose another."
    )


def check_digest(digest: str) -> str:
    """Return a digest of 64 lower-case hex digits, or raise `InvalidName`."""
    if _DIGEST.fullmatch(digest):
        return digest
    raise InvalidName(f"Digest {shown(digest)} is not a SHA-256 in 64 lower-case hex digits.")


def check_suffix(suffix: str) -> str:
    """Return a suffix such as ``.parquet`` or ``.json.gz``, or raise `InvalidName`."""
    if _SUFFIX.fullmatch(suffix):
        return suffix
    raise InvalidName(
        f"Suffix {shown(suffix)} is not usable: expected one or two of a dot and lower-case"
        " letters or digits, such as '.parquet'."
    )


def check_key(key: str) -> str:
    """Return a key whose every segment is a name or ``field=name``.

    Raises
    ------
    InvalidName
        If a segment is not, or the key has more than 900 characters.
    """
    if len(key) > KEY_LENGTH:
        raise InvalidName(f"Key {shown(key)} has {len(key)} characters; at most {KEY_LENGTH} fit.")
    for segment in key.split("/"):
        field, equals, name = segment.partition("=")
        check_name(field, f"Part of key {shown(key)},")
        if equals:
            check_name(name, f"Part of key {shown(key)},")
    return key


def split_name(name: str) -> tuple[str, str] | None:
    """Return digest and suffix of the last segment of an object's key, or None for another name."""
    found = _OBJECT.fullmatch(name)
    return (found[1], found[2]) if found else None


def digest_in(key: str) -> str | None:
    """Return the digest that an object's key ends with, or None if it ends with another name."""
    parts = split_name(key.rpartition("/")[2])
    return parts[0] if parts else None


def shown(value: object) -> str:
    """Return a value for an error: escaped, and not longer than a line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-12:]}"
