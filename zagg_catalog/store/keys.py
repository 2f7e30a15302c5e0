"""Keys of objects and pointers, validated.

A key has segments joined by ``/``, each a name or ``field=name``. The last segment of an object's
key is the digest of its content and a suffix.
"""

from __future__ import annotations

import re

from zagg_catalog.errors import InvalidName

NAME_LENGTH = 128
KEY_LENGTH = 900  # S3 allows 1,024 bytes, including the prefix of the store

_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9._-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")
_OBJECT = re.compile(rf"({_DIGEST.pattern})({_SUFFIX.pattern})")


def check_name(name: str, noun: str = "name") -> str:
    """Return a name that is safe in a path, a URL and a hive partition.

    Parameters
    ----------
    name : str
        1 to 128 of the ASCII letters, digits and ``-_.``; no leading dot, no ``..``.
    noun : str
        Noun for the name in the error.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InvalidName
        If the name is not valid.
    """
    if len(name) <= NAME_LENGTH and _NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"{noun} {shown(name)} is not usable: a name has 1 to {NAME_LENGTH} ASCII letters, digits,"
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
    """Return a key of at most 900 characters whose segments are names or ``field=name``.

    Raises
    ------
    InvalidName
        If the key is not valid.
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
    """Return the digest and suffix of an object's name, or None for another name."""
    found = _OBJECT.fullmatch(name)
    return (found[1], found[2]) if found else None


def digest_in(key: str) -> str | None:
    """Return the digest in an object's key, or None for another key."""
    parts = split_name(key.rpartition("/")[2])
    return parts[0] if parts else None


def shown(value: object) -> str:
    """Return a value for an error, escaped and shortened."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-12:]}"
