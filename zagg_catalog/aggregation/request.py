"""Orders: what is to be picked up, how, and where zagg writes to."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import yaml

from zagg_catalog.aggregation.lease import LEASE
from zagg_catalog.aggregation.references import Reference
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import InvalidOption
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.layout import ReleaseKey

# Below a folder or prefix that is no template.
LAYOUT = "product={product}/region={region}/cycle={cycle}/grid={grid}"
_FIELDS = {"product", "region", "cycle", "grid"}


@dataclass(frozen=True, kw_only=True)
class PickupRequest:
    """The pick-up of one grid.

    Parameters
    ----------
    slot : Slot
        What the release is for.
    grid : str
        Name of the grid.
    release : str or None
        Digest of the release; by default the latest.
    references : tuple of Reference
        What an event and artifacts name.
    dry_run : bool
        Let zagg only say what it would do.
    only_changed : bool
        Only the shards that changed since the output was made.
    allow_partial, allow_contraction : bool
        Also a partial release, or one that lacks granules of the one before.
    force : bool
        Also what was picked up before.
    output : str or None
        Where zagg writes to, see `output_of`.
    zagg : ZaggOptions
        How zagg runs.
    folder : Path
        Where manifest, config and log are kept while zagg runs, and after a failure.
    timeout : float
        Seconds that zagg may take.
    patience : float
        Seconds to wait for a run at another release of the grid.
    lease : timedelta
        How long a claim holds without a sign of life.
    by, run : str, str or None
        Who, and the id of the flow run.
    clock : callable
        Returns the time.
    stop : callable
        Returns why zagg must be stopped, or None while it may go on.
    """

    slot: ReleaseKey
    grid: str
    release: str | None = None
    references: tuple[Reference, ...] = ()
    dry_run: bool = True
    only_changed: bool = False
    allow_partial: bool = False
    allow_contraction: bool = False
    force: bool = False
    output: str | None = None
    zagg: ZaggOptions = field(default_factory=ZaggOptions)
    folder: Path
    timeout: float = 21600.0
    patience: float = 21600.0
    lease: timedelta = LEASE
    by: str
    run: str | None = None
    clock: Clock = utc_now
    stop: Callable[[], str | None] = lambda: None

    def for_grid(self, slot: ReleaseKey, grid: str) -> PickupRequest:
        """Return the same order for another grid."""
        return replace(self, slot=slot, grid=grid)

    @property
    def workplace(self) -> Path:
        """Folder of this grid's files."""
        slot = self.slot
        name = f"{slot.product}-{slot.region}-c{slot.cycle}"
        return self.folder.expanduser().absolute() / name / self.grid


def output_of(order: PickupRequest, grid: RegisteredGrid | None) -> str | None:
    """Return where zagg writes to.

    Parameters
    ----------
    order : Order
        Its ``output`` is a folder or ``s3://bucket/prefix``, below which every product, region,
        cycle and grid has a store of its own; or a template with ``{grid}``, and perhaps
        ``{product}``, ``{region}`` and ``{cycle}``.
    grid : RegisteredGrid or None
        Its config's ``output.store`` is taken, as it stands, where the order names none.

    Returns
    -------
    str or None
        None where neither says.

    Raises
    ------
    InvalidOption
        If the template has other fields, or does not tell grids apart.
    """
    if order.output:
        return _absolute(_filled(order.output, order))
    own = _store_in(grid)
    return _absolute(own) if own else None


def _filled(template: str, order: PickupRequest) -> str:
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise InvalidOption(f"Output {template!r} is no template: {error}.") from None
    if not fields:
        template, fields = f"{template.rstrip('/')}/{LAYOUT}", _FIELDS
    if fields - _FIELDS or "grid" not in fields:
        raise InvalidOption(
            f"Output {template!r} is not usable: a template has {{grid}} and may have {{product}},"
            " {region} and {cycle}; a folder or s3://bucket/prefix needs none."
        )
    slot = order.slot
    return template.format(
        product=slot.product, region=slot.region, cycle=slot.cycle, grid=order.grid
    )


def _store_in(grid: RegisteredGrid | None) -> str | None:
    try:
        content = yaml.safe_load(grid.config) if grid is not None else None
    except yaml.YAMLError:
        return None  # the checks say what is wrong with it
    output = content.get("output") if isinstance(content, dict) else None
    store = output.get("store") if isinstance(output, dict) else None
    return store if isinstance(store, str) and store else None


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).expanduser().absolute())
