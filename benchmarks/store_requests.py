"""The requests of commands on a store of many releases on S3, as JSON.

usage: .venv/bin/python benchmarks/store_requests.py

The store has releases of cycles, regions and grids, each release published several times, and a
pick-up history of each grid. One product, region and cycle is published by `publish`; the others
have its records under their own names, moved by `move_latest`. Prints the requests of each command
by method, those of a pointer, and the objects that were read more than once, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from simulated import write_cycle  # noqa: E402

from zagg_catalog import Catalog, ShardMap  # noqa: E402
from zagg_catalog.aggregation.pending import pending_releases  # noqa: E402
from zagg_catalog.aggregation.request import PickupRequest  # noqa: E402
from zagg_catalog.archive.backfill import Scope, plan_backfill  # noqa: E402
from zagg_catalog.registry import load_registry  # noqa: E402
from zagg_catalog.releases import MapToPublish, ReleaseKey, publish  # noqa: E402
from zagg_catalog.releases.pickups import PickupHistory  # noqa: E402
from zagg_catalog.releases.publication import (  # noqa: E402
    Contraction,
    PublishContext,
    move_latest,
    read_latest,
)
from zagg_catalog.releases.record import ReleaseRecord  # noqa: E402
from zagg_catalog.settings import get_settings  # noqa: E402
from zagg_catalog.store import Store, open_store  # noqa: E402
from zagg_catalog.store.s3 import make_client, make_session  # noqa: E402

PRODUCT, REGION, BUCKET = "ATL06_007", "region-1", "maps"
BOX = [-180.0, -90.0, 180.0, -60.0]
CONFIG = HERE.parent / "deployments" / "grids" / "atl06-antarctica-healpix.yaml"


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, *_: Any) -> None:
        """Log nothing."""


class CountedServer:
    """moto's S3 server in a thread, which counts the requests that it gets."""

    def __init__(self) -> None:
        self.seen = Counter[tuple[str, str]]()
        application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

        def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            query = environ.get("QUERY_STRING") or ""
            path = f"?{query}" if "list-type" in query else environ["PATH_INFO"]
            with lock:
                self.seen[environ["REQUEST_METHOD"], path] += 1
                return list(application(environ, start_response))

        self._server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def figures(self) -> dict[str, Any]:
        """Return the requests since the last call, by kind."""
        seen, self.seen = self.seen, Counter()
        lists = sum(count for (_, path), count in seen.items() if path.startswith("?"))
        reads = {key: count for key, count in seen.items() if not key[1].startswith("?")}
        return {
            "requests": seen.total(),
            "lists": lists,
            "pointers": sum(n for (_, path), n in reads.items() if path.endswith("/latest.json")),
            "others": sum(n for (_, p), n in reads.items() if not p.endswith("/latest.json")),
            "read_twice": sorted(path for (_, path), n in reads.items() if n > 1)[:10],
        }


def fill(store: Store, folder: Path, cycles: int, regions: int, grids: int, releases: int) -> None:
    """Publish the releases of one product, region and cycle, and store those of the others."""
    path = folder / "catalog.parquet"
    template = min(22, cycles)
    write_cycle(path, template, every=200, south=True)
    whole = Catalog.from_geoparquet(path)
    records = []
    for number in range(releases):
        rows = whole.table.num_rows - releases + 1 + number
        catalog = Catalog(whole.table.slice(0, rows), whole.metadata)
        catalog.to_geoparquet(path)
        build = MapToPublish("one", CONFIG)
        shard_map = ShardMap.build(catalog, build.output_grid, region=BOX)
        maps = [
            MapToPublish(f"{REGION}-{n}", CONFIG, shard_map=shard_map) for n in range(1, grids + 1)
        ]
        done = publish(store, catalog=path, maps=maps, region=REGION, partial_latest=True)
        records.append((done.record, done.checks))
    for cycle in range(1, cycles + 1):
        for region in range(1, regions + 1):
            key = ReleaseKey(PRODUCT, f"region-{region}", cycle)
            if (cycle, region) != (template, 1):
                for record, checks in records:
                    _copy(store, record, checks, key)
            for n in range(1, grids + 1):
                pointer = key.pointer("pickups", f"{key.region}-{n}")
                store.swap_pointer(pointer, PickupHistory().to_bytes(), None)


