"""Colours of counts, the same in every picture: viridis, light for few and dark for many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.geometry.sphere import Ints

# Viridis from its light end, at even distances: it can be told apart by colour-blind readers, and
# in print.
_VIRIDIS = (
    "#fde725", "#bddf26", "#7ad151", "#44bf70", "#22a884", "#21918c",
    "#2a788e", "#355f8d", "#414487", "#482475", "#440154",
)  # fmt: skip
# Number of classes at most.
MOST_CLASSES = 7
PLAIN = "#21918c"
"""The colour of shapes without a count."""


@dataclass(frozen=True)
class ColourClasses:
    """Classes of counts, ascending, each with its colour."""

    lows: tuple[int, ...]
    """The least count of each class."""
    highs: tuple[int, ...]
    """The greatest count of each class."""
    colours: tuple[str, ...]
    """A colour of each class, ``#rrggbb``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The counts of each class as text, ``3 to 9`` for instance."""
        return tuple(
            f"{low:,}" if low == high else f"{low:,} to {high:,}"
            for low, high in zip(self.lows, self.highs, strict=True)
        )

    def of(self, counts: ArrayLike) -> Ints:
        """Return the class of each count, int64, shape (n,)."""
        values = np.asarray(counts)
        found = np.searchsorted(np.array(self.lows[1:]), values, side="right")
        return found.astype(np.int64)

    def colours_of(self, counts: ArrayLike) -> list[str]:
        """Return the colour of each count."""
        return [self.colours[i] for i in self.of(counts).tolist()]


def colour_classes(counts: ArrayLike, most: int = MOST_CLASSES) -> ColourClasses:
    """Return classes for counts, also for those of which a few are far greater than most.

    Parameters
    ----------
    counts : array_like of int, shape (n,)
        The counts of a map's shapes; without one there is one class, of 0.
    most : int
        The greatest number of classes.

    Returns
    -------
    ColourClasses
        A class for each value if there are few values, else classes of about the same number of
        shapes, with limits of two digits where these are round.
    """
    values = np.asarray(counts, dtype=np.int64)
    distinct = np.unique(values)
    if not len(distinct):
        return ColourClasses((0,), (0,), (PLAIN,))
    starts = np.arange(len(distinct))
    if len(distinct) > most:
        quantiles = np.quantile(values, np.arange(1, most) / most)
        limits = [_round(one) for one in quantiles.tolist()]
        starts = np.unique(np.append(0, np.searchsorted(distinct, limits)))
        starts = starts[starts < len(distinct)]
    ends = np.append(starts[1:], len(distinct)) - 1
    # The dark end is the greatest count's; one class alone has the middle of the scale.
    places = np.linspace(0, len(_VIRIDIS) - 1, len(starts)) if len(starts) > 1 else np.array([5.0])
    return ColourClasses(
        tuple(distinct[starts].tolist()),
        tuple(distinct[ends].tolist()),
        tuple(_blend(place) for place in places.tolist()),
    )


def _round(value: float) -> int:
    """Return a whole number near a value, with two digits that are not 0 at most."""
    unit = 10.0 ** max(np.floor(np.log10(max(value, 1.0))) - 1.0, 0.0)
    return int(np.ceil(value / unit) * unit)


def _blend(place: float) -> str:
    """Return the colour at a place between 0 and the number of the scale's steps."""
    low = min(int(place), len(_VIRIDIS) - 2)
    first, second = (
        np.array([int(one[i : i + 2], 16) for i in (1, 3, 5)]) for one in _VIRIDIS[low : low + 2]
    )
    red, green, blue = np.rint(first + (place - low) * (second - first)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
