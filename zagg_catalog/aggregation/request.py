"""The request to pick up a grid: the release, the options of zagg, and its output."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import yaml

from zagg_catalog.aggregation.references import Reference
from zagg_catalog.aggregation.zagg import STALL, ZaggOptions
from zagg_catalog.errors import InvalidOption
from zagg_catalog.messages import Clock, utc_now
from zagg_catalog.registry import RegisteredGrid
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.store.lease import LEASE

# Pairs of a batch: at about 1 s a pair, half an hour, so that credentials of an hour last.
PAIRS = 1800
# Appended to an output that is not a template.
LAYOUT = "product={product}/region={region}/cycle={cycle}/grid={grid}"
_FIELDS = {"product", "region", "cycle", "grid"}


@dataclass(frozen=True, kw_only=True)
class PickupRequest:
    """A request to pick up one grid of a release."""

    release_key: ReleaseKey
    """Product, region and cycle of the release."""
    grid: str
    """Name of the grid."""
    release: str | None = None
    """Digest of the release, or its beginning; None for the latest."""
    references: tuple[Reference, ...] = ()
    """References from an event and from artifacts; the release must agree with them."""
    dry_run: bool = True
    """Let zagg report its plan and write nothing."""
    only_changed: bool = False
    """Process only the shards that changed since the output was made."""
    allow_partial: bool = False
    """Accept a partial release."""
    allow_contraction: bool = False
    """Accept a release that lacks granules of the previous one."""
    force: bool = False
    """Process a release again if it was picked up before."""
    output: str | None = None
    """Output of zagg; see `output_of`."""
    zagg: ZaggOptions = field(default_factory=ZaggOptions)
    """Options of zagg."""
    folder: Path
    """Folder for manifest, config and log while zagg runs; they stay there after a failure."""
    timeout: float = 21600.0
    """Time limit of zagg for a batch, seconds."""
    stall: float = STALL
    """Seconds without a granule read until zagg is killed."""
    batch: int = PAIRS
    """Most pairs of a shard and a granule in a batch; a larger shard is a batch of its own."""
    wait: float = 21600.0
    """Longest wait for a run on another release of the grid, seconds."""
    lease: timedelta = LEASE
    """Time after which a run that does not renew its lease counts as dead."""
    by: str
    """User and host."""
    run: str | None = None
    """Id of the flow run."""
    clock: Clock = utc_now
    """Returns the time."""
    stop: Callable[[], str | None] = lambda: None
    """Returns the reason to stop zagg, or None while it may continue."""

    def for_grid(self, release_key: ReleaseKey, grid: str) -> PickupRequest:
        """Return the same request for another grid."""
        return replace(self, release_key=release_key, grid=grid)

    @property
    def grid_folder(self) -> Path:
        """Folder for the files of this grid."""
        release_key = self.release_key
        name = f"{release_key.product}-{release_key.region}-c{release_key.cycle}"
        return self.folder.expanduser().absolute() / name / self.grid


def output_of(request: PickupRequest, grid: RegisteredGrid | None) -> str | None:
    """Return the output of a request, a folder or a URL; None if it has no output.

    ``output`` of the request is a folder or ``s3://bucket/prefix``, in which every product, region,
    cycle and grid has a separate store; or a template with ``{grid}``, and optionally
    ``{product}``, ``{region}`` and ``{cycle}``. Without it, ``output.store`` of the grid's config
    is the output.

    Raises `InvalidOption` if the template has other fields, or no ``{grid}``.
    """
    if request.output:
        return _absolute(_filled(request.output, request))
    own = _store_in(grid)
    return _absolute(own) if own else None


def _filled(template: str, request: PickupRequest) -> str:
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise InvalidOption(f"Output {template!r} is not a template: {error}.") from None
    if not fields:
        template, fields = f"{template.rstrip('/')}/{LAYOUT}", _FIELDS
    if fields - _FIELDS or "grid" not in fields:
        raise InvalidOption(
            f"Output {template!r} is not usable: a template has {{grid}} and may have {{product}},"
            " {region} and {cycle}; a folder or s3://bucket/prefix needs none."
        )
    release_key = request.release_key
    return template.format(
        product=release_key.product,
        region=release_key.region,
        cycle=release_key.cycle,
        grid=request.grid,
    )


def _store_in(grid: RegisteredGrid | None) -> str | None:
    try:
        content = yaml.safe_load(grid.config) if grid is not None else None
    except yaml.YAMLError:
        return None  # the checks report the broken config
    output = content.get("output") if isinstance(content, dict) else None
    store = output.get("store") if isinstance(output, dict) else None
    return store if isinstance(store, str) and store else None


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).expanduser().absolute())
