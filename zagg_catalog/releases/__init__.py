"""Releases: a catalog with its shard maps, published so that readers see all of it or nothing."""

from zagg_catalog.releases.acknowledgement import Acknowledgement
from zagg_catalog.releases.compare import GridDiff, ReleaseDiff, diff
from zagg_catalog.releases.gc import Garbage, collect_garbage
from zagg_catalog.releases.gridbuild import GridBuild
from zagg_catalog.releases.publication import Contraction, Publication
from zagg_catalog.releases.publish import Published, publish
from zagg_catalog.releases.read import Listed, Release, Shown, find_release, list_releases, show
from zagg_catalog.releases.record import GridRecord, ReleaseRecord
from zagg_catalog.releases.resolve import resolve, resolve_grid
from zagg_catalog.releases.rollback import rollback
from zagg_catalog.releases.slot import Slot
from zagg_catalog.releases.standing import Standing
from zagg_catalog.releases.verify import Finding, Verification, verify

__all__ = [
    "Acknowledgement",
    "Contraction",
    "Finding",
    "Garbage",
    "GridBuild",
    "GridDiff",
    "GridRecord",
    "Listed",
    "Publication",
    "Published",
    "Release",
    "ReleaseDiff",
    "ReleaseRecord",
    "Shown",
    "Slot",
    "Standing",
    "Verification",
    "collect_garbage",
    "diff",
    "find_release",
    "list_releases",
    "publish",
    "resolve",
    "resolve_grid",
    "rollback",
    "show",
    "verify",
]
