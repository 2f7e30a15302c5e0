"""Imports that wait until a name is first used, so that programs start fast."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from typing import Any


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
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


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
