"""Real answers of CMR-STAC: the 59 granules of a box, served page by page as recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from tests.harness.http_server import HttpServer

SERC = (-76.623291, 38.842973, -76.506054, 38.934599)
DAYS = ("2018-10-13", "2026-03-15")


def serc_items(folder: Path) -> list[dict[str, Any]]:
    """The 59 items of the box, in the form of the recorded item."""
    pages = json.loads((folder / "recorded/cmr_stac_three_pages.json").read_text())["pages"]
    template = pages[0]["features"][0]
    ids = (folder / "recorded/serc_box_59_ids.txt").read_text().split()
    table = pq.read_table(folder / "atl03_007_neon.parquet")
    rows = table.filter(pc.is_in(table["id"], value_set=pc.cast(ids, "string"))).sort_by("id")
    return [_item(template, row) for row in rows.to_pylist()]


def _item(template: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    item = copy.deepcopy(template)
    stem = row["id"].removesuffix(".h5")
    names = dict(zip(template["assets"], ("data", "data_s3", "metadata"), strict=True))
    item["assets"] = {
        name.replace(template["id"].removesuffix(".h5"), stem): asset
        for name, asset in item["assets"].items()
    }
    for asset, kind in zip(item["assets"].values(), names.values(), strict=True):
        asset["href"] = row["assets"][kind]["href"]
    box = row["bbox"]
    times = ("datetime", "start_datetime", "end_datetime")
    item["properties"] |= {
        name: row[name].isoformat(timespec="milliseconds").replace("+00:00", "Z") for name in times
    }
    return item | {
        "id": row["id"],
        "geometry": shapely.geometry.mapping(shapely.from_wkb(row["geometry"])),
        "bbox": [box[side] for side in ("xmin", "ymin", "xmax", "ymax")],
    }


def spoilt(item: dict[str, Any]) -> dict[str, Any]:
    """An item without links to data, as CMR-STAC sends it if its second request timed out."""
    return item | {"assets": {"metadata": item["assets"]["metadata"]}}


class RecordedServer(HttpServer):
    """A STAC API that serves items as CMR-STAC does, those of `bad` without links.

    With `times`, the first answers only are without links. The last page has a next link to an
    empty page, as in the recorded pages.
    """

    def __init__(
        self, items: list[dict[str, Any]], bad: Collection[str] = (), *, times: int | None = None
    ) -> None:
        self.items, self.bad, self.times = items, set(bad), times
        self.searches = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(server.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/geo+json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(Handler)
        self.root_url = f"{self.origin}/stac"

    def answer(self, path: str) -> dict[str, Any]:
        """The page of a search."""
        values = {name: texts[-1] for name, texts in parse_qs(urlsplit(path).query).items()}
        limit, start = int(values.get("limit", 10)), int(values.get("cursor", 0))
        first, last = values["datetime"].split("/")
        wanted = [
            item
            for item in self.items
            if first <= item["properties"]["end_datetime"]
            and item["properties"]["start_datetime"][:19] <= last[:19]
        ]
        self.searches += limit > 1
        spoil = self.times is None or self.searches <= self.times
        page = [
            spoilt(item) if spoil and item["id"] in self.bad else item
            for item in wanted[start : start + limit]
        ]
        base = f"{self.root_url.removesuffix('/stac')}{path.partition('&cursor=')[0]}"
        links = [{"rel": "self", "href": base}, {"rel": "root", "href": self.root_url}]
        if page:
            links.append({"rel": "next", "href": f"{base}&cursor={start + len(page)}"})
        return {
            "type": "FeatureCollection",
            "features": page,
            "links": links,
            "context": {"returned": len(page), "limit": limit, "matched": len(wanted)},
        }
