"""The narrator: says what happens, when, and what it waits for, on a terminal or into a pipe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

# In a pipe, a line so often tells that it goes on.
PATIENCE = 8.0
INDENT = 9
WIDE = 10_000


class Narrator:
    """Says what happens, each line with the seconds since the beginning.

    Parameters
    ----------
    console : Console, optional
        Where to; by default the terminal, or standard output without colours and without folds.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.pretty = self.console.is_terminal
        if not self.pretty:
            self.console.width = WIDE
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def head(self, text: str) -> None:
        """Begin a part."""
        self.console.print()
        if self.pretty:
            self.console.print(Rule(Text(text, "bold"), align="left", style="cyan"))
        else:
            self._plain(f"== {text}")

    def say(self, text: str, style: str = "") -> None:
        """Say that something happened now."""
        at = f"{self.seconds:5.1f} s"
        if not self.pretty:
            self._plain(f"{at}  {text}")
            return
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_row(Text(at, "dim"), Text(text, style))
        self.console.print(row)

    def note(self, text: str, style: str = "dim") -> None:
        """Say more of what was said last."""
        if self.pretty:
            self.console.print(Padding(Text(text, style), (0, 0, 0, INDENT)))
        else:
            self._plain(" " * INDENT + text)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> None:
        """Print a table whose columns from `right` on are numbers, or none where it is 0."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, head in enumerate(heads):
            justify: JustifyMethod = "right" if right and number >= right else "left"
            table.add_column(head, overflow="fold", justify=justify)
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Waiting]:
        """Show that something is waited for, until the block ends."""
        if self.pretty:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task(what)
                yield Waiting(lambda text: progress.update(task, description=text))
            return
        waiting = Waiting(lambda _: None, what)
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(waiting, over), daemon=True)
        ticker.start()
        try:
            yield waiting
        finally:
            over.set()
            ticker.join()

    def _tick(self, waiting: Waiting, over: threading.Event) -> None:
        while not over.wait(PATIENCE):
            self.say(f"… {waiting.what}")

    def _plain(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


class Waiting:
    """What is waited for, which may change.

    Parameters
    ----------
    show : callable
        Called with each change.
    what : str
        What it is at first.
    """

    def __init__(self, show: Callable[[str], object], what: str = "") -> None:
        self._show, self.what = show, what

    def now(self, what: str) -> None:
        """Say what is waited for now."""
        if what != self.what:
            self.what = what
            self._show(what)
