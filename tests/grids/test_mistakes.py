"""The usual mistakes in the grid of a config: each is refused with what to write instead."""

import re

import pytest

from zagg_catalog import from_config
from zagg_catalog.errors import InvalidConfig
from zagg_catalog.grids.describe import grid_notes

REFUSED = {
    "bounds_dict": r"Write \[-250000, -2350000, 0, -2100000\]\.",
    "bounds_lonlat": r"look like degrees; EPSG:3413 has metres; did you mean \[-245061, -2343018, ",
    "bounds_order": r"Did you mean \[-250000, -2350000, 0, -2100000\]\?",
    "comma_num": r"it is '5,000'\. Write 5000, without a unit",
    "crs_typo": r"Did you mean EPSG:3413\?",
    "empty": r"must be a mapping with data_source, aggregation and output; it is empty",
    "grid_toplevel": r"grid stands at the top; write it below output, as output\.grid",
    "healpix_child": r"child_order .* missing\. It is the order of a cell; parent_order is that of",
    "negres": r"it is -5000\. Write 5000; rows run from north to south by themselves",
    "no_bounds": r"bounds .* it is missing\. `zagg-catalog grid new --region FILE` writes those",
    "res_5": r"makes 100,000,000 shards of 25 m; did you mean 5000\?",
    "res_km": r"it is '5 km'\. Write 5000, without a unit",
    "type_polar": r"it is 'polar_stereographic'\. A grid in a projection is rectilinear, with its",
    "type_typo": r"it is 'rectlinear'\. Did you mean rectilinear\?",
    "typo_key": r"output\.grid\.resoluton is not known; did you mean resolution\?",
}
SAME_AS_RIGHT = ["crs_int", "json", "only_grid", "respair", "sci"]
NOTED = {
    "bounds_notmult": None,
    "chunk_big": r"chunk_shape \[500, 500\] is larger than the 50 x 50 cells .* one shard",
}

pytestmark = pytest.mark.realdata


@pytest.fixture
def mistakes(real_data):
    return real_data / "mistakes/grids"


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_refused_with_what_to_write(mistakes, name):
    path = mistakes / f"{name}.yaml"
    with pytest.raises(InvalidConfig, match=REFUSED[name]) as caught:
        from_config(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", SAME_AS_RIGHT)
def test_other_spellings_are_the_same_grid(mistakes, name):
    assert from_config(mistakes / f"{name}.yaml") == from_config(mistakes / "right.yaml")


@pytest.mark.parametrize("name", NOTED)
def test_an_unusual_grid_gets_a_note(mistakes, name):
    notes = grid_notes(from_config(mistakes / f"{name}.yaml"))
    if NOTED[name] is None:
        assert notes == []
    else:
        assert re.search(NOTED[name], notes[0])


def test_each_file_has_its_test(mistakes):
    known = {*REFUSED, *SAME_AS_RIGHT, *NOTED, "right"}
    assert {path.stem for path in mistakes.glob("*.yaml")} == known
