"""Filters select granules by their names, and the report counts what each leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.sources.served import WORLD, cycle_22, ids
from tests.sources.stub import Stub, name, ok, page, quick, stac_search
from zagg_catalog.catalog import IncompleteCatalog
from zagg_catalog.catalog.filters import (
    DIRECTION_REGIONS,
    NameFilters,
    number_text,
    numbers,
    read_granule_names,
)
from zagg_catalog.errors import EmptyHarvest, InputNotFound, InvalidQuery
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.sources import Catalog, CMRSource, Query
from zagg_catalog.sources.cmr import name_patterns
from zagg_catalog.sources.harvest import harvest
from zagg_catalog.sources.query_slices import merge_slices, time_slices
from zagg_catalog.sources.spool import Spool
from zagg_catalog.sources.stac import stac_searches


@pytest.fixture(scope="module")
def apis() -> Iterator[dict[str, CMRSource]]:
    """Both APIs over the first 30 tracks of cycle 22, and of its neighbours."""
    granules = simulate(cycle=[21, 22, 23], tracks=range(1, 31))
    with SandboxServer(granules) as server:
        yield {
            "stac": CMRSource(root_url=server.root_url, api="stac"),
            "cmr": CMRSource(root_url=server.cmr_url, api="cmr"),
        }


@pytest.fixture(params=["stac", "cmr"])
def source(apis: dict[str, CMRSource], request: pytest.FixtureRequest) -> CMRSource:
    return apis[request.param]


def parts(catalog: Catalog) -> dict[str, set[int]]:
    names = granule_name_columns(catalog.table["id"])
    return {key: set(names[key].to_pylist()) for key in ("rgt", "cycle", "region")}


def is_accounted(catalog: Catalog) -> bool:
    """Whether declared = kept + superseded + outside + shared."""
    report = catalog.metadata["harvest"]
    left = report["outside_cycle"] + sum(report.get("outside", {}).values())
    found = report["kept"] + len(report["superseded"]) + left + report["shared"]
    return bool(report["declared_before"] == report["declared_after"] == found)


@pytest.mark.parametrize(
    ("filters", "selected"),
    [
        ({"tracks": "3,7-9"}, {"rgt": {3, 7, 8, 9}}),
        ({"tracks": 5}, {"rgt": {5}}),
        ({"granule_regions": [10, 11]}, {"region": {10, 11}}),
        ({"direction": "ascending"}, {"region": {1, 2, 3, 4, 11, 12, 13, 14}}),
        ({"direction": "descending"}, {"region": {4, 5, 6, 7, 8, 9, 10, 11}}),
        (
            {"tracks": "1-4", "direction": "descending", "granule_regions": "3-6"},
            {"region": {4, 5, 6}},
        ),
    ],
)
def test_a_fetch_selects_by_track_region_and_direction(
    source: CMRSource, filters: dict[str, Any], selected: dict[str, set[int]]
) -> None:
    catalog = source.fetch(cycle_22(**filters))
    assert parts(catalog) | selected == parts(catalog)
    assert catalog.complete
    assert is_accounted(catalog)
    assert set(catalog.metadata["filters"]) == set(filters)


def test_every_granule_that_a_filter_leaves_out_is_counted_once(apis: dict[str, CMRSource]) -> None:
    whole = apis["stac"].fetch(cycle_22())
    others = apis["stac"].last_report.outside_cycle
    part = apis["stac"].fetch(cycle_22(tracks="1-10", direction="ascending"))
    report = apis["stac"].last_report
    assert report.outside == {"track": 20 * 14, "direction": 10 * 6}
    assert len(part) + sum(report.outside.values()) == len(whole)
    assert report.outside_cycle == others


def test_cmr_leaves_out_other_tracks_itself(apis: dict[str, CMRSource]) -> None:
    catalog = apis["cmr"].fetch(cycle_22(tracks="3-4"))
    assert apis["cmr"].last_report.outside == {"track": 0}
    assert catalog.metadata["harvest"]["harvested"] == len(catalog) == 28


def test_many_tracks_are_filtered_here() -> None:
    assert name_patterns(cycle_22(tracks="1-2")) == [
        "ATL06*_??????????????_000122??_*",
        "ATL06*_??????????????_000222??_*",
    ]
    assert name_patterns(cycle_22(tracks="1-300")) == ["ATL06*_??????????????_????22??_*"]


def test_real_footprints_have_the_direction_of_their_region(real_data: Path) -> None:
    """The orbit is retrograde: a track moves west, northwards in ascending regions."""
    table = pq.read_table(real_data / "atl03_007_neon.parquet", columns=["id", "geometry"])
    names = granule_name_columns(table["id"])
    rings = shapely.from_wkb(table["geometry"].to_numpy())
    recorded = json.loads((real_data / "recorded/real_icesat2_footprints.json").read_text())
    regions = [*names["region"].to_pylist()]
    points = [shapely.get_coordinates(ring) for ring in rings]
    for granule in recorded:
        found = granule_name_columns(pa.array([granule["id"]]))["region"].to_pylist()[0]
        if found in (4, 11) or not granule["id"].startswith(("ATL03", "ATL06", "ATL08")):
            continue
        regions.append(found)
        points.append(np.array(granule["ring_lon_lat"]))
    for region, ring in zip(regions, points, strict=True):
        lons = np.unwrap(ring[:, 0], period=360)
        westwards = np.cov(lons, ring[:, 1])[0, 1] < 0
        expected = "ascending" if westwards else "descending"
        assert region in DIRECTION_REGIONS[expected]


def test_granule_names_are_searched_and_those_not_found_are_listed(source: CMRSource) -> None:
    whole = ids(source.fetch(cycle_22()))
    absent = "ATL06_20240101000000_00012202_007_01.h5"
    query = cycle_22(granules=[whole[3], whole[9].removesuffix(".h5"), absent])
    with pytest.warns(IncompleteCatalog, match=f"not found, 1 in all: {absent}"):
        catalog = source.fetch(query)
    assert ids(catalog) == [whole[3], whole[9]]
    assert catalog.metadata["harvest"]["missing"] == [absent]
    assert not catalog.complete
    found = source.fetch(cycle_22(granules=[whole[3]]))
    assert found.complete
    assert is_accounted(found)
    assert "missing" not in found.metadata["harvest"]


def test_names_are_found_under_ids_with_a_suffix(apis: dict[str, CMRSource]) -> None:
    """CMR-STAC selects exact ids, so that another search follows."""
    suffixed = f"{name(1)}_dpyQXxz6"
    empty, found = ok(page([], numberMatched=0)), ok(page([suffixed, name(2)], numberMatched=2))
    with Stub(empty, empty, found, found) as stub:
        source = CMRSource(root_url=f"{stub.origin}/stac", provider="", connections=1)
        catalog = source.fetch(
            Query("ATL06", "007", "2024-01-01", "2024-01-31", WORLD, granules=[name(1)])
        )
    assert ids(catalog) == [suffixed]
    assert catalog.complete
    assert source.last_report.outside == {"name": 1}
    assert "ids=" in stub.seen[0][1]
    assert "ids=" not in stub.seen[2][1]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_names_are_searched_in_groups(method: Any) -> None:
    names = [name(number) for number in range(1, 121)]
    query = Query("ATL06", "007", "2024-01-01", "2024-01-31", WORLD, granules=names)
    searches = stac_searches("http://h/stac", query, "P", 100, method, by_id=True)
    sent = [search.request(100) for search in searches]
    groups = [
        request.body["ids"] if request.body else parse_qs(request.url)["ids"][0].split(",")
        for request in sent
    ]
    assert [len(group) for group in groups] == [50, 50, 20]
    assert [one for group in groups for one in group] == names
    assert [search.number for search in searches] == [0, 1, 2]
    assert searches[2].label == "search 3 "


def test_a_name_without_its_parts_is_set_aside() -> None:
    script = [ok(page([name(1), "strange"], numberMatched=2))]
    with Stub(*script) as stub, quick() as transport, Spool("ATL06_007") as spool:
        filters = NameFilters(tracks=(1,))
        report = harvest(transport, [stac_search(stub)], spool, filters=filters).report
    assert [entry.id for entry in report.quarantined] == ["strange"]
    assert "filters (track)" in report.quarantined[0].reason


@pytest.mark.parametrize(
    ("filters", "granule", "verdict"),
    [
        ({"tracks": (5,)}, "ATL11_000510_0326_006_02.h5", 0),
        ({"cycle": 12, "tracks": (5,)}, "ATL11_000510_0326_006_02.h5", 0),
        ({"cycle": 2, "tracks": (6,)}, "ATL11_000510_0326_006_02.h5", 1),
        ({"tracks": (6,)}, "ATL11_000510_0326_006_02.h5", 2),
        ({"granule_regions": (3,)}, "processed_ATL06_20190416093911_02770303_002_01.h5", 0),
        ({"granule_regions": (4,)}, "ATL08QL_20240101000000_00012205_007_01.h5", 3),
        ({"direction": "ascending"}, "ATL24_20240101000000_00012205_006_02_001_01.h5", 4),
        ({"tracks": (1,)}, "ATL15_A1_0322_01km_005_01.nc", -1),
        ({"granules": ("ATL15_A1_0322_01km_005_01",)}, "ATL15_A1_0322_01km_005_01.nc", 0),
        ({"granules": ("s3://b/GEDI_x.h5",)}, "GEDI_x.h5", 0),
    ],
)
def test_names_of_all_products_are_judged(
    filters: dict[str, Any], granule: str, verdict: int
) -> None:
    assert NameFilters(**filters).judge(pa.array([granule])).tolist() == [verdict]


def test_an_empty_fetch_names_the_filter(apis: dict[str, CMRSource]) -> None:
    with pytest.raises(EmptyHarvest, match="420 are of other tracks"):
        apis["stac"].fetch(cycle_22(tracks=500))


def test_slices_of_a_filtered_query_make_the_same_catalog(apis: dict[str, CMRSource]) -> None:
    source = apis["stac"]
    some = ids(source.fetch(cycle_22()))[::60]
    query = Query("ATL06", "007", "2023-12-01", "2024-03-31", WORLD, granules=some)
    fetched = []
    for part in time_slices(query, 4):
        try:
            fetched.append(source.fetch(part))
        except EmptyHarvest:
            continue
    merged = merge_slices(query, fetched)
    assert ids(merged) == some
    assert merged.complete


@pytest.mark.parametrize(
    ("product", "filters", "message"),
    [
        ("GEDI02_A", {"tracks": "1"}, "tracks needs a product .* not GEDI02_A"),
        ("MOD11A1", {"direction": "ascending"}, "direction needs a product"),
        ("ATL07", {"granule_regions": "1"}, "granules cut at the 14 along-track regions"),
        ("ATL12", {"tracks": "1"}, "one track in each granule"),
        ("ATL06", {"tracks": "1388"}, "from 1 to 1387, not 1388"),
        ("ATL06", {"tracks": "9-3"}, "1-30 or 3,5,7-9, not '9-3'"),
        ("ATL06", {"tracks": []}, r"not \[\]"),
        ("ATL06", {"granule_regions": 15}, "from 1 to 14, not 15"),
        ("ATL06", {"direction": "up"}, "'ascending' or 'descending', not 'up'"),
        ("ATL06", {"direction": "ascending", "granule_regions": "5-6"}, "No along-track region of"),
        ("ATL06", {"granules": [""]}, "without empty ones"),
    ],
)
def test_filters_that_cannot_apply_are_refused(
    product: str, filters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidQuery, match=message):
        Query(product, "007", "2024-01-01", "2024-01-31", WORLD, **filters)


def test_numbers_are_written_as_they_are_read() -> None:
    assert number_text(numbers("7-9,3, 5", "A track", 1387)) == "3,5,7-9"
    assert numbers(range(1, 4), "A track", 1387) == (1, 2, 3)


def test_a_file_of_names_has_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text(f"# wanted\n{name(1)}\n\n  {name(2)}  # twice\n{name(2)}\n")
    assert read_granule_names([file, name(3)]) == (name(1), name(2), name(3))
    with pytest.raises(InputNotFound, match=r"no file of granule names nowhere.txt"):
        read_granule_names(["nowhere.txt"])
