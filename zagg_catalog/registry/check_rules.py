"""Rules of the checks before publishing, as the registry has them: severities and thresholds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Severity = Literal["error", "warn", "off"]


def _severity(value: Any) -> Any:
    # YAML reads off as false.
    return "off" if value is False else value


Level = Annotated[Severity, BeforeValidator(_severity)]
Share = Annotated[float, Field(ge=0, le=1)]


class CheckRules(BaseModel):
    """Severity of each check before publishing, by its name, and thresholds.

    ``error``: a finding keeps ``latest`` where it is; ``warn``: it is shown; ``off``: the check
    does not run. `zagg_catalog.releases.checks` has a function of the same name for each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: Level = "error"
    """All granules are of the cycle."""
    declared: Level = "error"
    """A complete catalog has as many granules as the server declared."""
    tracks: Level = "warn"
    """It has every track and along-track region that the last settled cycle has."""
    duplicates: Level = "error"
    """No granule has several revisions or files."""
    revisions: Level = "warn"
    """The granules are of one data release, and nearly all of one revision."""
    hrefs: Level = "warn"
    """Every granule has the addresses that the readers of the grids' configs use."""
    footprints: Level = "warn"
    """Footprints are swaths of their along-track regions."""
    signatures: Level = "error"
    """Maps have the spatial signatures of the registry's grids."""
    drift: Level = "warn"
    """Shards and pairs change as the number of granules does."""

    tracks_share: Share = 0.0
    """Share of the tracks that may be missing."""
    revisions_share: Share = 0.1
    """Share of the granules that may have another revision than most."""
    drift_share: Share = 0.1
    """Share by which shards and pairs may change beyond the change in granules."""


class CheckPlan(BaseModel):
    """The registry's part in the checks of the releases of a region."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: dict[str, CheckRules] = {}
    """By product; the others have the defaults."""
    signatures: dict[str, str] = {}
    """Digest of the spatial signature's canonical JSON by registered grid, SHA-256 in hex."""

    def rules_of(self, product: str) -> CheckRules:
        """Return the rules of a product."""
        return self.rules.get(product, CheckRules())
