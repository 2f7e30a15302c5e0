"""Footprints to be hard on the library with: rings of (lats, lons) from a few drawn numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.oracle.sphere import places, unit

KINDS = ("patch", "swath", "around", "graze", "speck", "sliver", "box", "grazing box")


def footprints(centre, radius, rim, *, longest=2.97):
    """Strategy: one ring that has to do with a cap, given by unit vector and radians.

    Swaths are ``longest`` at most, radians; ``rim`` gives a point of some
    cell's outline for two numbers from 0 to 1.
    """
    share = st.floats(0, 1, allow_subnormal=False)
    return st.builds(
        make,
        st.just(tuple(centre)),
        st.just(radius),
        st.just(rim),
        kind=st.sampled_from(KINDS),
        where=st.tuples(share, share | st.sampled_from([0, 0.25, 0.5, 0.75])),
        heading=share,
        size=share,
        longest=st.just(longest),
        seed=st.integers(0, 2**31),
        untidy=st.sets(st.sampled_from(["turned", "repeated", "nearly", "closed"])),
    )


def make(centre, radius, rim, *, kind, where, heading, size, longest, seed, untidy):
    """Build a ring; ``heading`` and ``size`` go from 0 to 1."""
    random = np.random.default_rng(seed)
    if kind in ("graze", "speck", "grazing box"):
        at = rim(*where)
    else:
        # A hair aside, so that round numbers do not put centres of cells on edges.
        at = shift(np.array(centre), radius * where[0] ** 0.5, 2 * np.pi * where[1])
        at = unit(at + 1e-6 * random.normal(size=3))
    if kind.endswith("box"):
        ring = _box(at, radius, size, kind == "grazing box", random)
        return untidied(*ring, untidy - {"nearly", "turned"}, random)
    ring = _SHAPES[kind](at, radius, 2 * np.pi * heading, size, longest, random)
    return untidied(*places(ring), untidy, random)


def shift(at, angle, bearing):
    """Points so many radians away, in directions counted from any axis across."""
    first = unit(np.cross(np.eye(3)[np.argmin(np.abs(at))], at))
    second = np.cross(at, first)
    angle, bearing = np.asarray(angle)[..., None], np.asarray(bearing)[..., None]
    return np.cos(angle) * at + np.sin(angle) * (np.cos(bearing) * first + np.sin(bearing) * second)


def untidied(lats, lons, untidy, random):
    """Give a ring the faults that archives' rings have."""
    if "turned" in untidy:
        lats, lons = lats[::-1], lons[::-1]
    if {"repeated", "nearly"} & untidy:
        twice = np.repeat(np.arange(len(lats)), random.integers(1, 3, len(lats)))
        lats, lons = lats[twice].copy(), lons[twice].copy()
        if "nearly" in untidy:
            lats = np.clip(lats + 1e-11 * random.normal(size=len(lats)), -90, 90)
    if "closed" in untidy:
        lats, lons = np.append(lats, lats[0]), np.append(lons, lons[0])
    return lats, lons


def _patch(at, radius, heading, size, longest, random):
    """A star of 3 to 40 corners, from tens of metres across to the whole cap and more."""
    corners = int(random.integers(3, 41))
    bearing = np.sort(
        heading + 2 * np.pi * (np.arange(corners) + 0.8 * random.random(corners)) / corners
    )
    reach = min(1.5 * radius, 1.2) * 10 ** (-5 * size)
    return shift(at, max(reach, 5e-6) * random.uniform(0.4, 1.0, corners), bearing)


def _swath(at, radius, heading, size, longest, random):
    """A ladder a few kilometres wide and up to half the Earth long, slightly bent."""
    length = longest * max(size, 1e-3)
    width = 10 ** random.uniform(-4, -2.3)
    rungs = int(random.integers(2, 30 + int(60 * size)))
    if length > 2.0:
        rungs = max(rungs, 4)
    ahead = shift(at, np.pi / 2, heading)
    axis = unit(np.cross(at, ahead))
    place = (
        np.sort(random.uniform(-0.5, 0.5, rungs))
        if random.random() < 0.3
        else np.linspace(-0.5, 0.5, rungs)
    )
    angle = length * (place + random.uniform(-0.4, 0.4))
    line = np.cos(angle)[:, None] * at + np.sin(angle)[:, None] * ahead
    bend = random.uniform(-0.02, 0.02) * np.sin(angle) ** 2
    sides = [unit(line + (bend + way * width / 2)[:, None] * axis) for way in (1, -1)]
    return np.concatenate([sides[0], sides[1][::-1]])


