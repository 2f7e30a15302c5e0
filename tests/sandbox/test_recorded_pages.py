"""The sandbox's pages are those that were recorded, member by member.

Where they must differ, the test says so: the address of the server, the numbers of concepts, and
the content of cursors, which is the server's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.sandbox.conftest import Client, Serve
from zagg_catalog.geometry.ragged import join_rings
from zagg_catalog.sandbox import Granules, concat
from zagg_catalog.sandbox.granules import SCHEMA
from zagg_catalog.sandbox.items import box_of

pytestmark = pytest.mark.realdata

REAL = "https://cmr.earthdata.nasa.gov/stac"


@pytest.fixture(scope="module")
def recorded(real_data: Path) -> list[Any]:
    """Three pages of at most two items: the last item's page has a next link to an empty one."""
    text = (real_data / "recorded" / "cmr_stac_three_pages.json").read_text()
    pages: list[Any] = json.loads(text)["pages"]
    return pages


@pytest.fixture(scope="module")
def real_granules(recorded: list[Any]) -> Granules:
    """The three granules of the recorded pages."""
    return granules_of([item for page in recorded for item in page["features"]])


def granules_of(items: list[Any]) -> Granules:
    """Granules with the columns of some items."""
    rows = [
        {
            "id": item["id"],
            "collection": item["collection"],
            "start": moment(item["properties"]["start_datetime"]),
            "end": moment(item["properties"]["end_datetime"]),
            **{
                kind: next(
                    (a["href"] for a in item["assets"].values() if a["href"].startswith(scheme)),
                    None,
                )
                for kind, scheme in (("data", "https://data"), ("data_s3", "s3"))
            },
        }
        for item in items
    ]
    rings = [np.array(item["geometry"]["coordinates"][0]) for item in items]
    lons, lats, offsets = join_rings([(ring[:, 0], ring[:, 1]) for ring in rings])
    return concat([Granules(pa.Table.from_pylist(rows, SCHEMA), lats, lons, offsets)])


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def general(document: Any, root: str) -> Any:
    """A document without what is each server's own."""
    text = json.dumps(document).replace(root, REAL)
    text = re.sub(r"\bG\d+-NSIDC_CPRD", "CONCEPT", text)
    return json.loads(re.sub(r"cursor=[\w%-]+", "cursor=CURSOR", text))


def pages_of(client: Client, **params: Any) -> Iterator[Any]:
    for page in client.pages(**params):
        yield general(page, client.server.root_url)


def test_the_pages_of_a_search_are_those_of_cmr_stac(
    serve: Serve, real_granules: Granules, recorded: list[Any]
) -> None:
    with serve(real_granules) as client:
        pages = list(pages_of(client, collections="ATL03_007", limit=2))
    assert len(pages) == 3
    for page, real in zip(pages, recorded, strict=True):
        expected = general(real, REAL)
        assert page == expected
        # The order of assets says which data file is the first.
        orders = [[list(item["assets"]) for item in some["features"]] for some in (page, expected)]
        assert orders[0] == orders[1]


def test_the_links_of_a_posted_search_are_gets_that_repeat_its_body(
    serve: Serve, real_granules: Granules, real_data: Path
) -> None:
    links = json.loads((real_data / "recorded" / "cmr_stac_post_links.json").read_text())
    body = {"collections": ["ATL03_007"], "bbox": [-77, 38, -76, 39], "limit": 2}
    with serve(real_granules) as client:
        page = client.post(**body).json()
        following = page["links"][-1]["href"]
        second = client.session.get(following, timeout=60).json()
    assert general(page["links"], client.server.root_url) == general(links, REAL)
    assert second["context"]["matched"] == page["context"]["matched"]
    ids = [item["id"] for item in page["features"] + second["features"]]
    assert len(ids) == len(set(ids)) == page["context"]["matched"]


def test_a_page_has_the_media_type_of_cmr_stac(
    serve: Serve, real_granules: Granules, real_data: Path
) -> None:
    text = (real_data / "recorded" / "cmr_stac_three_pages.json").read_text()
    with serve(real_granules) as client:
        reply = client.get(limit=2)
    assert reply.headers["Content-Type"] == json.loads(text)["content-type"]


def test_a_box_over_the_antimeridian_has_west_above_east(serve: Serve, real_data: Path) -> None:
    text = (real_data / "recorded" / "bbox_antimeridian_item.json").read_text()
    recorded = json.loads(text)
    when = {"start_datetime": "2018-10-14T03:19:24.000Z", "end_datetime": "2018-10-14T03:27:54Z"}
    item = {**recorded, "collection": "ATL03_007", "properties": when, "assets": {}}
    with serve(granules_of([item])) as client:
        served = client.get(limit=1).json()["features"][0]
    assert served["bbox"] == recorded["right bbox (CMR-STAC)"]
    assert served["geometry"] == recorded["geometry"]


def test_a_ring_that_runs_west_over_the_antimeridian_has_nearly_all_longitudes() -> None:
    # A box over the antimeridian grows to the east only: CMR-STAC's own arithmetic.
    eastward = np.array([[179.0, 0], [-179.0, 1], [-179.0, 2], [179.0, 1], [179.0, 0]])
    westward = np.array([[-178.0, 0], [179.5, 1], [179.0, 2], [-178.0, 1], [-178.0, 0]])
    assert box_of(eastward) == [179.0, 0.0, -179.0, 2.0]
    assert box_of(westward) == [179.5, 0.0, 179.0, 2.0]
