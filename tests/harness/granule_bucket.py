"""Granules, and outputs, on signed S3: rclone serves their folder, behind a proxy with faults.

Credentials are those that Earthdata gives out. They can expire after a number of reads; new ones
can be asked for, as from NSIDC.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import servers
from tests.harness.proxy import Proxy, proxied

SESSION = "x-amz-security-token"


@dataclass
class GranuleBucket:
    """The server; `lifetime` is the number of reads until credentials expire."""

    proxy: Proxy
    lifetime: int | None = None
    reads: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return self.proxy.endpoint

    @property
    def environment(self) -> dict[str, str]:
        """What leads zagg's reads here; their credentials come from Earthdata."""
        return {"AWS_ENDPOINT_URL_S3": self.endpoint, "AWS_DEFAULT_REGION": "us-west-2"}

    @property
    def writing(self) -> dict[str, str]:
        """What zagg needs besides to write here."""
        keys = {"AWS_ACCESS_KEY_ID": servers.KEY_ID, "AWS_SECRET_ACCESS_KEY": servers.SECRET}
        return self.environment | keys | {"AWS_ALLOW_HTTP": "true"}

    def download(self, place: str, folder: Path) -> Path:
        """Copy what lies below ``s3://bucket/prefix`` to a folder."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        client = servers.plain_client(self.endpoint)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        return folder

    def repository(self, place: str) -> object:
        """Open the icechunk repository of a HEALPix output."""
        import icechunk

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        keys = {"access_key_id": servers.KEY_ID, "secret_access_key": servers.SECRET}
        storage = icechunk.s3_storage(
            bucket=bucket,
            prefix=f"{prefix}/icechunk",
            region="us-west-2",
            endpoint_url=self.endpoint,
            allow_http=True,
            force_path_style=True,
            **keys,
        )
        config = icechunk.Repository.fetch_config(storage)
        prefixes = dict.fromkeys(config.virtual_chunk_containers, icechunk.s3_credentials(**keys))
        access = icechunk.containers_credentials(prefixes)
        return icechunk.Repository.open(storage, authorize_virtual_chunk_access=access)

    def decide(self, request: str, headers: dict[str, str]) -> str | None:
        if not request.startswith("GET ") or ".h5" not in request:
            return None
        session = headers.get(SESSION, "")
        with self.lock:
            self.reads[session] += 1
            expired = self.lifetime is not None and self.reads[session] > self.lifetime
        return "expired" if expired else None


@contextmanager
def granule_bucket(data: Path, folder: Path) -> Iterator[GranuleBucket]:
    """Serve the folders of a folder as buckets; the other folder is for the server's files."""
    port = servers.free_port()
    command = [servers.program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{servers.KEY_ID},{servers.SECRET}", "--dir-cache-time", "0s"]
    command += ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s"]
    command += ["--cache-dir", f"{folder}/cache", "--config", f"{folder}/none", str(data)]
    server = servers.Server(command, port)
    server.start()
    try:
        with proxied("127.0.0.1", port) as proxy:
            bucket = GranuleBucket(proxy)
            proxy.decide = bucket.decide
            yield bucket
    finally:
        server.kill()
