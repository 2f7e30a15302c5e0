"""One table of a run: what each region or grid took, as an artifact and in the log."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect import get_run_logger

from flows.artifacts import create_table

Values = dict[str, Any]


class RunTable:
    """The rows of a run's table.

    ```python
    with RunTable("prepare-cycle") as table:
        row = table.row(product="ATL06_007", region="antarctica", cycle=22)
        with row.step("fetch"):
            ...
        row.add(requests=66)
    ```

    When the block ends, also with an error, each row is logged, and the table becomes the
    artifact ``run-<flow>``.
    """

    def __init__(self, flow: str) -> None:
        self._flow, self._rows = flow, list[Row]()

    def row(self, **facts: object) -> Row:
        """Return a new row, which begins with these columns."""
        self._rows.append(Row(facts))
        return self._rows[-1]

    def __enter__(self) -> RunTable:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._rows:
            return
        memory = peak_memory()
        rows = [row.values | memory for row in self._rows]
        for row in rows:
            get_run_logger().info("Used: %s.", _sentence(row))
        create_table(
            rows,
            key=f"run-{self._flow}",
            description="What each row took: requests, sizes, seconds and memory.",
        )


class Row:
    """A row of a `RunTable`."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.values: Values = dict(facts)

    def add(self, **facts: object) -> None:
        """Add columns."""
        self.values |= facts

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the seconds of the block as the column ``<name>_s``, also when it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.values[f"{name}_s"] = round(time.monotonic() - began, 1)


def peak_memory() -> Values:
    """Return the peak memory in MB of this process, and of the largest that it started."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    here, started = (
        resource.getrusage(who).ru_maxrss * unit / 10**6
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"peak_mb": round(here), "peak_of_children_mb": round(started)}


def _sentence(row: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
