"""Products that are not ICESat-2's: names as they are, and data files of any kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.served import fetch, ids
from tests.sources.stub import Stub, ok, page, quick
from zagg_catalog.errors import EmptyHarvest, InvalidQuery
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.sandbox.items import from_items
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.data_asset import DataAsset

GEDI = "GEDI_L4A_AGB_Density_V2_1_2056"
JUNE = ("2024-06-01", "2024-06-30")
WORLD = (-180, -90, 180, 90)


def scene(number: int, collection: str, assets: dict[str, Any]) -> dict[str, Any]:
    ring = [[10, 40], [11, 40], [11, 41], [10, 41], [10, 40]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": f"scene_{number}",
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [10, 40, 11, 41],
        "links": [],
        "properties": {"datetime": f"2024-06-{number + 1:02d}T10:00:00Z"},
        "assets": assets,
    }


def band(number: int, name: str, **more: Any) -> dict[str, Any]:
    media = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {"href": f"s3://scenes/{number}/{name}", "type": media, "roles": ["data"], **more}


def scenes(collection: str) -> list[Any]:
    return [
        scene(
            number,
            collection,
            {
                "readme": band(number, "readme.txt", type="text/plain"),
                "B03": band(number, "B03.tif"),
                "B04": band(number, "B04.tif"),
            },
        )
        for number in range(3)
    ]


@pytest.mark.parametrize(
    ("short_name", "version", "collection"),
    [
        (GEDI, "2.1", f"{GEDI}_2.1"),
        ("Daymet_Daily_V4R1_2129", "4.1", "Daymet_Daily_V4R1_2129_4.1"),
        ("MYD021KM", "6", "MYD021KM_6"),
        ("MYD021KM", 6, "MYD021KM_6"),
        ("sentinel-2-l2a", "", "sentinel-2-l2a"),
        ("atl08ql", "7", "ATL08QL_007"),
    ],
)
def test_only_icesat2_gets_capitals_and_three_digits(
    short_name: str, version: str | int, collection: str
) -> None:
    assert Query(short_name, version, *JUNE, WORLD).collection == collection


def test_names_are_sent_as_they_are() -> None:
    query = Query(GEDI, "2.1", *JUNE, WORLD, "ORNL_CLOUD")
    with (
        Stub(ok(page([], numberMatched=0))) as stub,
        quick() as transport,
        pytest.raises(EmptyHarvest),
    ):
        CMRSource(root_url=stub.origin, transport=transport).fetch(query)
    assert stub.seen[0][1].startswith(f"/ORNL_CLOUD/search?collections={GEDI}_2.1&")


def test_a_cycle_needs_an_icesat2_product() -> None:
    with pytest.raises(InvalidQuery, match="Cycles are in the names of ICESat-2 granules"):
        Query.for_cycle(GEDI, "2.1", 22, WORLD)


def test_icesat2_and_cmr_need_a_version() -> None:
    with pytest.raises(InvalidQuery, match="version is made of"):
        Query("ATL06", "", *JUNE, WORLD)
    with pytest.raises(InvalidQuery, match="CMR itself needs the version of MYD021KM"):
        CMRSource(api="cmr").fetch(Query("MYD021KM", "", *JUNE, WORLD, "LAADS"))


def test_recorded_gedi_granules_are_read(real_data: Path) -> None:
    """Their short name is in mixed case, and a checksum is a data file too."""
    recorded = json.loads(
        (real_data / "recorded" / "umm_gedi_l4a_mixed_case.json").read_text(encoding="utf-8")
    )
    query = Query(GEDI, "2.1", "2023-03-01", "2023-03-01", WORLD, "ORNL_CLOUD")
    answer = ok(recorded, CMR_Hits=str(len(recorded["items"])), Content_Type="application/json")
    with Stub(answer) as stub, quick() as transport:
        source = CMRSource(root_url=stub.origin, api="cmr", transport=transport)
        catalog = source.fetch(query)
    assert len(catalog) == len(recorded["items"])
    assert all(
        row["data_s3"]["href"].endswith(".h5") for row in catalog.table["assets"].to_pylist()
    )
    assert catalog.metadata["harvest"]["irregular_names"] == len(catalog)


@pytest.mark.parametrize(
    ("rule", "file"),
    [
        ("role=data,ending=.tif", "B03.tif"),
        ("key=B04", "B04.tif"),
        ("type=image/tiff", "B03.tif"),
        ("type=image/tiff;application=geotiff;profile=cloud-optimized,key=B04", "B04.tif"),
    ],
)
def test_a_rule_says_which_asset_is_the_data(rule: str, file: str) -> None:
    query = Query("scenes-l2a", "", *JUNE, WORLD, data_asset=rule)
    with SandboxServer(from_items(scenes("scenes-l2a"))) as server:
        catalog = fetch(server, query)
    assert ids(catalog) == ["scene_0", "scene_1", "scene_2"]
    hrefs = [row["data_s3"]["href"] for row in catalog.table["assets"].to_pylist()]
    assert hrefs == [f"s3://scenes/{number}/{file}" for number in range(3)]
    assert catalog.metadata["data_asset"] == rule


def test_an_item_without_such_an_asset_is_named() -> None:
    query = Query("scenes-l2a", "", *JUNE, WORLD, data_asset="ending=.jp2")
    with (
        SandboxServer(from_items(scenes("scenes-l2a"))) as server,
        pytest.raises(EmptyHarvest, match=r"no data asset: an href ending in \.jp2"),
    ):
        fetch(server, query)


def test_gridded_icesat2_products_are_netcdf() -> None:
    assert str(Query("ATL15", "005", *JUNE, WORLD).asset) == "role data and an href ending in .nc"


@pytest.mark.parametrize("rule", ["", "tif", "role=", "size=3", "role=data,role=data"])
def test_a_rule_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(InvalidQuery, match=r"role=data,ending=\.tif"):
        DataAsset.parse(rule)
