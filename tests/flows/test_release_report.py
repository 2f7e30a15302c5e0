"""The report of a release: good or not, counts, changes, checks; details and what to copy below."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from shapely.errors import GEOSException

from flows import status
from flows.artifacts import links_of
from flows.pictures import drawn_grid, release_picture
from flows.release_report import counts_sentence, description, report
from tests.releases import inputs
from zagg_catalog.catalog.harvest_report import FetchFacts, Superseded
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.read import map_loader
from zagg_catalog.releases.report import write_report
from zagg_catalog.releases.stored_reports import report_key
from zagg_catalog.store import LocalStore

KEY = ReleaseKey(*inputs.RELEASE_KEY)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return LocalStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def published(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    inputs.write(folder, "first", inputs.CATALOGS["first"])
    return inputs.publish(store, folder, "first")


def picture_in(store, published):
    return release_picture(published.record, map_loader(store, published.release))


def of(published, **changes):
    """The release with changes of its record."""
    return replace(published, record=published.record.model_copy(update=changes))


def test_the_first_lines_say_whether_the_release_is_good(store, published):
    text = report(store, KEY, published)
    title, _, verdict, *_ = text.split("\n")
    assert title == "# ATL06_007, antarctica, cycle 22: complete"
    assert verdict.startswith("Complete, and the latest release. ")
    assert "Checks: " in verdict
    held = replace(published, latest=False, held_back=("a check failed",))
    assert "**not the latest**: a check failed." in report(store, KEY, held)
    partial = of(published, status="partial")
    assert "\n**Not complete**, " in report(store, KEY, partial)


def test_the_counts_are_those_of_the_data_and_the_slices_are_details(published):
    record, rows = published.record, published.record.catalog.rows
    facts = FetchFacts(harvested=rows + 3, declared_after=rows + 7, shared=2, outside_cycle=2)
    old = [Superseded(id=f"old {number}", by="new") for number in range(3)]
    harvest = SimpleNamespace(facts=facts, superseded=old)
    fetched = replace(of(published, harvest=harvest), publication=None)
    assert counts_sentence(fetched) == f"{rows:,} of {rows:,} declared, complete."
    lost = record.catalog.model_copy(update={"rows": rows - 1, "complete": False})
    sentence = counts_sentence(of(fetched, catalog=lost))
    assert sentence == f"{rows - 1:,} of {rows:,} declared, not complete."
    unknown = of(published, harvest=None)
    assert counts_sentence(unknown) == f"{rows:,} granules, complete."


def test_no_digest_and_no_address_stands_above_the_details(store, published):
    above, _, below = report(store, KEY, published).partition("<details>")
    for whole in (published.digest, store.uri(published.record.catalog.key)):
        assert whole not in above
        assert whole[:20] not in above
        assert whole in below
    assert "slices" not in above
    assert max(map(len, above.split("\n"))) < 200


def test_the_changes_are_those_since_the_release_before(store, published):
    assert "This is the first release of the cycle." in report(store, KEY, published)
    record = published.record
    (grid, *others) = record.grids
    before = record.model_copy(
        update={"grids": (grid.model_copy(update={"pairs": grid.pairs - 7}), *others)}
    )
    text = report(store, KEY, published, previous=before)
    assert f"| granules | {record.catalog.rows:,} | {record.catalog.rows:,} | none |" in text
    assert f"| pairs of {grid.name} | {grid.pairs - 7:,} | {grid.pairs:,} | +7 |" in text


def test_an_address_that_a_browser_can_read_is_a_link(store, published):
    text = report(store, KEY, published, links={"All releases": "https://x.org/a>b"})
    assert "\n[All releases](<https://x.org/a%3Eb>)\n" in text


def test_links_are_those_of_the_store_of_the_settings(store, published, monkeypatch, tmp_path):
    monkeypatch.setenv("ZAGG_CATALOG_STORE", store.url)
    assert links_of(store, published) == {}
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_STORE_URL", "https://maps.example.org/team/")
    links = {
        "Index of all releases": "https://maps.example.org/team/index.html",
        "Record of this release": f"https://maps.example.org/team/{published.key}",
    }
    assert links_of(store, published) == links
    report = write_report(store, published.release)
    assert links_of(store, published) == {
        "Report with an interactive map": f"https://maps.example.org/team/{report}",
        **links,
    }
    assert links_of(LocalStore(tmp_path), published) == {}


def test_the_description_is_a_sentence_without_digests(published):
    said = description(published)
    assert said.startswith("Complete: ")
    assert said.endswith(".")
    assert len(said) < 100
    assert "not the latest" in description(replace(published, latest=False))


def test_the_picture_is_the_smallest_map_that_shows_something(published):
    (grid, *_) = published.record.grids
    few, some, many = (grid.model_copy(update={"shards": n}) for n in (4, 1000, 20_000))
    assert drawn_grid(of(published, grids=(many, few, some)).record) is some
    assert drawn_grid(of(published, grids=(few,)).record) is few
    none = of(published, grids=(grid.model_copy(update={"manifest": None}),))
    assert drawn_grid(none.record) is None


def test_the_picture_is_inlined_and_small(store, published):
    picture = picture_in(store, published)
    assert picture.startswith("![The ")
    assert "](data:image/svg+xml;base64," in picture
    assert len(picture) < 40_500


def test_a_map_that_is_lost_leaves_a_report_without_a_picture(tmp_path, published, monkeypatch):
    said = []
    monkeypatch.setattr("flows.pictures.get_run_logger", lambda: Logger(said))
    assert picture_in(LocalStore(tmp_path), published) is None
    assert said[0].startswith("No picture of ")


def test_a_picture_that_cannot_be_drawn_is_left_out_and_a_defect_is_not(
    store, published, monkeypatch
):
    def raising(error):
        def draw(*_, **__):
            raise error

        return draw

    said = []
    monkeypatch.setattr("flows.pictures.get_run_logger", lambda: Logger(said))
    monkeypatch.setattr("flows.pictures.map_picture", raising(GEOSException("a ring is open")))
    assert picture_in(store, published) is None
    assert said[0].startswith("No picture of ")
    monkeypatch.setattr("flows.pictures.map_picture", raising(KeyError("a defect")))
    with pytest.raises(KeyError, match="a defect"):
        picture_in(store, published)


def test_a_setting_switches_the_reports_of_releases_off(store, published, monkeypatch):
    key = report_key(KEY, published.digest)
    store.delete(key)
    monkeypatch.setenv("ZAGG_CATALOG_RELEASE_REPORTS", "false")
    status.write_report(store, published.release)
    assert not store.exists(key)
    monkeypatch.setenv("ZAGG_CATALOG_RELEASE_REPORTS", "true")
    status.write_report(store, published.release)
    assert store.exists(key)


class Logger:
    """Keeps warnings."""

    def __init__(self, said):
        self._said = said

    def warning(self, text, *values):
        self._said.append(text % values)
