"""Addresses of every source lose their secrets."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.catalog.addresses import without_secrets
from zagg_catalog.catalog.table import granule_entries
from zagg_catalog.errors import InvalidCatalog
from zagg_catalog.releases.catalog_file import check_addresses
from zagg_catalog.sources.items import read_items
from zagg_catalog.sources.umm import Collection, stac_items

NAME = "ATL06_20231218211600_00012201_007_01.h5"
PLAIN = f"https://host/{NAME}"
SIGNED = [
    f"https://host/{NAME}?X-Amz-Algorithm=A&X-Amz-Credential=planted&X-Amz-Signature=planted",
    f"https://host/{NAME}?Expires=1&Signature=planted&Key-Pair-Id=planted",
    f"https://host/{NAME}?sv=2024&se=2025&sr=b&sp=r&sig=planted",
    f"https://host/{NAME}?access_token=planted",
    f"https://user:planted@host/{NAME}",
    f"https://planted@host/{NAME}",
    f"https://host/{NAME}#token=planted",
    f"https://host/{NAME}?api_key=planted",
    f"https://host/{NAME}?X%2DAmz%2DSignature=planted",
]


@pytest.mark.parametrize("address", SIGNED)
def test_the_address_stays_and_the_secret_goes(address):
    assert without_secrets(address) == PLAIN


@pytest.mark.parametrize(
    "address",
    [
        PLAIN,
        f"s3://bucket/{NAME}",
        f"https://host/get?file={NAME}",
        "s3://b/a@2/x.h5",
        "https://h/x?",
    ],
)
def test_an_address_without_a_secret_is_unchanged(address):
    assert without_secrets(address) == address


def item(data, **members):
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": NAME,
        "collection": "ATL06_007",
        "geometry": {"type": "Polygon", "coordinates": [[*map(list, [*SQUARE, SQUARE[0]])]]},
        "bbox": [0, 0, 1, 1],
        "links": [{"rel": "self", "href": data}],
        "assets": {
            "a": {"href": data, "roles": ["data"], "title": f"Download {data}"},
            "m": {"href": data.replace(".h5", ".xml"), "roles": ["metadata"]},
        },
        "properties": dict.fromkeys(
            ("datetime", "start_datetime", "end_datetime"), "2023-12-18T21:16:00.000Z"
        ),
    } | members


def record(data):
    points = [{"Longitude": x, "Latitude": y} for x, y in [*SQUARE, SQUARE[0]]]
    polygon = {"GPolygons": [{"Boundary": {"Points": points}}]}
    urls = [{"URL": data, "Type": kind} for kind in ("GET DATA", "GET RELATED VISUALIZATION")]
    umm = {
        "GranuleUR": NAME,
        "CollectionReference": {"ShortName": "ATL06", "Version": "007"},
        "SpatialExtent": {"HorizontalSpatialDomain": {"Geometry": polygon}},
        "RelatedUrls": urls,
        "TemporalExtent": {"SingleDateTime": "2023-12-18T21:16:00.000Z"},
    }
    return {"umm": umm, "meta": {"concept-id": "G1-X"}}


@pytest.mark.parametrize("address", SIGNED)
@pytest.mark.parametrize("api", ["stac", "cmr"])
def test_no_secret_of_an_api_is_in_the_rows(api, address):
    items = [item(address)]
    if api == "cmr":
        items = stac_items([record(address)], Collection(name="ATL06_007"), "https://cmr/search")
    found = read_items(items, "ATL06_007", preserve_thumbnails=api == "cmr").table
    assert found["assets"][0]["data"]["href"].as_py() == PLAIN
    assert "planted" not in json.dumps(found.drop_columns("geometry").to_pylist(), default=str)


@pytest.mark.parametrize("place", ["data", "metadata", "links"])
def test_no_secret_of_a_regular_page_is_in_the_rows(place):
    signed = item(PLAIN)
    if place == "links":
        signed["links"][0]["href"] = SIGNED[0]
    else:
        signed["assets"]["a" if place == "data" else "m"]["href"] = SIGNED[4]
    found = read_items([signed], "ATL06_007").table
    assert found.num_rows == 1
    assert "planted" not in str(found.select(["assets", "links"]).to_pylist())


@pytest.mark.parametrize("address", SIGNED[:5])
def test_no_secret_of_a_stored_file_is_in_catalog_or_map(tmp_path, address):
    table = make_catalog(SQUARE).table
    signed = pa.array([{"data": {"href": address}, "other": {"href": address, "title": address}}])
    table = table.set_column(table.schema.get_field_index("assets"), "assets", signed)
    pq.write_table(table, tmp_path / "signed.parquet")
    with pytest.raises(InvalidCatalog, match="signature, a password or a token"):
        check_addresses(tmp_path / "signed.parquet")
    catalog = Catalog.from_geoparquet(tmp_path / "signed.parquet")
    assert granule_entries(catalog.table)["https"].to_pylist() == [PLAIN]
    catalog.to_geoparquet(tmp_path / "again.parquet")
    check_addresses(tmp_path / "again.parquet")
    assert "planted" not in str(pq.read_table(tmp_path / "again.parquet")["assets"].to_pylist())
    built = ShardMap.build(catalog, HealpixGrid(6, 12), region=[([0, 0, 1, 1], [0, 1, 1, 0])])
    built.to_json(tmp_path / "map.json")
    assert "planted" not in (tmp_path / "map.json").read_text()


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_no_secret_of_a_manifest_is_read(tmp_path, form):
    path = tmp_path / f"map.{form}"
    entry = {"id": NAME, "s3": None, "https": "planted", "assets": {"data": "planted"}}
    columns = ShardMap({}, [1], [[entry]])
    texts = {"https": SIGNED[0], "extra": json.dumps({"assets": {"data": SIGNED[1]}})}
    for name, text in texts.items():
        place = columns.table.schema.get_field_index(name)
        columns.table = columns.table.set_column(place, name, pa.array([text]))
    (columns.to_json if form == "json" else columns.to_parquet)(path)
    read = ShardMap.from_json if form == "json" else ShardMap.from_parquet
    assert read(path).granules == [[entry | {"https": PLAIN, "assets": {"data": PLAIN}}]]
