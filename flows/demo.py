"""``python -m flows.demo``: the whole chain, offline, from a new cycle to gridded heights."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import heights
from flows.chain import WATCH, Chain, Progress, timings
from flows.local_server import LocalFailure, LocalServer, program, wait_for
from flows.pools import FOLDER
from zagg_catalog.cli import demo as maps_demo
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.messages import short_digest
from zagg_catalog.registry import load_registry
from zagg_catalog.releases import Acknowledgement, ReleaseKey
from zagg_catalog.releases.pickups import read_pickup_history
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sandbox.earthdata import EarthdataServer
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import open_store

PRODUCT = "ATL06_007"
REGIONS = ("antarctica", "greenland")
NORTH = "atl06-greenland-polar"
# Part of NSIDC's north polar stereographic grid: left, bottom, right, top in metres.
NORTH_BOUNDS = [-768000, -3584000, 1024000, -512000]
TRACKS = 1387
LATE = 3
LIMIT_SECONDS = 600.0
MANUAL = "aggregate/aggregate-one-release"
INTERRUPTED = 130
UI_URL = "http://127.0.0.1:4200"
DURATION = "less than a minute on two idle cores, several on a busy machine"
# Changes are announced at once, and an event that was not processed is repeated after 15 s.
RULES: dict[str, object] = {"changed_hours": 0, "patience_hours": 0.004, "overdue_days": None}


class Interrupted(KeyboardInterrupt):
    """Raised when a signal interrupts the process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Let a cycle appear in a simulated source, follow it to zagg, and grid a part of it.

    Returns 0 if every grid of each release is picked up and the heights are those of the data
    files, 1 if something failed, and 130 if it was interrupted. It ends all processes that it
    started.
    """
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__)
    parser.add_argument("--cycle", type=int, default=22)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="folder of the files")
    parser.add_argument("--every", type=int, default=1, help="only every n-th track (default: 1)")
    parser.add_argument("--once", action="store_true", help="without the late granules")
    parser.add_argument(
        "--maps-first",
        action="store_true",
        help="while the servers start, build two maps by command (zagg_catalog.cli.demo)",
    )
    parser.add_argument("--times", action="store_true", help="print the duration of each step")
    options = parser.parse_args(argv)
    screen = Screen()
    absent = [name for name in ("zagg", "h5py", "trustme") if find_spec(name) is None]
    if absent:
        if options.maps_first and maps_demo.main(["--cycle", str(options.cycle)]):
            return 1
        screen.say(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed here:"
            " pip install 'zagg-catalog[aggregator,sandbox]'"
        )
        return 1
    demo = Demo(screen, _new_folder(options.folder), options)
    try:
        with _interruptible():
            demo.run()
    except KeyboardInterrupt:
        screen.say("Interrupted. All processes of the demo have ended.")
        return INTERRUPTED
    except (LocalFailure, ZaggCatalogError, OSError) as error:
        screen.say(f"The demo failed: {error}", "bold red")
        screen.note(f"Logs: {demo.folder / 'prefect'}/server.log and serve.log")
        return 1
    return 0


class Screen:
    """Prints lines, each with the seconds since the start."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 200  # tables in a pipe are not folded
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def head(self, text: str) -> None:
        """Begin a part."""
        self.console.print(Text(f"\n{text}", "bold cyan"))

    def say(self, text: str, style: str = "") -> None:
        """Print a line with the time."""
        line = Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), (text, style))
        self.console.print(line, soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Print details of the last line."""
        self.console.print(Text(" " * 9 + text, style), soft_wrap=True)

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """Show on a terminal that work goes on."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            with self.console.status(text):
                yield
        else:
            yield

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: int) -> None:
        """Print a table whose columns from `right` on are numbers."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number >= right else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)


class Demo:
    """One run of the demo.

    `folder` is for the store, the registry, and Prefect's home with the logs. `options` are those
    of `main`.
    """

    def __init__(self, screen: Screen, folder: Path, options: argparse.Namespace) -> None:
        self.screen, self.folder = screen, folder
        self.cycle, self.once, self.times = options.cycle, options.once, options.times
        self.maps_first = options.maps_first
        self.tracks = list(range(1, TRACKS + 1, options.every))
        step = len(self.tracks) // (LATE + 1)
        self.late = self.tracks[step::step][:LATE]
        self.store = str(folder / "store")
        self.output = str(folder / "heights")

    def run(self) -> None:
        """Start source and server, let granules arrive twice, and print a summary."""
        screen = self.screen
        with ExitStack() as stack:
            server = LocalServer(self.folder / "prefect")
            stack.callback(server.close)
            server.launch()
            before = simulate("ATL06", cycle=self.cycle - 1, tracks=self.tracks)
            source = stack.enter_context(SandboxServer(before))
            # Data files are written when they are read.
            earthdata = EarthdataServer(self.folder / "granules", create=True)
            stack.enter_context(earthdata)
            environment = self._environment(source) | earthdata.environment
            served = stack.enter_context(server.begin_to_serve(environment))
            if self.maps_first:
                build_maps(self.cycle, self.folder.parent)
            early = [track for track in self.tracks if track not in self.late]
            new = simulate("ATL06", cycle=self.cycle, tracks=early)
            self._announce()
            screen.say(
                f"The source, a simulated CMR-STAC at {source.root_url}, has cycle"
                f" {self.cycle - 1}: {len(before):,} granules."
            )
            with screen.status("Prefect's server starts"):
                flows = served()
            screen.say(
                f"Prefect's server at {server.api_url.removesuffix('/api')} has the deployments,"
                " and its automations listen."
            )
            chain = Chain(
                server=server,
                store=open_store(self.store),
                product=PRODUCT,
                cycle=self.cycle,
                regions=REGIONS,
            )
            screen.head(f"Cycle {self.cycle} appears")
            what = f"{len(early)} tracks appear in the source"
            found = {"new cycle": self._follow(chain, source, new, what)}
            run = self._start_aggregation(chain, found["new cycle"])
            if not self.once:
                screen.head("Late granules")
                late = simulate("ATL06", cycle=self.cycle, tracks=self.late)
                what = f"{len(self.late)} tracks arrive: {', '.join(map(str, self.late))}"
                found["late granules"] = self._follow(chain, source, late, what)
            self._summarize(found)
            self._print_heights(chain, self._aggregated(chain, run))
            with screen.status("the last runs end"):
                wait_for(lambda: not chain.busy(), "The runs end", LIMIT_SECONDS)
            flows.end(signal.SIGKILL)  # no run is left that it would have to cancel
        self._advise()

    def _announce(self) -> None:
        """Say what will happen, and how long it takes."""
        self.screen.head(f"The whole pipeline, offline, on this machine: {DURATION}")
        late = [] if self.once else ["Late granules arrive; only what they change is done again."]
        steps = [
            "A simulated CMR-STAC and Prefect's server start.",
            f"Cycle {self.cycle} appears; it is found, fetched, mapped on 5 grids, published for"
            f" {len(REGIONS)} regions, and checked by zagg.",
            *late,
            f"zagg grids a part of {REGIONS[0]}, and the heights are compared with the data files.",
        ]
        for number, step in enumerate(steps, 1):
            self.screen.note(f"{number}. {step}", "")
        self.screen.note("At the end stands what to look at. Ctrl-C ends everything.", "")
        self.screen.head("Start")

    def _follow(
        self, chain: Chain, source: SandboxServer, granules: Granules, what: str
    ) -> Progress:
        """Let granules arrive at the source, and print the progress."""
        start = chain.begin()
        source.add(granules)
        self.screen.say(f"{len(granules):,} granules of {what}.", "bold")
        chain.server.start_run(WATCH)
        report = Reporter(self.screen).report
        with self.screen.status("each flow runs in a process, which takes seconds to start"):
            return start.follow(report, seconds=LIMIT_SECONDS, on_restart=self._restarted)

    def _restarted(self) -> None:
        self.screen.say("An event was lost (SQLite was locked); the hourly run will pick it up.")

    def _environment(self, source: SandboxServer) -> dict[str, str]:
        """Return the settings of the flows; they override the environment."""
        registry = write_registry(self.folder, part=True, first_cycle=self.cycle, **RULES)
        return {
            "ZAGG_CATALOG_STORE": self.store,
            "ZAGG_CATALOG_REGISTRY": str(registry),
            "ZAGG_CATALOG_API": "stac",
            "ZAGG_CATALOG_STAC_ROOT": source.root_url,
            "ZAGG_CATALOG_FLOW_TASK_RUNNER": "threads",
            "ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN": "true",
            "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(self.folder / "zagg"),
        }

    def _start_aggregation(self, chain: Chain, found: Progress) -> UUID:
        """Start to grid a part of Antarctica, not as a dry run; return the id of the run."""
        parameters = {
            "product": PRODUCT.partition("_")[0],
            "region": REGIONS[0],
            "cycle": self.cycle,
            "grids": [heights.GRID],
            "release": found.releases[REGIONS[0]].release.digest,
            "dry_run": False,
            "output": self.output,
            "zagg": {"driver": "https"},
        }
        run = chain.server.start_run(MANUAL, parameters)
        self.screen.say(
            f"{MANUAL} starts: zagg grids {heights.GRID}, no dry run.",
            "bold",
        )
        return run

    def _aggregated(self, chain: Chain, run: UUID) -> Acknowledgement:
        """Wait for the aggregation, and return its record."""
        self.screen.head(f"Gridded heights: {heights.GRID}, 16 km, cells of 500 m")
        with self.screen.status("zagg reads and grids the granules"):
            wait_for(lambda: _ended(chain.server, run), "aggregate", LIMIT_SECONDS, every=0.5)
        one = self._acknowledged(chain, run)
        assert one.states is not None
        self.screen.say(
            f"zagg {one.zagg_version}, granules by https: {one.states.done} of {one.states.total}"
            f" shards done, {one.unread.count} granules unread.",
            "green",
        )
        return one

    def _print_heights(self, chain: Chain, one: Acknowledgement) -> None:
        """Print the heights of an output by shard, and compare them with the data files."""
        assert one.manifest is not None
        assert one.output is not None
        self.output = one.output
        manifest = chain.store.download(one.manifest.key, self.folder / "part.parquet")
        shard_map = ShardMap.from_parquet(manifest)
        granules = dict(zip(shard_map.shard_keys, map(len, shard_map.granules), strict=True))
        gridded = heights.read_output(one.output)
        heads = ("shard", "granules", "cells", "heights", "lowest, m", "mean, m", "highest, m")
        self.screen.table(heads, heights.table_rows(gridded, granules), 1)
        files = sorted((self.folder / "granules").rglob("*.h5"))
        differences = gridded.differences(heights.read_data_files(files))
        if differences != heights.SAME:
            raise LocalFailure(f"The heights are not those of the data files: {differences}.")
        self.screen.say(f"Against {len(files)} data files, read without zagg: {differences}.")

    def _acknowledged(self, chain: Chain, run: UUID) -> Acknowledgement:
        """Return the record of the pick-up of a run; raise `LocalFailure` if it did not finish."""
        key = ReleaseKey(PRODUCT, REGIONS[0], self.cycle)
        history, _ = read_pickup_history(chain.store, key, heights.GRID)
        found = [entry for entry in history.entries if entry.run == str(run)]
        if not found or found[0].outcome != "aggregated":
            why = found[0].reason if found else "the run ended before zagg started"
            raise LocalFailure(f"{heights.GRID} was not aggregated: {why}")
        return Acknowledgement.load(chain.store.get(found[0].key), found[0].key)

    def _summarize(self, parts: dict[str, Progress]) -> None:
        """Print the releases, and the duration of each step if that is asked for."""
        screen = self.screen
        screen.head("Releases, and who picked them up")
        heads = ("release", "grid", "picked up by run", "how", "shards", "to redo")
        screen.table(heads, [row for found in parts.values() for row in release_rows(found)], 4)
        for what, found in parts.items() if self.times else ():
            screen.head(f"Times, {what}")
            rows = [(step, f"{at:.1f}", f"{took:.1f}") for step, at, took in timings(found)]
            screen.table(("step", "s since the event", "s"), rows, 1)

    def _advise(self) -> None:
        """Print the commands to inspect the results."""
        screen = self.screen
        screen.head(f"Done in {screen.seconds:.0f} s. What to look at")
        command = os.path.relpath(program("zagg-catalog"))
        screen.note("1. The releases, and who picked them up:")
        screen.note(f"   {command} release list --store {os.path.relpath(self.store)}", "bold")
        screen.note("2. The heights, a Zarr group with x, y, count, h_mean and h_q50:")
        screen.note(f"   {os.path.relpath(self.output)}/rectilinear", "bold")
        prefect, home = os.path.relpath(program("prefect")), self.folder / "prefect"
        screen.note("3. Runs, their logs and graphs in Prefect's UI, after this command:")
        screen.note(f"   PREFECT_HOME={home} {prefect} server start", "bold")
        screen.note(f"   runs       {UI_URL}/runs")
        key = f"release-atl06-007-{REGIONS[0]}-c{self.cycle}"
        screen.note(f"   artifacts  {UI_URL}/artifacts, which no side bar lists; first of all")
        screen.note(f"              {UI_URL}/artifacts/key/{key}")


class Reporter:
    """Prints a line for each step of a chain, once."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._known: set[str] = set()

    def report(self, found: Progress) -> None:
        """Print events, releases, releases that are picked up, and failures."""
        say = self._screen.say
        for event in found.events:
            if self._is_new(f"event {event['id']}"):
                say(announced(found, event["payload"], event["occurred"]), "cyan")
        for region, view in found.releases.items():
            record, digest = view.release.record, view.release.digest
            if self._is_new(f"release {digest}"):
                counts = f"{len(record.grids)} maps of {record.catalog.rows:,} granules"
                say(f"prepare-cycle published {region}: {counts}.", "green")
            records = [found.acknowledgements.get(grid.name) for grid in record.grids]
            ended = [one for one in records if one is not None]
            if len(ended) == len(records) and self._is_new(f"pick-up {digest}"):
                good = all(one.finished for one in ended)
                say(picked_up(region, ended), "green" if good else "bold red")
                for one in ended:
                    if one.reason:
                        self._screen.note(f"{one.grid}: {one.reason}", "red")
        for flow, run in [(flow, run) for flow, runs in found.runs.items() for run in runs]:
            state = run.state
            bad = state is not None and state.is_final() and not state.is_completed()
            if state is not None and bad and self._is_new(f"end {run.id}"):
                say(f"{flow} ended {state.name}: {state.message or 'no message'}", "bold red")

    def _is_new(self, what: str) -> bool:
        known = what in self._known
        self._known.add(what)
        return not known


