"""For the store's own tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Retry at once: what is retried matters here, not how long boto3 waits."""
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda self, context: 0)
    monkeypatch.setattr("zagg_catalog.store.s3._pause", lambda attempt: None)
