"""The heights of the demo: gridded by hand from data files, and compared cell by cell."""

from dataclasses import replace

import numpy as np
import pytest

from flows import heights

pytest.importorskip("h5py")
from zagg_catalog.sandbox.hdf5 import write_granule

# The pass of track 1 that the part lies on.
NAME = "ATL06_20231218222803_00012212_007_01.h5"


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("granules") / NAME
    return heights.read_data_files([write_granule(path, latitudes=(-73, -71))])


def test_a_data_file_of_track_1_crosses_every_shard(truth):
    rows = heights.table_rows(truth, dict.fromkeys(range(4), 1))
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "all"]
    assert sum(int(row[2]) for row in rows[:4]) == int(rows[4][2]) == (truth.counts > 0).sum()
    assert sum(int(row[3]) for row in rows[:4]) == int(rows[4][3]) == truth.counts.sum()
    assert all(int(row[2]) > 0 for row in rows)
    lowest, mean, highest = (float(text.replace(",", "")) for text in rows[4][4:])
    assert 1900 < lowest < mean < highest < 2100


def test_a_shard_without_heights_has_none_to_show():
    empty = heights.Heights(counts=np.zeros((32, 32), np.int64), means=np.full((32, 32), np.nan))
    assert heights.table_rows(empty, {2: 0})[0] == ("2", "0", "0", "0", "", "", "")


def test_the_same_heights_have_no_differences(truth):
    assert truth.differences(truth) == heights.SAME == "0 cells wrong, 0 missing, 0 extra"


def test_planted_errors_are_found(truth):
    counts, means = truth.counts.copy(), truth.means.copy()
    first, second, third, *_ = map(tuple, np.argwhere(counts > 0))
    counts[first] += 1
    means[second] += 0.5
    counts[third] = 0
    counts[tuple(np.argwhere(truth.counts == 0)[0])] = 1
    found = replace(truth, counts=counts, means=means).differences(truth)
    assert found == "2 cells wrong, 1 missing, 1 extra"
