"""WatchRules: when a product's cycle is worth announcing, and when it is late."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WatchRules(BaseModel):
    """What the registry says of watching a product.

    Attributes
    ----------
    announce : {"first-granules", "share", "quiet"}
        A cycle is announced with its first granules; with a share of the granules expected, or
        when it is over and quiet; or only when it is over and quiet.
    share : float
        That share, above 0, at most 1.
    quiet_days : float
        A cycle that is over counts as quiet when its granules did not change for so long.
    changed_hours : float
        Changes of a cycle are announced at most once in so many hours; the last one always is.
    patience_hours : float
        A notice that no run has answered is repeated after so long, then after twice that, ….
    recheck_days : float
        A cycle is announced again when nothing was heard of it for so long, since counts do not
        show everything; 0 for never.
    overdue_days : float or None
        A cycle that is not prepared so long after its end is overdue; None for never.
    first_cycle : int or None
        Older cycles that are there at the first poll are left alone until they change. By
        default the cycle before the one that was under way 45 days before that poll.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    announce: Literal["first-granules", "share", "quiet"] = "share"
    share: float = Field(default=0.9, gt=0, le=1)
    quiet_days: float = Field(default=7, ge=0)
    changed_hours: float = Field(default=24, ge=0)
    patience_hours: float = Field(default=6, ge=0)
    recheck_days: float = Field(default=30, ge=0)
    overdue_days: float | None = Field(default=75, ge=0)
    first_cycle: int | None = Field(default=None, ge=1, le=99)

    def patience(self, tries: int) -> timedelta:
        """Return how long to wait for an answer after so many announcements of one notice."""
        return timedelta(hours=self.patience_hours * 2 ** min(max(tries, 1) - 1, 4))
