"""Releases that follow one another: the output is that of the newest, as if made from scratch."""

from __future__ import annotations

import pytest

from tests.aggregation.real.site import GRIDS, ONE_GRID


@GRIDS
@pytest.mark.parametrize(
    "only_changed",
    [True, pytest.param(False, marks=pytest.mark.large)],
    ids=["only changed", "all shards"],
)
def test_a_late_granule(site, grid, only_changed) -> None:
    before = site.aggregate(grid)
    assert before.error is None
    site.publish("late")
    result = site.aggregate(grid, only_changed=only_changed)
    assert result.error is None
    verdict = site.judge(grid, "late")
    assert verdict.right, str(verdict)
    if only_changed:
        changes = result.acknowledgement.changes
        assert result.acknowledgement.shards == changes.added.count + changes.changed.count
        assert result.acknowledgement.shards < before.acknowledgement.shards + changes.added.count


@GRIDS
def test_a_revised_granule(site, grid) -> None:
    assert site.aggregate(grid).error is None
    site.publish("revised")
    result = site.aggregate(grid, only_changed=True)
    assert result.error is None
    verdict = site.judge(grid, "revised")
    assert verdict.right, str(verdict)


@GRIDS
def test_a_withdrawn_granule(make_site, grid) -> None:
    """It was not alone in any shard."""
    site = make_site()
    site.publish("close")
    assert site.aggregate(grid).error is None
    site.publish("withdrawn")
    result = site.aggregate(grid, only_changed=True)
    assert result.acknowledgement.outcome == "refused"
    assert "fewer" in str(result.error) or "lacks" in str(result.error)
    assert site.aggregate(grid, only_changed=True, allow_contraction=True).error is None
    verdict = site.judge(grid, "withdrawn")
    assert verdict.right, str(verdict)


@ONE_GRID
def test_a_withdrawn_granule_that_was_alone_in_a_shard(site, grid) -> None:
    """zagg cannot remove the cells of that shard: that is said, with a remedy."""
    assert site.aggregate(grid).error is None
    site.publish("withdrawn")
    result = site.aggregate(grid, only_changed=True, allow_contraction=True)
    assert result.acknowledgement.outcome == "refused"
    assert "another output" in str(result.error)
    site.output = str(site.folder / "fresh")
    assert site.aggregate(grid, allow_contraction=True).error is None
    verdict = site.judge(grid, "withdrawn")
    assert verdict.right, str(verdict)


def test_nothing_changed(site) -> None:
    first = site.aggregate("polar")
    assert first.error is None
    again = site.aggregate("polar", only_changed=True)
    assert again.status == "already"
