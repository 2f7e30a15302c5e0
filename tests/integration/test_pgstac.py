"""The fetch against a STAC API that someone else wrote: stac-fastapi-pgstac on PostgreSQL."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
import requests
import shapely

from tests.harness.postgres import (
    Cluster,
    Command,
    free_port,
    newest_programs,
    postgresql,
    run,
    running,
)
from zagg_catalog.errors import EmptyHarvest, IncompleteHarvest
from zagg_catalog.sandbox import Granules, simulate
from zagg_catalog.sandbox.items import from_geoparquet, item_dict
from zagg_catalog.sources import Catalog, CMRSource, Query
from zagg_catalog.sources.items import read_items

pytestmark = [pytest.mark.integration, pytest.mark.pgstac]

if os.environ.get("ZAGG_CATALOG_TEST_PGSTAC") != "1":
    pytest.skip("needs PostgreSQL with PostGIS: run `make pgstac`", allow_module_level=True)

ENV = Path(__file__).parents[2] / ".venv-pgstac"

WORLD = (-180, -90, 180, 90)
DAYS = ("2023-09-01", "2024-07-31")  # more than cycles 21 to 23
CYCLE_22_DAYS = ("2023-12-19", "2024-03-17")  # whole days, ends of the cycle left out

by_both_methods = pytest.mark.parametrize("method", ["GET", "POST"])
Item = dict[str, Any]
Method = Literal["GET", "POST"]


# --- The server -------------------------------------------------------------------------------


@dataclass
class Api:
    """A running stac-fastapi-pgstac, its database, and the items loaded into it."""

    url: str
    cluster: Cluster
    folder: Path
    items: dict[str, list[Item]] = field(repr=False)

    def fetch(
        self, query: Query, method: Method, *, limit: int = 50, partial: bool = False
    ) -> Catalog:
        return self.source(method).fetch(query, limit=limit, partial=partial)

    def source(self, method: Method) -> CMRSource:
        return CMRSource(root_url=self.url, provider="", method=method)

    def load(self, kind: str, documents: Sequence[Item]) -> None:
        file = self.folder / f"{kind}.ndjson"
        file.write_text("".join(json.dumps(document) + "\n" for document in documents))
        run([ENV / "bin/pypgstac", "load", kind, file, "--method", "upsert"], self.cluster)

    def set(self, name: str, value: str) -> None:
        self.cluster.sql(
            f"UPDATE pgstac.pgstac_settings SET value = '{value}' WHERE name = '{name}'"
        )


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    if not (ENV / "bin/pypgstac").is_file():
        pytest.fail(f"there is no stac-fastapi-pgstac in {ENV.name}: run `make pgstac`")
    with ExitStack() as stack:
        programs = newest_programs("postgis")
        if programs is None:
            pytest.fail("there is no PostgreSQL with PostGIS: run `make pgstac` as root")
        cluster = stack.enter_context(postgresql(programs))
        run([ENV / "bin/pypgstac", "migrate"], cluster)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(uvicorn(cluster, folder))
        server = Api(url, cluster, folder, simulated_items())
        if data := os.environ.get("ZAGG_CATALOG_TEST_DATA"):
            server.items |= real_items(Path(data))
        server.load("collections", [collection(name) for name in server.items])
        server.load("items", [item for items in server.items.values() for item in items])
        # pgstac declares no count unless it is told to.
        server.set("context", "on")
        yield server


@contextmanager
def uvicorn(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Serve the database over HTTP."""
    port = free_port()
    command: Command = [ENV / "bin/uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"]
    command += ["--port", str(port), "--log-level", "warning"]
    url = f"http://127.0.0.1:{port}"
    with running(
        command,
        log=folder / "log",
        is_up=lambda: answers(url),
        env=cluster.environment,
        cwd=folder,
    ):
        yield url


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/_mgmt/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


# --- The items --------------------------------------------------------------------------------


