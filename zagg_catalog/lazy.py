"""Imports that wait until a name is first used, so that programs start fast."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from typing import Any


class _LazyModule:
    """Stands for a module until one of its names is used, in any thread.

    `importlib.util.LazyLoader` is not used: before Python 3.12.3 a thread may get a module that
    another thread is still loading.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def lazy_module(name: str) -> Any:
    """Return a third-party module that is imported when one of its names is first used.

    Parameters
    ----------
    name : str
        A top-level module.

    Raises
    ------
    ModuleNotFoundError
        If the module is not installed.
    """
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _LazyModule(name)


def lazy_attribute(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Return a name of a package from the module that defines it, for its ``__getattr__``.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    modules : mapping
        Public name → module.
    name : str
        The name asked for.

    Raises
    ------
    AttributeError
        If the package does not have the name.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name]), name)
