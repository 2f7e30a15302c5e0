"""``zagg-catalog notify``: tell Prefect that a cycle is available, by hand or from elsewhere."""

from __future__ import annotations

import argparse
import json

from zagg_catalog.watch.events import event_body, send

DONE = 0


def add_notify(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add the command ``notify``."""
    notify = parts.add_parser(
        "notify", parents=[common], help="tell Prefect that a cycle is available"
    )
    notify.add_argument("--product", required=True, help="short name, as ATL06")
    notify.add_argument("--version", default="007", help="release (default: 007)")
    notify.add_argument("--cycle", required=True, type=int, help="mission cycle, 1 to 99")
    notify.add_argument(
        "--api-url",
        metavar="URL",
        help="Prefect's API, http://127.0.0.1:4200/api (default: PREFECT_API_URL)",
    )
    notify.add_argument(
        "--print", action="store_true", dest="only_print", help="print the event; send nothing"
    )
    notify.set_defaults(run=_notify)


def _notify(options: argparse.Namespace) -> int:
    event = event_body(options.product, options.version, options.cycle)
    if options.only_print:
        print(json.dumps([event], indent=2))
        return DONE
    where = send(event, options.api_url)
    print(f"{event['resource']['prefect.resource.name']}: announced at {where}.")
    return DONE
