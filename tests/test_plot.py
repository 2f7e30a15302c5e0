"""Pictures with matplotlib: what they say, and that they are the same each time."""

import re
import sys

import numpy as np
import pytest
import shapely

from tests.test_catalog import SQUARE, make_catalog
from zagg_catalog import Catalog, HealpixGrid, ShardMap
from zagg_catalog.cli import main
from zagg_catalog.errors import MissingPackage, UnknownGranule, UnknownShard
from zagg_catalog.plot import MapDrawing, draw_map, save_map

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
METADATA = {"collection": "ATL06_007", "cycle": 22, "complete": True}


@pytest.fixture
def catalog():
    return make_catalog(SQUARE, [(0.5, 0.5), (19, 1), (19, 19), (1, 19)], metadata=METADATA)


@pytest.fixture
def shard_map(catalog):
    return ShardMap.build(catalog, HealpixGrid(4, 9), region=(-5, -5, 25, 25), edge="region")


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def words(path):
    """The texts of an SVG, in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_a_map_says_product_cycle_counts_and_projection(shard_map, ax):
    assert shard_map.plot(ax, region="square") is ax
    title = ax.get_title(loc="left")
    assert title == f"ATL06_007, cycle 22, square: {len(shard_map)} shards, 2 granules"
    assert ax.get_xlabel().split("\n")[-1].startswith("Lambert equal-area, ")
    bar = ax.figure.axes[1]
    assert [one.get_text() for one in bar.get_yticklabels()] == ["1", "2"]


def test_what_is_incomplete_is_said_in_the_picture(shard_map, ax, tmp_path):
    aside = [{"id": f"g{i}", "reason": "no geometry"} for i in range(12)]
    shard_map.metadata.update(complete=False, quarantined=aside)
    shard_map.plot(ax)
    assert "incomplete: 12 of 14 granules missing" in ax.get_xlabel()
    shard_map.to_json(tmp_path / "map.json")
    main(["plot", str(tmp_path / "map.json"), "-o", str(tmp_path / "map.svg")])
    assert "incomplete: 12 of 14 granules missing" in words(tmp_path / "map.svg")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_map_is_the_same_file(shard_map, tmp_path, suffix):
    shard_map.to_json(tmp_path / "map.json")
    files = [tmp_path / f"{name}{suffix}" for name in ("one", "two")]
    for file in files:
        assert main(["plot", str(tmp_path / "map.json"), "-o", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 1000


def test_a_shard_and_the_footprints_of_its_granules_are_outlined(shard_map, catalog, ax):
    key = shard_map.shard_keys[0]
    before = len(shard_map.plot(ax).patches)
    ax.clear()
    shard_map.plot(ax, shard=key, granule=catalog.ids[0], catalog=catalog)
    assert len(ax.patches) == before + 1
    with pytest.raises(UnknownShard):
        shard_map.plot(ax, shard=1)
    with pytest.raises(UnknownGranule):
        shard_map.plot(ax, granule="none")


def test_a_catalog_shows_its_footprints(catalog, ax, tmp_path):
    catalog.plot(ax, granule=catalog.ids[1])
    assert ax.get_title(loc="left") == "ATL06_007, cycle 22: 2 granules"
    with pytest.raises(UnknownGranule):
        catalog.plot(ax, granule="none")
    catalog.to_geoparquet(tmp_path / "catalog.parquet")
    assert main(["plot", str(tmp_path / "catalog.parquet"), "-o", str(tmp_path / "a.svg")]) == 0
    assert "ATL06_007, cycle 22: 2 granules" in words(tmp_path / "a.svg")


def test_an_empty_catalog_says_that_there_is_nothing(catalog, ax):
    Catalog(catalog.table.slice(0, 0), METADATA).plot(ax)
    assert "Nothing to draw" in [one.get_text() for one in ax.texts]


def test_shapes_that_cannot_be_drawn_are_counted(ax):
    shapes = np.array([shapely.box(0, 0, 1, 1), None], dtype=object)
    draw_map(MapDrawing(shapes=shapes, title="x", counts=np.array([1, 2])), ax)
    assert "1 shapes cannot be drawn" in ax.get_xlabel()


def test_nothing_jumps_across_the_picture(ax):
    grid = HealpixGrid(4, 8)
    for lats, lons in (
        ([-65] * 6, [-180, -120, -60, 0, 60, 120]),
        ([-20, -20, -12, -12], [175, -175, -175, 175]),
    ):
        ax.clear()
        outlines = grid.outlines(grid.coverage([(lats, lons)]))
        draw_map(MapDrawing(shapes=outlines, title="x", counts=np.ones(len(outlines), int)), ax)
        width = np.ptp(ax.get_xlim())
        for patch in ax.patches:
            if patch.get_zorder() == 2:
                path = patch.get_path()
                step = np.linalg.norm(np.diff(path.vertices, axis=0), axis=1)
                assert step[path.codes[1:] != path.MOVETO].max() < 0.2 * width


def test_without_matplotlib_one_sentence_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    drawing = MapDrawing(shapes=np.empty(0, dtype=object), title="x")
    with pytest.raises(MissingPackage, match=r"pip install 'zagg-catalog\[plot\]'"):
        save_map(drawing, tmp_path / "x.png")


def test_a_picture_of_another_kind_is_refused(tmp_path, capsys):
    assert main(["plot", "x.json", "-o", str(tmp_path / "map.gif")]) == 2
    assert ".png or .svg or .pdf" in capsys.readouterr().err
