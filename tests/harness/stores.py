"""Fixtures: the same store in a folder, and on moto's S3 server, which all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.harness import servers
from zagg_catalog.settings import Settings
from zagg_catalog.store import Store, open_store


@dataclass
class Place:
    """Where a store is, so that tests can open it again and damage it from outside."""

    url: str
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))

    def open(self) -> Store:
        return open_store(self.url, settings=self.settings)

    def overwrite(self, key: str, content: bytes) -> None:
        """Change what is stored without the store's knowledge; the recorded digest stays."""
        if not self.url.startswith("s3://"):
            Path(self.url, key).write_bytes(content)
            return
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        client = servers.plain_client(self.settings.s3_endpoint)
        where = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
        metadata = client.head_object(**where)["Metadata"]
        client.put_object(**where, Body=content, Metadata=metadata)


@pytest.fixture(scope="session")
def one_loader() -> Iterator[None]:
    """Let boto3 read its model of S3 once, not for every store that a test opens."""
    import botocore.session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session")
def moto(one_loader) -> Iterator[servers.Server]:
    with servers.running(servers.moto()) as server:
        yield server


@pytest.fixture
def s3_place(moto) -> Place:
    url = f"s3://{servers.new_bucket(moto.endpoint)}/team/store"
    return Place(url, servers.settings_for(moto.endpoint))


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path) -> Place:
    if request.param == "s3":
        return request.getfixturevalue("s3_place")
    return Place(str(tmp_path / "store"))


@pytest.fixture
def store(place) -> Store:
    return place.open()


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory) -> Iterator[servers.Server]:
    with servers.running(servers.juicefs(tmp_path_factory.mktemp("juicefs"))) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory) -> Iterator[servers.Server]:
    with servers.running(servers.rclone(tmp_path_factory.mktemp("rclone"))) as server:
        yield server


@pytest.fixture(params=["juicefs", "rclone"])
def disk_server(request) -> servers.Server:
    """A server that keeps its data on disk and ignores conditional writes."""
    return request.getfixturevalue(request.param)
