"""Granules on signed S3: rclone serves their folder, behind a proxy with faults.

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
        return {"ZAGG_CATALOG_GRANULE_S3_ENDPOINT": self.endpoint}

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
    command += ["--auth-key", f"{servers.KEY_ID},{servers.SECRET}", "--read-only", *servers.FRESH]
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