def simulated_items() -> dict[str, list[Item]]:
    """Eight tracks of three cycles, the first and the last track among them: 336 granules."""
    granules = simulate("ATL06", cycle=[21, 22, 23], tracks=range(1, 1388, 198), gaps=False)
    return {"ATL06_007": item_dicts(granules)}


def real_items(data: Path) -> dict[str, list[Item]]:
    return {"ATL03_007": item_dicts(from_geoparquet(data / "atl03_007_neon.parquet"))}


def item_dicts(granules: Granules) -> list[Item]:
    return [item_dict(granules, row, "http://localhost/stac", "") for row in range(len(granules))]


def collection(name: str) -> Item:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": f"Granules of {name}.",
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [WORLD]},
            "temporal": {"interval": [["2018-10-13T00:00:00Z", None]]},
        },
    }


def matching(
    items: Sequence[Item], boxes: Sequence[Sequence[float]], days: tuple[str, str]
) -> set[str]:
    """Return the ids that a planar server finds, which PostGIS is: longitudes are plain x."""
    shapes = shapely.from_geojson([json.dumps(item["geometry"]) for item in items])
    area = [shapely.intersects(shapes, shapely.box(*box)) for box in boxes]
    return {
        item["id"]
        for item, *inside in zip(items, *area, strict=True)
        if any(inside)
        and item["properties"]["start_datetime"] <= f"{days[1]}T23:59:59Z"
        and item["properties"]["end_datetime"] >= f"{days[0]}T00:00:00Z"
    }


def ids(found: Catalog) -> list[Any]:
    return list(found.table["id"].to_pylist())


def rows_of(items: Sequence[Item], name: str) -> pa.Table:
    """Return items as the fetch would, without their links, which each server makes anew."""
    table = read_items(items, name).table.sort_by("id")
    return table.drop_columns("links")


# --- The tests --------------------------------------------------------------------------------


@by_both_methods
def test_every_page_comes_and_nothing_in_it_changes(api: Api, method: Method) -> None:
    found = api.fetch(Query("ATL06", "007", *DAYS, WORLD), method, limit=25)
    assert found.table.drop_columns("links").equals(rows_of(api.items["ATL06_007"], "ATL06_007"))
    assert found.complete
    assert found.metadata["harvest"]["declared_before"] == len(found) == 336


@by_both_methods
def test_no_size_of_pages_loses_or_repeats_a_granule(api: Api, method: Method) -> None:
    expected = matching(api.items["ATL06_007"], [WORLD], CYCLE_22_DAYS)
    for limit in (1, len(expected) - 1, len(expected), len(expected) + 1, 5000):
        found = api.fetch(Query("ATL06", "007", *CYCLE_22_DAYS, WORLD), method, limit=limit)
        assert ids(found) == sorted(expected)


@by_both_methods
def test_a_box_gets_the_granules_that_meet_it(api: Api, method: Method) -> None:
    box = (-90, -85, 90, -60)
    found = api.fetch(Query("ATL06", "007", *DAYS, box), method, limit=7)
    expected = matching(api.items["ATL06_007"], [box], DAYS)
    assert ids(found) == sorted(expected)
    assert 7 < len(expected) < 336


@by_both_methods
def test_a_box_across_the_antimeridian_gets_both_sides(api: Api, method: Method) -> None:
    box, halves = (150, -60, -160, 60), [(150, -60, 180, 60), (-180, -60, -160, 60)]
    found = api.fetch(Query("ATL06", "007", *DAYS, box), method, limit=7)
    sides = [matching(api.items["ATL06_007"], [half], DAYS) for half in halves]
    assert ids(found) == sorted(sides[0] | sides[1])
    assert all(side < sides[0] | sides[1] for side in sides)


def test_pgstac_itself_takes_such_a_box_for_its_complement(api: Api) -> None:
    # It does not refuse west > east as CMR-STAC does, so only splitting gives the right answer.
    search = {"collections": ["ATL06_007"], "bbox": [150, -60, -160, 60], "limit": 1000}
    answer = requests.post(f"{api.url}/search", json=search, timeout=60).json()
    between = matching(api.items["ATL06_007"], [(-160, -60, 150, 60)], DAYS)
    assert {item["id"] for item in answer["features"]} == between


