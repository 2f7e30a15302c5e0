"""For the store's own tests."""

from __future__ import annotations

import pytest

from tests.harness.proxy import proxied
from tests.harness.servers import Server, new_bucket
from zagg_catalog.store import s3_errors, s3_upload


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Retry at once: what is retried matters here, not how long boto3 waits."""
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda self, context: 0)
    monkeypatch.setattr("zagg_catalog.store.s3._pause", lambda attempt: None)


@pytest.fixture
def unknown_servers() -> None:
    """Forget what servers accept: a later one may get the port of an earlier one."""
    s3_errors.forget()
    s3_upload.forget()


@pytest.fixture
def proxy(moto: Server):
    with proxied("127.0.0.1", moto.port) as proxy:
        yield proxy


@pytest.fixture
def bucket(moto: Server) -> str:
    return new_bucket(moto.endpoint)
