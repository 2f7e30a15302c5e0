"""Plain commands that run a flow, with its parameters as flags."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect import Flow, tags
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.failures import check_server, reaching_prefect
from flows.local_server import LocalFailure, temporary_server
from flows.settings import HEARTBEAT_SECONDS, TAG
from zagg_catalog.cli.common import print_line
from zagg_catalog.errors import ZaggCatalogError

Schema = Mapping[str, Any]


def run_command(
    flow: Flow[..., Any],
    module: str,
    argv: Sequence[str] | None = None,
    last_line: Callable[[Any], str] = lambda state: str(state.message),
) -> int:
    """Run a flow from a plain command; return 0 if the run completed, else 1.

    `module` is shown in the usage line. `last_line` returns the line to print for the final state
    of a completed run. If the settings name no server, a temporary one is started; one that cannot
    be used is a sentence.
    """
    call: Callable[..., Any] = flow  # the overloads of Flow need the type of the result
    arguments = vars(flow_parser(flow, module).parse_args(argv))
    try:
        with temporary_server(), reaching_prefect(), _as_deployed(flow.name):
            check_server()
            state = call(**arguments, return_state=True)
    except (LocalFailure, ZaggCatalogError) as error:
        print_line(error, file=sys.stderr)
        return 1
    print_line(last_line(state) if state.is_completed() else state.message)
    return 0 if state.is_completed() else 1


@contextmanager
def _as_deployed(flow: str) -> Iterator[None]:
    """Give a run the tags and the heartbeats of deployments, on which automations act."""
    heartbeat = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS}
    with tags(TAG, flow), temporary_settings(set_defaults=heartbeat):
        yield


def flow_parser(flow: Flow[..., Any], module: str) -> argparse.ArgumentParser:
    """Return a parser with a flag for each parameter of a flow, described by its docstring."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=(flow.__doc__ or "").split("\n", 1)[0],
        argument_default=argparse.SUPPRESS,
    )
    schema = flow.parameters
    for name, entry in schema.properties.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            help=entry["description"].replace("%", "%%"),
            required=name in schema.required,
            **_options(entry, schema.definitions),
        )
    return parser


def _options(entry: Schema, definitions: Schema) -> dict[str, Any]:
    """Return the options of a flag from the JSON schema of its parameter."""
    (kind,) = [one for one in entry.get("anyOf", [entry]) if one.get("type") != "null"]
    if "$ref" in kind:
        kind = definitions[kind["$ref"].rpartition("/")[2]]
        if "enum" in kind:
            return {"choices": kind["enum"], "metavar": "NAME"}
    options: dict[str, dict[str, Any]] = {
        "boolean": {"action": argparse.BooleanOptionalAction},
        "integer": {"type": int, "metavar": "N"},
        "array": {"nargs": "+", "metavar": "NAME"},
        "object": {"type": json.loads, "metavar": "JSON"},
    }
    return options.get(kind["type"], {"metavar": "TEXT"})
