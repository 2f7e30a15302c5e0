"""What objects show in a notebook, as a browser shows it."""

import pytest
from playwright.sync_api import expect

from tests.harness.browser import accessibility_findings, sideways
from tests.harness.hostile_texts import TEXTS
from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap

PAGE = '<!DOCTYPE html><html lang="en"><title>x</title><main><h1>x</h1>{}</main></html>'


@pytest.fixture(scope="module")
def catalog():
    return make_catalog(
        SQUARE, [(0.5, 0.5), (19, 1), (19, 19), (1, 19)], metadata={"complete": True}
    )


def test_a_map_is_accessible_and_fits_a_narrow_screen(visitor, catalog):
    page = visitor.new_page(viewport={"width": 400, "height": 600})
    page.set_content(PAGE.format(ShardMap.build(catalog, HealpixGrid(4, 9))._repr_html_()))
    expect(page.get_by_role("img").first).to_be_visible()
    assert accessibility_findings(page) == []
    assert sideways(page) == 0


def test_texts_of_others_run_nothing(visitor, catalog):
    page = visitor.new_page()
    for text in TEXTS.values():
        page.set_content(PAGE.format(Catalog(catalog.table, {"collection": text})._repr_html_()))
        assert page.locator("img, script").count() == 0
    assert visitor.requests == []
