"""The data of a page: packs of granules, maps and what lies below them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zagg_catalog.cartography import (
    ColourClasses,
    MapProjection,
    View,
    colour_classes,
    extent_of,
    graticule,
    land,
    projection_for,
    scale_bar,
)
from zagg_catalog.catalog.completeness import BEYOND_KEY, explain_missing
from zagg_catalog.errors import InvalidGrid
from zagg_catalog.geometry.plane import Geometries
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.grids import from_signature
from zagg_catalog.messages import clean_text
from zagg_catalog.report.content import GridMap, Level, ReportContent, Statement
from zagg_catalog.report.drawing import LEVELS, add_shapes, drawn_count, simplified
from zagg_catalog.report.granule_list import add_granules, orbit_order
from zagg_catalog.report.pack import Pack

# Largest sum of the packs of maps and footprints, characters. What does not fit is left out.
ROOM = 2_600_000

# How a shard or a granule differs from the release before.
SAME, ADDED, CHANGED, REMOVED = range(4)


@dataclass
class Payload:
    """The packs of a page, and what the page says of them."""

    room: int
    """Characters that further packs may have."""
    packs: dict[str, str] = field(default_factory=dict)
    """Packs by name: ``base``, ``granules``, ``footprints``, and ``grid-0`` and so on."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Values for JSON; without ``width`` there is no map."""
    problems: list[Statement] = field(default_factory=list)
    """What is not on the map, or not all of it, a sentence each."""

    def say(self, level: Level, text: str) -> None:
        """Add a problem."""
        self.problems.append(Statement(level, text))

    def add(self, name: str, pack: Pack) -> bool:
        """Add a pack if there is room for it."""
        text = pack.to_base64()
        if len(text) > self.room:
            return False
        self.room -= len(text)
        self.packs[name] = text
        return True


@dataclass(frozen=True)
class _Plane:
    """Where shapes in longitude and latitude are drawn."""

    projection: MapProjection
    view: View

    def add(self, pack: Pack, name: str, shapes: Geometries) -> Geometries:
        """Add shapes to a pack, and return them projected."""
        flat = simplified(self.projection.shapes(shapes), self.view)
        add_shapes(pack, name, flat, self.view)
        return flat


def make_payload(content: ReportContent, *, room: int = ROOM) -> Payload:
    """Return the packs of a report.

    Parameters
    ----------
    content : ReportContent
        What the report shows.
    room : int
        Most characters of the packs of maps and footprints.
    """
    payload = Payload(room=room)
    order = orbit_order(content.granules["id"].combine_chunks())
    payload.packs["granules"] = _granules(content, order).to_base64()
    payload.facts = {"grids": [], "granules": content.granules.num_rows}
    outlines = {place: _outlines(one, payload) for place, one in enumerate(content.maps)}
    shapes = np.concatenate(
        [np.array([], dtype=object), *(one for one in outlines.values() if one is not None)]
    )
    if not drawn_count(shapes) and content.footprints is not None:
        shapes = content.footprints
    if not drawn_count(shapes):
        payload.say("warn", "There is nothing to draw on a map.")
        return payload
    projection = projection_for(shapes)
    extent = extent_of(projection, projection.shapes(shapes))
    wide = extent.width / extent.height
    plane = _Plane(projection, View(extent.widened(aspect=min(max(wide, 0.7), 2.2)), LEVELS))
    _add_base(payload, plane)
    place_of_row = np.argsort(order)
    for place, outline in outlines.items():
        if outline is not None:
            _add_grid(payload, content, place, outline, plane, place_of_row)
    _add_footprints(payload, content, plane, order)
    return payload


def _add_grid(
    payload: Payload,
    content: ReportContent,
    place: int,
    outlines: Geometries,
    plane: _Plane,
    place_of_row: Ints,
) -> None:
    one = content.maps[place]
    pack = _grid(content, one, place_of_row)
    plane.add(pack, "shard", outlines)
    if payload.add(f"grid-{place}", pack):
        assert one.columns is not None
        classes = colour_classes(np.diff(one.columns.offsets))
        payload.facts["grids"].append(
            {"place": place, "name": one.name, "diff": one.diff is not None} | _classes(classes)
        )
    else:
        payload.say(
            "warn",
            f"The map of grid {one.name} is not drawn, because the page would be too large; ask for"
            f" a page of its own with --grid {one.name}.",
        )


def _classes(classes: ColourClasses) -> dict[str, Any]:
    return {
        "lows": classes.lows,
        "colours": classes.colours,
        "labels": classes.labels,
    }


def _add_footprints(payload: Payload, content: ReportContent, plane: _Plane, order: Ints) -> None:
    if content.footprints is None:
        return
    missing = len(content.footprints) - drawn_count(content.footprints)
    if missing:
        payload.say("warn", f"{missing:,} granules have no footprint that can be drawn.")
    pack = Pack()
    plane.add(pack, "footprint", content.footprints[order])
    if not payload.add("footprints", pack):
        payload.say("warn", "The footprints are not drawn, because the page would be too large.")