@by_both_methods
@pytest.mark.parametrize(
    "days", [("2024-01-01", "2024-01-31"), CYCLE_22_DAYS, ("2023-10-24", "2023-12-18")]
)
def test_a_window_of_days_gets_the_granules_in_it(
    api: Api, method: Method, days: tuple[str, str]
) -> None:
    found = api.fetch(Query("ATL06", "007", *days, WORLD), method, limit=10)
    expected = matching(api.items["ATL06_007"], [WORLD], days)
    assert ids(found) == sorted(expected)
    assert 0 < len(expected) < 336


@by_both_methods
def test_a_cycle_is_kept_exactly(api: Api, method: Method) -> None:
    source = api.source(method)
    found = source.fetch(Query.for_cycle("ATL06", "007", 22, WORLD), limit=10)
    named = [item["id"] for item in api.items["ATL06_007"] if item["id"][25:27] == "22"]
    assert ids(found) == sorted(named)
    # Cycles share a day, so that the search itself brings neighbours.
    assert source.last_report.outside_cycle > 0


@by_both_methods
def test_days_without_granules_are_an_empty_harvest(api: Api, method: Method) -> None:
    with pytest.raises(EmptyHarvest, match="No granules match"):
        api.fetch(Query("ATL06", "007", "2020-01-01", "2020-01-31", WORLD), method)


@by_both_methods
def test_without_a_count_nothing_is_proven(api: Api, method: Method) -> None:
    query = Query("ATL06", "007", *DAYS, WORLD)
    api.set("context", "off")
    try:
        with pytest.raises(IncompleteHarvest, match="declares no count"):
            api.fetch(query, method)
        found = api.fetch(query, method, partial=True)
    finally:
        api.set("context", "on")
    assert len(found) == 336
    assert not found.complete


@by_both_methods
def test_a_count_that_pgstac_remembers_from_before_a_load_is_noticed(
    api: Api, method: Method
) -> None:
    query = Query("ATL06", "007", "2024-02-01", "2024-02-29", WORLD)
    before = len(api.fetch(query, method))
    late = api.items["ATL06_007"][0] | {"id": "ATL06_20240210000000_00012201_007_01.h5"}
    times = {"datetime": "2024-02-10T00:00:00Z", "start_datetime": "2024-02-10T00:00:00Z"}
    late |= {"properties": times | {"end_datetime": "2024-02-10T00:05:00Z"}}
    api.load("items", [late])
    try:
        with pytest.raises(
            IncompleteHarvest, match=f"declared {before} granules, but {before + 1}"
        ):
            api.fetch(query, method)
        # What pgstac remembers for a day it counts anew once this is gone.
        api.cluster.sql("DELETE FROM pgstac.search_wheres")
        assert len(api.fetch(query, method)) == before + 1
    finally:
        api.cluster.sql(f"DELETE FROM pgstac.items WHERE id = '{late['id']}'")
        api.cluster.sql("DELETE FROM pgstac.search_wheres")


@pytest.mark.realdata
@pytest.mark.usefixtures("real_data")
@by_both_methods
@pytest.mark.parametrize("box", [WORLD, (-125, 30, -100, 50)])
def test_real_granules_come_as_they_were_loaded(
    api: Api, method: Method, box: tuple[float, float, float, float]
) -> None:
    items, days = api.items["ATL03_007"], ("2018-10-13", "2026-03-15")
    found = api.fetch(Query("ATL03", "007", *days, box), method, limit=200)
    expected = matching(items, [box], days)
    loaded = rows_of([item for item in items if item["id"] in expected], "ATL03_007")
    assert found.table.drop_columns("links").equals(loaded)
    assert len(found) == (2089 if box == WORLD else len(expected))
