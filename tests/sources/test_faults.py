"""Each fault of the sandbox is ridden out, or ends in a named error with nothing written."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.served import cycle_22, fetch, ids, same
from tests.sources.stub import Stub, Waits, ok, quick
from zagg_catalog.catalog import IncompleteCatalog
from zagg_catalog.errors import (
    BadResponse,
    EmptyHarvest,
    FetchError,
    IncompleteHarvest,
    PagingError,
    RequestFailed,
)
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sandbox.faults import KINDS
from zagg_catalog.sources import Catalog, CMRSource
from zagg_catalog.sources.http import Transport

COMPLETE = "complete"

# What each fault of the sandbox ends in, with what it sets aside; a new fault needs a line here.
EXPECTED: dict[str, tuple[str | type[FetchError], int]] = {
    "latency=0.01": (COMPLETE, 0),
    "status=429:times=2": (COMPLETE, 0),
    "status=500:times=2": (COMPLETE, 0),
    "status=502:every=3:times=9": (COMPLETE, 0),
    "status=503:times=1:retry-after=3": (COMPLETE, 0),
    "status=429:times=1:retry-after=date": (COMPLETE, 0),
    "status=504:times=6": (COMPLETE, 0),
    "status=503:times=999": (RequestFailed, 0),
    "status=404:skip=1": (RequestFailed, 0),
    "reset:every=2:times=9": (COMPLETE, 0),
    "reset:times=999": (RequestFailed, 0),
    "no-response:times=2": (COMPLETE, 0),
    "no-response:times=999": (RequestFailed, 0),
    "timeout=0.6": (COMPLETE, 0),
    "truncated:times=3": (COMPLETE, 0),
    "truncated:times=999": (FetchError, 0),
    "cut-json:times=3": (COMPLETE, 0),
    "cut-json:times=999": (BadResponse, 0),
    "html:times=3": (COMPLETE, 0),
    "html:skip=3:times=999": (BadResponse, 0),
    "json-list:times=3": (COMPLETE, 0),
    "json-list:times=999": (BadResponse, 0),
    "json-null:times=3": (COMPLETE, 0),
    "json-null:times=999": (BadResponse, 0),
    "no-features:times=3": (COMPLETE, 0),
    "no-features:times=999": (BadResponse, 0),
    "loop": (PagingError, 0),
    "cycle": (PagingError, 0),
    "next-without-href": (PagingError, 0),
    "next-elsewhere": (PagingError, 0),
    "empty-page": (COMPLETE, 0),
    "empty-page:page=0": (COMPLETE, 0),
    "short-page=15": (COMPLETE, 0),
    "silent-end:times=1": (COMPLETE, 0),
    "silent-end:page=1:times=1": (COMPLETE, 0),
    "silent-end": (IncompleteHarvest, 0),
    "silent-end:matched=0": (IncompleteHarvest, 0),
    "silent-end:page=1": (IncompleteHarvest, 0),
    "silent-end:page=1:matched=0:times=1": (COMPLETE, 0),
    "silent-end:page=1:matched=0": (EmptyHarvest, 0),
    "cmr-timeout": (COMPLETE, 0),
    "count-high": (IncompleteHarvest, 0),
    "count-low": (IncompleteHarvest, 0),
    "count-moves": (IncompleteHarvest, 0),
    "no-count": (IncompleteHarvest, 0),
    "ingest": (COMPLETE, 0),
    "ingest=5:times=3": (COMPLETE, 0),
    "duplicates=9": (COMPLETE, 0),
    "superseded=3": (COMPLETE, 3),
    "null-geometry=2": (COMPLETE, 2),
    "no-geometry": (COMPLETE, 1),
    "empty-polygon": (COMPLETE, 1),
    "nan-coordinate=25": (COMPLETE, 25),
    "few-vertices": (COMPLETE, 1),
    "missing-id": (COMPLETE, 1),
    "not-an-item": (COMPLETE, 1),
    "missing-assets": (COMPLETE, 1),
    "bad-item": (RequestFailed, 0),
    "no-links": (COMPLETE, 0),
    "missing-datetime": (COMPLETE, 0),
}


def test_every_fault_of_the_sandbox_has_an_expectation() -> None:
    assert {re.split("[:=]", fault)[0] for fault in EXPECTED} == set(KINDS)


@pytest.mark.parametrize(("fault", "end"), EXPECTED.items(), ids=EXPECTED.keys())
def test_a_fault_is_ridden_out_or_ends_in_a_named_error(
    few: Granules, few_truth: Catalog, fault: str, end: tuple[Any, int], tmp_path: Path
) -> None:
    expected, aside = end
    out = tmp_path / "catalog.parquet"
    with SandboxServer(few, page_size=25, faults=[fault]) as server:
        if expected is not COMPLETE:
            with pytest.raises(expected) as raised:
                fetch(server, timeout=0.5).to_geoparquet(out)
            assert server.root_url in str(raised.value)
            assert list(tmp_path.iterdir()) == []
            return
        lost = aside and not fault.startswith("superseded")
        with pytest.warns(IncompleteCatalog) if lost else nullcontext():
            fetch(server, timeout=0.5).to_geoparquet(out)
    found = Catalog.from_geoparquet(out)
    report = found.metadata["harvest"]
    assert found.complete is not bool(lost)
    assert len(report["quarantined"]) + len(report["superseded"]) == aside
    if fault.startswith("superseded"):
        assert len(found) == len(few_truth)
    elif aside == 0 and fault != "missing-datetime":
        assert same(found, few_truth)
    else:
        assert len(found) == len(few_truth) - aside
        assert set(ids(found)) <= set(ids(few_truth))


# Faults that do not lie about the count: a server that lies consistently cannot be found out.
HONEST = [
    "status=503",
    "reset",
    "no-response",
    "truncated",
    "cut-json",
    "html",
    "json-null",
    "no-features",
    "loop",
    "cycle",
    "empty-page",
    "short-page=7",
    "silent-end",
    "duplicates=5",
    "no-count",
]
aims = st.builds(
    "{}:times={}:every={}:skip={}:page={}".format,
    st.sampled_from(HONEST),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(0, 3),
)


@pytest.fixture(scope="module")
def tiny() -> Granules:
    return simulate(cycle=22, tracks=range(1, 5))


@pytest.fixture(scope="module")
def tiny_truth(tiny: Granules) -> Catalog:
    with SandboxServer(tiny) as server:
        return fetch(server)


@settings(max_examples=25, deadline=None)
@given(faults=st.lists(aims, min_size=1, max_size=3))
def test_no_mixture_of_faults_loses_a_granule_in_silence(
    tiny: Granules, tiny_truth: Catalog, faults: list[str]
) -> None:
    with SandboxServer(tiny, page_size=20, faults=faults) as server:
        try:
            found = fetch(server, retries=3)
        except FetchError:
            return
    assert same(found, tiny_truth)


def test_quarantined_items_are_named_with_their_reasons(few: Granules, few_truth: Catalog) -> None:
    names = "3 granules cannot be used, .*: no geometry"
    with (
        SandboxServer(few, page_size=25, faults=["null-geometry=2", "missing-id:page=3"]) as server,
        pytest.warns(IncompleteCatalog, match=names),
    ):
        found = fetch(server)
    report = found.metadata["harvest"]
    assert found.metadata["quarantined"] == report["quarantined"]
    assert not found.complete
    named = {entry["id"]: entry["reason"] for entry in report["quarantined"]}
    unnamed = [name for name in named if name.startswith("item without an id ")]
    assert [named.pop(name) for name in unnamed] == ["it has no id"]
    assert set(named.values()) == {"no geometry"}
    assert set(named) <= set(ids(few_truth))


@pytest.mark.parametrize("fault", ["silent-end", "count-high=7", "no-count", "count-moves"])
def test_partial_results_say_that_they_are_not_complete(
    few: Granules, fault: str, tmp_path: Path
) -> None:
    with SandboxServer(few, page_size=25, faults=[fault]) as server:
        found = fetch(server, partial=True)
    found.to_geoparquet(tmp_path / "part.parquet")
    loaded = Catalog.from_geoparquet(tmp_path / "part.parquet")
    assert not loaded.complete
    assert loaded.metadata["complete"] is False
    assert len(loaded) == (25 if fault == "silent-end" else 84)


def test_older_revisions_are_recorded() -> None:
    both = simulate(cycle=22, tracks=range(1, 6), revised=0.3, superseded=0.5)
    with SandboxServer(both) as server:
        found = fetch(server)
    gone = found.metadata["harvest"]["superseded"]
    assert len(found) == 70
    assert len(gone) == len(both) - 70 > 0
    assert {entry["by"] for entry in gone} <= set(ids(found))


def test_retry_after_is_waited_for(few: Granules) -> None:
    waits = Waits()
    with (
        SandboxServer(few, page_size=25, faults=["status=429:retry-after=4"]) as server,
        quick(sleep=waits) as transport,
    ):
        CMRSource(root_url=server.root_url, transport=transport).fetch(cycle_22())
    assert len(waits) == 1
    assert 4 <= waits[0] < 5


def test_an_error_of_the_server_is_passed_on() -> None:
    with Stub(ok({})) as stub:
        source = CMRSource(root_url=stub.origin + "/stac", transport=Transport(retries=0))
        with pytest.raises(BadResponse, match="no list 'features'"):
            source.fetch(cycle_22())
