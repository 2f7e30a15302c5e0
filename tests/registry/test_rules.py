"""Rules: what the registry's sections ``watch`` and ``checks`` say."""

from pathlib import Path

import pytest
import yaml

from zagg_catalog.errors import InvalidRegistry
from zagg_catalog.messages import short_digest
from zagg_catalog.registry import load_registry
from zagg_catalog.registry.check_rules import CheckRules
from zagg_catalog.registry.schema import WatchRules

SHIPPED = Path(__file__).parents[2] / "deployments"


@pytest.fixture
def registry(tmp_path):
    """Write the shipped registry with other rules, and return its path."""

    def write(watch=None, checks=None):
        content = yaml.safe_load((SHIPPED / "registry.yaml").read_text())
        for region in content["regions"].values():
            if "geojson" in region:
                region["geojson"] = str(SHIPPED / region["geojson"])
        for grid in content["grids"].values():
            grid["config"] = str(SHIPPED / grid["config"])
        path = tmp_path / "registry.yaml"
        path.write_text(yaml.safe_dump({**content, "watch": watch, "checks": checks}))
        return path

    return write


def test_what_is_shipped_are_the_defaults():
    shipped = load_registry(SHIPPED / "registry.yaml")
    assert shipped.watch_rules("ATL06_007") == WatchRules()
    assert shipped.watch_rules("ATL03_007") == WatchRules()
    assert shipped.products == ["ATL03_007", "ATL06_007"]


def test_a_product_may_have_rules_of_its_own(registry):
    path = registry({"ATL06_007": {"announce": "quiet", "overdue_days": None}, "ATL03_007": None})
    rules = load_registry(path).watch_rules("ATL06_007")
    assert (rules.announce, rules.overdue_days, rules.share) == ("quiet", None, 0.9)


def test_a_product_may_have_severities_and_thresholds_of_its_own(registry):
    """``off`` without quotation marks is false in YAML."""
    path = registry(checks={"ATL06_007": {"tracks": "error", "tracks_share": 0.5, "cycle": False}})
    loaded = load_registry(path)
    rules = loaded.check_plan("antarctica").rules_of("ATL06_007")
    assert rules == CheckRules(tracks="error", tracks_share=0.5, cycle="off")
    assert loaded.check_plan("serc").rules_of("ATL03_007") == CheckRules()


def test_the_plan_of_a_region_has_the_signatures_of_its_grids():
    shipped = load_registry(SHIPPED / "registry.yaml")
    found = shipped.check_plan("antarctica").signatures
    assert set(found) == {"atl06-antarctica-healpix", "atl06-antarctica-polar"}
    assert {name: short_digest(digest) for name, digest in found.items()} == {
        name: shipped.grids[name].signature_digest for name in found
    }


@pytest.mark.parametrize(
    ("checks", "match"),
    [
        ({"ATL06_008": {}}, r"checks\.ATL06_008: no grid has this product"),
        ({"ATL06_007": {"cycle": "fatal"}}, r"checks\.ATL06_007\.cycle: .*'fatal'; correct it"),
        ({"ATL06_007": {"track": "warn"}}, r"checks\.ATL06_007\.track: .*did you mean tracks\?"),
        ({"ATL06_007": {"drift_share": 7}}, r"checks\.ATL06_007\.drift_share: .*7; correct it"),
        (["ATL06_007"], "checks: it is not a mapping"),
    ],
)
def test_what_is_wrong_with_checks_is_named(registry, checks, match):
    with pytest.raises(InvalidRegistry, match=match):
        load_registry(registry(checks=checks), tolerate_broken_grids=True)


@pytest.mark.parametrize(
    ("watch", "match"),
    [
        (
            {"ATL06_008": {}},
            r"watch\.ATL06_008: no grid has this product; use one of ATL03_007, ATL06",
        ),
        ({"ATL06_007": {"share": 1.5}}, r"watch\.ATL06_007\.share: .*1\.5; correct it"),
        ({"ATL06_007": {"quiet": 3}}, r"watch\.ATL06_007\.quiet: there is no such key"),
        ({"ATL06_007": {"announce": "soon"}}, r"watch\.ATL06_007\.announce: "),
        (["ATL06_007"], "watch: it is not a mapping"),
    ],
)
def test_what_is_wrong_is_named(registry, watch, match):
    with pytest.raises(InvalidRegistry, match=match):
        load_registry(registry(watch), tolerate_broken_grids=True)


def test_patience_doubles_up_to_sixteen_times():
    hours = [WatchRules().patience(n).total_seconds() / 3600 for n in (1, 2, 3, 5, 9)]
    assert hours == [6, 12, 24, 96, 96]
