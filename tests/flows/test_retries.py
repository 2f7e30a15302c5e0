"""Retries: what can heal is tried again, and nothing else."""

import pytest
from prefect import flow, task

from flows.runtime import is_transient, with_retries
from zagg_catalog.errors import (
    BadResponse,
    CorruptObject,
    EmptyHarvest,
    IncompleteHarvest,
    InvalidConfig,
    PagingError,
    PointerConflict,
    RequestFailed,
    SignatureMismatch,
    StoreUnavailable,
)
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.settings import Settings
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.http import Transport
from zagg_catalog.store import open_store

QUERY = Query("ATL06", "007", "2024-03-01", "2024-03-02", (0, 0, 1, 1))


class KilledWorker(Exception):
    """As Dask raises it."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("peer"),
        TimeoutError("late"),
        BadResponse("GET x sent HTML."),
        IncompleteHarvest("declared 3, 2 came"),
        PointerConflict("moved"),
        KilledWorker("build"),
        RequestFailed("GET x failed."),
        StoreUnavailable("no answer", transient=True),
    ],
)
def test_what_can_heal(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        InvalidConfig("no grid"),
        SignatureMismatch("another grid"),
        CorruptObject("digest"),
        EmptyHarvest("No granules match"),
        PagingError("loop"),
        ValueError("a bug"),
        PermissionError("no rights"),
        RequestFailed("GET x was refused.", final=True),
        StoreUnavailable("no rights"),
    ],
)
def test_what_cannot(error):
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("fault", "heals"),
    [
        ("status=503", True),
        ("status=429", True),
        ("reset", True),
        ("status=401", False),
        ("status=400", False),
    ],
)
def test_the_requests_of_a_real_server_that_fails(monkeypatch, fault, heals):
    monkeypatch.setenv("ZAGG_CATALOG_RETRIES", "0")
    with SandboxServer([], faults=[fault]) as server:
        transport = Transport(5)
        with pytest.raises((RequestFailed, BadResponse)) as caught:
            CMRSource(root_url=server.root_url, transport=transport).fetch(QUERY)
        transport.close()
    assert is_transient(caught.value) is heals


def test_a_store_that_does_not_answer_heals_and_missing_rights_do_not(monkeypatch):
    settings = Settings(
        _env_file=None,
        s3_endpoint="http://127.0.0.1:9",
        s3_access_key_id="a",
        s3_secret_access_key="b",
        s3_attempts=1,
    )
    with pytest.raises(StoreUnavailable) as caught:
        open_store("s3://bucket/x", settings=settings).exists("a")
    assert is_transient(caught.value)
    refused = StoreUnavailable("Cannot read x: the server refused the credentials; check them.")
    assert not is_transient(refused)


@pytest.mark.parametrize(("error", "attempts"), [(TimeoutError, 3), (ValueError, 1)])
def test_a_task_is_retried_only_where_that_can_help(prefect_server, monkeypatch, error, attempts):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_RETRIES", "2")
    calls = []

    @task
    def fails():
        calls.append(1)
        raise error("again")

    @flow
    def once():
        return with_retries(fails, 60).submit().result(raise_on_failure=False)

    assert isinstance(once(), error)
    assert len(calls) == attempts
