"""From a query to a catalog, over a simulated CMR-STAC and everything that can go wrong there."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sources.stub import Stub, Waits, name, ok, page, quick
from zagg_catalog.errors import (
    BadResponse,
    EmptyHarvest,
    FetchError,
    IncompleteHarvest,
    InvalidQuery,
    PagingError,
    RequestFailed,
)
from zagg_catalog.sandbox import Granules, SandboxServer, simulate
from zagg_catalog.sandbox.faults import KINDS
from zagg_catalog.sources import Catalog, CMRSource, Query
from zagg_catalog.sources.transport import Transport

WORLD = (-180, -90, 180, 90)
TRACKS = range(1, 41)


@pytest.fixture(scope="module")
def granules() -> Granules:
    """Cycle 22 with its neighbours: 40 tracks, 560 granules each."""
    return simulate(cycle=[21, 22, 23], tracks=[*TRACKS, *range(1340, 1388)])


@pytest.fixture(scope="module")
def server(granules: Granules) -> Iterator[SandboxServer]:
    with SandboxServer(granules) as running:
        yield running


@pytest.fixture(scope="module")
def truth(server: SandboxServer) -> Catalog:
    return fetch(server)


def cycle_22(region: Any = WORLD, **more: Any) -> Query:
    return Query.for_cycle("ATL06", "007", 22, region, **more)


def fetch(
    server: SandboxServer, query: Query | None = None, *, retries: int = 6, **more: Any
) -> Catalog:
    method = more.pop("method", None)
    timeout = more.pop("timeout", 5)
    with quick(retries=retries, timeout=timeout) as transport:
        source = CMRSource(root_url=server.root_url, method=method, transport=transport)
        return source.fetch(query or cycle_22(), **more)


def ids(catalog: Catalog) -> list[str]:
    return catalog.table["id"].to_pylist()


def same(one: Catalog, other: Catalog) -> bool:
    """Whether two catalogs are equal but for the servers' addresses."""
    left, right = (c.table.drop_columns(["links"]) for c in (one, other))
    meta = [{k: v for k, v in c.metadata.items() if k != "stac_root"} for c in (one, other)]
    return left.equals(right) and meta[0] == meta[1]


# --- what a fetch gives


def test_a_cycle_is_exactly_the_granules_whose_names_carry_it(
    truth: Catalog, granules: Granules
) -> None:
    names = granules.table["id"].to_pylist()
    assert ids(truth) == sorted(n for n in names if re.match(r"ATL06_\d{14}_\d{4}22", n))
    assert truth.metadata["harvest"]["outside_cycle"] > 0
    assert truth.complete


def test_a_nominal_cycle_is_all_granules_between_its_dates(server: SandboxServer) -> None:
    found = ids(fetch(server, cycle_22(convention="nominal")))
    cycles = {n.split("_")[2][4:6] for n in found}
    assert cycles == {"22", "23"}
    query = Query("ATL06", "007", "2024-01-06", "2024-04-05", WORLD)
    assert ids(fetch(server, query)) == found


def test_provenance_says_what_was_asked_and_what_came(
    server: SandboxServer, truth: Catalog
) -> None:
    metadata = truth.metadata
    assert metadata == json.loads(json.dumps(metadata))
    harvest = metadata["harvest"]
    assert {k: v for k, v in metadata.items() if k != "harvest"} == {
        "source": "CMR-STAC",
        "stac_root": server.root_url,
        "provider": "NSIDC_CPRD",
        "collection": "ATL06_007",
        "short_name": "ATL06",
        "version": "007",
        "start_date": "2023-12-18",
        "end_date": "2024-03-18",
        "bbox": [-180.0, -90.0, 180.0, 90.0],
        "cycle": 22,
        "cycle_convention": "mission",
        "preserve_thumbnails": False,
        "total_granules": len(truth),
        "complete": True,
    }
    assert harvest["declared_before"] == harvest["harvested"]
    assert harvest["kept"] == len(truth)
    assert harvest["quarantined"] == harvest["superseded"] == []


