"""Lazy imports, so that programs start fast."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from threading import RLock
from typing import Any

# Threads that import parts of one package, or packages that import one another, can get modules
# that are not whole, since Python breaks the deadlock of their locks: one imports at a time.
_importing = RLock()


class _LazyModule:
    """A module that is imported when one of its names is first used, in any thread.

    `importlib.util.LazyLoader` is not used: before Python 3.12.3 a thread may get a module that
    another thread is still loading.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        with _importing:
            module = importlib.import_module(self._name)
        return getattr(module, attribute)


def lazy_module(name: str) -> Any:
    """Return a third-party module that is imported when one of its names is first used.

    Raises `ModuleNotFoundError` at once if the module is not installed.
    """
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _LazyModule(name)


def lazy_attribute(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Return a name of a package from the module that defines it, for ``__getattr__``.

    `modules` maps public names to modules.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name]), name)
