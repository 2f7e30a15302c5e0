"""Addresses of granules without secrets: signatures, tokens, users and passwords."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.messages import SECRET_PARAMETER

# A user, or a parameter behind the path; most addresses have neither.
_SUSPECT = r"[?#][^\s]*=|//[^/?#\s]*@"
_USER = re.compile(r"//[^/?#\s]*@")
# Parameters that come along with a signature.
_BESIDE = re.compile(r"expires|s[eptvri]|spr|sip|sk[tsev]|skoid|sktid|srt|ss", re.IGNORECASE)
_BLOCK = 1 << 20
# Members of assets and links that hold no address.
_PLAIN = ("type", "roles", "rel")


def without_secrets(address: str) -> str:
    """Return an address without user, password, and parameters that sign it or are secret.

    Other parameters stay. Also for a text that ends with an address.
    """
    path, *rest = re.split(r"([?#])", address)
    marks, texts = rest[::2], rest[1::2]
    kept = [_USER.sub("//", path)]
    for mark, text in zip(marks, texts, strict=True):
        names = {part: unquote_plus(part.partition("=")[0]).lower() for part in text.split("&")}
        secret = {
            part for part, name in names.items() if "=" in part and SECRET_PARAMETER.fullmatch(name)
        }
        if secret:
            secret |= {part for part, name in names.items() if _BESIDE.fullmatch(name)}
            text = "&".join(part for part in text.split("&") if part not in secret)
        if text or not secret:
            kept += [mark, text]
    return "".join(kept)


def have_secrets(column: pa.ChunkedArray | pa.Array) -> bool:
    """Return whether one of the texts in a column, at any depth, is an address with a secret."""
    return any(
        without_secrets(text) != text
        for texts in _texts(column)
        if has_any(texts, b"?#@")
        for text in texts.filter(pc.match_substring_regex(texts, _SUSPECT)).drop_null().to_pylist()
    )


def clean_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose texts, at any depth, are addresses without secrets."""
    if not have_secrets(column):
        return column
    values = [_without(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(values, column.type)])


def has_any(texts: pa.Array, wanted: bytes) -> bool:
    """Return whether the buffer of texts has one of a few bytes; faster than a pattern."""
    blocks = map(bytes, _blocks(texts))  # a copy of a block, for the search of one byte in C
    return any(byte in block for block in blocks for byte in wanted)


def has_bytes(texts: pa.Array, first: int, last: int) -> bool:
    """Return whether the buffer of texts has a byte of a range."""
    values = (np.frombuffer(block, np.uint8) for block in _blocks(texts))
    return any(bool(((first <= block) & (block <= last)).any()) for block in values)


def _blocks(texts: pa.Array) -> Iterator[memoryview]:
    data = memoryview(texts.buffers()[2] or b"")
    return (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))


def clean_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of JSON objects whose texts are addresses without secrets."""
    if not any(has_any(texts, b"?#@") for texts in _texts(column)):
        return column
    texts = column.to_pylist()
    for row, odd in enumerate(pc.match_substring_regex(column, _SUSPECT).to_pylist()):
        if odd:
            texts[row] = json.dumps(_without(json.loads(texts[row])), sort_keys=True)
    return pa.chunked_array([pa.array(texts, column.type)])


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items()}
    return [_without(inner) for inner in value] if isinstance(value, list) else value


def _texts(column: pa.ChunkedArray | pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays of texts in a column, without those that hold no address."""
    for array in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if isinstance(array, pa.ExtensionArray):
            yield from _texts(array.storage)
        elif pa.types.is_struct(array.type):
            for field, member in zip(array.type, array.flatten(), strict=True):
                if field.name not in _PLAIN:
                    yield from _texts(member)
        elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            yield from _texts(array.flatten())
        elif pa.types.is_dictionary(array.type):
            yield from _texts(array.dictionary)
        elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            yield array
