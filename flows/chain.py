"""The chain, followed from outside: from a poll of the source to zagg's acknowledged answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import FlowRun

from flows.local_server import LocalFailure, LocalServer, utc
from zagg_catalog.errors import ObjectMissing
from zagg_catalog.releases import Acknowledgement, Publication, ReleaseView, show
from zagg_catalog.releases.pickups import load_acknowledgement
from zagg_catalog.store import Store
from zagg_catalog.watch.events import AVAILABLE, cycle_resource

WATCH = "watch-cycles/hourly"
CATCH_UP = "aggregate/catch-up"
FLOWS = ("watch-cycles", "prepare-cycle", "aggregate")
EVERY = 1.0
# A run that an event starts is there after a second or two, where no event got lost.
IDLE_SECONDS = 15.0
NUDGES = 3


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the chain has come since a moment.

    Parameters
    ----------
    since : datetime
        That moment, UTC.
    runs : dict of str to list of FlowRun
        Runs by flow, the oldest first; those that a schedule foresees only are left out.
    events : list of dict
        Announcements of the cycle, the oldest first.
    releases : dict of str to Shown
        New releases by region.
    acknowledgements : dict of str to Acknowledgement
        How the pick-ups of their grids ended, by grid.
    """

    since: datetime
    runs: Mapping[str, Sequence[FlowRun]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    releases: Mapping[str, ReleaseView] = field(default_factory=dict)
    acknowledgements: Mapping[str, Acknowledgement] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether any run is left to end."""
        runs = [run for mine in self.runs.values() for run in mine]
        return any(run.state is None or not run.state.is_final() for run in runs)

    def done(self, regions: Sequence[str]) -> bool:
        """Say whether these regions have new releases, all of whose maps were picked up."""
        if any(region not in self.releases for region in regions):
            return False
        grids = [
            grid.name
            for shown in self.releases.values()
            for grid in shown.release.record.grids
            if grid.manifest is not None
        ]
        said = self.acknowledgements
        return all(name in said and said[name].finished for name in grids)

    def run_of(self, acknowledgement: Acknowledgement) -> FlowRun | None:
        """Return the flow run that a pick-up was part of."""
        runs = self.runs.get("aggregate", ())
        return next((run for run in runs if str(run.id) == acknowledgement.run), None)


class Chain:
    """What becomes of one cycle.

    Parameters
    ----------
    server : LocalServer
        The Prefect server that everything runs on.
    store : Store
        Where releases are.
    product : str
        ``ATL06_007``.
    cycle : int
        Mission cycle.
    regions : sequence of str
        Regions that it is prepared for.
    """

    def __init__(
        self, server: LocalServer, store: Store, product: str, cycle: int, regions: Sequence[str]
    ) -> None:
        self.server, self.store = server, store
        self.product, self.cycle, self.regions = product, cycle, list(regions)

    def begin(self) -> Start:
        """Return where the chain stands now."""
        digests = {region: one.release.digest for region, one in self._latest().items()}
        return Start(self, datetime.now(UTC), digests)

    def _latest(self) -> dict[str, ReleaseView]:
        found = {}
        for region in self.regions:
            try:
                found[region] = show(self.store, self.product, region, self.cycle)
            except ObjectMissing:
                continue  # there is none yet
        return found


@dataclass(frozen=True)
class Start:
    """A moment from which the chain is followed.

    Parameters
    ----------
    chain : Chain
        Which.
    since : datetime
        The moment, UTC.
    digests : dict of str to str
        Latest releases then, by region.
    """

    chain: Chain
    since: datetime
    digests: Mapping[str, str]

    def look(self) -> Progress:
        """Return how far it has come."""
        runs = self._runs()
        latest = self.chain._latest() if runs["prepare-cycle"] or runs["aggregate"] else {}
        releases = {
            region: shown
            for region, shown in latest.items()
            if shown.release.digest != self.digests.get(region)
        }
        said = [one for shown in releases.values() for one in self._acknowledged(shown)]
        return Progress(
            since=self.since,
            runs=runs,
            events=self._events(),
            releases=releases,
            acknowledgements={one.grid: one for one in said},
        )

    def follow(
        self,
        tell: Callable[[Progress], object] = lambda _: None,
        *,
        seconds: float = 180,
        idle: float = IDLE_SECONDS,
        nudged: Callable[[], object] = lambda: None,
    ) -> Progress:
        """Wait until zagg has answered for every grid of every region's new release.

        Where nothing is at it any more, what runs every hour by schedule is started: the watch
        and the catch-up. A lost event is made up for in the same way, only later.

        Parameters
        ----------
        tell : callable
            Called with every look.
        seconds, idle : float
            How long in all, and without any run before the schedules' runs are started.
        nudged : callable
            Called when they are.

        Raises
        ------
        LocalFailure
            If that takes longer; the message says how the last runs ended.
        """
        began = quiet_since = time.monotonic()
        nudges = 0
        while True:
            found, now = self.look(), time.monotonic()
            tell(found)
            if found.done(self.chain.regions):
                return found
            if found.busy:
                quiet_since = now
            if now - began > seconds or (nudges == NUDGES and now - quiet_since > idle):
                raise LocalFailure(_what_happened(found, now - began))
            if now - quiet_since > idle:
                nudged()
                self.nudge()
                nudges, quiet_since = nudges + 1, time.monotonic()
            time.sleep(EVERY)

    def nudge(self) -> None:
        """Start what runs every hour by schedule."""
        for deployment in (WATCH, CATCH_UP):
            self.chain.server.start_run(deployment)

    def _runs(self) -> dict[str, list[FlowRun]]:
        return {
            flow: [run for run in runs if utc(run.created) >= self.since]
            for flow, runs in self.chain.server.runs_of(FLOWS).items()
        }

    def _events(self) -> list[dict[str, Any]]:
        resource = cycle_resource(self.chain.product, self.chain.cycle)["prefect.resource.id"]
        return [
            event
            for event in self.chain.server.events(AVAILABLE)
            if event["resource"]["prefect.resource.id"] == resource
            and datetime.fromisoformat(event["occurred"]) >= self.since
        ]

    def _acknowledged(self, shown: ReleaseView) -> list[Acknowledgement]:
        digest = shown.release.digest
        entries = [standing.of_release(digest) for standing in shown.standings.values()]
        store = self.chain.store
        return [load_acknowledgement(store.get(entry.key), entry.key) for entry in entries if entry]


def timings(found: Progress) -> list[tuple[str, float, float]]:
    """Return the steps of the chain.

    Returns
    -------
    list of (str, float, float)
        What happened, seconds since the announcement, and seconds since the step before.
    """
    announced = datetime.fromisoformat(found.events[0]["occurred"])
    steps = [("the event: the cycle is available", announced), *_steps(found)]
    return [
        (what, (when - announced).total_seconds(), (when - before).total_seconds())
        for (what, when), (_, before) in zip(steps, [steps[0], *steps], strict=False)
    ]


def _steps(found: Progress) -> list[tuple[str, datetime]]:
    published = [_published(shown) for shown in found.releases.values()]
    first, last = min(published), max(published)
    prepared = [run for run in found.runs["prepare-cycle"] if run.start_time is not None]
    mine = [run for run in prepared if utc(run.start_time) <= first][-1]
    said = sorted(found.acknowledgements.values(), key=lambda one: one.ended_at)
    pickups = [run for run in map(found.run_of, said) if run is not None]
    steps = [
        ("prepare-cycle: its run is created", utc(mine.created)),
        ("prepare-cycle: its code begins", utc(mine.start_time)),
        ("the first region is released", first),
        ("aggregate: its run is created", min(utc(run.created) for run in pickups)),
        ("the last region is released", last),
        ("aggregate: its code begins", min(utc(run.start_time) for run in pickups)),
        ("the first grid is acknowledged", said[0].ended_at),
        ("the last grid is acknowledged", said[-1].ended_at),
    ]
    return sorted(steps, key=lambda step: step[1])


def _published(shown: ReleaseView) -> datetime:
    assert isinstance(shown.publication, Publication)  # it is the latest
    return shown.publication.published_at


def _what_happened(found: Progress, seconds: float) -> str:
    ends = [
        f"{flow} ended {run.state.name}: {run.state.message}"
        for flow, runs in found.runs.items()
        for run in runs[-2:]
        if run.state is not None and run.state.is_final()
    ]
    reached = f"{len(found.releases)} releases, {len(found.acknowledgements)} pick-ups"
    return f"The chain did not end within {seconds:.0f} s ({reached}). {' | '.join(ends)}"
