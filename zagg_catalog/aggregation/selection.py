"""The shards that a pick-up hands over to zagg, from what its output holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zagg_catalog.aggregation.contents import Contents, Flags, Keys, inputs_of
from zagg_catalog.aggregation.output_place import is_written, read_config
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.errors import (
    InvalidRelease,
    MissingPackage,
    OutputUnavailable,
    PickupRefused,
    StoreError,
    StoreUnavailable,
)
from zagg_catalog.files import digest_of
from zagg_catalog.messages import first_few, short_digest, utc_now
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.batches import BatchRecord, BatchShards, ShardState
from zagg_catalog.releases.pickups import Acknowledgement, PickupHistory, PickupSummary
from zagg_catalog.releases.read import load_map, load_release
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is known of an output before a pick-up."""

    contents: Contents = field(default_factory=Contents.empty)
    last: PickupSummary | None = None
    """The newest pick-up that zagg was started for, or that had nothing to do."""
    before_batches: BatchRecord | None = None
    """The contents as a record, if a pick-up from before batches made them."""
    closed: frozenset[str] = frozenset()
    """Digests of batches whose shards are in the overviews."""
    unknown: str | None = None
    """Why the contents are not known, a phrase."""
    preview: bool = False
    """Whether a dry run is compared with an earlier one, since nothing was aggregated."""

    @property
    def unclosed(self) -> bool:
        """Whether shards are done that are not known to be in the overviews."""
        return bool(self.contents.done_outside(self.closed))


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The shards to hand over; the columns are parallel."""

    keys: Keys
    """Their keys, ascending."""
    inputs: Keys
    """Checksums of their granules."""
    stale: Flags
    """Whether the output may have cells of them that were made from other inputs."""
    restricted: bool
    """Whether unchanged shards of other releases are left out."""
    notes: tuple[str, ...] = ()


def read_held(
    store: Store,
    request: PickupRequest,
    history: PickupHistory,
    grid: RegisteredGrid,
    output: str | None,
) -> Held:
    """Return what the records say of an output.

    Raises `ObjectMissing`, `CorruptObject` or `InvalidRelease` if a record cannot be read.
    """
    entries = _entries(history, output)
    if not entries:
        previous = history.last_finished() if request.dry_run else None
        return _of_release(store, request, previous, preview=True) if previous else Held()
    if output is not None and _was_removed(request, grid, output):
        return Held()
    last = entries[0]
    record = _acknowledgement(store, last)
    if record.batches:
        contents = Contents.read(store, request.release_key, request.grid, record.batches)
        return Held(contents=contents, last=last, closed=_closed(store, entries, record))
    if last.finished:
        return _of_release(store, request, last)
    return Held(last=last, unknown=_may_hold_parts(last.release))


def choose_shards(
    request: PickupRequest,
    held: Held,
    shard_map: ShardMap,
    grid: RegisteredGrid,
    *,
    release: str,
    zagg_version: str | None,
    output: str | None,
) -> Selection:
    """Return the shards to hand over.

    Every shard that the output does not hold yet for this release; with `only_changed`, or when
    the run of a restricted pick-up of the release did not finish, every shard that zagg would
    make differently from what the output holds. With `force` or ``overwrite``, every shard.
    """
    contents, inputs = held.contents, inputs_of(shard_map)
    made = (grid.config_digest, zagg_version)
    everything = _reason_to_redo(request)
    last = held.last
    continued = bool(
        last and last.release == release and last.started and not last.finished and last.restricted
    )
    narrow = (request.only_changed or continued) and everything is None
    of = None if narrow else release
    done = contents.current(shard_map.shards, inputs, *made, release=of)
    if everything is not None:
        done[:] = False
    notes = []
    if narrow and not done.any():
        everything = held.unknown or _reason_for_all(held, output, *made)
    if everything is not None and (request.only_changed or continued):
        notes.append(f"Every shard is processed, not only changed ones: {everything}.")
    elif narrow and held.preview and last is not None:
        notes.append(
            f"Preview only: release {short_digest(last.release)} was never aggregated, so a real"
            " run will process every shard."
        )
    stale = contents.outdated(shard_map.shards, inputs, *made)
    return Selection(
        keys=shard_map.shards[~done],
        inputs=inputs[~done],
        stale=stale[~done],
        restricted=narrow and everything is None,
        notes=tuple(notes),
    )


def refuse_leftovers(contents: Contents, shard_map: ShardMap, output: str) -> None:
    """Refuse a release that lacks shards that the output holds, since zagg does not remove them."""
    left = contents.beyond(shard_map.shards)
    if left:
        raise PickupRefused(
            "The output has cells of shards that have no granules in this release, and zagg does"
            f" not remove them, {first_few(left)}. Give another output, or delete {output} and run"
            " this again with force."
        )


def _entries(history: PickupHistory, output: str | None) -> list[PickupSummary]:
    """Return the pick-ups that say what an output holds, the newest first."""
    return [entry for entry in history.entries if entry.used_output and entry.output == output]


def _closed(
    store: Store, entries: Sequence[PickupSummary], newest: Acknowledgement
) -> frozenset[str]:
    """Return the batches of the newest pick-up after which the overviews were whole."""
    record = newest
    for entry in entries:
        record = newest if entry is entries[0] else _acknowledgement(store, entry)
        if record.finished or record.closed:
            return frozenset(record.batches)
    return frozenset()


def _acknowledgement(store: Store, entry: PickupSummary) -> Acknowledgement:
    return Acknowledgement.load(store.get(entry.key), f"Object {entry.key}")


def _was_removed(request: PickupRequest, grid: RegisteredGrid, output: str) -> bool:
    """Return whether somebody removed an output; one that cannot be read counts as there."""
    try:
        return not is_written(output, read_config(grid.config), region=request.zagg.region)
    except (OutputUnavailable, MissingPackage):
        return False


def _of_release(
    store: Store, request: PickupRequest, entry: PickupSummary, *, preview: bool = False
) -> Held:
    """Return the contents after a finished pick-up without batch records: the whole map."""
    try:
        release = load_release(store, request.release_key, entry.release)
        shard_map = load_map(store, release, request.grid)
        record = _acknowledgement(store, entry)
    except StoreUnavailable:
        raise
    except (StoreError, InvalidRelease) as error:
        name = short_digest(entry.release)
        return Held(last=entry, unknown=f"release {name} cannot be read ({error})")
    if shard_map is None or record.config_digest is None:
        return Held(last=entry, unknown="there is no release to compare it with")
    whole = _whole(record, request, shard_map, record.config_digest)
    digest = digest_of([whole.to_bytes()])[0]
    contents = Contents.empty().followed_by([(digest, whole)])
    before = None if preview else whole
    return Held(contents=contents, last=entry, before_batches=before, preview=preview)


def _whole(
    record: Acknowledgement, request: PickupRequest, shard_map: ShardMap, config_digest: str
) -> BatchRecord:
    """Return a record that says that all shards of a map are done."""
    count = len(shard_map)
    done: ShardState = "done"
    return BatchRecord(
        product=request.release_key.product,
        region=request.release_key.region,
        cycle=request.release_key.cycle,
        grid=request.grid,
        release=record.release,
        output=record.output or "",
        number=0,
        by=record.by,
        began_at=record.began_at,
        ended_at=record.ended_at,
        config_digest=config_digest,
        zagg_version=record.zagg_version,
        shards=BatchShards(
            keys=tuple(shard_map.shards.tolist()),
            inputs=tuple(inputs_of(shard_map).tolist()),
            states=(done,) * count,
            observations=(0,) * count,
            cells=(0,) * count,
            stale=(False,) * count,
        ),
    )


def begun(
    selection: Selection,
    request: PickupRequest,
    grid: RegisteredGrid,
    *,
    release: str,
    output: str,
    zagg_version: str | None,
) -> BatchRecord:
    """Return the record that is stored before zagg starts: no shard has a result yet."""
    now = utc_now()
    return BatchRecord(
        product=request.release_key.product,
        region=request.release_key.region,
        cycle=request.release_key.cycle,
        grid=request.grid,
        release=release,
        output=output,
        number=0,
        by=request.by,
        began_at=now,
        ended_at=now,
        config_digest=grid.config_digest,
        zagg_version=zagg_version,
        reason="The batch of these shards did not end.",
        shards=BatchShards.begun(
            selection.keys.tolist(), selection.inputs.tolist(), selection.stale.tolist()
        ),
    )


def _reason_to_redo(request: PickupRequest) -> str | None:
    """Return why every shard is redone, a phrase, if the request asks for it."""
    if request.force:
        return "force was set"
    return "overwrite replaces the output" if request.zagg.overwrite else None


def _reason_for_all(
    held: Held, output: str | None, config_digest: str, zagg_version: str | None
) -> str | None:
    """Return why no shard of the output can be kept, a phrase; None if all shards changed."""
    sources, last = held.contents.sources, held.last
    if last is None:
        return f"no finished aggregation into {output or 'any output'} is known"
    if not held.contents.complete.any():
        return _may_hold_parts(last.release)
    if all(one.config_digest != config_digest for one in sources):
        return "the pipeline config changed"
    if all(zagg_version not in (None, one.zagg_version) for one in sources):
        return "zagg's version changed"
    return None


def _may_hold_parts(release: str) -> str:
    name = short_digest(release)
    return f"the output may hold parts of release {name}, whose run did not finish"
