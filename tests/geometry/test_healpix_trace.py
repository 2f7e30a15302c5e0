"""Tracing many edges at once finds what walking along each finds, wherever they run."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.geometry import healpix_trace as tracing
from zagg_catalog.geometry.healpix_cells import face_positions, nested_of, places_of
from zagg_catalog.geometry.healpix_trace import trace
from zagg_catalog.geometry.healpix_walk import halve_all
from zagg_catalog.geometry.sphere import to_xyz

# Poles, the antimeridian, corners of base cells and the parallel where their formulas change.
PLACES = [(90, 0), (-90, 0), (41.81, 90), (41.81, 0), (0, 45), (0, 0), (5, 180), (-41.81, 17)]


@st.composite
def edges(draw):
    """Edges of 1 m to 170°, many of them around an awkward place."""
    count = draw(st.integers(1, 60))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    place = to_xyz(*draw(st.sampled_from(PLACES)))
    spread = draw(st.sampled_from([1e-6, 1e-3, 0.03, 1.0]))
    start = unit(place + spread * seed.normal(size=(count, 3)))
    length = draw(st.sampled_from([1e-7, 2e-3, 0.05, 1.0]))
    end = unit(start + length * seed.normal(size=(count, 3)))
    return start, end, np.sort(seed.integers(0, 9, count))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def walked(start, end, owner, order):
    whose, cells = halve_all(start, end, owner, order)
    return np.unique((whose << (2 * order + 4)) | nested_of(cells, order))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(edges(), st.sampled_from([0, 3, 8, 9]))
def test_tracing_is_walking(some, order):
    assert np.array_equal(trace(*some, order), walked(*some, order))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(edges())
def test_neither_cores_nor_the_size_of_a_chunk_change_what_is_found(some):
    found = trace(*some, 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        assert np.array_equal(trace(*some, 9), found)
        patch.setattr(tracing, "_CHUNK", 50)
        assert np.array_equal(trace(*some, 9), found)
        patch.setattr(os, "cpu_count", lambda: 7)
        assert np.array_equal(trace(*some, 9), found)


def test_a_corner_cut_by_a_few_centimetres_is_found():
    """The chord passes the corner on the other side than the great circle."""
    start = to_xyz(np.full(3000, -67.3), np.linspace(0, 360, 3000))
    end = to_xyz(-67.3 + np.linspace(0.02, 0.5, 3000), np.linspace(0, 360, 3000) + 0.3)
    owner = np.arange(3000)
    whole = trace(start, end, owner, 9)
    middle = unit(start + end)
    halves = [trace(a, b, owner, 9) for a, b in ((start, middle), (middle, end))]
    assert np.array_equal(np.unique(np.concatenate(halves)), whole)


def test_no_edges_pass_no_cells():
    none = np.empty((0, 3))
    assert len(trace(none, none, np.empty(0, np.int64), 9)) == 0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(edges())
def test_places_are_positions(some):
    start, _, _ = some
    face, x, y = face_positions(start)
    quick_face, quick_x, quick_y = places_of(*np.ascontiguousarray(start.T))
    same = face == quick_face
    assert np.abs(x - quick_x)[same].max(initial=0) < 1e-14
    assert np.abs(y - quick_y)[same].max(initial=0) < 1e-14
    # On a border either base cell will do.
    border = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    assert border[~same].max(initial=0) < 1e-14
