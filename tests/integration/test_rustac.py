"""The fetch against a STAC server that someone else wrote: ``rustac serve``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests

from tests.sources.stub import quick
from zagg_catalog.errors import IncompleteHarvest, RequestFailed
from zagg_catalog.sources import CMRSource, Query

pytestmark = [pytest.mark.integration, pytest.mark.realdata]

QUERY = Query("ATL03", "007", "2018-10-13", "2026-03-15", (-180, -90, 180, 90))


@contextmanager
def serve(items: Path, *, duckdb: bool) -> Iterator[str]:
    """Run a server until the block ends."""
    command = shutil.which("rustac", path=str(Path(sys.executable).parent)) or shutil.which(
        "rustac"
    )
    if command is None:
        pytest.skip("rustac is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--use-duckdb", str(duckdb).lower(), "--create-collections", "--addr", address]
    server = subprocess.Popen(
        [command, "serve", *options, str(items)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(address, server)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        if server.poll() is not None:
            pytest.skip(f"rustac serve ended with status {server.returncode}")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("rustac serve did not answer within 20 s")


def _need_duckdb(url: str) -> None:
    """Skip where DuckDB cannot load its extensions, which it downloads."""
    try:
        answer = requests.post(f"{url}/search", json={"limit": 1}, timeout=5)
    except requests.Timeout:
        pytest.skip("rustac's DuckDB backend does not answer; its extensions need a network")
    if answer.status_code != 200:
        pytest.skip(f"rustac's DuckDB backend answers {answer.status_code}")


@pytest.fixture(scope="module")
def in_memory(real_data: Path) -> Iterator[str]:
    with serve(real_data / "atl03_007_neon.parquet", duckdb=False) as url:
        yield url


def test_all_granules_come_by_post_but_without_a_count_it_is_no_proof(
    in_memory: str, real_data: Path
) -> None:
    with quick(timeout=30) as transport:
        source = CMRSource("", root_url=in_memory, method="POST", transport=transport)
        with pytest.raises(IncompleteHarvest, match="2089 granules received cannot be proven"):
            source.fetch(QUERY)
        found = source.fetch(QUERY, limit=100, partial=True)
        assert source.last_report is not None
        assert source.last_report.transfer.pages > 20
    real = pq.read_table(real_data / "atl03_007_neon.parquet", columns=["id"])
    assert found.table["id"].to_pylist() == sorted(real["id"].to_pylist())
    assert len(found) == 2089
    assert found.metadata["harvest"]["quarantined"] == []
    assert not found.complete


def test_a_server_that_fails_beyond_its_first_page_is_not_believed(in_memory: str) -> None:
    with quick(timeout=30, retries=1) as transport:
        source = CMRSource("", root_url=in_memory, method="GET", transport=transport)
        with pytest.raises(RequestFailed, match="HTTP 500"):
            source.fetch(QUERY, limit=100)


def test_a_server_without_next_links_is_an_incomplete_harvest(real_data: Path) -> None:
    with (
        serve(real_data / "atl03_007_neon.parquet", duckdb=True) as url,
        quick(timeout=30, retries=1) as transport,
    ):
        _need_duckdb(url)
        source = CMRSource("", root_url=url, method="POST", transport=transport)
        with pytest.raises(IncompleteHarvest):
            source.fetch(QUERY, limit=100)
        assert len(source.fetch(QUERY, limit=100, partial=True)) == 100
