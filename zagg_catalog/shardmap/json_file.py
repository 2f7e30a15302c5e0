"""The JSON manifest that zagg loads: written from encoded granules, read by its repeated text."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.table import entry_dicts
from zagg_catalog.errors import InvalidShardMap, ShardMapNotFound
from zagg_catalog.files import atomic_path
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids.base import Mask
from zagg_catalog.shardmap.model import (
    ENTRY_SCHEMA,
    ShardMap,
    as_keys,
    as_mask,
    check_parallel,
    intern,
)

# Timing differs from run to run; a file holds only what follows from the inputs.
_VOLATILE = ("build_wall_s",)
# Items gathered at once: a few MB of text, which stays in the processor's cache.
CHUNK = 8_192
# What JSON needs an escape for, or json.dumps writes as one.
_ESCAPED = r"[^ !#-\[\]-~]"
_BETWEEN, _NEXT = b", ", b"],\n    ["

# A granule's end to the next one's begin, in one shard and over the border of two.
_SAME_SHARD = re.compile(rb"\}\s*,\s*\{")
_NEXT_SHARD = re.compile(rb"\}\s*\]\s*,\s*\[\s*\{")
_GRANULES = re.compile(rb'"granules"\s*:\s*\[\s*\[\s*(?=\{)')
_END = re.compile(rb"\}\s*\]\s*\]")
_HEAD_BLOCK = 1 << 16


def write_json(shard_map: ShardMap, path: str | Path) -> None:
    """Write zagg's JSON manifest, whole or not at all.

    Parameters
    ----------
    shard_map : ShardMap
        The map.
    path : str or Path
        Where to.

    Notes
    -----
    Keys are written as plain integers up to 2**64 - 1. Each granule is encoded once and its
    text gathered into every shard, one shard a line; a few MB are held at a time.
    """
    with atomic_path(path) as temporary, FileIO(temporary, "w") as out:
        _write(shard_map, out)


def _write(shard_map: ShardMap, out: FileIO) -> None:
    head = {"metadata": stable(shard_map.metadata), "grid_signature": shard_map.grid_signature}
    _put(out, json.dumps(head, indent=2, default=str)[:-2].encode())
    _put(out, b',\n  "shard_keys": [')
    _write_numbers(out, shard_map.shards)
    _put(out, b'],\n  "granules": [')
    texts = entry_texts(shard_map.table)
    items = pa.concat_arrays([texts, pa.array([_BETWEEN, _NEXT], pa.large_binary())])
    for offsets, span in _chunks(shard_map.offsets):
        places = _interleave(offsets, shard_map.rows[span], len(texts))
        _write_lists(out, items.take(pa.array(places)), first=span.start == 0)
    _put(out, b"]\n  ]" if len(shard_map) else b"]")
    if shard_map.mask is not None:
        _write_mask(out, shard_map.mask)
    _put(out, b"\n}\n")


def _write_mask(out: FileIO, mask: Mask) -> None:
    cells, sizes = mask
    _put(out, b',\n  "aoi_mask": [')
    for offsets, span in _chunks(sizes):
        texts = pc.cast(pc.cast(pa.array(cells[span]), pa.string()), pa.large_binary())
        items = pa.concat_arrays([texts, pa.array([_BETWEEN, _NEXT], pa.large_binary())])
        places = _interleave(offsets, np.arange(len(texts)), len(texts))
        _write_lists(out, items.take(pa.array(places)), first=span.start == 0)
    _put(out, b"]\n  ]" if len(sizes) > 1 else b"]")


def _write_numbers(out: FileIO, numbers: Any) -> None:
    for start in range(0, len(numbers), CHUNK):
        texts = pc.cast(pa.array(numbers[start : start + CHUNK]), pa.string())
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), ", ")
        _put(out, (_BETWEEN if start else b"") + joined[0].as_py().encode())


def _chunks(offsets: Ints) -> Iterator[tuple[Ints, slice]]:
    """Yield runs of whole lists: their offsets, from 0, and the slice of their items."""
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + CHUNK, side="right")) - 1
        stop = min(max(stop, start + 1), len(offsets) - 1)
        run = offsets[start : stop + 1]
        yield run - run[0], slice(int(run[0]), int(run[-1]))
        start = stop


def _interleave(offsets: Ints, rows: Any, count: int) -> Ints:
    """Return what to write in turn: rows, and behind each row `count` or, at an end, `count` + 1.

    ``count`` stands for what separates items, ``count + 1`` for what separates lists.
    """
    sizes = np.diff(offsets)
    slots = np.where(sizes, 2 * sizes, 1)
    ends = np.cumsum(slots)
    places = np.full(int(ends[-1]), count, dtype=np.int64)
    places[ends - 1] = count + 1
    within = np.arange(len(rows)) - np.repeat(offsets[:-1], sizes)
    places[np.repeat(ends - slots, sizes) + 2 * within] = rows
    return places


def _write_lists(out: FileIO, texts: pa.LargeBinaryArray, *, first: bool) -> None:
    """Write gathered texts; a run ends without the separator of lists, and begins with it."""
    _, offsets, data = texts.buffers()
    edges = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    _put(out, _NEXT[2:] if first else _NEXT)
    _put(out, memoryview(data)[int(edges[0]) : int(edges[-2])])


def _put(out: FileIO, content: bytes | memoryview) -> None:
    """Write all of it; an unbuffered file may take a part only."""
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]


def entry_texts(table: pa.Table) -> pa.LargeBinaryArray:
    """Return the JSON object of each granule.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of `ENTRY_SCHEMA`.

    Returns
    -------
    pyarrow.LargeBinaryArray
        What ``json.dumps`` gives for the entries of `zagg_catalog.catalog.table.entry_dicts`.
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
    """Return the member of an object that each value is; nothing for a null, where it may be."""
    lead = ("{" if name == "id" else ", ") + f'"{name}": '
    absent = lead + "null" if name in ("id", "s3", "https") else ""
    quoted = pc.binary_join_element_wise(_text(f'{lead}"'), column, _text('"'), _text(""))
    return pc.fill_null(quoted, _text(absent))


