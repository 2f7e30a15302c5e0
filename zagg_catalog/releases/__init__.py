"""Releases: a catalog with its shard maps, published so that readers see all of it or nothing."""

from zagg_catalog.releases.batches import BatchRecord
from zagg_catalog.releases.diff import GridDiff, ReleaseDiff, diff
from zagg_catalog.releases.gc import Garbage, collect_garbage, remove_garbage
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import Acknowledgement, PickupHistory
from zagg_catalog.releases.publication import Contraction, Publication, ReleaseSummary
from zagg_catalog.releases.publish import MapToPublish, Published, publish
from zagg_catalog.releases.read import (
    Release,
    ReleaseRow,
    ReleaseView,
    find_release,
    list_releases,
    resolve,
    resolve_grid,
    show,
)
from zagg_catalog.releases.record import GridRecord, ReleaseRecord
from zagg_catalog.releases.rollback import rollback
from zagg_catalog.releases.verify import Finding, Verification, verify

__all__ = [
    "Acknowledgement",
    "BatchRecord",
    "Contraction",
    "Finding",
    "Garbage",
    "GridDiff",
    "GridRecord",
    "MapToPublish",
    "PickupHistory",
    "Publication",
    "Published",
    "Release",
    "ReleaseDiff",
    "ReleaseKey",
    "ReleaseRecord",
    "ReleaseRow",
    "ReleaseSummary",
    "ReleaseView",
    "Verification",
    "collect_garbage",
    "diff",
    "find_release",
    "list_releases",
    "publish",
    "remove_garbage",
    "resolve",
    "resolve_grid",
    "rollback",
    "show",
    "verify",
]
