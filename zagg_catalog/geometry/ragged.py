"""Ragged arrays: lists of different lengths in one array, with offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zagg_catalog.geometry.sphere import Floats, Ints, Ring


def to_offsets(sizes: ArrayLike) -> Ints:
    """Return the offsets of lists: list i is ``items[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    sizes : array_like of int, shape (lists,)
        Length of each list.

    Returns
    -------
    ndarray of int64, shape (lists + 1,)
        From 0 to the number of items.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def distinct[Number: np.generic](numbers: NDArray[Number]) -> NDArray[Number]:
    """Return the distinct numbers, ascending.

    `numpy.unique` hashes integers, and takes from ten to a hundred times as long for a million.
    """
    ordered = np.sort(numbers)
    found: NDArray[Number] = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return found


def starts(sizes: NDArray[np.integer[Any]]) -> Ints:
    """Return the start of each list, shape (lists,), from the lengths of the lists."""
    first: Ints = np.cumsum(sizes, dtype=np.int64) - sizes.astype(np.int64, copy=False)
    return first


def runs(low: Ints, high: Ints) -> Ints:
    """Return the concatenated ranges from each low to its high, exclusive."""
    counts = high - low
    every: Ints = np.arange(counts.sum()) + np.repeat(low - starts(counts), counts)
    return every


def gather(offsets: Ints, lists: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Pick lists from a ragged array.

    Parameters
    ----------
    offsets : ndarray of int64, shape (lists + 1,)
        Offsets of all lists.
    lists : ndarray of int, shape (picked,)
        Lists to pick.

    Returns
    -------
    offsets : ndarray of int64, shape (picked + 1,)
        Offsets of the picked lists.
    items : ndarray of int64
        Indices of their items in the ragged array.
    """
    low, high = offsets[:-1][lists], offsets[1:][lists]
    return to_offsets(high - low), runs(low, high)


def following(ring: Ints) -> Ints:
    """Return for each vertex the index of the next one of its ring; the last leads to the first.

    Parameters
    ----------
    ring : ndarray of int64, shape (vertices,)
        Ring of each vertex; the vertices of a ring are contiguous.
    """
    after = np.arange(1, len(ring) + 1)
    last = np.flatnonzero(np.append(ring[1:] != ring[:-1], True)[: len(ring)])
    after[last] = np.append(0, last[:-1] + 1)[: len(last)]
    return after


def join_rings(rings: list[Ring]) -> tuple[Floats, Floats, Ints]:
    """Return rings as one array of lats, one of lons, and the offsets of the rings."""
    lats, lons = (np.concatenate([np.empty(0), *(ring[axis] for ring in rings)]) for axis in (0, 1))
    return lats, lons, to_offsets([len(ring[0]) for ring in rings])
