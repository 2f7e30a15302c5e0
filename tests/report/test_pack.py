"""Packs: columns of numbers and texts in few bytes, as the page reads them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.report.unpack import unpack
from zagg_catalog.report.pack import Pack, varints


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_unsigned_numbers_of_64_bits_come_back(values):
    pack = Pack()
    pack.add_counts("keys", np.array(values, dtype=np.uint64))
    assert unpack(pack.to_base64())["keys"] == values


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.lists(st.text("a<é\u0001 ", max_size=9)))
def test_signed_numbers_and_lines_come_back(numbers, lines):
    pack = Pack()
    pack.add_numbers("steps", numbers)
    pack.add_lines("names", lines)
    found = unpack(pack.to_base64())
    assert found["steps"] == numbers
    assert found["names"] == (lines or [""])


def test_small_numbers_take_one_byte():
    assert varints(np.array([0, 1, 127, 128], dtype=np.uint64)) == b"\x00\x01\x7f\x80\x01"
