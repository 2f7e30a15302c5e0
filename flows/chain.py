"""Follow one cycle through all flows, from a poll of the source to zagg's acknowledged results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from prefect.client.schemas.objects import FlowRun

from flows.local_server import LocalFailure, LocalServer, utc
from zagg_catalog.errors import ObjectMissing
from zagg_catalog.messages import utc_now
from zagg_catalog.releases import Acknowledgement, Publication, ReleaseView, show
from zagg_catalog.store import Store
from zagg_catalog.watch.events import AVAILABLE, cycle_resource

WATCH = "watch-cycles/hourly"
CATCH_UP = "aggregate/catch-up"
FLOWS = ("watch-cycles", "prepare-cycle", "aggregate")
LOOK_SECONDS = 1.0
# An event starts a run within two seconds; after this time it was lost.
IDLE_SECONDS = 15.0
MOST_RESTARTS = 3


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a cycle since a point in time."""

    since: datetime
    runs: Mapping[str, Sequence[FlowRun]]
    """Runs by flow, the oldest first, without scheduled runs that are not due."""
    events: Sequence[Mapping[str, Any]]
    """Announcements of the cycle, the oldest first."""
    releases: Mapping[str, ReleaseView]
    """New releases by region."""
    acknowledgements: Mapping[str, Acknowledgement]
    """Records of the pick-ups of their grids, by grid."""

    @property
    def busy(self) -> bool:
        """Whether a run has not ended."""
        return _some_active(self.runs)

    def done(self, regions: Sequence[str]) -> bool:
        """Return whether each region has a new release, and each of its maps is picked up."""
        grids = [
            grid.name
            for view in self.releases.values()
            for grid in view.release.record.grids
            if grid.manifest is not None
        ]
        found = self.acknowledgements
        picked_up = all(name in found and found[name].finished for name in grids)
        return set(regions) <= self.releases.keys() and picked_up

    def run_of(self, acknowledgement: Acknowledgement) -> FlowRun | None:
        """Return the flow run that a pick-up was part of."""
        runs = self.runs.get("aggregate", ())
        return next((run for run in runs if str(run.id) == acknowledgement.run), None)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One cycle, followed since a point in time, which `begin` sets."""

    server: LocalServer
    store: Store
    product: str
    """Short name and version, ``ATL06_007``."""
    cycle: int
    regions: Sequence[str]
    since: datetime = field(default_factory=utc_now)
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digests of the latest releases at that time, by region."""

    def begin(self) -> Self:
        """Return the chain that begins now."""
        digests = {region: one.release.digest for region, one in self._latest().items()}
        return replace(self, since=utc_now(), digests=digests)

    def look(self) -> Progress:
        """Return the progress until now."""
        runs = self._runs()
        latest = self._latest() if runs["prepare-cycle"] or runs["aggregate"] else {}
        releases = {
            region: view
            for region, view in latest.items()
            if view.release.digest != self.digests.get(region)
        }
        found = [one for view in releases.values() for one in self._acknowledged(view)]
        return Progress(
            since=self.since,
            runs=runs,
            events=self._events(),
            releases=releases,
            acknowledgements={one.grid: one for one in found},
        )

    def follow(
        self,
        report: Callable[[Progress], object] = lambda _: None,
        *,
        seconds: float = 180,
        idle: float = IDLE_SECONDS,
        on_restart: Callable[[], object] = lambda: None,
    ) -> Progress:
        """Wait until every grid of every region's new release is picked up.

        Calls `report` with the progress at each look. If no run is active for `idle` seconds, an
        event was lost: then the hourly runs, the watch and the catch-up, are started at once, and
        `on_restart` is called. Raises `LocalFailure` with the last states after `seconds`.
        """
        began = active = time.monotonic()
        restarts = 0
        while True:
            found, now = self.look(), time.monotonic()
            report(found)
            if found.done(self.regions):
                return found
            if found.busy:
                active = now
            waits = now - active > idle
            if now - began > seconds or (waits and restarts == MOST_RESTARTS):
                raise LocalFailure(_what_happened(found, now - began))
            if waits:
                on_restart()
                for deployment in (WATCH, CATCH_UP):
                    self.server.start_run(deployment)
                restarts, active = restarts + 1, time.monotonic()
            time.sleep(LOOK_SECONDS)

    def busy(self) -> bool:
        """Return whether a run has not ended."""
        return _some_active(self._runs())

    def _runs(self) -> dict[str, list[FlowRun]]:
        found = self.server.runs_of(FLOWS)
        return {
            flow: [run for run in mine if utc(run.created) >= self.since]
            for flow, mine in found.items()
        }

    def _latest(self) -> dict[str, ReleaseView]:
        found = {}
        for region in self.regions:
            try:
                found[region] = show(self.store, self.product, region, self.cycle)
            except ObjectMissing:
                continue  # not released yet
        return found

    def _events(self) -> list[dict[str, Any]]:
        resource = cycle_resource(self.product, self.cycle)["prefect.resource.id"]
        return [
            event
            for event in self.server.events(AVAILABLE)
            if event["resource"]["prefect.resource.id"] == resource
            and datetime.fromisoformat(event["occurred"]) >= self.since
        ]

    def _acknowledged(self, view: ReleaseView) -> list[Acknowledgement]:
        entries = [one.of_release(view.release.digest) for one in view.standings.values()]
        keys = [entry.key for entry in entries if entry is not None]
        return [Acknowledgement.load(self.store.get(key), key) for key in keys]


