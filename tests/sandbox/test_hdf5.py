"""Data files of granules: NSIDC's layout, tracks inside the rings, the same bytes for a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.sandbox.hdf5 import BEAMS, FILL, write_granule
from zagg_catalog.sandbox.simulation import simulate

h5py = pytest.importorskip("h5py", reason="h5py comes with the extra sandbox")

# North of Antarctica's turn, where longitudes are well behaved.
REGION, SOUTH = 10, (-75.0, -72.0)


@pytest.fixture(scope="module")
def granules() -> Granules:
    return simulate("ATL06", cycle=22, regions=[REGION], tracks=[6, 12], suffixed=0.0)


@pytest.fixture(scope="module")
def names(granules) -> list[str]:
    return granules.table["id"].to_pylist()


@pytest.fixture(scope="module")
def files(names, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("granules")
    return [write_granule(folder / name) for name in names]


@pytest.fixture(scope="module")
def photons(names, tmp_path_factory) -> Path:
    name = names[0].replace("ATL06", "ATL03")
    return write_granule(tmp_path_factory.mktemp("photons") / name, latitudes=(-72.2, -72.0))


def read(path: Path, pattern: str) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {b: file[pattern.format(b)][()] for b in BEAMS if b in file}


def test_a_file_is_small(files) -> None:
    assert all(path.stat().st_size < 1_000_000 for path in files)


def test_variables_are_as_in_real_files(files, real_data) -> None:
    group = "gt2l/land_ice_segments"
    real = min((real_data / "h5").glob("*.h5"))
    with h5py.File(files[0]) as made, h5py.File(real) as truth:
        for name in made[group]:
            data, model = made[group][name], truth[group][name]
            if isinstance(data, h5py.Group):
                continue
            forms = [(one.dtype, one.chunks, one.compression) for one in (data, model)]
            assert forms[0] == forms[1], name
            assert ("DIMENSION_LIST" in data.attrs) == ("DIMENSION_LIST" in model.attrs), name
            assert ("_FillValue" in data.attrs) == ("_FillValue" in model.attrs), name


def test_beams_lie_inside_the_ring(granules, files) -> None:
    for row, path in enumerate(files):
        ring = shapely.Polygon(granules.ring(row))
        lats, lons = (
            read(path, "{}/land_ice_segments/latitude"),
            read(path, "{}/land_ice_segments/longitude"),
        )
        for beam in lats:
            assert shapely.contains_xy(ring, lons[beam], lats[beam]).all(), beam


def test_every_beam_has_gaps_of_its_own(files) -> None:
    segments = read(files[0], "{}/land_ice_segments/segment_id")
    assert len({tuple(values) for values in segments.values()}) == len(BEAMS)
    assert all((np.diff(values) > 1).any() for values in segments.values())


def test_tracks_that_12_divides_lack_a_beam(files) -> None:
    first, second = (read(path, "{}/land_ice_segments/h_li") for path in files)
    assert list(first) == list(BEAMS)
    assert list(second) == list(BEAMS[:-1])


def test_fill_values_are_flagged(files) -> None:
    heights = np.concatenate([*read(files[0], "{}/land_ice_segments/h_li").values()])
    quality = np.concatenate(
        [*read(files[0], "{}/land_ice_segments/atl06_quality_summary").values()]
    )
    assert 0.08 < (heights == np.float32(FILL)).mean() < 0.12
    assert 0.13 < quality.mean() < 0.17
    assert quality[heights == np.float32(FILL)].all()
    assert (heights[quality == 0] < 4000.0).all()


def test_the_content_depends_on_the_name_only(names, files, tmp_path) -> None:
    again = write_granule(tmp_path / "again.h5", name=names[0])
    other = write_granule(tmp_path / "other.h5", name=names[0].replace("_01.h5", "_02.h5"))
    before, after, revised = (
        read(path, "{}/land_ice_segments/h_li")["gt1l"] for path in (files[0], again, other)
    )
    assert np.array_equal(before, after)
    assert not np.array_equal(before, revised)


def test_spacing_and_latitudes_choose_the_segments(names, tmp_path) -> None:
    path = write_granule(tmp_path / "dense.h5", name=names[0], spacing=100.0, latitudes=SOUTH)
    lats = read(path, "{}/land_ice_segments/latitude")["gt1l"]
    assert (lats >= SOUTH[0]).all()
    assert (lats <= SOUTH[1]).all()
    assert np.median(np.abs(np.diff(lats))) * 111_200.0 == pytest.approx(100.0, rel=0.1)


def test_the_index_of_photons_counts_from_one(photons) -> None:
    with h5py.File(photons) as file:
        for beam in BEAMS:
            first = file[f"{beam}/geolocation/ph_index_beg"][()]
            count = file[f"{beam}/geolocation/segment_ph_cnt"][()]
            total = len(file[f"{beam}/heights/h_ph"])
            assert count.sum() == total
            assert ((first == 0) == (count == 0)).all()
            used = count > 0
            assert first[used][0] == 1
            assert (first[used][1:] == first[used][:-1] + count[used][:-1]).all()


def test_photons_lie_in_their_segments(photons) -> None:
    with h5py.File(photons) as file:
        count = file["gt1l/geolocation/segment_ph_cnt"][()]
        starts = np.repeat(file["gt1l/geolocation/reference_photon_lat"][()], count)
        apart = np.abs(file["gt1l/heights/lat_ph"][()] - starts) * 111_200.0
    assert apart.max() < 25.0
    assert apart.max() > 15.0


def test_another_product_is_refused(tmp_path) -> None:
    with pytest.raises(InvalidQuery, match="ATL06 or ATL03"):
        write_granule(tmp_path / "ATL08_20231218222221_00012211_007_01.h5")
