"""Compare an output with what zagg reported: shards, cells, counts, overviews, companion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from zagg_catalog.aggregation.output_arrays import ArrayOutput
from zagg_catalog.aggregation.output_hive import THREADS, HiveOutput
from zagg_catalog.aggregation.output_place import OutputPlace
from zagg_catalog.errors import MissingPackage
from zagg_catalog.messages import Clock, clean_text, first_few, utc_now
from zagg_catalog.releases.batches import (
    MAX_PROBLEMS,
    BatchRecord,
    OutputCheck,
    ShardList,
    ShardState,
)

# Shards whose cells are read after a run; of the others only the commit is.
SHARDS_READ: Final = 1000
_PROBLEM_LENGTH = 500
_COUNTS = ("len", "count")


@dataclass(frozen=True)
class Reported:
    """What zagg reported of the shards that have data, in parallel columns."""

    keys: NDArray[np.uint64]
    """Shard keys, ascending."""
    observations: NDArray[np.int64]
    cells: NDArray[np.int64]
    unknown: int = 0
    """Number of shards of which it is not known what they hold."""

    @classmethod
    def of(cls, shards: Iterable[tuple[int, ShardState, int, int]]) -> Self:
        """Return it from key, state, observations and cells of results, the oldest first."""
        found: dict[int, tuple[int, int]] = {}
        unknown: set[int] = set()
        for key, state, observations, cells in shards:
            if state == "current" and (key in found or not cells):
                unknown |= set() if key in found else {key}
                continue
            found.pop(key, None)
            unknown.discard(key)
            if state in ("done", "current") and cells:
                found[key] = (observations, cells)
            elif state != "empty":
                unknown.add(key)  # as records of whole maps are, from before batches
        rows = sorted((key, *values) for key, values in found.items())
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        return cls(
            np.asarray(columns[0], np.uint64),
            np.asarray(columns[1], np.int64),
            np.asarray(columns[2], np.int64),
            len(unknown),
        )

    @classmethod
    def of_records(cls, records: Iterable[BatchRecord]) -> Self:
        """Return it from the records of batches, the oldest first."""
        return cls.of(
            row
            for record in records
            for row in zip(
                record.shards.keys,
                record.shards.states,
                record.shards.observations,
                record.shards.cells,
                strict=True,
            )
        )


@dataclass
class _Findings:
    """Problems so far."""

    problems: list[str] = field(default_factory=list)
    damaged: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, problem: str, keys: Iterable[int] = ()) -> None:
        self.problems.append(clean_text(problem, limit=_PROBLEM_LENGTH))
        self.damaged.update(map(int, keys))


def check_output(
    place: OutputPlace,
    signature: Mapping[str, Any],
    core: Mapping[str, Any],
    reported: Reported,
    *,
    limit: int | None = SHARDS_READ,
    seed: str = "0",
    clock: Clock = utc_now,
) -> OutputCheck:
    """Compare an output with what zagg reported of its shards.

    On HEALPix every shard's commit is read; the values of at most `limit` shards are compared with
    the digests in it and counted, in their overviews and in the Icechunk companion, too. On
    rectilinear grids at most `limit` shards are read. Memory is that of a few shards.

    Parameters
    ----------
    place : OutputPlace
        The output.
    signature : mapping
        Spatial signature of the grid.
    core : mapping
        The aggregation, as `aggregation_core` returns it.
    reported : Reported
        What zagg reported.
    limit : int or None
        Number of shards to read, drawn at random; None for all.
    seed : str
        Hex digits that the draw depends on, such as the digest of the release.
    clock : callable
        Returns the time.

    Returns
    -------
    OutputCheck
        Problems are listed, not raised.

    Raises
    ------
    OutputUnavailable
        If the server of the output does not answer.
    MissingPackage
        If zarr, which comes with zagg, is not installed.
    """
    _require_zarr()
    findings = _Findings()
    if reported.unknown:
        findings.notes.append(f"What {reported.unknown:,} shards hold is not known.")
    chosen = _chosen(len(reported.keys), limit, seed)
    if len(chosen) < len(reported.keys):
        findings.notes.append(
            f"The cells of {len(chosen):,} of {len(reported.keys):,} shards were read, drawn at"
            " random."
        )
    count = _count_variable(core)
    if count is None:
        findings.notes.append(
            "The config has no variable with function len, so cells were not counted."
        )
    counted: dict[str, Any] = {}
    if place.layout == "hive":
        counted = _check_hive(place, signature, count, reported, chosen, findings)
    elif place.layout == "rectilinear":
        _check_arrays(place, signature, core, count, reported, chosen, findings)
    else:
        chosen = chosen[:0]
        findings.notes.append("HEALPix outputs of the layout flat are not compared.")
    if findings.problems and not findings.damaged:
        # So that the next run closes the output again, and compares it again.
        findings.damaged.update(reported.keys[:1].tolist())
    return OutputCheck(
        checked_at=clock(),
        shards=len(reported.keys),
        read=len(chosen),
        damaged=ShardList.of(findings.damaged),
        problem_count=len(findings.problems),
        problems=tuple(findings.problems[:MAX_PROBLEMS]),
        notes=tuple(findings.notes[:MAX_PROBLEMS]),
        **counted,
    )


def check_text(check: OutputCheck, url: str) -> str:
    """Return the problems of an output as a sentence for an error."""
    where = (
        f" Shards: {first_few(check.damaged.keys, check.damaged.count)}."
        if check.damaged.count
        else ""
    )
    return (
        f"Output {clean_text(url)} is not what zagg reported,"
        f" {first_few(check.problems, check.problem_count)}{where} The next run processes these"
        " shards again."
    )


def _check_hive(
    place: OutputPlace,
    signature: Mapping[str, Any],
    count: str | None,
    reported: Reported,
    chosen: NDArray[np.int64],
    findings: _Findings,
) -> dict[str, Any]:
    output = HiveOutput(place, int(signature["parent_order"]), int(signature["child_order"]), count)
    if output.manifest.get("temporal"):
        findings.notes.append("Outputs in time windows are not compared.")
        return {}
    for problem in output.manifest_problems():
        findings.add(problem, reported.keys)
    read = set(chosen.tolist())

    def look(at: int) -> str | None:
        key, observations, cells = _row(reported, at)
        known = {"cells": cells, "observations": observations}
        return output.problem(key, **known, read=at in read)

    _each_shard(reported, range(len(reported.keys)), look, findings)
    orders, why = output.overview_orders()
    if why is not None:
        findings.notes.append(f"Overviews were not compared: {why}.")
    keys = [int(reported.keys[at]) for at in chosen]
    sound = [key for key in keys if key not in findings.damaged]
    nodes = _check_overviews(output, orders, sound, findings)
    companion: bool | None = None
    if count is not None and "icechunk" in place.folders(""):
        wrong = output.icechunk_problems(sound, orders)
        companion = not wrong
        for problem in wrong:
            findings.add(problem)
    return {"overviews": nodes, "icechunk": companion}


def _check_overviews(
    output: HiveOutput, orders: dict[int, int], sound: Sequence[int], findings: _Findings
) -> int:
    """Compare the overviews above some shards with what is below them; return their number.

    Those above damaged shards are left out: they are made again with the shards.
    """
    leaves = {output.leaf(key): key for key in sound}
    damaged = [output.leaf(key) for key in findings.damaged]
    nodes = 0
    for node, problem in output.overview_problems(leaves, orders, damaged):
        nodes += 1
        if problem is not None:
            below = [key for leaf, key in leaves.items() if leaf[: len(node)] == node]
            findings.add(f"{problem[0].upper()}{problem[1:]}.", below)
    return nodes


def _check_arrays(
    place: OutputPlace,
    signature: Mapping[str, Any],
    core: Mapping[str, Any],
    count: str | None,
    reported: Reported,
    chosen: NDArray[np.int64],
    findings: _Findings,
) -> None:
    rows, columns = map(int, signature["shape"])
    height, width = map(int, signature["chunk_shape"])
    names = list(_variables(core))
    output = ArrayOutput(place, (rows, columns), (height, width), names, count)
    problems = output.problems()
    for problem in problems:
        findings.add(problem, reported.keys)
    if not problems:
        _each_shard(reported, chosen, lambda at: output.problem(*_row(reported, at)), findings)


def _each_shard(
    reported: Reported,
    rows: Iterable[int],
    look: Callable[[int], str | None],
    findings: _Findings,
) -> None:
    """Look at shards side by side, and add what is wrong with them."""
    rows = list(rows)
    with ThreadPoolExecutor(THREADS) as pool:
        for at, problem in zip(rows, pool.map(look, rows), strict=True):
            if problem is not None:
                key = int(reported.keys[at])
                findings.add(f"Shard {key}: {problem}.", [key])


def _row(reported: Reported, at: int) -> tuple[int, int, int]:
    return int(reported.keys[at]), int(reported.observations[at]), int(reported.cells[at])


def _chosen(total: int, limit: int | None, seed: str) -> NDArray[np.int64]:
    """Return the rows of the shards to read, ascending."""
    if limit is None or total <= limit:
        return np.arange(total, dtype=np.int64)
    random = np.random.default_rng(int(seed[:16], 16))
    return np.sort(random.choice(total, limit, replace=False)).astype(np.int64)


def _variables(core: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (core.get("aggregation") or {}).get("variables")
    return found if isinstance(found, Mapping) else {}


def _count_variable(core: Mapping[str, Any]) -> str | None:
    """Return the variable that counts the observations of a cell."""
    for name, meta in _variables(core).items():
        if isinstance(meta, Mapping) and meta.get("function") in _COUNTS:
            return str(name)
    return None


def _require_zarr() -> None:
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise MissingPackage(
            "Outputs are read with zarr, which comes with zagg and is not installed here; run"
            " `pip install zagg-catalog[aggregator]`."
        ) from None