def announced(found: Progress, payload: dict[str, Any], occurred: str) -> str:
    """Return a sentence about an announcement, and its delay after the change."""
    counts = payload.get("granules") or {}
    seconds = (datetime.fromisoformat(occurred) - found.since).total_seconds()
    shown = f" ({payload['why']}: {counts['now']:,} granules)" if "now" in counts else ""
    return f"watch-cycles announced cycle {payload['cycle']}{shown} after {seconds:.1f} s."


def picked_up(region: str, records: Sequence[Acknowledgement]) -> str:
    """Return a sentence about the pick-ups of a release: maps, shards, and what had changed."""
    how = ", ".join(sorted({"checked" if one.dry_run else one.outcome for one in records}))
    shards = sum(one.shards or 0 for one in records)
    changes = [one.changes for one in records if one.changes is not None]
    redo = sum(one.added.count + one.changed.count for one in changes)
    known = f", {redo:,} of them new or changed" if len(changes) == len(records) else ""
    versions = ", ".join(sorted({one.zagg_version or "" for one in records} - {""}))
    by = f" by zagg {versions}, a dry run" if versions and records[0].dry_run else ""
    return f"aggregate picked {region} up: {len(records)} maps {how}{by}; {shards:,} shards{known}."


def release_rows(found: Progress) -> list[tuple[str, ...]]:
    """Return a row for each grid of each release: its size, and which run picked it up."""
    rows: list[tuple[str, ...]] = []
    for region, view in found.releases.items():
        for grid in view.release.record.grids:
            one = found.acknowledgements[grid.name]
            run = found.run_of(one)
            redo = one.changes.added.count + one.changes.changed.count if one.changes else None
            rows.append(
                (
                    f"{region} {short_digest(view.release.digest)}",
                    grid.name,
                    run.name if run else one.by,
                    "dry run" if one.dry_run else one.outcome,
                    f"{grid.shards:,}",
                    "all" if redo is None else f"{redo:,}",
                )
            )
    return rows


