"""Telling: the progress of a chain in sentences, each said once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from prefect.client.schemas.objects import FlowRun

from flows.chain import Progress, timings
from flows.narrator import Narrator, Waiting
from zagg_catalog.messages import SHORT
from zagg_catalog.releases import Acknowledgement, ReleaseView
from zagg_catalog.releases.pickups import ShardList

KEYS = 6
_PER_CELL = ("granules_per_cell_min", "granules_per_cell_max", "granules_per_cell_avg")


class Teller:
    """Says what is new in each look at a chain.

    Parameters
    ----------
    narrator : Narrator
        Says it.
    waiting : Waiting
        Shows what is waited for.
    """

    def __init__(self, narrator: Narrator, waiting: Waiting) -> None:
        self._narrator, self._waiting = narrator, waiting
        self._said: set[str] = set()

    def tell(self, found: Progress) -> None:
        """Say what is new."""
        for event in found.events:
            if self._new(f"event {event['id']}"):
                self._narrator.say(announced(found, event["payload"], event["occurred"]))
        # Prefect shows an event a second after what it started.
        flows = found.runs if found.events else {"watch-cycles"} & found.runs.keys()
        runs = [(flow, run) for flow in flows for run in found.runs[flow]]
        for flow, run in runs:
            self._start(flow, run)
        for region, shown in found.releases.items():
            if self._new(f"release {shown.release.digest}"):
                self._release(region, shown)
        for grid, one in found.acknowledgements.items():
            if self._new(f"pick-up {grid} {one.release} {one.ended_at}"):
                self._pickup(one)
        for flow, run in runs:
            self._end(flow, run)
        self._waiting.now(at_work(found))

    def _start(self, flow: str, run: FlowRun) -> None:
        by_event = run.created_by is not None and run.created_by.type == "AUTOMATION"
        if by_event and self._new(f"run {run.id}"):
            self._narrator.say(f"An automation heard of it and started {_what(flow, run)}.", "cyan")

    def _end(self, flow: str, run: FlowRun) -> None:
        state = run.state
        if state is not None and state.is_final() and self._new(f"end {run.id}"):
            style = "" if state.is_completed() else "bold red"
            said = state.message or state.name
            self._narrator.say(f"{_what(flow, run)} ended: {said}", style)

    def _release(self, region: str, shown: ReleaseView) -> None:
        record = shown.release.record
        self._narrator.say(
            f"prepare-cycle published {region}: {len(record.grids)} grids of"
            f" {record.catalog.rows:,} granules, release {shown.release.digest[:SHORT]}.",
            "green",
        )
        for grid in record.grids:
            self._narrator.note(f"{grid.name}: {grid.shards:,} shards, {grid.pairs:,} pairs")

    def _pickup(self, one: Acknowledgement) -> None:
        how = "checked by a dry run" if one.outcome == "checked" else one.outcome
        style = "green" if one.finished else "bold red"
        self._narrator.say(f"{one.grid}: picked up and {how}.", style)
        self._narrator.note(answer(one))
        if one.reason:
            self._narrator.note(one.reason, "red")
        for line in changed(one):
            self._narrator.note(line)

    def _new(self, what: str) -> bool:
        """Say whether something was not said before; from now on it was."""
        known = what in self._said
        self._said.add(what)
        return not known


def _what(flow: str, run: FlowRun) -> str:
    region = (run.parameters.get("event") or {}).get("region")
    return f"{flow} for {region}" if region else flow


def announced(found: Progress, payload: dict[str, object], occurred: str) -> str:
    """Return what an event says, and how long after the change it came."""
    counts = payload.get("granules")
    now = counts.get("now") if isinstance(counts, dict) else None
    seconds = (datetime.fromisoformat(occurred) - found.since).total_seconds()
    shown = f" ({payload['why']}: {now:,} granules)" if now is not None else ""
    return f"watch-cycles announced cycle {payload['cycle']}{shown} after {seconds:.1f} s."


def at_work(found: Progress) -> str:
    """Return what the chain is at."""
    for flow in ("aggregate", "prepare-cycle", "watch-cycles"):
        states = [run.state for run in found.runs.get(flow, ()) if run.state is not None]
        if any(state.is_running() for state in states):
            return f"{flow} runs"
        if any(not state.is_final() for state in states):
            return f"the process of {flow} starts"
    return "an event is on its way"


def answer(one: Acknowledgement) -> str:
    """Return zagg's own numbers."""
    version = f"zagg {one.zagg_version}" if one.zagg_version else "zagg did not run"
    numbers = {
        key: f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        for key, value in one.summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    said = [f"{key.replace('_', ' ')} {value}" for key, value in sorted(numbers.items())]
    if {"total_cells", *_PER_CELL} <= numbers.keys():
        least, most, mean = (numbers[key] for key in _PER_CELL)
        said = [f"{numbers['total_cells']} cells of {least} to {most} granules, {mean} on average"]
    return ": ".join([version, *([", ".join(said)] if said else [])])


def changed(one: Acknowledgement) -> list[str]:
    """Return which shards changed since the release that was picked up last."""
    if one.changes is None:
        return []
    parts = {"new": one.changes.added, "changed": one.changes.changed, "gone": one.changes.dropped}
    of = f" of {one.shards:,}" if one.shards is not None else ""
    return [
        f"{shards.count:,}{of if what != 'gone' else ''} shards {what}: {some(shards)}"
        for what, shards in parts.items()
        if shards.count
    ]


def some(shards: ShardList) -> str:
    """Return the first few keys."""
    return ", ".join(map(str, shards.keys[:KEYS])) + (", …" if shards.count > KEYS else "")


def release_rows(passes: Sequence[Progress]) -> list[tuple[str, ...]]:
    """Return a line for each grid of each release: what it is, and who picked it up."""
    rows: list[tuple[str, ...]] = []
    for found in passes:
        for region, shown in found.releases.items():
            for grid in shown.release.record.grids:
                one = found.acknowledgements[grid.name]
                run = found.run_of(one)
                redo = one.changes.added.count + one.changes.changed.count if one.changes else None
                rows.append(
                    (
                        f"{region} {shown.release.digest[:SHORT]}",
                        grid.name,
                        run.name if run else one.by,
                        "dry run" if one.dry_run else one.outcome,
                        f"{grid.shards:,}",
                        "all" if redo is None else f"{redo:,}",
                    )
                )
    return rows


def timing_rows(found: Progress) -> list[tuple[str, str, str]]:
    """Return a line for each step of the chain, in seconds."""
    return [(what, f"{since:.1f}", f"{step:.1f}") for what, since, step in timings(found)]
