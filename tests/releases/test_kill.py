"""SIGKILL at every step of a publish: readers see the old release or the new one, never less."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial

import pyarrow as pa
import pytest

from tests.harness import killed
from tests.harness.stores import Place
from tests.releases import inputs
from zagg_catalog import Catalog
from zagg_catalog.releases import find_release, resolve, verify

pytestmark = pytest.mark.slow

# One grid, whose files go the same way as another's would.
GRIDS = ("healpix",)
FILES = ["catalog", "healpix.parquet", "healpix.json", "record"]
WRITTEN = ["half written", "written", "locked", "renamed"]
FOLDER_STEPS = [
    *(f"pointer: read_pointer {when}" for when in ("begins", "ends")),
    *(
        f"{file}: {what}"
        for file in FILES
        for what in ("put_object begins", *WRITTEN, "put_object ends")
    ),
    "catalog: download begins",
    *(f"catalog: {what}, 2" for what in ("half written", "written", "renamed")),
    "catalog: download ends",
    "pointer: swap_pointer begins",
    *(f"pointer: {what}" for what in WRITTEN[:3]),
    *(f"pointer: read_pointer {when}, 2" for when in ("begins", "ends")),
    "pointer: renamed",
    "pointer: swap_pointer ends",
    # A collection under a wrong clock may have removed one.
    *(f"{file}: exists {when}" for file in FILES for when in ("begins", "ends")),
]
# Every step after which the store, or a lock, is in another state than before.
FOLDER_KILLS = [
    FOLDER_STEPS[0],
    *(f"{file}: {what}" for file in FILES for what in WRITTEN if what != "locked"),
    "catalog: download ends",
    *(f"pointer: {what}" for what in WRITTEN),
]


def asked(what, operation, number=""):
    return [f"{what}: {operation} is {done}{number}" for done in ("sent", "answered")]


def sent(what, operation, number=""):
    done = ("sent", "half sent", "answered")
    return [f"{what}: {operation} is {how}{number}" for how in done]


def put(what):
    return [*asked(what, "HeadObject"), *sent(what, "PutObject")]


PROBED = [
    *(step for number in ("", ", 2", ", 3") for step in sent("probe", "PutObject", number)),
    *asked("probe", "GetObject"),
    *asked("probe", "HeadObject"),
    *sent("probe", "PutObject", ", 4"),
    *asked("probe", "GetObject", ", 2"),
    *asked("probe", "DeleteObject"),
]
UPLOADED = [
    *sent("catalog", "CreateMultipartUpload")[::2],
    *sent("catalog", "UploadPart"),
    *sent("catalog", "UploadPart", ", 2"),
    *sent("catalog", "CompleteMultipartUpload"),
]
BEFORE = [
    *asked("pointer", "GetObject"),
    # The checks look for earlier cycles; the pointer has the record of the latest release.
    *asked("store", "ListObjectsV2"),
]
AFTER = [
    *put("healpix.parquet"),
    *put("healpix.json"),
    *put("record"),
    *asked("catalog", "GetObject"),
    *PROBED,
    *sent("pointer", "PutObject"),
    *(step for file in FILES for step in asked(file, "HeadObject", ", 2")),
]
S3_STEPS = [*BEFORE, *put("catalog"), *AFTER]
BIG_STEPS = [*BEFORE, *put("catalog")[:2], *UPLOADED, *AFTER]


def changing(steps):
    """The steps after which the server may be in another state than before."""
    read = ("GetObject", "HeadObject", "ListObjects", " is sent")
    return [step for step in steps if not any(word in step for word in read)]


@pytest.fixture(scope="module")
def old_store(files, tmp_path_factory):
    """A folder with the first release, to copy."""
    folder = tmp_path_factory.mktemp("old") / "store"
    store, maps = Place(str(folder)).open(), inputs.builds(files, "first", GRIDS)
    inputs.publish(store, files, "first", maps=maps)
    return folder


@pytest.fixture
def folder_place(old_store, tmp_path):
    shutil.copytree(old_store, tmp_path / "store")
    return Place(str(tmp_path / "store"))


@pytest.fixture
def old_s3_place(s3_place, files):
    inputs.publish(s3_place.open(), files, "first", maps=inputs.builds(files, "first", GRIDS))
    return s3_place


@pytest.fixture(scope="session")
def big_files(files, tmp_path_factory):
    """A catalog of 9 MB, which goes to S3 in two parts."""
    folder = tmp_path_factory.mktemp("big")
    shutil.copytree(files, folder, dirs_exist_ok=True)
    catalog = Catalog.from_geoparquet(folder / "next.parquet")
    noise = pa.array([os.urandom(9 << 17) for _ in range(len(catalog))], pa.binary())
    Catalog(catalog.table.append_column("noise", noise), catalog.metadata).to_geoparquet(
        folder / "next.parquet"
    )
    return folder


def publish_next(store, files):
    return inputs.publish(store, files, "next", maps=inputs.builds(files, "next", GRIDS))


def publish_until(place, files, step):
    """Publish the next release in a process that is killed at a step, if there is one."""
    return killed.run(place, partial(publish_next, files=files), step, files.parent)


def kill_and_look(place, files, step, tmp_path):
    """Kill a publish of the next release at a step, look at the store, and publish again."""
    store = place.open()
    old = find_release(store, *inputs.RELEASE_KEY)
    code, _ = publish_until(place, files, step)
    assert code == -signal.SIGKILL

    seen = find_release(store, *inputs.RELEASE_KEY)
    moved = seen.digest != old.digest
    if moved:
        assert step in {"pointer: renamed", "pointer: swap_pointer ends"} | {
            "pointer: PutObject is answered"
        }
    assert verify(store).findings == []
    path = resolve(store, *inputs.RELEASE_KEY, "healpix", folder=tmp_path / "m")
    assert f'"id": "{inputs.granule(8 if moved else 0)}"' in path.read_text()

    before = {info.key: info.modified for info in store.list()}
    again = publish_next(store, files)
    assert again.moved != moved
    assert not set(again.written) & set(before)
    after = {info.key: info.modified for info in store.list()}
    changed = {key for key, modified in before.items() if after[key] != modified}
    assert changed <= {again.record.release_key.pointer()}
    assert find_release(store, *inputs.RELEASE_KEY).digest == again.digest
    assert verify(store).findings == []


def test_these_are_all_steps_in_a_folder(folder_place, files):
    code, steps = publish_until(folder_place, files, None)
    assert (code, steps) == (0, FOLDER_STEPS)


@pytest.mark.parametrize("step", FOLDER_KILLS)
def test_a_kill_in_a_folder_leaves_the_old_release_or_the_new(folder_place, files, tmp_path, step):
    kill_and_look(folder_place, files, step, tmp_path)


@pytest.mark.parametrize(
    "step", ["catalog: exists begins", "healpix.json: exists ends", "record: put_object ends"]
)
def test_a_run_that_resumes_a_killed_one_may_be_killed_too(folder_place, files, tmp_path, step):
    publish_until(folder_place, files, "record: put_object begins")
    kill_and_look(folder_place, files, step, tmp_path)


def test_these_are_all_steps_on_s3(old_s3_place, files):
    code, steps = publish_until(old_s3_place, files, None)
    assert (code, steps) == (0, S3_STEPS)


@pytest.mark.parametrize("step", [S3_STEPS[0], *changing(S3_STEPS)])
def test_a_kill_on_s3_leaves_the_old_release_or_the_new(old_s3_place, files, tmp_path, step):
    kill_and_look(old_s3_place, files, step, tmp_path)


def test_these_are_all_steps_of_a_catalog_in_parts(old_s3_place, big_files):
    code, steps = publish_until(old_s3_place, big_files, None)
    assert (code, steps) == (0, BIG_STEPS)


@pytest.mark.parametrize("step", changing(UPLOADED))
def test_a_kill_between_parts_leaves_the_old_release(old_s3_place, big_files, tmp_path, step):
    kill_and_look(old_s3_place, big_files, step, tmp_path)