def _text(value: str) -> pa.LargeStringScalar:
    return pa.scalar(value, pa.large_string())


def read_json(path: str | Path) -> ShardMap:
    """Read a JSON manifest, ours or zagg's.

    Raises
    ------
    InvalidShardMap
        If the file cannot be read, is not JSON, or lacks a part of a manifest.

    Notes
    -----
    A granule's text is the same in all its shards, and is parsed once. A file whose layout does
    not allow that is parsed as a whole, which takes several times its size in memory.
    """
    try:
        with FileIO(path) as file:
            quick = _read_repeated(file)
        return quick if quick is not None else _read_whole(Path(path))
    except FileNotFoundError as error:
        raise ShardMapNotFound(f"There is no shard map {path}.") from error
    except OSError as error:
        raise InvalidShardMap(f"Cannot read the shard map {path}: {error.strerror}.") from error
    except (InvalidShardMap, TypeError) as error:
        raise InvalidShardMap(f"The shard map {path} is malformed: {error}") from error
    except ValueError as error:
        raise InvalidShardMap(f"The shard map {path} is not JSON: {error}.") from error


def read_json_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a JSON manifest, without reading its granules.

    Raises
    ------
    InvalidShardMap
        If the file does not begin as a manifest does, ours or zagg's.
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
                continue  # there is more of it
            if isinstance(found[0], dict):
                return found[0]
            break
    raise InvalidShardMap(f"The shard map {path} does not begin with its metadata.")


def stable(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without what differs from run to run."""
    return {key: value for key, value in metadata.items() if key not in _VOLATILE}


def _read_whole(path: Path) -> ShardMap:
    document = json.loads(path.read_text(encoding="utf-8"))
    _check_parts(document)
    return ShardMap(
        document["grid_signature"] or {},
        document["shard_keys"],
        document["granules"],
        document.get("metadata") or {},
        document.get("aoi_mask"),
    )


def _check_parts(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidShardMap("it is not a JSON object.")
    missing = [k for k in ("grid_signature", "shard_keys", "granules") if k not in document]
    if missing:
        raise InvalidShardMap(f"it has no {', '.join(missing)}.")


def _read_repeated(file: FileIO) -> ShardMap | None:
    """Read a manifest by the repeated text of its granules; None where it is laid out otherwise.

    A text is cut at every ``}, {``. A cut inside a string or a nested object leaves a piece
    that is no JSON object, so that pieces that all parse are the granules.
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
    """Return the distinct granule texts, the number of each granule's, and the shards' sizes."""
    same, border = (
        found[0] if (found := pattern.search(text, start, stop)) else None
        for pattern in (_SAME_SHARD, _NEXT_SHARD)
    )
    seen: dict[bytes, int] = {}
    numbers: list[int] = []
    sizes: list[int] = []
    while start < stop:
        cut = text.find(border, start, stop) if border else -1
        # Braces belong to the granules; between two shards one closes and one opens.
        shard = text[start : stop if cut < 0 else cut + 1]
        start = stop if cut < 0 else cut + len(border or b"") - 1
        granules = shard[1:-1].split(same) if same else [shard[1:-1]]
        sizes.append(len(granules))
        numbers += [seen.setdefault(granule, len(seen)) for granule in granules]
    return ([b"{%b}" % piece for piece in seen], np.array(numbers, np.int64)), np.array(sizes)


def _from_pieces(
    rest: dict[str, Any], entries: list[dict[str, Any]], numbers: Ints, sizes: Ints
) -> ShardMap:
    """Make a map of the entries that differ; `numbers` says which one each pair has."""
    table, rows = intern(entries)
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    keys, mask = rest["shard_keys"], rest.get("aoi_mask")
    check_parallel(len(keys), len(sizes))
    return ShardMap.from_columns(
        grid_signature=rest["grid_signature"] or {},
        shards=as_keys(keys),
        offsets=offsets,
        rows=rows[numbers],
        table=table,
        metadata=rest.get("metadata") or {},
        mask=None if mask is None else as_mask(mask),
    )
