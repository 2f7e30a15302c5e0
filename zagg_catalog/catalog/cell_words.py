"""Footprint cells as mortie's words, as numbers, and as the short text that is stored for reading.

A row of the short text is its cells in steps: one character for each cell, its distance from the
one before, or `_JUMP`, whose distance is the next item of a list. A cycle south of 60°S has 2.2
million cells, of which 96 % are steps; reading them takes a tenth of the time of the words. They
are text, since the items of other programs hold no bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.catalog.schema import CELLS_ORDER, PACKED_TYPE
from zagg_catalog.geometry.ragged import to_offsets
from zagg_catalog.geometry.sphere import Ints

# A word: the base cell in its top bits, then the nested digits; the order in its lowest bits.
_FIRST_BASE = 1 << (2 * CELLS_ORDER)
_WORD_SHIFT = np.uint64(60 - 2 * CELLS_ORDER)
_ORDER_BITS = np.uint8(31)
# Printable characters: a step is this one and as many more as cells of order 9, up to `_JUMP`.
_NO_STEP, _JUMP = np.uint8(32), np.uint8(126)

Numbers = NDArray[np.int32]


def numbers_of(words: NDArray[np.uint64]) -> Numbers:
    """Return the numbers of mortie's words of `CELLS_ORDER` and coarser.

    A number is twice the nested number and one for a cell of `CELLS_ORDER`; that times four for
    each order coarser (known as zuniq).
    """
    number = (words >> _WORD_SHIFT).astype(np.int32)
    number -= np.int32(_FIRST_BASE)
    number <<= np.int32(1)
    up = CELLS_ORDER - (words.astype(np.uint8) & _ORDER_BITS)
    if up.any():
        number |= np.int32(1) << (up.astype(np.int32) << np.int32(1))
    else:
        number |= np.int32(1)
    return number


def words_of(numbers: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Return mortie's words of numbers."""
    start, end = ranges_of(numbers)
    words = (start + _FIRST_BASE).astype(np.uint64) << _WORD_SHIFT
    up = np.log2((end - start).astype(np.float64)).astype(np.uint64) >> np.uint64(1)
    words |= np.uint64(CELLS_ORDER) - up
    return words


def ranges_of(numbers: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Return the first nested number of `CELLS_ORDER` in each cell, and the one after its last."""
    wide = numbers.astype(np.int64)
    least = wide & -wide
    start = (wide ^ least) >> 1
    return start, start + least


def unlist(lists: pa.LargeListArray) -> tuple[Ints, Numbers, NDArray[np.bool_]]:
    """Return the cells of lists of words.

    Returns
    -------
    offsets : ndarray of int64, shape (rows + 1,)
        Where each row's cells start.
    numbers : ndarray of int32, shape (cells,)
        See `numbers_of`.
    known : ndarray of bool, shape (rows,)
        Which rows are not null.
    """
    counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)
    words = np.asarray(lists.flatten()).view(np.uint64)
    return to_offsets(counts), numbers_of(words), ~np.asarray(lists.is_null())


def pack(lists: pa.LargeListArray) -> pa.StructArray:
    """Return lists of words as `PACKED_TYPE`; `unpack` returns the same as `unlist`."""
    offsets, numbers, known = unlist(lists)
    first = _firsts(offsets)
    apart = np.diff(numbers, prepend=np.int32(0))
    apart[first] = numbers[first]
    steps = apart >> 1
    jump = (apart & 1 != 0) | (steps <= 0) | (steps >= int(_JUMP - _NO_STEP))
    jump[first] = True
    text = np.where(jump, _JUMP, steps.astype(np.uint8) + _NO_STEP)
    before = to_offsets(jump)[offsets]
    return pa.StructArray.from_arrays(
        [
            pa.LargeStringArray.from_buffers(len(lists), pa.py_buffer(offsets), pa.py_buffer(text)),
            pa.ListArray.from_arrays(pa.array(before, pa.int32()), pa.array(apart[jump])),
        ],
        fields=[*PACKED_TYPE],
        mask=pa.array(~known),
    )


def unpack(packed: pa.StructArray) -> tuple[Ints, Numbers, NDArray[np.bool_]]:
    """Return the cells of packed rows, as `unlist` does."""
    steps, jumps = packed.flatten()
    _, edges, data = steps.buffers()
    offsets = np.frombuffer(edges, np.int64)[steps.offset :][: len(steps) + 1]
    text = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    numbers = text.astype(np.int32)
    numbers -= np.int32(_NO_STEP)
    numbers <<= np.int32(1)
    numbers[np.flatnonzero(text == _JUMP)] = np.asarray(jumps.flatten())
    first = _firsts(offsets)
    if len(first):
        # The first number of a row follows the last one of the row before in the sum.
        numbers[first[1:]] -= np.add.reduceat(numbers, first, dtype=np.int32)[:-1]
        np.cumsum(numbers, dtype=np.int32, out=numbers)
    return offsets, numbers, ~np.asarray(packed.is_null())


def _firsts(offsets: Ints) -> Ints:
    """Return the first item of each list that has one."""
    firsts: Ints = offsets[:-1][offsets[1:] > offsets[:-1]]
    return firsts
