"""Lazy imports, so that programs start fast."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import Any

# Threads that import parts of one package, or packages that import one another, can get modules
# that are not whole, since Python breaks the deadlock of their locks: one imports at a time.
_importing = RLock()
# Packages that pyarrow, mortie and odc.geo import only because they are there, which takes a third
# of a second and 40 MB at every start. What needs one later imports it.
UNUSED = ("pandas", "dask")


def rarely_collect() -> None:
    """Let the garbage collector look rarely, and not at the end; for programs, not in a library.

    What is imported lives until the end: looking through it takes a tenth of a start.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


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
    """Return a module that is imported when one of its names is first used.

    Raises `ModuleNotFoundError` at once if the module is not installed.
    """
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _LazyModule(name)


def import_geometry(*more: str) -> None:
    """Import pyarrow and mortie without `UNUSED`; for programs, before they start a thread.

    `more` are other modules to import in the same way; those that are not there are left out.
    """
    hiding = _Hiding()
    sys.meta_path.insert(0, hiding)
    try:
        _import_some("pyarrow", "mortie")
        if "pyarrow" in sys.modules:
            sys.modules["pyarrow"].scalar("")  # looks for pandas once
    finally:
        sys.meta_path.remove(hiding)
    # odc.geo asks whether there is a specification; pyarrow would take None for a module.
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]
    try:
        _import_some(*more)
    finally:
        for name in hidden:
            del sys.modules[name]


def _import_some(*names: str) -> None:
    for name in names:
        with contextlib.suppress(ImportError):  # what needs them reports it
            importlib.import_module(name)


class _Hiding:
    """A finder that reports `UNUSED` as missing."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in UNUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def lazy_attribute(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Return a name of a package from the module that defines it, for ``__getattr__``.

    `modules` maps public names to modules.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name]), name)
