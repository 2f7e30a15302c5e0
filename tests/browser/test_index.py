"""The index of a store in a browser, opened from disk."""

import pytest
from playwright.sync_api import expect

from tests.harness.browser import accessibility_findings, sideways
from tests.harness.hostile_texts import TEXTS
from tests.releases import inputs
from zagg_catalog.index import renew_index
from zagg_catalog.releases.report import write_report
from zagg_catalog.store import LocalStore

CYCLE = "ATL06_007/antarctica/22"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with two releases of a cycle, the newer one with its report, and one elsewhere."""
    folder = tmp_path_factory.mktemp("index")
    opened = LocalStore(folder / "store")
    for name in ("first", "next"):
        inputs.write(folder, name, inputs.CATALOGS[name])
        done = inputs.publish(opened, folder, name)
    write_report(opened, done.release)
    inputs.publish(opened, folder, "first", region="greenland")
    renew_index(opened)
    return opened


@pytest.fixture(scope="module")
def address(store):
    return (store.root / "index.html").as_uri()


def test_a_cell_leads_to_its_cycle_and_from_there_to_the_report(visitor, address):
    page = visitor.open(address)
    details = page.locator(f"[id='{CYCLE}']")
    expect(details.locator("dl")).to_be_hidden()
    page.locator(f"td a[href='#{CYCLE}']").click()
    expect(details.locator("dl")).to_be_visible()
    details.get_by_role("link", name="report").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("antarctica")


def test_every_link_of_the_page_leads_to_an_object(visitor, store, address):
    page = visitor.open(address)
    links = page.locator("a[href]").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    objects = {link for link in links if not link.startswith("#")}
    assert len(objects) > 6
    assert [key for key in objects if not store.exists(key)] == []


def test_keys_open_a_cycle(visitor, address):
    page = visitor.open(address)
    page.locator(f"td a[href='#{CYCLE}']").focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"[id='{CYCLE}'] dl")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_is_accessible_and_fits(visitor, address, scheme, width):
    size = {"width": width, "height": 800}
    page = visitor.open(f"{address}#{CYCLE}", viewport=size, color_scheme=scheme)
    expect(page.locator(f"[id='{CYCLE}'] dl")).to_be_visible()
    assert accessibility_findings(page) == []
    assert sideways(page) == 0


def test_an_old_page_says_so(visitor, address):
    page = visitor.new_page()
    page.clock.set_fixed_time("2036-01-01T00:00:00Z")
    page.goto(address)
    expect(page.get_by_role("status")).to_be_visible()


def test_the_page_asks_for_nothing(visitor, address):
    visitor.open(address)
    assert visitor.requests == [address]


def test_texts_of_others_run_nothing(visitor, tmp_path):
    inputs.write(tmp_path, "first", inputs.CATALOGS["first"])
    opened = LocalStore(tmp_path / "store")
    # A name that UTF-8 cannot write is refused before it is published.
    texts = [text for text in TEXTS.values() if text.isprintable()]
    inputs.publish(opened, tmp_path, "first", published_by=" ".join(texts))
    renew_index(opened)
    page = visitor.open((opened.root / "index.html").as_uri())
    assert page.locator("img, iframe, svg").count() == 0
    assert page.locator("script").count() == 2
    assert not [request for request in visitor.requests if "evil" in request]
