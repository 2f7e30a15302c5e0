"""Faults on request: what goes wrong with real STAC APIs, each under a name.

A fault is chosen by name and aimed by options: ``status=503:times=2`` fails the first two
searches, ``latency=0.5:every=3`` slows each third, ``null-geometry:page=2`` spoils page 2
whenever it is asked for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zagg_catalog.sandbox.reply import Page, Reply

Value = float | str | None
Apply = Callable[["Fault", Reply, Page | None], None]


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """What a fault's name stands for.

    Attributes
    ----------
    name, doc : str
        As listed by ``--list-faults``.
    value : float or str or None
        Default of the fault's value.
    times, page : int or None
        Default aim: how often, and on which page.
    content : bool
        Whether it spoils the items or links of a search, and so needs a reply that has them.
    apply : callable
        Spoils a reply; the page is None for routes other than searches.
    """

    name: str
    doc: str
    value: Value
    times: int | None
    page: int | None
    content: bool
    apply: Apply


KINDS: dict[str, FaultKind] = {}


def kind(
    name: str,
    doc: str,
    *,
    value: Value = None,
    times: int | None = None,
    page: int | None = None,
    content: bool = False,
) -> Callable[[Apply], Apply]:
    """Register a function as the fault of that name."""

    def register(apply: Apply) -> Apply:
        KINDS[name] = FaultKind(
            name=name,
            doc=doc,
            value=value,
            times=times,
            page=page,
            content=content,
            apply=apply,
        )
        return apply

    return register


@dataclass
class Fault:
    """One fault, aimed at some requests; it counts them, so each server needs its own.

    Parameters
    ----------
    name : str
        One of `KINDS`.
    value : float or str, optional
        What the fault needs: a status, seconds, a number of items; see its text.
    times : int, optional
        Strike at most this often.
    every : int
        Strike only each n-th request that qualifies, beginning with the first.
    skip : int
        Let this many qualifying requests pass before.
    page : int, optional
        Only page k of a search, from 1; 0 means every page.
    route : {"search", "any"}
        Only searches (``/search`` and ``/items``), or all requests.
    options : dict
        Further options of this fault, such as ``retry-after``.
    struck : int
        How often it has struck so far.

    Raises
    ------
    ValueError
        If there is no fault of that name, or its value is not a number where it needs one.
    """

    name: str
    value: Value = None
    times: int | None = None
    every: int = 1
    skip: int = 0
    page: int | None = None
    route: str = "search"
    options: dict[str, str] = field(default_factory=dict)
    struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"There is no fault {self.name!r}; choose from {', '.join(KINDS)}.")
        known = KINDS[self.name]
        self.value = known.value if self.value is None else self.value
        if isinstance(known.value, int | float):
            try:
                self.value = float(self.value or 0)
            except ValueError:
                raise ValueError(f"Fault {self.name} needs a number, not {self.value!r}.") from None
        self.times = known.times if self.times is None else self.times
        self.page = known.page if self.page is None else self.page
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def content(self) -> bool:
        """Whether it looks into the items or links of a search."""
        return KINDS[self.name].content

    @property
    def number(self) -> int:
        """The value as a whole number."""
        return int(float(self.value or 0))

    def spoil(self, reply: Reply, page: Page | None) -> None:
        """Change a reply if this request is one that the fault aims at."""
        known = KINDS[self.name]
        if page is None and (known.content or self.route == "search"):
            return
        if known.content and not _has_features(reply):
            return
        if page is not None and self.page and page.number != self.page:
            return
        with self._lock:
            turn = self._seen - self.skip
            self._seen += 1
            if turn < 0 or turn % self.every or self.struck == self.times:
                return
            self.struck += 1
        known.apply(self, reply, page)


def _has_features(reply: Reply) -> bool:
    return isinstance(reply.document, dict) and not reply.document.keys().isdisjoint(
        ("features", "items")
    )


def parse_fault(text: str) -> Fault:
    """Read a fault as the command line has it, ``name[=value][:option=value]…``.

    Raises
    ------
    ValueError
        If the name is unknown, or a value is not of the kind that is needed.
    """
    # A value may hold colons itself, as an origin does.
    head, *rest = re.split(r":(?=[a-z-]+=)", text)
    name, _, value = head.partition("=")
    arguments: dict[str, Any] = {}
    options: dict[str, str] = {}
    for part in rest:
        key, _, given = part.partition("=")
        if key in ("times", "every", "skip", "page"):
            arguments[key] = int(given)
        elif key == "route":
            arguments[key] = given
        else:
            options[key] = given
    return Fault(name, value or None, options=options, **arguments)


def describe_faults() -> str:
    """Return one line for each fault, for ``--list-faults``."""
    width = max(map(len, KINDS))
    return "\n".join(f"{name:<{width}}  {k.doc}" for name, k in sorted(KINDS.items()))


# The kinds register themselves; they need `kind` from above.
from zagg_catalog.sandbox import faults_data, faults_transport  # noqa: E402, F401
