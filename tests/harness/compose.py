"""`deployments/compose.yaml`: its services as plain processes, with the values that it states."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "deployments" / "compose.yaml"
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")


@dataclass(frozen=True)
class Compose:
    """The file, with the variables and the addresses of one start.

    `values` are the variables of the file; `addresses` are what stands for ``service:port`` where
    all services run on this machine.
    """

    values: Mapping[str, str]
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        return yaml.safe_load(FILE.read_text())

    def service(self, name: str) -> dict[str, Any]:
        return self.content["services"][name]

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service."""
        given = self.service(name)["environment"]
        return {key: self._here(str(value)) for key, value in given.items()}

    def command(self, name: str) -> list[str]:
        """The command of a service; one of a shell is its last program."""
        given = [self._here(part) for part in self.service(name)["command"]]
        return shlex.split(given[0].rpartition("exec ")[2]) if len(given) == 1 else given

    def _here(self, text: str) -> str:
        found = _VARIABLE.sub(self._value, text)
        for address, here in self.addresses.items():
            found = found.replace(address, here)
        return found

    def _value(self, match: re.Match[str]) -> str:
        name, kind, text = match.group("name", "kind", "text")
        if name is None:
            return "$"
        if name in self.values:
            return self.values[name]
        if kind != "-":
            raise KeyError(f"{FILE.name} needs {name}: {text}")
        return text