def _around(at, radius, heading, size, longest, random):
    """A wavy ring around a pole or any other place, up to a hemisphere wide."""
    corners = int(random.integers(8, 120))
    bearing = heading + 2 * np.pi * np.arange(corners) / corners
    wide = np.clip(radius * (0.05 + 1.2 * size), 1e-4, 1.35)
    return shift(at, wide * (1 + 0.08 * random.uniform(-1, 1, corners)), bearing)


def _sliver(at, radius, heading, size, longest, random):
    """A triangle as long as the cap and metres wide."""
    reach = min(radius, 1.0)
    ends = shift(at, np.array([reach, reach]), np.array([heading, heading + np.pi]))
    return np.stack([ends[0], ends[1], shift(at, 10 ** (-6 + 3 * size), heading + np.pi / 2)])


def _speck(at, radius, heading, size, longest, random):
    """Something of metres to kilometres beside an edge or corner of a cell, or over it."""
    reach = 10 ** random.uniform(-5.5, -3)
    centre = shift(at, reach * 2 * size, heading)
    bearing = 2 * np.pi * (np.arange(5) + 0.8 * random.random(5)) / 5
    return shift(centre, reach * random.uniform(0.4, 1.0, 5), bearing)


def _graze(at, radius, heading, size, longest, random):
    """A quadrilateral whose edge passes a few centimetres to metres from one point."""
    reach = min(radius, 0.5) * 10 ** (-2 * size)
    past = 10 ** random.uniform(-8, -6) * random.choice([-1, 1])
    tip = shift(at, abs(past), heading + (np.pi if past < 0 else 0))
    ahead = unit(shift(at, np.pi / 2, heading + np.pi / 2))
    along = [unit(tip + way * reach * random.uniform(0.2, 1) * ahead) for way in (1, -1)]
    back = [shift(at, reach, heading + np.pi + turn) for turn in (-0.6, 0.6)]
    ring = np.stack([along[0], along[1], *back])
    centre = unit(ring.sum(axis=0))
    first = unit(np.cross(np.eye(3)[np.argmin(np.abs(centre))], centre))
    order = np.argsort(np.arctan2(ring @ np.cross(centre, first), ring @ first))
    return ring[order]


def _box(at, radius, size, grazes, random):
    """The corners of a box: a few metres to the whole globe, on both sides of anything.

    Where it grazes, one of its sides passes a few centimetres to metres from the point.
    """
    (lat,), (lon,) = places(at[None])
    reach = np.degrees(min(1.5 * radius, 1.5)) * 10 ** (-5 * size)
    south, north = lat - reach * random.uniform(0.2, 1, 2) * [1, -1]
    wide = reach / max(np.cos(np.radians(lat)), 0.01) * 10 ** random.uniform(-1, 1)
    west, east = lon - wide * random.uniform(0.2, 1, 2) * [1, -1]
    if grazes:
        past = np.degrees(10 ** random.uniform(-8, -6)) * random.choice([-1, 1])
        side = random.integers(4)
        south, north = (lat + past if side == i else s for i, s in enumerate((south, north)))
        past /= max(np.cos(np.radians(lat)), 1e-6)
        west, east = (lon + past if side == i else s for i, s in enumerate((west, east), 2))
    match random.integers(6):
        case 0:
            west, east = -180.0, 180.0
        case 1:
            south, north = (south, 90.0) if lat > 0 else (-90.0, north)
        case 2 if reach > 1:
            west, south, east, north = np.round([west, south, east, north])
        case 3:
            east = 90.0 * np.ceil(west / 90.0)
    south, north = np.clip([south, north], -90.0, 90.0)
    return _corners(west, south, east, north, random)


def _corners(west, south, east, north, random):
    if north - south < 1e-5:
        south, north = (south - 1e-5, south) if south > 0 else (north, north + 1e-5)
    # Metres wide at the least, where it is widest.
    least = 2e-4 / max(np.cos(np.radians(min(abs(south), abs(north)))), 1e-6)
    width = np.clip(east - west, min(least, 360.0), 360.0)
    # Longitudes beyond 180° where the box is wide, else a west side that is east of the east side.
    west = -180.0 if width == 360.0 else (west + 180) % 360 - 180
    east = west + width
    if east > 360:
        west, east = west - 360, east - 360
    lats, lons = np.array([south, south, north, north]), np.array([west, east, east, west])
    if width <= 180:
        lons = np.where(lons > 180, lons - 360, lons)
        if random.random() < 0.5 and east <= 180:
            return lats[::-1], lons[::-1]
    return lats, lons


_SHAPES = {
    "patch": _patch,
    "swath": _swath,
    "around": _around,
    "graze": _graze,
    "sliver": _sliver,
    "speck": _speck,
}
