"""The JSON manifest that zagg loads: fast writing and reading."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.metadata import DEPTH, is_deep
from zagg_catalog.catalog.table import entry_dicts
from zagg_catalog.errors import InvalidShardMap, ShardMapNotFound
from zagg_catalog.files import atomic_path
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.shardmap.columns import (
    ENTRY_SCHEMA,
    MapColumns,
    as_keys,
    as_mask,
    check_parallel,
    columns_of_lists,
    distinct_entries,
    stable_metadata,
)

if TYPE_CHECKING:
    from zagg_catalog.grids.base import Keys

_BUFFER = 1 << 20
# Characters that json.dumps escapes.
_ESCAPED = r"[^ !#-\[\]-~]"

# From the end of a granule to the next one, in the same shard and in the next shard.
_SAME_SHARD = re.compile(rb"\}\s*,\s*\{")
_NEXT_SHARD = re.compile(rb"\}\s*\]\s*,\s*\[\s*\{")
_GRANULES = re.compile(rb'"granules"\s*:\s*\[\s*\[\s*(?=\{)')
_END = re.compile(rb"\}\s*\]\s*\]")
_HEAD_BLOCK = 1 << 16


def write_json(columns: MapColumns, path: str | Path) -> None:
    """Write zagg's JSON manifest; an interrupted call leaves no partial file.

    Keys are plain integers up to 2**64 - 1. Each granule is encoded once, and its text is written
    into every shard, one shard per line.
    """
    with atomic_path(path) as temporary, open(temporary, "wb", _BUFFER) as out:  # noqa: PTH123
        _write(columns, out)


def _write(columns: MapColumns, out: BinaryIO) -> None:
    metadata = stable_metadata(columns.metadata)
    head = {"metadata": metadata, "grid_signature": columns.grid_signature}
    out.write(json.dumps(head, indent=2, default=str)[:-2].encode())
    out.write(b',\n  "shard_keys": [')
    out.write(b", ".join(_number_texts(columns.shards)))
    out.write(b'],\n  "granules": [')
    texts = entry_texts(columns.table).to_pylist()
    shards = (columns.rows[start:stop].tolist() for start, stop in pairwise(columns.offsets))
    _write_lists(out, ([texts[row] for row in rows] for rows in shards))
    if columns.mask is not None:
        cells, offsets = columns.mask
        out.write(b',\n  "aoi_mask": [')
        _write_lists(out, (_number_texts(cells[a:b]) for a, b in pairwise(offsets)))
    out.write(b"\n}\n")


def _write_lists(out: BinaryIO, lists: Iterable[Iterable[bytes]]) -> None:
    """Write a list of lists, one per line, after its opening bracket."""
    end = b"]"
    for items in lists:
        out.write(b"\n    [" if end == b"]" else b"],\n    [")
        out.write(b", ".join(items))
        end = b"]\n  ]"
    out.write(end)


def _number_texts(numbers: Keys) -> Iterator[bytes]:
    return (b"%d" % number for number in numbers.tolist())


def entry_texts(table: pa.Table) -> pa.LargeBinaryArray:
    """Return the JSON object of each granule.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of `ENTRY_SCHEMA`.

    Returns
    -------
    pyarrow.LargeBinaryArray
        The same as ``json.dumps`` of `zagg_catalog.catalog.table.entry_dicts`.
    """
    columns = [pc.cast(table[name], pa.large_string()) for name in ENTRY_SCHEMA.names[:-1]]
    odd = pc.is_valid(table["extra"])
    for column in columns:
        odd = pc.or_(odd, pc.fill_null(pc.match_substring_regex(column, _ESCAPED), False))
    parts = [_member(*pair) for pair in zip(ENTRY_SCHEMA.names[:-1], columns, strict=True)]
    texts = pc.binary_join_element_wise(*parts, _text("}"), _text("")).combine_chunks()
    rows = np.flatnonzero(odd.to_numpy())
    if len(rows):
        exact = [json.dumps(entry) for entry in entry_dicts(table.take(rows))]
        texts = pc.replace_with_mask(
            texts, odd.combine_chunks(), pa.array(exact, pa.large_string())
        )
    return pc.cast(texts, pa.large_binary())


def _member(name: str, column: Any) -> Any:
    """Return each value as a member of a JSON object; empty for a null that may be left out."""
    lead = ("{" if name == "id" else ", ") + f'"{name}": '
    absent = lead + "null" if name in ("id", "s3", "https") else ""
    quoted = pc.binary_join_element_wise(_text(f'{lead}"'), column, _text('"'), _text(""))
    return pc.fill_null(quoted, _text(absent))


def _text(value: str) -> pa.LargeStringScalar:
    return pa.scalar(value, pa.large_string())


def read_json(path: str | Path) -> MapColumns:
    """Read a JSON manifest of this package or of zagg.

    A granule's text is the same in all its shards, and is parsed once. A file of another layout is
    parsed as a whole, which takes several times its size in memory.

    Raises
    ------
    InvalidShardMap
        If the file cannot be read, is not JSON, or lacks a part of a manifest.
    """
    try:
        with FileIO(path) as file:
            quick = _read_repeated(file)
        return quick if quick is not None else _read_whole(Path(path))
    except FileNotFoundError as error:
        raise ShardMapNotFound(f"There is no shard map {path}.") from error
    except OSError as error:
        raise InvalidShardMap(f"Cannot read the shard map {path}: {error.strerror}.") from error
    except RecursionError as error:
        raise InvalidShardMap(f"The shard map {path} is nested too deeply.") from error
    except (InvalidShardMap, TypeError, AttributeError, LookupError) as error:
        raise InvalidShardMap(f"The shard map {path} is malformed: {error}") from error
    except ValueError as error:
        raise InvalidShardMap(f"The shard map {path} is not JSON: {error}.") from error


def read_json_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a JSON manifest, without reading its granules.

    Raises `InvalidShardMap` if the file does not begin as a manifest does.
    """
    with Path(path).open("rb") as file:
        text = b""
        while block := file.read(_HEAD_BLOCK):
            text += block
            start = re.match(rb'\{\s*"metadata"\s*:\s*', text)
            if start is None:
                break
            try:
                found = json.JSONDecoder().raw_decode(text[start.end() :].decode(errors="replace"))
            except ValueError:
                continue  # the metadata does not end here
            if isinstance(found[0], dict):
                return found[0]
            break
    raise InvalidShardMap(f"The shard map {path} does not begin with its metadata.")


