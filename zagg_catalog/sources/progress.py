"""Progress: a bar on a terminal, nothing where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

OnPage = Callable[[int, int | None], None]


@contextmanager
def harvest_progress(title: str, show: bool | OnPage | None = None) -> Iterator[OnPage]:
    """Show how far a harvest is, on standard error.

    Parameters
    ----------
    title : str
        What is fetched.
    show : bool or callable, optional
        None shows a bar where standard error is a terminal. A callable takes the place of the
        bar.

    Yields
    ------
    callable
        To be called with the granules so far and the count declared, or None.
    """
    if callable(show):
        yield show
        return
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("granules"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
