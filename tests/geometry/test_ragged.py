"""Ragged arrays, and the distinct numbers of an array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.geometry.ragged import distinct


@pytest.mark.parametrize("kind", [np.uint64, np.int64, np.int32])
@given(numbers=st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3)))
def test_distinct_numbers_are_those_of_numpy(kind, numbers):
    array = np.array(numbers, dtype=kind)
    found = distinct(array)
    assert found.dtype == kind
    assert found.tolist() == np.unique(array).tolist()
