"""The earlier release of a job, of which a run takes over what has not changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.jobs import Job
from zagg_catalog.errors import InvalidRelease, StoreError
from zagg_catalog.messages import clean_text
from zagg_catalog.releases.publication import package_versions

Values = dict[str, Any]
# Most characters of a reason.
_LONGEST = 300


def earlier_release(job: Job) -> Values:
    """Return what a run may take over, as JSON values.

    Returns
    -------
    dict
        ``catalog``, a key, and ``maps``, the key of each grid's manifest by the grid's name, of the
        latest release; or ``reason``, a clause, if no release can be used.
    """
    if job.force:
        return {"reason": "the run is to build everything again (force)"}
    try:
        latest, record = job.latest, job.latest_record
        if latest.publication is None or record is None:
            return _nothing(latest.problem or "there is no earlier release")
        if differ := _other_packages(latest.publication.packages):
            return _nothing(differ)
    except (StoreError, InvalidRelease) as error:
        return _nothing(f"the earlier release cannot be read, {error}")
    maps = {grid.name: grid.manifest.parquet.key for grid in record.grids if grid.manifest}
    return {"catalog": record.catalog.key, "maps": maps}


def earlier_map(release: Values, grid: str) -> Values:
    """Return ``catalog`` and ``manifest`` of a grid, or ``reason``, of `earlier_release`."""
    if "reason" in release:
        return release
    manifest = release["maps"].get(grid)
    if manifest is None:
        return _nothing("the earlier release has no map of this grid")
    return {"catalog": release["catalog"], "manifest": manifest}


def _other_packages(then: Mapping[str, str]) -> str | None:
    now = package_versions()
    differ = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    if not differ:
        return None
    texts = [
        f"{name} {then.get(name, 'missing')}, now {now.get(name, 'missing')}" for name in differ
    ]
    return f"the earlier release was published with other versions, {'; '.join(texts)}"


def _nothing(reason: str) -> Values:
    return {"reason": clean_text(reason.rstrip("."), limit=_LONGEST)}
