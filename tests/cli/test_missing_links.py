"""The 59 real items of a box, half of them without links: what each command says of them."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.harness.recorded import DAYS, SERC, RecordedServer, serc_items
from zagg_catalog.cli import main

BOX = ",".join(map(str, SERC))
RELEASE = ["--product", "ATL03_007", "--region", "serc", "--cycle", "1"]


@pytest.fixture(scope="module")
def items(real_data):
    return serc_items(real_data)


@pytest.fixture(scope="module")
def bad(items):
    """Every second item."""
    return [item["id"] for item in items[::2]]


@pytest.fixture(scope="module")
def made(items, bad, real_data, tmp_path_factory):
    """A folder with the spoilt catalog, a map of it, and the config; and what the build said."""
    folder = tmp_path_factory.mktemp("spoilt")
    shutil.copy(real_data / "healpix_o9.yaml", folder / "grid.yaml")
    with RecordedServer(items, bad) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr("zagg_catalog.sources.http.FIRST_WAIT", 0.0)
        arguments = ["build", "--config", folder / "grid.yaml", "--short-name", "ATL03"]
        arguments += ["--start-date", DAYS[0], "--end-date", DAYS[1], f"--bbox={BOX}"]
        arguments += ["--stac-root", server.root_url, "--catalog-out", folder / "c.parquet"]
        arguments += ["--output", folder / "m.json"]
        codes = [main([*map(str, arguments), *more]) for more in ([], ["--partial"])]
    return folder, codes


@pytest.fixture
def call(made, capsys, monkeypatch):
    """Call a command in the folder, and return its exit code, output and errors."""
    monkeypatch.chdir(made[0])
    monkeypatch.setenv("ZAGG_CATALOG_STORE", str(made[0] / "store"))

    def run(*arguments: str):
        code = main(list(arguments))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_build_ends_with_1_unless_partial_results_are_asked_for(made):
    assert made[1] == [1, 0]


@pytest.mark.parametrize(
    "command",
    [
        ["build", "--config", "grid.yaml", "--catalog", "c.parquet", "-o", "again.json"],
        ["map", "--config", "grid.yaml", "--catalog", "c.parquet"],
        ["show", "c.parquet"],
        ["show", "m.json"],
        ["check", "m.json", "--config", "grid.yaml"],
    ],
    ids=" ".join,
)
def test_each_command_names_what_is_missing_and_ends_with_1(call, bad, command):
    code, out, err = call(*command)
    assert code == 1
    assert "incomplete" in err
    assert bad[0] in out + err
    assert "--partial" in err
    assert call(*command, "--partial")[0] == 0


def test_the_files_list_every_granule_and_its_reason(call, bad):
    for file in ("c.parquet", "m.json"):
        found = json.loads(call("show", "--json", file)[1])
        assert found["complete"] is False
        assert [entry["id"] for entry in found["quarantined"]] == bad
        assert {entry["reason"].partition(":")[0] for entry in found["quarantined"]} == {
            "it has no data asset"
        }


def test_the_release_is_partial_and_latest_stays(call, bad):
    files = ["--catalog", "c.parquet", "--region", "serc", "--grid", "serc=grid.yaml:m.json"]
    command = ["release", "publish", *files, "--cycle", "1"]
    code, out, err = call(*command)
    assert code == 1
    assert "does not point to it" in out
    assert "it is partial" in err
    (listed,) = json.loads(call("release", "list", "--json")[1])
    assert (listed["status"], listed["latest"]) == ("partial", False)
    assert listed["grids"] == {"serc": "partial"}
    code, _, err = call("release", "show", *RELEASE, "--digest", listed["digest"])
    assert code == 1
    assert f"30 granules cannot be used, {bad[0]}" in err
    which = [*RELEASE, "--grid", "serc", "--digest", listed["digest"]]
    assert call("release", "resolve", *which)[0] == 1
    assert call("release", "resolve", *which, "--partial")[0] == 0
    # They are of many cycles, which a check finds.
    assert call(*command, "--partial-latest", "--allow-failed-checks")[0] == 0
    assert call("release", "verify")[0] == 0
