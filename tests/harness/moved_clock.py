"""The clock of zagg-catalog, moved: what it writes and compares has simulated times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from flows import watch
from zagg_catalog import messages


def moved(ahead: Callable[[], timedelta]) -> type[datetime]:
    """Return `datetime` with a moved `now`."""

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead()

    return Moved


@contextmanager
def following(now: Callable[[], datetime]) -> Iterator[None]:
    """Let zagg-catalog read another clock in this process, such as that of a sandbox."""
    clock = moved(lambda: now() - datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "datetime", clock)
        patch.setattr(watch, "datetime", clock, raising=False)
        yield
