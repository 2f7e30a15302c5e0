"""``zagg-catalog release …``, as a user calls it."""

from __future__ import annotations

import json

import pytest

from tests.releases import conftest as releases
from tests.releases import inputs
from zagg_catalog import Catalog, ShardMap
from zagg_catalog.cli import main

files, one_session = releases.files, releases.one_session
RELEASE_KEY = ["--product", "ATL06_007", "--region", "antarctica", "--cycle", "22"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The store, by way of its setting; the commands run beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZAGG_CATALOG_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def release(files, capsys):
    """Call a command, and return its exit code, output and errors."""

    def call(*arguments):
        code = main(["release", *map(str, arguments)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def published(folder, files, release):
    """Publish by name."""

    def call(name, *more):
        grids = [
            f"--grid={grid}={files}/{grid}.yaml:{files}/{name}-{grid}.parquet"
            for grid in inputs.CONFIGS
        ]
        catalog = ["--catalog", files / f"{name}.parquet", "--region", "antarctica"]
        return release("publish", *catalog, *grids, *more)

    return call


def digests(release):
    return [one["digest"] for one in json.loads(release("list", "--json")[1])]


def test_publish_then_list_show_and_resolve(published, release, tmp_path):
    code, out, err = published("first")
    assert (code, err) == (0, "")
    assert "points to it" in out
    code, out, _ = release("list")
    assert code == 0
    assert "healpix, plate" in out
    (digest,) = digests(release)
    code, out, _ = release("show", *RELEASE_KEY)
    assert code == 0
    assert digest in out
    shown = json.loads(release("show", *RELEASE_KEY, "--digest", digest[:9], "--json")[1])
    assert shown["latest"] is True
    assert shown["record"]["grids"][1]["manifest"]["json"] is None
    code, out, err = release("resolve", *RELEASE_KEY, "--grid", "plate", "--folder", "here")
    assert (code, err) == (0, "")
    assert len(ShardMap.from_json(tmp_path / out.strip())) == 72


def test_publishing_again_says_that_nothing_changed(published):
    published("first")
    code, out, _ = published("first")
    assert code == 0
    assert "unchanged, nothing was written" in out


def test_json_manifests_are_stored_if_asked_for(published, release):
    published("first", "--json-manifests", "--by", "the robot")
    shown = json.loads(release("show", *RELEASE_KEY, "--json")[1])
    assert shown["record"]["grids"][0]["manifest"]["json"]["size"] > 0
    assert shown["publication"]["published_by"] == "the robot"


def test_a_contraction_is_named(published):
    published("first")
    code, out, err = published("next")
    assert code == 1
    assert inputs.granule(0) in out
    assert "does not point to it" in out
    assert inputs.granule(0) in err
    assert "--allow-contraction" in err
    code, out, err = published("next", "--allow-contraction")
    assert (code, err) == (0, "")
    assert "points to it" in out


def test_failed_checks_are_shown_and_end_with_1_unless_they_are_accepted(
    published, files, tmp_path, release
):
    published("first")
    catalog = Catalog.from_geoparquet(files / "first.parquet")
    ids = catalog.table["id"].to_pylist()
    ids.append(ids[0].replace("_01.h5", "_02.h5"))
    rows = catalog.table.take([*range(8), 0])
    spoilt = Catalog(rows.set_column(rows.schema.get_field_index("id"), "id", [ids]), {})
    spoilt.metadata.update(catalog.metadata)
    spoilt.to_geoparquet(tmp_path / "twice.parquet")
    call = ["publish", "--catalog", tmp_path / "twice.parquet", "--region", "antarctica"]
    code, out, err = release(*call)
    assert (code, "does not point to it" in out) == (1, True)
    assert "error: duplicates: Each granule should occur once" in out
    assert "the check duplicates failed" in err
    assert "--allow-failed-checks" in err
    (digest,) = [one for one in digests(release) if one in out]
    for shown in (
        release("show", *RELEASE_KEY, "--digest", digest),
        release(*call, "--allow-failed-checks"),
    ):
        code, out, _ = shown
        assert code == 0
        assert "1 error, " in out
        assert "error: duplicates: Each granule should occur once" in out
    shown = json.loads(release("show", *RELEASE_KEY, "--json")[1])
    assert shown["checks"]["findings"][0]["check"] == "duplicates"
    assert "checks" not in shown["record"]


def test_the_rules_of_checks_are_those_of_the_registry(published, release, tmp_path):
    """The registry has another grid of the name, so its signature is another one."""
    published("first")
    (tmp_path / "grid.yaml").write_text(inputs.CONFIGS["healpix"].replace("5", "4"))
    (tmp_path / "registry.yaml").write_text(
        "regions: {antarctica: {bbox: [-180, -90, 180, -60]}}\n"
        "grids: {healpix: {config: grid.yaml, products: [ATL06_007], region: antarctica}}\n"
    )
    registry = ["--registry", tmp_path / "registry.yaml"]
    code, out, err = published("next", "--allow-contraction", *registry)
    assert (code, "1 of 1 differ: 1 in all: healpix" in err) == (1, True)
    with (tmp_path / "registry.yaml").open("a") as file:
        file.write("checks: {ATL06_007: {signatures: warn}}\n")
    code, out, err = published("next", "--allow-contraction", *registry)
    assert (code, err) == (0, "")
    assert "warn: signatures: " in out


def test_a_partial_release_ends_with_1_unless_it_is_accepted(published, files, tmp_path, release):
    catalog = Catalog.from_geoparquet(files / "first.parquet")
    Catalog(catalog.table, catalog.metadata | {"complete": False}).to_geoparquet(
        tmp_path / "part.parquet"
    )
    call = ["publish", "--catalog", tmp_path / "part.parquet", "--region", "antarctica"]
    code, out, err = release(*call)
    assert (code, "does not point to it" in out) == (1, True)
    assert "--partial-latest" in err
    assert release("show", *RELEASE_KEY)[0] == 1
    (digest,) = digests(release)
    code, _, err = release("show", *RELEASE_KEY, "--digest", digest)
    assert code == 1
    assert "the release is partial: the catalog is not known to be complete" in err
    assert release("show", *RELEASE_KEY, "--digest", digest, "--partial")[0] == 0
    assert release(*call, "--partial-latest")[0] == 0
    assert release("show", *RELEASE_KEY)[0] == 0


def test_diff_lists_what_to_redo(published, release):
    published("first")
    (old,) = digests(release)
    published("next", "--allow-contraction")
    code, out, _ = release("diff", *RELEASE_KEY, old[:12])
    assert code == 0
    assert inputs.granule(8) in out
    facts = json.loads(release("diff", *RELEASE_KEY, old[:12], "--json")[1])
    assert facts["granules"]["removed"] == [inputs.granule(0)]
    assert len(facts["grids"][1]["redo"]) == 18
    assert release("diff", *RELEASE_KEY, old, "--exit-code")[0] == 1
    assert release("diff", *RELEASE_KEY, old, old, "--exit-code")[0] == 0


def test_verify_ends_with_1_and_names_the_file(published, release, folder):
    published("first")
    code, out, _ = release("verify")
    assert (code, "all is well" in out) == (0, True)
    victim = next(folder.glob("catalogs/*/*/*/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    code, out, _ = release("verify")
    assert code == 1
    assert str(victim.relative_to(folder)) in out
    code, out, _ = release("verify", "--json")
    assert (code, json.loads(out)["clean"]) == (1, False)
    code, _, err = release("verify", "--product", "ATL03_007")
    assert (code, "no release of these" in err) == (1, True)


def test_rollback_goes_back(published, release):
    published("first")
    (old,) = digests(release)
    published("next", "--allow-contraction")
    code, out, _ = release("rollback", *RELEASE_KEY, old[:12])
    assert (code, "rollback" in out) == (0, True)
    assert json.loads(release("show", *RELEASE_KEY, "--json")[1])["digest"] == old
    code, _, err = release("rollback", *RELEASE_KEY, "f" * 64)
    assert (code, len(err.splitlines())) == (1, 1)


def test_gc_lists_first_and_asks_before_it_removes(published, release, folder, monkeypatch):
    published("first")
    (place,) = folder.glob("catalogs/*/*/*")
    orphan = place / f"{'0' * 64}.parquet"
    orphan.write_text("x")
    assert "1 is too young" in release("gc")[1]
    code, out, _ = release("gc", "--grace", 0)
    assert (code, orphan.name in out, "--delete" in out) == (0, True, True)
    assert orphan.exists()
    given = ("gc", "--grace", 0, "--releases", 0, "--delete")
    code, out, err = release(*given)
    assert (code, orphan.name in out, "--yes" in err) == (2, True, True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, said in (("", "Nothing was removed."), ("y", "1 file, 1 byte, removed.")):
        assert orphan.exists()
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        code, out, _ = release(*given)
        assert (code, out.splitlines()[-1]) == (0, said)
    assert not orphan.exists()
    orphan.write_text("x")
    assert release(*given, "--yes")[0] == 0
    assert not orphan.exists()
    assert release("verify")[0] == 0
    assert release("gc", "--grace=-1")[0] == 2


def test_gc_names_what_it_leaves_alone(published, release, folder):
    published("first")
    lost = folder / "catalogs/product=A/region=b/cycle=1" / f"{'0' * 64}.parquet"
    lost.parent.mkdir(parents=True)
    lost.write_text("x")
    code, out, err = release("gc", "--grace", 0, "--delete", "--yes")
    assert (code, "0 files" in out, lost.exists()) == (0, True, True)
    assert "All of A, b, cycle 1 stays: there is no releases/product=A/" in err


@pytest.mark.parametrize(
    ("grid", "code", "says"),
    [
        ("healpix", 2, "NAME=CONFIG:MAP"),
        ("healpix=only.yaml", 2, "NAME=CONFIG:MAP"),
        ("healpix={files}/healpix.yaml:nowhere.json", 2, "There is no file nowhere.json"),
        ("healpix=nowhere.yaml:{files}/first-healpix.parquet", 2, "nowhere.yaml"),
        ("../x={files}/healpix.yaml:{files}/first-healpix.parquet", 2, "../x"),
        ("x={files}/plate.yaml:{files}/first-healpix.parquet", 1, "another grid"),
        ("x={files}/plate.yaml:{files}/next-plate.parquet", 1, "that the catalog lacks"),
    ],
)
def test_a_wrong_grid_is_one_sentence_and_writes_nothing(folder, files, release, grid, code, says):
    call = ["--catalog", files / "first.parquet", "--region", "antarctica"]
    ended, _, err = release("publish", *call, "--grid", grid.format(files=files))
    assert ended == code
    assert says in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", *RELEASE_KEY], 1, "no latest release"),
        (["show", *RELEASE_KEY, "--store", "ftp://x/y"], 2, "ftp://"),
        (["show", *RELEASE_KEY[:4], "--cycle", "0"], 2, "Cycle 0"),
        (["resolve", *RELEASE_KEY, "--grid", "x"], 1, "no latest release"),
    ],
)
def test_what_is_not_there_is_one_sentence(folder, release, arguments, code, says):
    ended, _, err = release(*arguments)
    assert (ended, says in err, len(err.splitlines())) == (code, True, 1)


def test_an_empty_store_lists_nothing(folder, release):
    assert release("list")[0] == 0
    assert json.loads(release("list", "--json")[1]) == []


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["show"], ["rollback", *RELEASE_KEY]])
def test_an_unknown_command_or_a_missing_flag_ends_with_2(folder, release, arguments):
    with pytest.raises(SystemExit) as caught:
        release(*arguments)
    assert caught.value.code == 2


def test_the_index_is_renewed_and_checked(published, folder, release):
    assert published("first")[0] == 0
    assert published("next", "--allow-contraction")[0] == 0
    page = (folder / "index.html").read_bytes()
    assert all(one.encode() in page for one in digests(release))
    code, out, _ = release("index", "--check")
    assert (code, "2 releases of 1 cycle" in out) == (0, True)

    old = digests(release)[0]
    release("rollback", *RELEASE_KEY, old)
    assert release("index", "--check")[0] == 0
    (folder / "index.html").write_bytes(page)
    code, out, err = release("index", "--check")
    assert (code, "ATL06_007, antarctica, cycle 22" in err) == (1, True)
    assert json.loads(release("index", "--check", "--json")[1])["current"] is False
    assert release("gc", "--delete", "--yes")[0] == 0
    assert release("index", "--check")[0] == 0
    (folder / "index.html").unlink()
    assert release("index", "--check")[0] == 1
    assert release("index")[0] == 0
    assert release("index", "--check")[0] == 0


def test_an_index_that_cannot_be_written_is_a_warning(published, folder, release):
    (folder / "index.html").mkdir(parents=True)
    code, _, err = published("first")
    assert (code, "warning: the index of the store is not renewed" in err) == (0, True)
    assert len(digests(release)) == 1
    code, _, err = release("index")
    assert (code, "index.html" in err) == (1, True)


def test_a_store_without_a_release_is_not_sound(folder, release):
    code, _, err = release("verify", "--store", folder / "mistyped")
    assert code == 1
    assert "mistyped has no release. There is nothing to verify" in err
    code, _, err = release("list", "--region", "nowhere")
    assert code == 0
    assert "has no release of these." in err