def _read_whole(path: Path) -> MapColumns:
    document = json.loads(path.read_text(encoding="utf-8"))
    _check_parts(document)
    return columns_of_lists(
        document["grid_signature"] or {},
        document["shard_keys"],
        document["granules"],
        document.get("metadata") or {},
        document.get("aoi_mask"),
    )


def _check_parts(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidShardMap("it is not a JSON object.")
    for part, kind in (("grid_signature", dict), ("metadata", dict), ("shard_keys", list)):
        if not isinstance(document.get(part) or kind(), kind):
            raise InvalidShardMap(f"its {part} is another thing, {document[part]!r:.60}.")
    if is_deep([document.get("grid_signature"), document.get("metadata")]):
        raise InvalidShardMap(f"it has metadata of more than {DEPTH} levels.")
    missing = [k for k in ("grid_signature", "shard_keys", "granules") if k not in document]
    if missing:
        raise InvalidShardMap(f"it has no {', '.join(missing)}.")


def _read_repeated(file: FileIO) -> MapColumns | None:
    """Read a manifest by the repeated text of its granules; return None for another layout.

    The text is cut at every ``}, {``. A cut inside a string or a nested object leaves a piece
    that is not a JSON object; if all pieces parse, they are the granules.
    """
    try:
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file
        return None
    with text:
        begin = _GRANULES.search(text)
        last = text.rfind(b"}", 0, text.rfind(b'"aoi_mask"') if _masked(text) else len(text) - 3)
        end = _END.match(text, last) if begin and last > 0 else None
        if begin is None or end is None:
            return None
        try:
            rest = json.loads(text[: begin.start()] + b'"granules": null' + text[end.end() :])
            pieces, sizes = _pieces(text, begin.end(), last + 1)
            entries = [json.loads(piece) for piece in pieces[0]]
        except ValueError:
            return None
    _check_parts(rest)
    return _from_pieces(rest, entries, pieces[1], sizes)


def _masked(text: mmap.mmap) -> bool:
    return text.rfind(b'"aoi_mask"') > text.rfind(b"}", 0, len(text) - 3)


def _pieces(text: mmap.mmap, start: int, stop: int) -> tuple[tuple[list[bytes], Ints], Ints]:
    """Return the distinct texts of granules, each granule's text number, and the shards' sizes."""
    same, border = (
        found[0] if (found := pattern.search(text, start, stop)) else None
        for pattern in (_SAME_SHARD, _NEXT_SHARD)
    )
    seen: dict[bytes, int] = {}
    numbers: list[int] = []
    sizes: list[int] = []
    while start < stop:
        cut = text.find(border, start, stop) if border else -1
        # The border of two shards holds a brace of each; both belong to granules.
        shard = text[start : stop if cut < 0 else cut + 1]
        start = stop if cut < 0 else cut + len(border or b"") - 1
        granules = shard[1:-1].split(same) if same else [shard[1:-1]]
        sizes.append(len(granules))
        numbers += [seen.setdefault(granule, len(seen)) for granule in granules]
    return ([b"{%b}" % piece for piece in seen], np.array(numbers, np.int64)), np.array(sizes)


def _from_pieces(
    rest: dict[str, Any], entries: list[dict[str, Any]], numbers: Ints, sizes: Ints
) -> MapColumns:
    """Return the columns of distinct entries, each pair's entry number, and the shards' sizes."""
    table, rows = distinct_entries(entries)
    keys, mask = rest["shard_keys"], rest.get("aoi_mask")
    check_parallel(len(keys), len(sizes))
    return MapColumns(
        grid_signature=rest["grid_signature"] or {},
        shards=as_keys(keys),
        offsets=to_offsets(sizes),
        rows=rows[numbers],
        table=table,
        metadata=rest.get("metadata") or {},
        mask=None if mask is None else as_mask(mask),
    )
