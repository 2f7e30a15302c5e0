"""``zagg-catalog status``: its tables, as a terminal of 80 or 120 columns shows them, and JSON."""

import json
import re
from pathlib import Path

import pytest

from tests.watch import conftest as watch
from tests.watch.desk import Desk, write_files, write_registry
from zagg_catalog.cli import main
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.sandbox import SandboxServer, simulate

make_watch = watch.make_watch
STORED = Path(__file__).parent / "status"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def desk(make_watch, files, tmp_path, monkeypatch):
    """Cycle 22 is settled, and a newer release of it lacks a granule; 23 ended; 24 is under way."""
    desk = Desk(make_watch(first_cycle=22), files)
    write_registry(tmp_path, files, first_cycle=22)
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(tmp_path / "registry.yaml"))
    monkeypatch.setenv("ZAGG_CATALOG_STORE", str(desk.watch.store.root))
    for module in ("status", "status_tables", "release_tables"):
        monkeypatch.setattr(f"zagg_catalog.cli.{module}.utc_now", lambda: desk.watch.now)
    return desk


@pytest.fixture
def status(capsys, monkeypatch):
    """Call the command on a terminal of some columns; return its exit code and what it shows."""

    def call(*arguments, columns=None):
        if columns:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("COLUMNS", str(columns))
        code = main(["status", *arguments])
        shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        # Other versions of pyarrow write other bytes.
        shown = re.sub(r"\b[0-9a-f]{12}\b", "0123456789ab", shown)
        return code, "\n".join(line.rstrip() for line in shown.split("\n"))

    return call


@pytest.mark.parametrize("columns", [80, 120])
def test_the_tables_fit_a_terminal(desk, status, columns):
    desk.settle()
    desk.publish("lacking")
    desk.poll()
    code, shown = status(columns=columns)
    assert code == 1
    assert shown == (STORED / f"{columns}.txt").read_text()
    table = [
        line for line in shown.split("\n") if not line.startswith(("  cycle", "Cycles", "ATL"))
    ]
    assert max(map(len, table)) <= columns


def test_a_complete_cycle_ends_with_0_and_its_facts_are_json(desk, status):
    desk.settle()
    code, shown = status("--cycle", "22", "--json")
    assert code == 0
    (row,) = json.loads(shown)["rows"]
    key = ReleaseKey("ATL06_007", "antarctica", 22)
    assert (row["product"], row["region"], row["cycle"]) == (key.product, key.region, key.cycle)
    assert (row["state"], row["complete"], row["lacks"]) == ("settled", True, [])
    counts = row["granules"]
    assert (counts["held"], counts["declared"], counts["known_gaps"]) == (8, 8, [])
    assert [one["condition"] for one in row["maps"]] == ["current", "current"]
    assert row["pickups"]["plate"]["picked_up"] is False
    assert row["source"] is None


def test_the_source_is_asked_only_if_the_call_says_so(desk, status, monkeypatch):
    desk.settle()
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 9))) as server:
        monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", server.root_url)
        assert status("--cycle", "22")[0] == 0
        assert not server.requests
        code, shown = status("--cycle", "22", "--source", columns=120)
        assert len(server.requests) == 1
        folded = status("--cycle", "22", "--source", columns=80)[1]
    assert code == 1
    assert "source now" in shown
    assert re.search(r"^ +22  settled +8/8 .* \d+ d  2/2 +0 of 2$", folded, re.MULTILINE)
    assert re.search(r"cycle 22: the source declares \d+ granules, and the release is of 8", shown)


def test_an_empty_store_is_not_complete(desk, status):
    code, shown = status()
    assert code == 1
    assert "ATL06_007, antarctica: no release, and no watch has looked for cycles." in shown
    assert "Neither the store nor the watch knows a cycle." in shown


def test_a_missing_registry_that_is_named_is_an_error(desk, status, tmp_path):
    assert status("--registry", str(tmp_path / "none.yaml"))[0] == 2