def test_the_columns_hold_hrefs_times_and_boxes(truth: Catalog) -> None:
    row = truth.table.slice(0, 1).to_pylist()[0]
    file = re.match(r".*\.h5", row["id"])[0]  # type: ignore[index]
    assert row["assets"]["data"]["href"].startswith("https://")
    assert row["assets"]["data"]["href"].endswith(file)
    assert row["assets"]["data_s3"]["href"].startswith("s3://")
    assert row["assets"]["data"]["roles"] == ["data"]
    assert row["start_datetime"] == row["datetime"] < row["end_datetime"]
    assert set(row["bbox"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert truth.table["geometry"].null_count == 0


@pytest.mark.parametrize(
    "style",
    [
        {"page_size": 7},
        {"page_size": 2000},
        {"relative": True},
        {"next_method": "POST"},
        {"next_method": "POST-merge"},
        {"counts": "numberMatched"},
        {"counts": "context"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_same_content_gives_the_same_catalog(
    granules: Granules, style: dict[str, Any], method: str
) -> None:
    with SandboxServer(granules, **style) as other, SandboxServer(granules) as plain:
        query = cycle_22((-60, 60, 60, 90))
        assert same(fetch(other, query, method=method), fetch(plain, query))


def test_two_fetches_give_equal_files(server: SandboxServer, tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for limit, path in zip((2000, 50), paths, strict=True):
        fetch(server, limit=limit).to_geoparquet(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("limit", "sent"), [(1, "1"), (50, "50"), (5000, "5000"), (10**6, "5000")])
def test_the_limit_is_a_hint(granules: Granules, limit: int, sent: str) -> None:
    query = Query("ATL06", "007", "2023-12-19", "2023-12-19", WORLD)
    with SandboxServer(granules) as server:
        assert len(fetch(server, query, limit=limit)) > 10
        assert server.requests[0].query["limit"] == sent


@pytest.mark.parametrize("limit", [0, -5, 1.5, "10", True])
def test_a_limit_that_is_none_is_refused(server: SandboxServer, limit: Any) -> None:
    with pytest.raises(InvalidQuery, match="limit is a whole number"):
        fetch(server, limit=limit)


def test_thumbnails_come_on_request(server: SandboxServer) -> None:
    query = Query("ATL06", "007", "2023-12-19", "2023-12-19", WORLD)
    plain, kept = fetch(server, query), fetch(server, query, preserve_thumbnails=True)
    names = [field.name for field in kept.table.schema.field("assets").type]
    assert [f.name for f in plain.table.schema.field("assets").type] == names[:3]
    assert any(re.fullmatch(r"browse|thumbnail_1", n) for n in names[3:])
    assert kept.metadata["preserve_thumbnails"] is True


# --- regions


def test_a_box_over_the_antimeridian_is_asked_for_in_halves(granules: Granules) -> None:
    with SandboxServer(granules) as server:
        whole = fetch(server, cycle_22((170, -80, -170, 80)))
        asked = {r.query["bbox"] for r in server.requests}
        halves = [fetch(server, cycle_22(b)) for b in [(170, -80, 180, 80), (-180, -80, -170, 80)]]
    assert asked == {"170,-80,180,80", "-180,-80,-170,80"}
    assert ids(whole) == sorted({*ids(halves[0]), *ids(halves[1])})
    report = whole.metadata["harvest"]
    assert report["shared"] > 0
    assert [part["bbox"][0] for part in report["slices"]] == [170, -180]
    assert whole.metadata["bbox"] == [170, -80, -170, 80]
    assert whole.complete


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("south", "north"), [(-90, -80), (80, 90)])
def test_both_poles(
    server: SandboxServer, granules: Granules, south: int, north: int, method: str
) -> None:
    found = fetch(server, cycle_22((-180, south, 180, north)), method=method)
    regions = {n.split("_")[2][6:8] for n in ids(found)}
    assert regions >= ({"11"} if south < 0 else {"04"})
    assert regions <= ({"10", "11", "12"} if south < 0 else {"03", "04", "05"})
    tracks = {n.split("_")[2][:4] for n in ids(found)}
    assert len(tracks) == len({n.split("_")[2][:4] for n in granules.table["id"].to_pylist()})


def test_a_polygon_file_is_asked_for_by_its_box(granules: Granules, tmp_path: Path) -> None:
    ring = [[-70, 60], [-10, 60], [-10, 80], [-70, 80], [-70, 60]]
    path = tmp_path / "greenland.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with SandboxServer(granules) as server:
        found = fetch(server, cycle_22(path))
        west, south, east, north = map(float, server.requests[0].query["bbox"].split(","))
    assert (west, south, east) == (-70, 60, -10)
    assert north >= 80
    assert 0 < len(found) < 1000


# --- faults

COMPLETE = "complete"

# What each fault of the sandbox ends in, with what it sets aside; a new fault needs a line here.
EXPECTED: dict[str, tuple[str | type[FetchError], int]] = {
    "latency=0.01": (COMPLETE, 0),
    "status=429:times=2": (COMPLETE, 0),
    "status=500:times=2": (COMPLETE, 0),
    "status=502:every=3:times=9": (COMPLETE, 0),
    "status=503:times=1:retry-after=3": (COMPLETE, 0),
    "status=429:times=1:retry-after=date": (COMPLETE, 0),
    "status=504:times=6": (COMPLETE, 0),
    "status=503:times=999": (RequestFailed, 0),
    "status=404:skip=1": (RequestFailed, 0),
    "reset:every=2:times=9": (COMPLETE, 0),
    "reset:times=999": (RequestFailed, 0),
    "no-response:times=2": (COMPLETE, 0),
    "no-response:times=999": (RequestFailed, 0),
    "timeout=0.6": (COMPLETE, 0),
    "truncated:times=3": (COMPLETE, 0),
    "truncated:times=999": (FetchError, 0),
    "cut-json:times=3": (COMPLETE, 0),
    "cut-json:times=999": (BadResponse, 0),
    "html:times=3": (COMPLETE, 0),
    "html:skip=3:times=999": (BadResponse, 0),
    "json-list:times=3": (COMPLETE, 0),
    "json-list:times=999": (BadResponse, 0),
    "json-null:times=3": (COMPLETE, 0),
    "json-null:times=999": (BadResponse, 0),
    "no-features:times=3": (COMPLETE, 0),
    "no-features:times=999": (BadResponse, 0),
    "loop": (PagingError, 0),
    "cycle": (PagingError, 0),
    "next-without-href": (PagingError, 0),
    "next-elsewhere": (PagingError, 0),
    "empty-page": (COMPLETE, 0),
    "empty-page:page=0": (COMPLETE, 0),
    "short-page=60": (COMPLETE, 0),
    "silent-end:times=1": (COMPLETE, 0),
    "silent-end:page=1:times=1": (COMPLETE, 0),
    "silent-end": (IncompleteHarvest, 0),
    "silent-end:matched=0": (IncompleteHarvest, 0),
    "silent-end:page=1": (IncompleteHarvest, 0),
    "silent-end:page=1:matched=0:times=1": (COMPLETE, 0),
    "silent-end:page=1:matched=0": (EmptyHarvest, 0),
    "count-high": (IncompleteHarvest, 0),
    "count-low": (IncompleteHarvest, 0),
    "count-moves": (IncompleteHarvest, 0),
    "no-count": (IncompleteHarvest, 0),
    "ingest": (COMPLETE, 0),
    "ingest=5:times=3": (COMPLETE, 0),
    "duplicates=20": (COMPLETE, 0),
    "superseded=3": (COMPLETE, 3),
    "null-geometry=2": (COMPLETE, 2),
    "no-geometry": (COMPLETE, 1),
    "empty-polygon": (COMPLETE, 1),
    "nan-coordinate=100": (COMPLETE, 100),
    "few-vertices": (COMPLETE, 1),
    "missing-id": (COMPLETE, 1),
    "not-an-item": (COMPLETE, 1),
    "missing-assets": (COMPLETE, 1),
    "missing-datetime": (COMPLETE, 0),
}


@pytest.fixture(scope="module")
def few(granules: Granules) -> Granules:
    """One cycle of 25 tracks: 350 granules on four pages."""
    return simulate(cycle=22, tracks=range(1, 26))


@pytest.fixture(scope="module")
def few_truth(few: Granules) -> Catalog:
    with SandboxServer(few) as server:
        return fetch(server)


def test_every_fault_of_the_sandbox_has_an_expectation() -> None:
    assert {re.split("[:=]", fault)[0] for fault in EXPECTED} == set(KINDS)


@pytest.mark.parametrize(("fault", "end"), EXPECTED.items(), ids=EXPECTED.keys())
def test_a_fault_is_ridden_out_or_ends_in_a_named_error(
    few: Granules, few_truth: Catalog, fault: str, end: tuple[Any, int], tmp_path: Path
) -> None:
    expected, aside = end
    out = tmp_path / "catalog.parquet"
    with SandboxServer(few, faults=[fault]) as server:
        if expected is not COMPLETE:
            with pytest.raises(expected) as raised:
                fetch(server, timeout=0.5).to_geoparquet(out)
            assert server.root_url in str(raised.value)
            assert list(tmp_path.iterdir()) == []
            return
        fetch(server, timeout=0.5).to_geoparquet(out)
    found = Catalog.from_geoparquet(out)
    report = found.metadata["harvest"]
    assert found.complete
    assert len(report["quarantined"]) + len(report["superseded"]) == aside
    if fault.startswith("superseded"):
        assert len(found) == len(few_truth)
    elif aside == 0 and fault != "missing-datetime":
        assert same(found, few_truth)
    else:
        assert len(found) == len(few_truth) - aside
        assert set(ids(found)) <= set(ids(few_truth))


def test_quarantined_items_are_named_with_their_reasons(few: Granules, few_truth: Catalog) -> None:
    with SandboxServer(few, faults=["null-geometry=2", "missing-id:page=3"]) as server:
        report = fetch(server).metadata["harvest"]
    named = {entry["id"]: entry["reason"] for entry in report["quarantined"]}
    assert named.pop("page 3 item 1") == "it has no id"
    assert set(named.values()) == {"no geometry"}
    assert set(named) <= set(ids(few_truth))


@pytest.mark.parametrize("fault", ["silent-end", "count-high=7", "no-count", "count-moves"])
def test_partial_results_say_that_they_are_not_complete(
    few: Granules, fault: str, tmp_path: Path
) -> None:
    with SandboxServer(few, faults=[fault]) as server:
        found = fetch(server, partial=True)
    found.to_geoparquet(tmp_path / "part.parquet")
    loaded = Catalog.from_geoparquet(tmp_path / "part.parquet")
    assert not loaded.complete
    assert loaded.metadata["complete"] is False
    assert len(loaded) == (100 if fault == "silent-end" else 350)


def test_older_revisions_are_recorded(granules: Granules) -> None:
    both = simulate(cycle=22, tracks=range(1, 6), revised=0.3, superseded=0.5)
    with SandboxServer(both) as server:
        found = fetch(server)
    gone = found.metadata["harvest"]["superseded"]
    assert len(found) == 70
    assert len(gone) == len(both) - 70 > 0
    assert {entry["by"] for entry in gone} <= set(ids(found))


def test_retry_after_is_waited_for(few: Granules) -> None:
    waits = Waits()
    with (
        SandboxServer(few, faults=["status=429:retry-after=4"]) as server,
        quick(sleep=waits) as transport,
    ):
        CMRSource(root_url=server.root_url, transport=transport).fetch(cycle_22())
    assert len(waits) == 1
    assert 4 <= waits[0] < 5


def test_an_error_of_the_server_is_passed_on() -> None:
    with Stub(ok({})) as stub:
        source = CMRSource(root_url=stub.origin + "/stac", transport=Transport(retries=0))
        with pytest.raises(BadResponse, match="no list 'features'"):
            source.fetch(cycle_22())


# --- where the API is


def test_the_root_and_the_provider_make_the_address(few: Granules) -> None:
    with SandboxServer(few, provider="OTHER") as server, quick() as transport:
        source = CMRSource("OTHER", root_url=server.root_url + "/", transport=transport)
        assert source.fetch(cycle_22()).metadata["provider"] == "OTHER"
        assert server.requests[0].path == "/stac/OTHER/search"
        query = cycle_22(provider="OTHER")
        assert len(CMRSource(root_url=server.root_url, transport=transport).fetch(query)) == 350


def test_an_api_without_sub_catalogs_has_an_empty_provider() -> None:
    with Stub(ok(page([name(1)], numberMatched=1))) as stub, quick() as transport:
        source = CMRSource(provider="", root_url=stub.origin, transport=transport)
        assert len(source.fetch(cycle_22())) == 1
    assert stub.seen[0][1].startswith("/search?collections=ATL06_007&bbox=-180,-90,180,90&")


def test_the_settings_give_root_and_method(few: Granules, monkeypatch: pytest.MonkeyPatch) -> None:
    with SandboxServer(few) as server:
        monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", server.root_url)
        monkeypatch.setenv("ZAGG_CATALOG_STAC_METHOD", "POST")
        assert len(CMRSource(timeout=5).fetch(cycle_22())) == 350
        assert {r.method for r in server.requests} == {"POST"}
        assert server.requests[0].body == {
            "collections": ["ATL06_007"],
            "bbox": [-180, -90, 180, 90],
            "datetime": "2023-12-18T00:00:00Z/2024-03-18T23:59:59Z",
            "limit": 2000,
        }


def test_the_default_root_is_cmr_stac() -> None:
    assert CMRSource().root_url == "https://cmr.earthdata.nasa.gov/stac"


@pytest.mark.parametrize(
    "root", ["", "cmr.earthdata.nasa.gov", "ftp://x/", "http://", "http://x:y/", "http://h/?a=1"]
)
def test_a_root_that_is_no_address_is_refused(root: str) -> None:
    with pytest.raises(InvalidQuery, match="The root of a STAC API is an address"):
        CMRSource(root_url=root)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="GET or POST"):
        CMRSource(method="PUT")  # type: ignore[arg-type]


def test_a_login_in_the_root_is_sent_but_never_written() -> None:
    with Stub(ok(page([name(1)], numberMatched=1))) as stub, quick() as transport:
        root = stub.origin.replace("//", "//me:hunter2@")
        found = CMRSource("", root_url=root, transport=transport).fetch(cycle_22())
    assert stub.seen[0][3]["authorization"].startswith("Basic ")
    assert found.metadata["stac_root"] == stub.origin
    assert "hunter2" not in json.dumps(found.metadata)


def test_last_report_has_the_figures_of_the_transfer(few: Granules) -> None:
    with SandboxServer(few, faults=["status=503:times=2"]) as server, quick() as transport:
        source = CMRSource(root_url=server.root_url, transport=transport)
        assert source.last_report is None
        found = source.fetch(cycle_22())
        assert source.last_report is not None
        assert source.last_report.to_dict() == found.metadata["harvest"]
        transfer = source.last_report.transfer
        assert (transfer.pages, transfer.requests, transfer.retries) == (4, 7, 2)
        assert len(server.requests) == 7


def test_progress_is_told(few: Granules) -> None:
    told: list[tuple[int, int | None]] = []
    with SandboxServer(few) as server:
        fetch(server, progress=lambda done, total: told.append((done, total)))
    assert told == [(100, 350), (200, 350), (300, 350), (350, 350)]


# --- zagg


@pytest.mark.zagg
def test_zagg_reads_our_file(truth: Catalog, tmp_path: Path) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    truth.to_geoparquet(tmp_path / "ours.parquet")
    loaded = theirs.Catalog.from_geoparquet(str(tmp_path / "ours.parquet"))
    assert loaded.metadata == truth.metadata
    assert_same_records(loaded.granule_records(), truth.granule_records())


@pytest.mark.zagg
def test_zagg_fetches_the_same_granules(few: Granules, tmp_path: Path, monkeypatch: Any) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    with SandboxServer(few) as server:
        monkeypatch.setattr(theirs, "_CMR_STAC_ROOT", server.root_url)
        ours = fetch(server)
        query = cycle_22()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fetched = theirs.CMRSource().fetch(
                theirs.Query("ATL06", "007", query.start_date, query.end_date, WORLD)
            )
    fetched.to_geoparquet(str(tmp_path / "zagg.parquet"))
    loaded = Catalog.from_geoparquet(tmp_path / "zagg.parquet")
    by_id = sorted(loaded.granule_records(), key=lambda record: record["id"])
    assert_same_records(by_id, ours.granule_records())
    shared = fetched.metadata.keys()
    assert {k: ours.metadata[k] for k in shared} | {"bbox": None} == fetched.metadata | {
        "bbox": None
    }


@pytest.mark.zagg
@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:output.store_layout:DeprecationWarning")
def test_zagg_builds_a_shard_map_from_our_file(
    few: Granules, real_data: Path, tmp_path: Path
) -> None:
    theirs = pytest.importorskip("zagg.catalog.sources")
    from zagg.catalog.shardmap import ShardMap
    from zagg.config import load_config
    from zagg.grids import from_config

    with SandboxServer(few) as server:
        ours = fetch(server, cycle_22((-100, 20, -60, 50)))
    ours.to_geoparquet(tmp_path / "ours.parquet")
    catalog = theirs.Catalog.from_geoparquet(str(tmp_path / "ours.parquet"))
    grid = from_config(load_config(str(real_data / "healpix_o9.yaml")))
    region = [(np.array([38.0, 38.0, 39.0, 39.0]), np.array([-77.0, -76.0, -76.0, -77.0]))]
    built = ShardMap.build(catalog, grid, region=region, backend="mortie")
    assert built.metadata["total_granules"] == len(ours)
    assert built.metadata["complete"] is True


def assert_same_records(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert [r["id"] for r in one] == [r["id"] for r in other]
    for left, right in zip(one, other, strict=True):
        assert left.keys() >= {"id", "s3", "https", "lats", "lons", "time_start", "time_end"}
        assert left.keys() == right.keys()
        for key in left.keys() - {"lats", "lons"}:
            assert left[key] == right[key]
        for key in ("lats", "lons"):
            np.testing.assert_array_equal(left[key], right[key])
