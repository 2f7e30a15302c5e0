"""``python -m flows.demo``: the whole chain, offline, from a new cycle to zagg's dry run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from flows.chain import WATCH, Chain, Progress
from flows.local_server import START_SECONDS, LocalFailure, LocalServer, program, wait_for
from flows.narrator import Narrator
from flows.sample import PRODUCT, REGIONS, write_registry
from flows.telling import Teller, release_rows, timing_rows
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.store import open_store

TRACKS = 1387
LATE = 3
LIMIT = 300.0
INTERRUPTED = 130
UI_URL = "http://127.0.0.1:4200"
# Changes are announced at once, and a notice that got lost is repeated after 15 s.
HURRY: dict[str, object] = {"changed_hours": 0, "patience_hours": 0.004, "overdue_days": None}


class Interrupted(KeyboardInterrupt):
    """Raised where the process is told to end."""


def main(argv: Sequence[str] | None = None) -> int:
    """Let a cycle appear in a simulated source, and watch it become an acknowledged dry run.

    Returns
    -------
    int
        0 when zagg answered for every grid, twice; 1 when something failed; 130 when it was
        interrupted. Whatever was started has ended.
    """
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__)
    parser.add_argument("--cycle", type=int, default=22)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where the files go")
    parser.add_argument("--every", type=int, default=1, help="only every n-th track (default: 1)")
    parser.add_argument("--once", action="store_true", help="without the late granules")
    options = parser.parse_args(argv)
    narrator = Narrator()
    if find_spec("zagg") is None:
        narrator.say("zagg is not installed here: pip install 'zagg-catalog[aggregator]'")
        return 1
    folder = _new_folder(options.folder)
    demo = Demo(narrator, folder, options.cycle, options.every, once=options.once)
    try:
        with _told_to_end():
            demo.run()
    except KeyboardInterrupt:
        narrator.say("Interrupted. All processes of the demo have ended.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  (it is told, and the demo ends with 1)
        expected = isinstance(error, (LocalFailure, ZaggCatalogError, OSError))
        narrator.say(f"The demo failed: {error if expected else repr(error)}", "bold red")
        if not expected:
            narrator.console.print_exception()
        narrator.note(f"Logs: {demo.folder / 'prefect'}/server.log and serve.log", "")
        return 1
    return 0


class Demo:
    """One run of the demo.

    Parameters
    ----------
    narrator : Narrator
        Says what happens.
    folder : Path
        Of this run: store, Prefect's home with the logs, registry.
    cycle : int
        The cycle that appears.
    every : int
        Only every n-th track is simulated.
    once : bool
        Whether it ends before the late granules.
    """

    def __init__(
        self, narrator: Narrator, folder: Path, cycle: int, every: int, *, once: bool = False
    ) -> None:
        self.narrator, self.folder, self.cycle, self.once = narrator, folder, cycle, once
        tracks = list(range(1, TRACKS + 1, every))
        step = len(tracks) // (LATE + 1)
        self.late = tracks[step::step][:LATE]
        self.early = [track for track in tracks if track not in self.late]
        self.tracks = tracks
        self.store = str(folder / "store")

    def run(self) -> None:
        """Start everything, let it happen, and tell it."""
        narrator = self.narrator
        narrator.head("The whole chain: source → watch → maps → release → zagg")
        with ExitStack() as stack:
            server = LocalServer(self.folder / "prefect")
            server.launch()
            stack.callback(server.close)
            source = stack.enter_context(SandboxServer(self._simulate(self.cycle - 1, self.tracks)))
            narrator.say(
                f"The source, a simulated CMR-STAC at {source.root_url}, has cycle"
                f" {self.cycle - 1}: {source.api.size:,} granules."
            )
            with narrator.waiting("Prefect's server starts"):
                wait_for(server.healthy, "Prefect's server starts", START_SECONDS)
            narrator.say(f"Prefect's server answers at {server.api_url.removesuffix('/api')}.")
            with narrator.waiting("deployments and automations are made"):
                stack.enter_context(server.serve(self._environment(source)))
            narrator.say("Its deployments are served, and its automations listen.")
            passes = self._happen(server, source)
        self._sum_up(passes)

    def _happen(self, server: LocalServer, source: SandboxServer) -> list[Progress]:
        """Let the cycle appear, and then the rest of its granules."""
        cycle, narrator = self.cycle, self.narrator
        chain = Chain(server, open_store(self.store), PRODUCT, cycle, REGIONS)
        early, late = (self._simulate(cycle, tracks) for tracks in (self.early, self.late))
        narrator.head(f"Cycle {cycle} appears")
        text = f"{len(early):,} granules of cycle {cycle} appear in the source."
        first = self._follow(chain, lambda: source.add(early), text)
        if self.once:
            return [first]
        narrator.head("Late granules")
        text = f"{len(late):,} more arrive: tracks {', '.join(map(str, self.late))}."
        return [first, self._follow(chain, lambda: source.add(late), text)]

    def _follow(self, chain: Chain, happen: Callable[[], None], text: str) -> Progress:
        """Let something happen at the source, and tell what becomes of it."""
        narrator = self.narrator
        start = chain.begin()
        happen()
        narrator.say(text, "bold")
        chain.server.start_run(WATCH)
        narrator.note("watch-cycles starts now; by its schedule it looks every hour.")
        with narrator.waiting("watch-cycles starts") as waiting:
            teller = Teller(narrator, waiting)
            return start.follow(teller.tell, seconds=LIMIT, nudged=self._nudged)

    def _nudged(self) -> None:
        self.narrator.say("An event got lost: SQLite was locked. What runs hourly finds it out.")

    def _simulate(self, cycle: int, tracks: Sequence[int]) -> Granules:
        return simulate("ATL06", cycle=cycle, tracks=tracks)

    def _environment(self, source: SandboxServer) -> dict[str, str]:
        """Return what the flows are told, whatever the environment says."""
        registry = write_registry(self.folder, first_cycle=self.cycle, **HURRY)
        return {
            "ZAGG_CATALOG_STORE": self.store,
            "ZAGG_CATALOG_REGISTRY": str(registry),
            "ZAGG_CATALOG_API": "stac",
            "ZAGG_CATALOG_STAC_ROOT": source.root_url,
            "ZAGG_CATALOG_FLOW_TASK_RUNNER": "threads",
            "ZAGG_CATALOG_FLOW_AGGREGATE_DRY_RUN": "true",
            "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(self.folder / "zagg"),
        }

    def _sum_up(self, passes: Sequence[Progress]) -> None:
        """Say what there is now, how long it took, and how to look at it."""
        narrator = self.narrator
        narrator.head("Releases, and who picked them up")
        heads = ("release", "grid", "picked up by run", "how", "shards", "to redo")
        narrator.table(heads, release_rows(passes), right=4)
        for what, found in zip(("new cycle", "late granules"), passes, strict=False):
            narrator.head(f"Times, {what}")
            narrator.table(("step", "s since the event", "s"), timing_rows(found), right=1)
        narrator.head(f"Done in {narrator.seconds:.0f} s. To look at it")
        store = os.path.relpath(self.store)
        narrator.note("the releases, and who picked them up:", "")
        narrator.note(f"  {_shown('zagg-catalog')} release list --store {store}", "bold")
        narrator.note(f"runs, events, automations and artifacts, at {UI_URL} after:", "")
        quiet = "PREFECT_SERVER_ANALYTICS_ENABLED=false"
        narrator.note(f"  export PREFECT_HOME={self.folder / 'prefect'}", "bold")
        narrator.note(f"  {quiet} {_shown('prefect')} server start", "bold")


def _new_folder(parent: Path) -> Path:
    """Make a folder of this run, so that one run does not find what another did."""
    number = 1
    while (folder := parent / f"chain-{number}").exists():
        number += 1
    folder.mkdir(parents=True)
    return folder.absolute()


def _shown(name: str) -> str:
    return os.path.relpath(program(name))


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, with all that it started."""

    def end(number: int, frame: object) -> None:
        raise Interrupted

    # Shells start background jobs with the interrupt ignored.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, end) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
