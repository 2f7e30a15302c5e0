"""Plain commands: a flow's own parameters as flags, on a temporary server if none is set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flows.settings import Product
from zagg_catalog.sources.query import PROVIDER

Flag = Mapping[str, Any]

FLAGS: dict[str, Flag] = {
    "product": {"type": Product, "choices": list(Product), "metavar": "ATL06"},
    "version": {"help": "release of the product (default: 007)"},
    "cycle": {"type": int, "help": "mission cycle (default: that of 45 days ago)"},
    "region": {"metavar": "NAME", "help": "registered region (default: antarctica)"},
    "regions": {"nargs": "+", "metavar": "NAME", "help": "registered regions (default: all)"},
    "grids": {"nargs": "+", "metavar": "NAME", "help": "registered grids (default: all)"},
    "catalog": {"required": True, "metavar": "KEY", "help": "key of the catalog in the store"},
    "store": {"metavar": "URL", "help": "folder or s3://bucket/prefix (default: the setting)"},
    "stac_root": {"metavar": "URL", "help": "root of the STAC API (default: the setting)"},
    "provider": {"help": f"sub-catalog (default: {PROVIDER}; '' for none)"},
    "registry": {"metavar": "FILE", "help": "the registry (default: the setting)"},
    "slices": {"type": int, "help": "time slices fetched side by side"},
    "force": {"action": "store_true", "help": "also what was fetched and built before"},
    "products": {"nargs": "+", "metavar": "NAME", "help": "products, as ATL06_007 (default: all)"},
    "dry_run": {
        "action": argparse.BooleanOptionalAction,
        "help": "only say what would be done",
    },
    "release": {
        "metavar": "DIGEST",
        "help": "of a release, or its beginning (default: the latest)",
    },
    "artifact": {"metavar": "KEY", "help": "artifact of a shard map, shardmap-…"},
    "only_changed": {"action": "store_true", "help": "only shards that changed since"},
    "allow_partial": {"action": "store_true", "help": "also a partial release"},
    "allow_contraction": {"action": "store_true", "help": "also where granules are gone"},
    "output": {"metavar": "URL", "help": "where zagg writes (default: the setting or the config)"},
    "zagg": {"type": json.loads, "metavar": "JSON", "help": "options of zagg, by name"},
    "publish_partial": {"action": "store_true", "help": "a partial release becomes the latest"},
}


def run_command(
    flow: Callable[..., Any],
    module: str,
    flags: Sequence[str],
    argv: Sequence[str] | None = None,
    say: Callable[[Any], str] = lambda state: str(state.message),
) -> int:
    """Run a flow from a plain command.

    Parameters
    ----------
    flow : prefect.Flow
        What to run.
    module : str
        Its module, for the usage line.
    flags : sequence of str
        Which of its parameters are flags; what is not given keeps the flow's default.
    argv : sequence of str, optional
        By default the process's.
    say : callable
        Returns the last line for the state that the run ended in.

    Returns
    -------
    int
        0 done, also where there was nothing new; 1 something is missing.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=(flow.__doc__ or "").split("\n", 1)[0],
        argument_default=argparse.SUPPRESS,
    )
    for name in flags:
        parser.add_argument(f"--{name.replace('_', '-')}", **FLAGS[name])
    state = flow(**vars(parser.parse_args(argv)), return_state=True)
    print(say(state) if state.is_completed() else state.message)
    return 0 if state.is_completed() else 1