def _copy(store: Store, record: ReleaseRecord, checks: Any, key: ReleaseKey) -> None:
    text = record.to_bytes().decode().replace(REGION, key.region)
    values = json.loads(text.replace(f"cycle={record.cycle}/", f"cycle={key.cycle}/")) | {
        "cycle": key.cycle
    }
    mine = ReleaseRecord.load(json.dumps(values).encode())
    store.put(key.folder("releases"), mine.to_bytes(), ".json")
    move_latest(
        store,
        read_latest(store, key),
        mine,
        action="publish",
        contraction=Contraction(),
        checks=checks,
        context=PublishContext(),
    )


def write_registry(folder: Path, regions: int, grids: int) -> Path:
    """Register the grids of each region."""
    names = [f"region-{number}" for number in range(1, regions + 1)]
    lines = [f"regions: {{{', '.join(f'{name}: {{bbox: {BOX}}}' for name in names)}}}", "grids:"]
    for name in names:
        entry = f"{{config: {json.dumps(str(CONFIG))}, products: [{PRODUCT}], region: {name}}}"
        lines += [f"  {name}-{n}: {entry}" for n in range(1, grids + 1)]
    path = folder / "registry.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def measure(cycles: int, regions: int, grids: int, releases: int) -> dict[str, Any]:
    """Return the requests of each command, and at most how many it should make.

    That is its listings and one read of each pointer that it needs; `release show` also needs the
    record, and `status` the cursor and the states of the watch.
    """
    server = CountedServer()
    os.environ |= {
        "ZAGG_CATALOG_STORE": f"s3://{BUCKET}/store",
        "ZAGG_CATALOG_S3_ENDPOINT": server.endpoint,
        "ZAGG_CATALOG_S3_REGION": "us-east-1",
        "ZAGG_CATALOG_S3_ACCESS_KEY_ID": "key",
        "ZAGG_CATALOG_S3_SECRET_ACCESS_KEY": "secret",
    }
    settings = get_settings()
    make_client(make_session(settings), settings).create_bucket(Bucket=BUCKET)
    store = open_store(f"s3://{BUCKET}/store")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(store, folder, cycles, regions, grids, releases)
        path = write_registry(folder, regions, grids)
        registry = load_registry(str(path))
        server.figures()
        place = ["--product", PRODUCT, "--region", REGION, "--cycle", str(min(22, cycles))]
        commands = {
            "release list": ["release", "list"],
            "release show": ["release", "show", *place],
            "status": ["status", "--registry", str(path)],
        }
        found: dict[str, Any] = {}
        for title, command in commands.items():
            line = [sys.executable, "-m", "zagg_catalog", *command, "--json"]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 1) or not done.stdout:
                raise SystemExit(f"{title} failed:\n{done.stderr}")
            found[title] = server.figures()
        key = ReleaseKey(PRODUCT, REGION, 1)
        request = PickupRequest(release_key=key, grid="", folder=folder, by="bench")
        pending_releases(store, request, replace(registry, grids={}))  # none is registered
        found["aggregate, nothing to pick up"] = server.figures()
        plan_backfill(store, registry, Scope(cycles=f"1-{cycles}"))
        found["backfill, nothing to do"] = server.figures()
    every = cycles * regions * (1 + grids)
    pointers = dict.fromkeys(found, every) | {
        "release show": 1 + grids + 1,
        "status": every + 2,
        "backfill, nothing to do": cycles * regions,
    }
    return {
        name: figures | {"limit": figures["lists"] + pointers[name]}
        for name, figures in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("cycles", 30), ("regions", 3), ("grids", 8), ("releases", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    print(json.dumps(measure(**vars(parser.parse_args()))))