def build_maps(cycle: int, folder: Path) -> None:
    """Build two maps by command; raise `LocalFailure` if that fails."""
    code = maps_demo.main(["--cycle", str(cycle), "--folder", str(folder)])
    if code == INTERRUPTED:
        raise Interrupted
    if code:
        raise LocalFailure(f"zagg-catalog build ended with code {code}.")


def _ended(server: LocalServer, run: UUID) -> bool:
    with server.client() as client:
        state = client.read_flow_run(run).state
    return state is not None and state.is_final()


def write_registry(folder: Path, *, part: bool = False, **rules: object) -> Path:
    """Write ``registry.yaml`` with four grids of ATL06: HEALPix and polar, both ice sheets.

    `part` adds the grid that the demo aggregates; `rules` are those of the section ``watch``.
    """
    source = yaml.safe_load((FOLDER / "registry.yaml").read_text(encoding="utf-8"))
    grids = {
        name: entry | {"config": str(FOLDER / entry["config"]), "products": [PRODUCT]}
        for name, entry in source["grids"].items()
        if PRODUCT in entry["products"]
    }
    south = grids["atl06-antarctica-polar"]
    config = yaml.safe_load(Path(south["config"]).read_text(encoding="utf-8"))
    more = {heights.GRID: (heights.config_of_part(config), {"footprint": "beams"})} if part else {}
    config["output"]["grid"] |= {"crs": "EPSG:3413", "bounds": NORTH_BOUNDS}
    for name, (content, values) in {NORTH: (config, {"region": "greenland"}), **more}.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        grids[name] = south | {"config": str(path)} | values
    regions = {name: source["regions"][name] for name in REGIONS}
    for region in regions.values():
        region["geojson"] = str(FOLDER / region["geojson"])
    content = {"regions": regions, "watch": {PRODUCT: rules}, "grids": grids}
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    load_registry(path)
    return path


def _new_folder(parent: Path) -> Path:
    """Create a new folder for the files of this run."""
    number = 1
    while (folder := parent / f"chain-{number}").exists():
        number += 1
    folder.mkdir(parents=True)
    return folder.absolute()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the demo like Ctrl-C, with all processes that it started."""

    def end(number: int, frame: object) -> None:
        raise Interrupted

    # Background jobs of shells ignore the interrupt by default.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
