"""What people see in Prefect's own pages: the artifacts of a release, and the form of a run."""

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect
from prefect import flow

from flows import artifacts
from tests.flows.live import LiveServer
from tests.flows.test_edges import hostile
from tests.harness.hostile_texts import MARK, TEXTS
from tests.releases import inputs
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.store import LocalStore

RELEASE = "release-atl06-007-antarctica-c22"
HOSTILE = "release-atl06-007-antarctica-c21"


@dataclass
class Pages:
    """The addresses of a server's pages: of artifacts by key, of forms by deployment."""

    root: str
    artifacts: dict[str, str]
    forms: dict[str, str]


@pytest.fixture(scope="module")
def pages(tmp_path_factory, stac, registry_folder):
    """A server with the deployments, a cycle that was prepared, and a release of hostile texts.

    Everything is made before there is a browser, beside which nothing can use asyncio.
    """
    folder = tmp_path_factory.mktemp("ui")
    store, registry = str(folder / "store"), str(registry_folder / "registry.yaml")
    with LiveServer(folder / "prefect") as prefect:
        prefect.run("-m", "flows.deploy", env={"ZAGG_CATALOG_STORE": store})
        flags = ["--store", store, "--stac-root", stac.root_url, "--registry", registry]
        prefect.run("-m", "flows.cycle", "--cycle", "22", *flags)
        with prefect.here():
            record_hostile_release(folder)
        root = prefect.api_url.removesuffix("/api")
        with prefect.client() as client:
            made = client.read_artifacts()
            flows = {one.id: one.name for one in client.read_flows()}
            deployed = client.read_deployments()
        yield Pages(
            root,
            {one.key: f"{root}/artifacts/artifact/{one.id}" for one in made},
            {
                f"{flows[one.flow_id]}/{one.name}": f"{root}/deployments/deployment/{one.id}/run"
                for one in deployed
            },
        )


def record_hostile_release(folder):
    """Create the artifacts of a release whose record has hostile texts."""
    store = LocalStore(folder / "hostile")
    inputs.write(folder, "first", inputs.CATALOGS["first"])
    published = inputs.publish(store, folder, "first")
    key = ReleaseKey(inputs.PRODUCT, inputs.REGION, 21)

    @flow
    def record():
        artifacts.record_release(store, key, hostile(published, " ".join(TEXTS.values())))

    record()


def test_the_list_of_artifacts_leads_to_the_release(pages, visitor):
    page = visitor.open(f"{pages.root}/artifacts")
    page.get_by_placeholder("Search artifacts").fill(RELEASE)
    page.get_by_text(RELEASE, exact=True).click()
    expect(page.get_by_text("complete: 210 granules, 2 grids")).to_be_visible()


def test_the_artifact_of_a_release_is_read_without_scrolling(pages, visitor):
    page = visitor.open(pages.artifacts[RELEASE])
    expect(page.get_by_role("heading", name="ATL06_007, antarctica, cycle 22")).to_be_visible()
    assert page.locator("table").count() > 0
    wide = """tables => tables.filter(one => one.parentElement.scrollWidth >
        one.parentElement.clientWidth || one.scrollWidth > one.clientWidth).length"""
    assert page.locator("table").evaluate_all(wide) == 0


def test_the_artifact_of_a_release_has_its_picture(pages, visitor):
    page = visitor.open(pages.artifacts[RELEASE])
    picture = page.get_by_role("img", name="coloured by their number of granules")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("one => one.naturalWidth") >= 300
    assert picture.evaluate("one => one.clientWidth <= one.parentElement.clientWidth")


def test_texts_of_others_run_nothing_in_the_artifacts_of_a_release(pages, visitor):
    for key in (HOSTILE, f"{HOSTILE}-grids"):
        page = visitor.open(pages.artifacts[key])
        expect(page.get_by_text(MARK).first).to_be_visible()
        assert page.locator("a[href*='evil'], img[src*='evil'], img[src=x]").count() == 0
    assert not [request for request in visitor.requests if "evil" in request]


def test_the_form_of_a_run_offers_the_registered_names(pages, visitor):
    page = visitor.open(pages.forms["prepare-cycle/prepare-one-cycle"])
    expect(page.get_by_text("Registered regions", exact=False)).to_be_visible()
    for title in ("Product", "Cycle", "Regions", "Grids"):
        expect(page.get_by_text(re.compile(rf"^{title}\b")).first).to_be_visible()
    assert page.get_by_text('Property is type "None"').count() == 0