def _add_base(payload: Payload, plane: _Plane) -> None:
    """Add land, graticule, scale bar and the facts of the view."""
    view, projection = plane.view, plane.projection
    lines = graticule(projection, view.extent)
    pack = Pack()
    add_shapes(pack, "land", np.array([land(projection, view.extent)], dtype=object), view)
    add_shapes(pack, "graticule", np.array([lines.lines], dtype=object), view)
    payload.packs["base"] = pack.to_base64()
    places = view.units(np.array([[one.x, one.y] for one in lines.labels]).reshape(-1, 2))
    bar = scale_bar(projection, view.extent)
    unit = view.extent.width / view.width
    payload.facts |= {
        "width": view.width,
        "height": view.height,
        "projection": projection.name,
        "labels": [
            [*place, one.text, one.side]
            for place, one in zip(places.tolist(), lines.labels, strict=True)
        ],
        # Metres on the ground of a unit, at the middle of the map.
        "ground": None if bar is None else bar.metres / bar.length * unit,
    }


def _outlines(one: GridMap, payload: Payload) -> Geometries | None:
    """Return the outlines of a map's shards, then of those that it lost; None if it has none."""
    if one.columns is None:
        why = clean_text(one.problem or "it failed", limit=600)
        level: Level = "bad" if one.status == "failed" else "note"
        payload.say(level, f"Grid {one.name} has no map on this page: {why}")
        return None
    try:
        grid = from_signature(one.columns.grid_signature)
        shapes = grid.outlines(_keys(one))
    except InvalidGrid as error:
        payload.say("bad", f"The map of {one.name} cannot be drawn: {error}")
        return None
    if one.status == "partial":
        lacks = explain_missing(one.columns.metadata)
        payload.say("bad", f"The map of {one.name} is incomplete: {lacks}.")
    missing = len(shapes) - drawn_count(shapes)
    if missing:
        payload.say(
            "warn",
            f"{missing:,} shards of {one.name} are outside the domain of the grid's CRS, and are"
            " not drawn.",
        )
    return shapes


def _keys(one: GridMap) -> NDArray[np.uint64]:
    assert one.columns is not None
    removed = np.array([] if one.diff is None else one.diff.shards_removed, dtype=np.uint64)
    return np.concatenate([one.columns.shards, removed])


def _grid(content: ReportContent, one: GridMap, place_of_row: Ints) -> Pack:
    """Return the pack of a map: keys, changes, and the granules of each shard."""
    columns = one.columns
    assert columns is not None
    rows = pc.index_in(columns.table["id"], value_set=content.granules["id"]).to_numpy()
    places = place_of_row[rows.astype(np.int64)][columns.rows]
    sizes = np.diff(columns.offsets)
    shard = np.repeat(np.arange(len(sizes)), sizes)
    places = places[np.lexsort((places, shard))]
    gaps = np.diff(places, prepend=0)
    starts = columns.offsets[:-1][sizes > 0]
    gaps[starts] = places[starts]
    keys = _keys(one)
    lost = len(keys) - len(columns.shards)
    changes = np.full(len(keys), SAME)
    changes[len(columns.shards) :] = REMOVED
    if one.diff is not None:
        for code, named in ((ADDED, one.diff.shards_added), (CHANGED, one.diff.shards_changed)):
            changes[np.isin(keys, np.array(named, dtype=np.uint64))] = code
    steps = np.diff(columns.shards, prepend=np.uint64(0))
    pack = Pack()
    pack.add_counts("keys", steps)
    pack.add_counts("lost", keys[len(keys) - lost :])
    pack.add_counts("counts", sizes)
    pack.add_counts("pairs", gaps)
    pack.add_counts("changes", changes)
    beyond = np.array(columns.metadata.get(BEYOND_KEY) or [], dtype=np.uint64)
    pack.add_counts("beyond", np.isin(columns.shards, beyond))
    return pack


def _granules(content: ReportContent, order: Ints) -> Pack:
    table = content.granules.take(pa.array(order))
    pack = Pack()
    add_granules(pack, table)
    changes = np.zeros(table.num_rows, dtype=np.int64)
    if content.granule_diff is not None:
        named = {
            ADDED: content.granule_diff.added,
            CHANGED: [new for _, new in content.granule_diff.revised],
        }
        for code, names in named.items():
            found = pc.is_in(table["id"], value_set=pa.array(names, pa.string()))
            changes[found.to_numpy()] = code
    pack.add_counts("changes", changes)
    if content.coverage is not None:
        pack.add_counts("states", content.coverage.states.ravel())
    return pack
