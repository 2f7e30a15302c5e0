"""The report in a browser: maps over the South Pole and over the antimeridian."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from playwright.sync_api import expect
from pyproj import Transformer

from tests.harness.browser import accessibility_findings, sideways
from tests.harness.hostile_texts import TEXTS
from zagg_catalog import Catalog, CMRSource, HealpixGrid, Query, RectilinearGrid, ShardMap
from zagg_catalog.build import area_of
from zagg_catalog.grids import OutputGrid
from zagg_catalog.report.content import map_content
from zagg_catalog.report.page import report_html
from zagg_catalog.sandbox import SandboxServer, simulate

# A grid, and the box of a region.
PLACES = {
    "pole": (
        RectilinearGrid("EPSG:3031", 10_000.0, (-3e6, -3e6, 3e6, 3e6), (20, 20)),
        (-180, -90, 180, -62),
    ),
    "antimeridian": (HealpixGrid(6, 9), (165, 45, -165, 55)),
}
# The map is looked at in so many places a side.
LOOKS = 24


@dataclass(frozen=True)
class Report:
    """A page, and the map that it shows."""

    path: Path
    grid: OutputGrid
    shard_map: ShardMap

    @property
    def address(self) -> str:
        return self.path.as_uri()

    @property
    def fullest(self) -> str:
        """The key of the shard with most granules."""
        return str(max(self.shard_map, key=lambda key: len(self.shard_map[key])))

    def granules(self, key: str) -> list[dict]:
        return self.shard_map[int(key)]

    def outlines(self, page) -> dict[str, shapely.Geometry]:
        """The shards by key, in the projection that the page names, metres."""
        project = Transformer.from_crs("EPSG:4326", stated_projection(page), always_xy=True)
        found = {}
        for key, shape in zip(self.shard_map, self.grid.outlines([*self.shard_map]), strict=True):
            parts = shapely.get_parts(shape)
            flat = shapely.transform(parts, project.transform, interleaved=False)
            # A shard is cut at the antimeridian; its parts become one again.
            found[str(key)] = shapely.union_all(shapely.buffer(flat, 10.0))
        return found


def stated_projection(page) -> str:
    text = page.locator("#map-help").inner_text()
    if code := re.search(r"EPSG:\d+", text):
        return code[0]
    lat, lon = re.findall(r"([\d.]+)°([NSEW])", text)
    signed = [f"-{degrees}" if side in "SW" else degrees for degrees, side in (lat, lon)]
    return f"+proj=laea +lat_0={signed[0]} +lon_0={signed[1]}"


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Report]:
    folder = tmp_path_factory.mktemp("reports")
    granules = simulate("ATL06", cycle=22, tracks=range(1, 1388, 30))
    with SandboxServer(granules) as server:
        source = CMRSource(root_url=server.root_url)
        return {place: make_report(folder / place, *PLACES[place], source) for place in PLACES}


def make_report(folder: Path, grid: OutputGrid, box: tuple, source: CMRSource) -> Report:
    area = area_of([grid], box)
    catalog = source.fetch(Query.for_cycle("ATL06", "007", 22, box, area=area))
    shard_map = ShardMap.build(catalog, grid, region=box)
    return Report(write_report(folder, catalog, shard_map), grid, shard_map)


def write_report(folder: Path, catalog: Catalog, shard_map: ShardMap) -> Path:
    folder.mkdir()
    catalog.to_geoparquet(folder / "catalog.parquet")
    shard_map.to_parquet(folder / "map.parquet")
    page = folder / "report.html"
    content = map_content(shard_map, name="map.parquet", catalog=catalog)
    page.write_text(report_html(content), encoding="utf-8", errors="surrogatepass")
    return page


@pytest.fixture(params=PLACES)
def report(request, reports) -> Report:
    return reports[request.param]


@pytest.fixture
def polar(reports) -> Report:
    return reports["pole"]


def opened(visitor, report, **options):
    """The page of a report, when all of its data is unpacked."""
    page = visitor.open(report.address, **options)
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    return page


@dataclass(frozen=True)
class Look:
    """What the map shows in one place: in pixels of the map, and the shard that it names."""

    x: float
    y: float
    key: str | None
    colours: list[str]
    """Of the pixels around, rrggbb."""


# Pointing with playwright's mouse takes a message for each place; this takes one for all.
LOOK_AROUND = """looks => {
    const frame = document.querySelector("#map-frame");
    const details = document.querySelector("#details");
    const canvas = document.querySelector("#map-base");
    const context = canvas.getContext("2d");
    const {left, top, width, height} = frame.getBoundingClientRect();
    const ratio = canvas.width / width;
    const hex = one => one.toString(16).padStart(2, "0");
    const found = [];
    for (let i = 0; i < looks * looks; i++) {
        const x = (i % looks + 0.5) * width / looks;
        const y = (Math.floor(i / looks) + 0.5) * height / looks;
        const at = {clientX: left + x, clientY: top + y, pointerType: "mouse", bubbles: true};
        frame.dispatchEvent(new PointerEvent("pointermove", at));
        const read = context.getImageData(x * ratio - 2, y * ratio - 2, 5, 5).data;
        const colours = [];
        for (let k = 0; k < read.length; k += 4)
            colours.push([...read.slice(k, k + 3)].map(hex).join(""));
        found.push([x, y, details.dataset.shard ?? null, colours]);
    }
    return found;
}"""


def look_around(page) -> list[Look]:
    """Point at the map in places all over it."""
    return [Look(*one) for one in page.evaluate(LOOK_AROUND, LOOKS)]


def to_plane(looks: list[Look], outlines: dict[str, shapely.Geometry]) -> tuple:
    """Where the looks are in the projection, points, and how many metres a pixel has.

    The map may be moved and scaled, but neither turned nor mirrored nor stretched: x and y are
    fitted by a factor that is the same for both, so that each look comes to lie in the shard that
    it names, if that can be.
    """
    named = np.array([look.key is not None for look in looks])
    shapes = np.array([outlines[look.key] for look in looks if look.key])
    pixels = np.array([[look.x, -look.y] for look in looks])
    middle = pixels[named].mean(axis=0)
    wanted = shapely.get_coordinates(shapely.centroid(shapes))
    for _ in range(100):
        centre, offsets = wanted.mean(axis=0), pixels[named] - middle
        scale = np.sum(offsets * (wanted - centre)) / np.sum(offsets**2)
        found = centre + (pixels - middle) * scale
        # The nearest point of its shard; the point itself if it lies in it.
        nearest = shapely.shortest_line(shapes, shapely.points(found[named]))
        wanted = shapely.get_coordinates(nearest)[::2]
    return shapely.points(found), scale


def test_each_place_of_the_map_is_the_shard_there(report, visitor):
    page = opened(visitor, report)
    outlines, looks = report.outlines(page), look_around(page)
    places, metres = to_plane(looks, outlines)
    assert sum(look.key is not None for look in looks) > LOOKS * LOOKS / 8
    for look, place in zip(looks, places, strict=True):
        if look.key:
            assert outlines[look.key].distance(place) < 3 * metres
        else:
            inside = [outline for outline in outlines.values() if outline.contains(place)]
            assert all(outline.boundary.distance(place) < 3 * metres for outline in inside)


def test_a_shard_has_the_colour_of_its_number_of_granules(report, visitor):
    page = opened(visitor, report)
    classes = legend(page)
    shown = right = 0
    for look in look_around(page):
        # Near the side of a shard there are two colours.
        if look.key and len(set(look.colours)) == 1:
            count = len(report.granules(look.key))
            (expected,) = [colour for low, high, colour in classes if low <= count <= high]
            shown, right = shown + 1, right + (look.colours[0] == expected)
    assert shown > LOOKS * LOOKS / 8
    assert right == shown
    assert len({colour for _, _, colour in classes}) == len(classes) > 1


def legend(page) -> list[tuple[int, int, str]]:
    """The least and greatest count of each colour in the legend, and the colour."""
    found = []
    for item in page.locator("#legend li").all():
        if item.locator(".swatch").count():
            counts = [int(one.replace(",", "")) for one in re.findall(r"[\d,]+", item.inner_text())]
            rgb = item.locator(".swatch").evaluate("one => getComputedStyle(one).backgroundColor")
            colour = "".join(f"{int(one):02x}" for one in re.findall(r"\d+", rgb)[:3])
            found.append((counts[0], counts[-1], colour))
    return found


def a_place(page) -> tuple[float, float, str]:
    """Where in the window a shard is seen, and its key."""
    frame = page.locator("#map-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    seen = page.viewport_size["height"] - box["y"]
    look = next(look for look in look_around(page) if look.key and look.y < seen)
    return box["x"] + look.x, box["y"] + look.y, look.key


def expect_details(page, report, key: str) -> None:
    """The page shows a shard: key, count, and granules with links to their files."""
    granules = report.granules(key)
    details = page.locator("#details")
    expect(details.locator("#shard-key")).to_have_text(key)
    expect(details.locator("#shard-count")).to_contain_text(f"{len(granules):,} granule")
    names = details.locator("#granules .name").all_inner_texts()
    assert sorted(names) == sorted(one["id"] for one in granules)[: len(names)]
    links = [one.get_attribute("href") for one in details.locator("#granules a").all()]
    assert set(links) == {one["https"] for one in granules}


def test_pointing_at_a_shard_shows_its_granules(report, visitor):
    page = opened(visitor, report)
    x, y, key = a_place(page)
    page.mouse.move(0, 0)
    page.mouse.move(x, y)
    expect_details(page, report, key)
    # A click keeps it while the pointer goes to its links.
    page.mouse.click(x, y)
    page.locator("#details a").first.hover()
    expect_details(page, report, key)


def test_tapping_a_shard_shows_its_granules(report, visitor):
    page = opened(visitor, report, has_touch=True)
    x, y, key = a_place(page)
    page.touchscreen.tap(x, y)
    expect_details(page, report, key)


def test_keys_move_from_shard_to_shard(report, visitor):
    page = opened(visitor, report)
    page.locator("#map-frame").focus()
    key = page.locator("#shard-key")
    expect(key).to_be_visible()
    first = key.inner_text()
    expect_details(page, report, first)
    outlines = report.outlines(page)
    before = outlines[first].centroid
    for arrow, axis, sign in (
        ("Right", "x", 1),
        ("Down", "y", -1),
        ("Left", "x", -1),
        ("Up", "y", 1),
    ):
        page.keyboard.press(f"Arrow{arrow}")
        expect(key).not_to_have_text(first)
        first = key.inner_text()
        after = outlines[first].centroid
        assert sign * (getattr(after, axis) - getattr(before, axis)) > 0
        expect(page.get_by_role("status")).to_contain_text(first)
        before = after
    page.keyboard.press("Enter")
    expect_details(page, report, first)
    page.keyboard.press("Escape")
    expect(key).to_have_count(0)


def test_search_finds_a_shard_and_a_granule(report, visitor):
    page = opened(visitor, report)
    search = page.get_by_role("combobox", name="Search")
    search.fill(report.fullest)
    expect(page.get_by_role("option").first).to_contain_text(report.fullest)
    search.press("Enter")
    expect_details(page, report, report.fullest)
    granule = report.granules(report.fullest)[0]["id"]
    search.fill(granule)
    search.press("ArrowDown")
    search.press("Enter")
    touched = {str(key) for key in report.shard_map if granule in names(report.granules(str(key)))}
    expect(page.locator("#details")).to_contain_text(granule)
    shown = page.locator("#details button.name").all_inner_texts()
    assert set(shown) <= touched
    assert len(shown) == min(len(touched), 100)
    search.fill("nothing of that name")
    expect(page.get_by_text("No shard and no granule")).to_be_visible()


def names(granules) -> set[str]:
    return {one["id"] for one in granules}


def lightness(page) -> float:
    rgb = page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor")
    return sum(map(int, re.findall(r"\d+", rgb)[:3])) / 3


def test_dark_follows_the_system_and_the_button(polar, visitor):
    page = opened(visitor, polar, color_scheme="dark")
    assert lightness(page) < 60
    page.emulate_media(color_scheme="light")
    assert lightness(page) > 200
    page.get_by_role("button", name="Dark").click()
    assert lightness(page) < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(polar, visitor, scheme):
    page = opened(visitor, polar, color_scheme=scheme)
    assert accessibility_findings(page) == []
    page.get_by_role("combobox", name="Search").fill(polar.fullest[:2])
    assert accessibility_findings(page) == []
    page.keyboard.press("Enter")
    expect(page.locator("#shard-key")).to_be_visible()
    assert accessibility_findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_the_page_without_scrolling_sideways(report, visitor, scheme):
    size = {"width": 320, "height": 640}
    page = opened(visitor, report, viewport=size, has_touch=True, color_scheme=scheme)
    assert sideways(page) == 0
    x, y, key = a_place(page)
    page.touchscreen.tap(x, y)
    expect_details(page, report, key)
    assert sideways(page) == 0
    assert accessibility_findings(page) == []


def test_print_is_light_and_has_no_controls(polar, visitor):
    page = opened(visitor, polar, color_scheme="dark")
    printed = page.pdf()
    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert lightness(page) > 200
    assert page.locator("button:visible, input:visible, select:visible").count() == 0
    expect(page.locator("#map-base")).to_be_visible()


def test_copy_buttons_copy_whole_values(polar, visitor):
    page = opened(visitor, polar)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    buttons = page.locator("#commands .copy, #provenance .copy").all()
    assert buttons
    for button in buttons:
        button.click()
        expect(button).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == button.get_attribute("data-copy")


def test_the_page_asks_for_nothing(report, visitor):
    page = opened(visitor, report)
    page.locator("#map-frame").focus()
    page.keyboard.press("Enter")
    assert visitor.requests == [report.address]


def test_texts_of_others_run_nothing(polar, visitor, tmp_path):
    texts = [*TEXTS.values(), "javascript:alert(1)", "</script><script>alert(1)</script>"]
    table, metadata = polar.shard_map.table, polar.shard_map.metadata
    # Arrow has no text with half of a surrogate pair.
    texts = [text.encode(errors="replace").decode() for text in texts]
    column = pa.array([texts[i % len(texts)] for i in range(len(table))])
    for name in ("https", "s3"):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    metadata = metadata | dict.fromkeys(("collection", "start_date"), texts[-1])
    catalog = Catalog.from_geoparquet(polar.path.with_name("catalog.parquet"))
    hostile = copy(polar.shard_map)
    hostile.table, hostile.metadata = table, metadata
    path = write_report(tmp_path / "hostile", catalog, hostile)
    page = opened(visitor, replace(polar, path=path))
    page.get_by_role("combobox", name="Search").fill(polar.fullest)
    page.keyboard.press("Enter")
    expect(page.locator("#shard-key")).to_have_text(polar.fullest)
    links = [one.get_attribute("href") for one in page.locator("#details a").all()]
    assert all(link.startswith(("https://", "http://")) for link in links)
    assert page.locator("img").count() == 0
    assert visitor.requests == [path.as_uri()]
