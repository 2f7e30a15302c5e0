"""``python -m zagg_catalog.sandbox``: serve a simulated cycle on this machine."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.fault_kinds import describe_faults, parse_fault
from zagg_catalog.sandbox.faults import Fault
from zagg_catalog.sandbox.granules import Granules, concat, with_boxes
from zagg_catalog.sandbox.items import ARCHIVES, from_geoparquet
from zagg_catalog.sandbox.server import SandboxServer
from zagg_catalog.sandbox.simulation import read_numbers, simulate
from zagg_catalog.sandbox.stac_api import NEXT_METHODS
from zagg_catalog.sandbox.story import story
from zagg_catalog.sandbox.timeline import Timeline


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status, 2 if an argument is wrong."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.list_faults:
        print(describe_faults())
        return 0
    try:
        server = SandboxServer(
            _content(options),
            page_size=options.page_size,
            faults=_faults(options),
            host=options.host,
            port=options.port,
            next_method=options.next_method,
            relative=options.relative_next,
            archive=options.archive,
            orbits=options.orbits,
        )
    except (InvalidQuery, ValueError, OSError) as error:
        parser.error(str(error))
    # Shells start background jobs with the interrupt ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(
        f"export ZAGG_CATALOG_STAC_ROOT={server.root_url}"
        f"  # serving {server.api.size:,} granules until Ctrl-C; as CMR at {server.cmr_url}",
        flush=True,
    )
    server.warm()
    try:
        server.serve()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        server.stop()
    return 0


def _content(options: argparse.Namespace) -> Granules | Timeline:
    if options.story:
        return _story(options)
    granules = _granules(options)
    return with_boxes(granules) if options.boxes else granules


def _story(options: argparse.Namespace) -> Timeline:
    cycles = options.cycle or [None]
    if "," in options.product or len(cycles) > 1:
        raise ValueError("--story has one product and one cycle.")
    return story(
        options.product,
        version=options.version,
        successor=f"{int(options.version) + 1:03d}",
        cycle=cycles[0],
        regions=options.regions,
        tracks=options.tracks,
        seed=options.seed,
    )


def _granules(options: argparse.Namespace) -> Granules:
    if options.items:
        return concat([from_geoparquet(path) for path in options.items])
    return concat(
        [
            simulate(
                product,
                version=options.version,
                cycle=options.cycle or [22],
                regions=options.regions,
                tracks=options.tracks,
                seed=options.seed,
                missing=options.missing,
            )
            for product in options.product.split(",")
        ]
    )


def _faults(options: argparse.Namespace) -> list[Fault]:
    faults = [parse_fault(text) for text in options.fault]
    if options.latency:
        faults.insert(0, Fault("latency", options.latency, route="any"))
    return faults


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zagg_catalog.sandbox",
        description="Serve a simulated ICESat-2 cycle as CMR-STAC and CMR do, on this machine.",
    )
    add = parser.add_argument
    add("--product", default="ATL06", help="short name, or several joined by commas")
    add("--version", default="007", help="release (default: %(default)s)")
    add("--cycle", type=read_numbers, help="22 (default), or several: 21,22,23 or 21-23")
    add("--regions", type=read_numbers, help="only these of the 14 along-track regions: 10,11,12")
    add("--tracks", type=read_numbers, help="only these of the 1,387 tracks: 1-100")
    add(
        "--story",
        action="store_true",
        help="publish the cycle, by default that of 45 days ago, while /sandbox/clock is moved",
    )
    add("--seed", type=int, default=0, help="seed of rings and revisions")
    add("--missing", type=float, default=0.0, help="share of granules left out, 0 to 1")
    add("--items", nargs="+", metavar="FILE", help="serve the items of GeoParquet files instead")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 for a free port (default)")
    add("--page-size", type=int, default=100, help="most items on a page (default: %(default)s)")
    add("--next-method", choices=NEXT_METHODS, default="GET", help="method of next links")
    add("--relative-next", action="store_true", help="next links without scheme and host")
    add(
        "--archive", choices=ARCHIVES, default="cloud", help="ecs: NSIDC's former one, 'SC:…' names"
    )
    add("--orbits", action="store_true", help="extents in CMR's search are parts of orbits")
    add("--boxes", action="store_true", help="footprints are boxes")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each reply")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=VALUE][:OPTION=VALUE]",
        help="repeatable; options times, every, skip, page, route: status=503:times=2",
    )
    add("--list-faults", action="store_true", help="list the faults and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
