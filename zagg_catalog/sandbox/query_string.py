"""Query strings with lists and objects, ``bbox[0]=-77``, as CMR-STAC reads and writes them.

Its server uses the package ``qs`` of JavaScript; so a next link can repeat the body of a POST.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

_STEP = re.compile(r"\[([^\[\]]*)\]")


def write_query(parameters: Mapping[str, Any]) -> str:
    """Return parameters as a query string; an empty list or object has no part in it."""
    pairs = [pair for name, value in parameters.items() for pair in _pairs(name, value)]
    return "&".join(f"{_escaped(name)}={_escaped(text)}" for name, text in pairs)


def read_query(given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the parameters of a query string that is split into names and values.

    The values of lists and objects are text, as all values of a query string are.
    """
    found: dict[str, Any] = {}
    for name, values in given.items():
        head, steps = name.partition("[")[0], _STEP.findall(name)
        _put(found, [head, *steps] if head else [name], values[0] if len(values) == 1 else values)
    return {name: _with_lists(value) for name, value in found.items()}


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _pairs(f"{name}[{key}]", member)
    elif isinstance(value, list | tuple):
        for place, member in enumerate(value):
            yield from _pairs(f"{name}[{place}]", member)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    """Return a value as JavaScript writes it: 170 for 170.0, true for True."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _escaped(text: str) -> str:
    return quote(text, safe="")


def _put(found: dict[str, Any], steps: list[str], value: Any) -> None:
    """Put a value into nested dicts; a step without a name is a new place of a list."""
    for step in steps[:-1]:
        inner = found.setdefault(step or str(len(found)), {})
        if not isinstance(inner, dict):
            return
        found = inner
    found[steps[-1] or str(len(found))] = value


def _with_lists(value: Any) -> Any:
    """Return nested dicts with lists in place of those whose keys are numbers."""
    if not isinstance(value, dict):
        return value
    members = {key: _with_lists(member) for key, member in value.items()}
    if members and all(key.isascii() and key.isdigit() for key in members):
        return [members[key] for key in sorted(members, key=int)]
    return members
