"""Words of messages: short digests, and the first few of a list."""

from __future__ import annotations

from collections.abc import Sequence

SHORT = 12
SHOWN = 5


def some(names: Sequence[object], total: int | None = None) -> str:
    """Return how many there are, and the first few of them.

    Parameters
    ----------
    names : sequence
        All of them, or the first ones.
    total : int, optional
        How many there are in all; by default the length of `names`.
    """
    count = len(names) if total is None else total
    shown = ", ".join(map(str, names[:SHOWN]))
    return f"{count:,} in all: {shown}" + (", …" if count > SHOWN else "")
