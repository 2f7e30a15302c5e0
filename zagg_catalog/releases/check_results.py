"""Results of the checks before publishing, as publications store them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt

from zagg_catalog.jsonio import StrictModel
from zagg_catalog.messages import clean_text

# Ids in a finding; the others are counted.
FEW = 5
_MOST = 20


def _clean(text: str) -> str:
    return clean_text(text, limit=600)


def _clean_id(text: str) -> str:
    return clean_text(text, limit=100)


CheckName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]


class CheckFinding(StrictModel):
    """What a check found."""

    check: CheckName
    severity: Literal["error", "warn"]
    text: Annotated[str, AfterValidator(_clean)]
    """What was expected, what was found, and what to do: a sentence or two."""
    counts: dict[CheckName, NonNegativeInt] = Field(default={}, max_length=_MOST)
    """Numbers of the sentence, by name."""
    ids: tuple[Annotated[str, AfterValidator(_clean_id)], ...] = Field(default=(), max_length=FEW)
    """Granules, tracks or grids that it is about; the first five."""


class CheckResults(StrictModel):
    """The results of all checks of a release."""

    findings: tuple[CheckFinding, ...] = Field(default=(), max_length=100)
    """Errors first."""
    passed: tuple[CheckName, ...] = ()
    """Checks that found nothing."""
    skipped: tuple[CheckName, ...] = ()
    """Checks that do not apply to the release, or have nothing to compare it with."""
    off: tuple[CheckName, ...] = ()
    """Checks that the registry switches off."""

    @property
    def errors(self) -> tuple[CheckFinding, ...]:
        """Findings that keep ``latest`` where it is."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by severity, ``{"error": 1, "warn": 0}``."""
        errors = len(self.errors)
        return {"error": errors, "warn": len(self.findings) - errors}

    @property
    def summary(self) -> str:
        """The numbers in words, ``1 error, 2 warnings, 5 passed``; without those that are 0."""
        errors, warnings = self.counts.values()
        numbers = {
            "error" if errors == 1 else "errors": errors,
            "warning" if warnings == 1 else "warnings": warnings,
            "passed": len(self.passed),
            "skipped": len(self.skipped),
            "off": len(self.off),
        }
        return ", ".join(f"{count} {what}" for what, count in numbers.items() if count) or "none"