def _some_active(runs: Mapping[str, Sequence[FlowRun]]) -> bool:
    every = [run for mine in runs.values() for run in mine]
    return any(run.state is None or not run.state.is_final() for run in every)


def timings(found: Progress) -> list[tuple[str, float, float]]:
    """Return the steps of the chain, with seconds since the announcement and the last step."""
    announced = datetime.fromisoformat(found.events[0]["occurred"])
    steps = [("the event: the cycle is available", announced), *_steps(found)]
    return [
        (what, (when - announced).total_seconds(), (when - before).total_seconds())
        for (what, when), (_, before) in zip(steps, [steps[0], *steps], strict=False)
    ]


def _steps(found: Progress) -> list[tuple[str, datetime]]:
    published = [_published(view) for view in found.releases.values()]
    first, last = min(published), max(published)
    prepared = [run for run in found.runs["prepare-cycle"] if run.start_time is not None]
    mine = [run for run in prepared if utc(run.start_time) <= first][-1]
    ends = sorted(one.ended_at for one in found.acknowledgements.values())
    runs = map(found.run_of, found.acknowledgements.values())
    pickups = [run for run in runs if run is not None]
    steps = [
        ("prepare-cycle: its run is created", utc(mine.created)),
        ("prepare-cycle: its code begins", utc(mine.start_time)),
        ("the first region is released", first),
        ("aggregate: its run is created", min(utc(run.created) for run in pickups)),
        ("the last region is released", last),
        ("aggregate: its code begins", min(utc(run.start_time) for run in pickups)),
        ("the first grid is acknowledged", ends[0]),
        ("the last grid is acknowledged", ends[-1]),
    ]
    return sorted(steps, key=lambda step: step[1])


def _published(view: ReleaseView) -> datetime:
    assert isinstance(view.publication, Publication)  # it is the latest
    return view.publication.published_at


def _what_happened(found: Progress, seconds: float) -> str:
    ends = [
        f"{flow} ended {run.state.name}: {run.state.message}"
        for flow, runs in found.runs.items()
        for run in runs[-2:]
        if run.state is not None and run.state.is_final()
    ]
    reached = f"{len(found.releases)} releases, {len(found.acknowledgements)} pick-ups"
    return f"The chain did not end within {seconds:.0f} s ({reached}). {' | '.join(ends)}"
