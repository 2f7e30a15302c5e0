"""The page of a report: what it says, what it holds, and what it lets nobody do."""

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import shapely

from tests.harness.hostile_texts import HIDDEN, MARK, TEXTS
from tests.releases import inputs
from tests.report.unpack import facts_of, packs_of, pairs_of, shapes_of
from tests.test_catalog import make_catalog
from zagg_catalog import Catalog, ShardMap, from_config
from zagg_catalog.cycles import cycle_to_days
from zagg_catalog.releases import find_release
from zagg_catalog.releases.report import release_content
from zagg_catalog.report import catalog_content, map_content, report_html
from zagg_catalog.report.content import ReportContent, Statement, verdict_of
from zagg_catalog.sandbox import simulate
from zagg_catalog.shardmap import ShardsBeyondArea
from zagg_catalog.store import open_store


@pytest.fixture(scope="session")
def real(real_data):
    catalog = Catalog.from_geoparquet(real_data / "atl03_007_neon.parquet")
    grid = from_config(real_data / "healpix_o9.yaml")
    return catalog, ShardMap.build(catalog, grid, region=real_data / "aop_neon.geojson")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A store with two releases of one cycle: the second adds, revises and removes granules."""
    folder = tmp_path_factory.mktemp("report")
    store = open_store(str(folder / "store"))
    for name in ("first", "next"):
        inputs.write(folder, name, inputs.CATALOGS[name])
        inputs.publish(store, folder, name)
    return store, folder


@pytest.fixture(scope="module")
def page(published):
    store, _ = published
    return report_html(release_content(store, find_release(store, *inputs.RELEASE_KEY)))


@pytest.mark.realdata
def test_the_page_has_each_pair_of_a_map_of_real_granules(real):
    catalog, shard_map = real
    packs = packs_of(report_html(map_content(shard_map, name="map.json", catalog=catalog)))
    names = packs["granules"]["id"]
    found = {
        key: sorted(names[place] for place in places)
        for key, places in pairs_of(packs["grid-0"]).items()
    }
    assert found == {key: sorted(one["id"] for one in shard_map[key]) for key in shard_map}
    assert sorted(names) == sorted(catalog.ids)


@pytest.mark.realdata
def test_addresses_follow_from_patterns_and_names(real):
    catalog, _ = real
    pack = packs_of(report_html(catalog_content(catalog, name="c.parquet")))["granules"]
    found = {}
    for slot in ("https", "s3"):
        for name, which in zip(pack["id"], pack[f"{slot}.which"], strict=True):
            file, day = re.match(r".*?\.h5", name)[0], name[6:14]
            address = pack[f"{slot}.patterns"][which].replace("\x01", file)
            found[slot, name] = address.replace("\x02", f"{day[:4]}/{day[4:6]}/{day[6:]}")
    for record in catalog:
        assert found["https", record["id"]] == (record["https"] or "")
        assert found["s3", record["id"]] == (record["s3"] or "")
    assert len(pack["https.patterns"]) < 20


@pytest.mark.realdata
def test_shards_and_footprints_are_where_they_are_on_the_ground(real):
    catalog, shard_map = real
    page = report_html(map_content(shard_map, name="map.json", catalog=catalog))
    packs, facts = packs_of(page), facts_of(page)
    shards = shapes_of(packs["grid-0"], "shard")
    assert len(shards) == len(shard_map)
    points = np.array([point for rings in shards for ring in rings for point in ring])
    assert (points >= 0).all()
    assert (points <= [facts["width"], facts["height"]]).all()
    # A granule's footprint reaches the box of each of its shards.
    prints = shapes_of(packs["footprints"], "footprint")
    pairs = pairs_of(packs["grid-0"])
    for rings, places in zip(shards[::50], list(pairs.values())[::50], strict=True):
        shard = np.array(rings[0])
        for place in places:
            outline = np.array([point for ring in prints[place] for point in ring])
            assert (outline.min(axis=0) <= shard.max(axis=0) + 2).all()
            assert (outline.max(axis=0) >= shard.min(axis=0) - 2).all()


def test_equal_releases_give_equal_pages(published, page):
    store, _ = published
    again = report_html(release_content(store, find_release(store, *inputs.RELEASE_KEY)))
    assert again == page


def test_the_page_says_what_changed(page):
    assert "1 granule added, 1 revised, 1 removed" in page
    pack = packs_of(page)["granules"]
    changes = dict(zip(pack["id"], pack["changes"], strict=True))
    assert {name for name, change in changes.items() if change == 1} == {inputs.granule(8)}
    assert {name for name, change in changes.items() if change == 2} == {inputs.granule(3, 2)}
    assert {1, 2, 3} & {*packs_of(page)["grid-0"]["changes"]}


def test_the_page_has_whole_digests_to_copy_and_short_ones_to_read(published, page):
    store, _ = published
    release = find_release(store, *inputs.RELEASE_KEY)
    for digest in (release.digest, release.record.catalog.digest):
        assert re.search(f'data-copy="(sha256:)?{digest}"', page)
        assert f"{digest[:12]}…" in page


def test_commands_fetch_the_map(published, page):
    store, _ = published
    release = find_release(store, *inputs.RELEASE_KEY)
    for grid in release.record.grids:
        assert f"--grid {grid.name} --output ." in page
        assert grid.manifest.document.key in page


def test_nothing_but_its_own_script_and_style_runs(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert not re.search(r'\b(src|href)="(?!#|data:,)', page)
    assert not re.search(r"\b(style|on\w+)=\"", page.split("<script", 1)[0])


def test_a_page_of_one_grid_names_the_others(published):
    store, _ = published
    release = find_release(store, *inputs.RELEASE_KEY)
    page = report_html(release_content(store, release, grids=["healpix"]))
    assert 'class="note" data-map-problem>Grid plate has no map on this page: it was not' in page
    assert "grid-1" not in packs_of(page)


def test_a_page_without_room_says_what_it_leaves_out(published):
    store, _ = published
    content = release_content(store, find_release(store, *inputs.RELEASE_KEY))
    page = report_html(content, room=0)
    assert not {"grid-0", "grid-1", "footprints"} & packs_of(page).keys()
    assert page.count("because the page would be too large") == 3
    assert "--grid healpix" in page


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_texts_of_others_are_read_and_do_nothing(text):
    content = ReportContent(
        kind="catalog",
        title=text,
        level="warn",
        verdict="Not known to be complete",
        statements=(Statement("warn", text),),
        figures=((text, text),),
        commands=((text, text),),
    )
    page = report_html(content)
    assert page.encode()
    assert MARK in page
    assert "<img src=x" not in page
    assert "</td></table>" not in page
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    assert not HIDDEN.search(body.replace("\n", " "))
    assert len(body) < 40_000


def test_a_name_cannot_end_the_script_that_holds_it():
    name = "ATL06</script><script>alert(1)</script>.h5"
    catalog = inputs.make({0: 1})
    table = catalog.table.set_column(
        catalog.table.schema.get_field_index("id"), "id", pa.array([name])
    )
    page = report_html(catalog_content(Catalog(table, catalog.metadata), name=name))
    assert page.count("</script>") == page.count("<script")
    assert "alert(1)</script>" not in page


def test_what_is_missing_is_said_first():
    catalog = inputs.make({0: 1}, complete=False)
    page = report_html(catalog_content(catalog, name="c.parquet"))
    assert "<strong>Incomplete</strong>" in page
    assert page.index("The catalog is incomplete") < page.index("<main>")
    unknown = Catalog(catalog.table, {})
    assert "<strong>Not known to be complete</strong>" in report_html(
        catalog_content(unknown, name="c.parquet")
    )


def test_a_verdict_is_never_better_than_its_statements():
    good, warn, bad = (Statement(level, level) for level in ("good", "warn", "bad"))
    assert verdict_of(True, [good])["level"] == "good"
    assert verdict_of(True, [good, warn])["level"] == "warn"
    assert verdict_of(True, [good, bad])["level"] == "bad"
    assert verdict_of(False, [good])["level"] == "bad"
    assert verdict_of("unknown", [good])["level"] == "warn"


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """The content of a release that was held back: one map lacks granules, the other failed."""
    folder = tmp_path_factory.mktemp("partial")
    store = open_store(str(folder / "store"))
    reach = {"area": [[-180.0, -5.0, 180.0, 0.5]], "bbox": [-180.0, -5.0, 180.0, 0.5]}
    with pytest.warns(ShardsBeyondArea):
        inputs.write(folder, "first", inputs.CATALOGS["first"], **reach)
    healpix, plate = inputs.builds(folder, "first")
    failed = replace(plate, shard_map=None, error="Too large: <script>alert(1)</script>.")
    inputs.publish(store, folder, "first")
    found = inputs.publish(store, folder, "first", maps=[healpix, failed])
    assert not found.latest
    release = find_release(store, *inputs.RELEASE_KEY, digest=found.digest)
    return release_content(store, release)


def test_a_failed_grid_and_a_map_that_lacks_granules_are_said_at_the_top_and_at_the_map(partial):
    page = report_html(partial)
    top = page[: page.index("<main>")]
    assert "<strong>Incomplete</strong>" in top
    assert "Grid plate is failed." in top
    assert "It is not the latest release" in top
    beside = page[page.index('<section id="map"') : page.index('id="map-frame"')]
    assert "Grid plate has no map on this page: Too large: &lt;script&gt;" in beside
    assert "The map of healpix is incomplete: " in beside
    packs = packs_of(page)
    assert "grid-1" not in packs
    assert any(packs["grid-0"]["beyond"])


def test_a_known_gap_and_days_without_granules_are_shown():
    granules = simulate("ATL06", cycle=23, tracks=range(1, 1388, 40), regions=[10, 11, 12])
    page = report_html(catalog_content(made_catalog(granules, 23), name="c.parquet"))
    assert "in days without data of the instrument, 2024-05-10 to 2024-06-21" in page
    assert 'class="gap-days"' in page
    assert "<title>2024-06-17: 0 granules</title>" in page
    states = np.array(packs_of(page)["granules"]["states"]).reshape(1387, 14)
    assert (states[::40, 9:12] != 2).all()
    assert (states[1::40, 9:12] != 1).all()
    assert {*np.unique(states)} == {0, 1, 2, 3}


def test_unknown_expectations_are_no_gaps():
    granules = simulate("ATL06", cycle=22, tracks=[1, 2], regions=[10])
    catalog = made_catalog(granules, 22)
    del catalog.metadata["area"], catalog.metadata["bbox"]
    page = report_html(catalog_content(catalog, name="c.parquet"))
    assert "It is not known which granules the tracks should give here" in page
    assert packs_of(page)["granules"]["states"].count(4) == 1387 * 14 - 2


def made_catalog(granules, cycle):
    """A catalog of simulated granules, complete for the far south."""
    shapes = [shapely.Polygon(granules.ring(row)) for row in range(len(granules))]
    first, last = cycle_to_days(cycle)
    table = make_catalog(*[[(0, 0), (1, 0), (1, 1)]] * len(granules)).table
    for name, values in {
        "id": granules.table["id"].combine_chunks(),
        "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()),
        "start_datetime": pc.assume_timezone(granules.table["start"].combine_chunks(), "UTC"),
    }.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    box = [-180.0, -90.0, 180.0, -60.0]
    return Catalog(
        table,
        {
            "collection": "ATL06_007",
            "cycle": cycle,
            "cycle_convention": "mission",
            "start_date": first,
            "end_date": last,
            "bbox": box,
            "area": [box],
            "complete": True,
        },
    )
