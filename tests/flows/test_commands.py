"""Every flow is a plain command."""

import os
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import (
    aggregate,
    automations,
    backfill,
    cycle,
    fetch,
    local_server,
    shardmaps,
    watch,
    watch_queue,
)
from flows.command import flow_parser
from flows.local_server import ROOT, temporary_server
from tests.harness.processes import processes_with
from zagg_catalog.store import open_store


def flags(team):
    return ["--store", team.store_url, "--registry", str(team.registry / "registry.yaml")]


def test_a_catalog_is_fetched_and_its_maps_are_built(team, capsys):
    call = ["--cycle", "22", "--region", "greenland", "--stac-root", team.stac_root, *flags(team)]
    assert fetch.main(call) == 0
    key = capsys.readouterr().out.splitlines()[-1]
    assert team.store.exists(key)
    assert shardmaps.main(["--catalog", key, *flags(team)]) == 0
    assert "2 maps of ATL06_007, greenland, cycle 22" in capsys.readouterr().out


def test_a_cycle_is_prepared_and_a_second_time_there_is_nothing_new(team, capsys):
    call = ["--cycle", "22", "--regions", "greenland", "--stac-root", team.stac_root, *flags(team)]
    assert cycle.main(call) == 0
    assert "released greenland" in capsys.readouterr().out
    assert cycle.main(call) == 0
    assert "nothing new" in capsys.readouterr().out


def test_a_command_that_fails_ends_with_1_and_says_why(team, capsys):
    call = ["--cycle", "22", "--region", "atlantis", *flags(team)]
    assert fetch.main(call) == 1
    assert "no region 'atlantis'" in capsys.readouterr().out


@pytest.mark.parametrize("flow", [cycle, fetch, shardmaps])
def test_an_unknown_flag_ends_with_2(flow):
    with pytest.raises(SystemExit) as caught:
        flow.main(["--nonsense"])
    assert caught.value.code == 2


FLOWS = {
    cycle.prepare_cycle: (
        "product version cycle regions grids force publish_partial allow_contraction"
        " allow_failed_checks slices store stac_root provider registry notice event"
    ),
    fetch.fetch_catalog: (
        "product version region cycle slices partial store stac_root provider registry"
    ),
    shardmaps.build_shardmaps: "catalog grids force partial store registry",
    backfill.backfill: (
        "cycles products regions grids only parallel dry_run aggregate force publish_partial"
        " allow_contraction allow_failed_checks slices store stac_root provider registry"
    ),
    watch.watch_cycles: "products dry_run store stac_root provider registry",
    watch_queue.watch_queue: "listen store stac_root provider registry",
    aggregate.aggregate: (
        "event product version region cycle grids release artifact only_changed dry_run"
        " allow_partial allow_contraction force output zagg store registry"
    ),
}


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_each_parameter_is_a_flag_with_a_description(flow):
    parser = flow_parser(flow, "flows")
    flags = {action.dest: action for action in parser._actions if action.dest != "help"}
    assert list(flags) == FLOWS[flow].split()
    assert all(action.help for action in flags.values())


def test_flags_have_the_types_of_their_parameters():
    def parse(flow, line):
        return vars(flow_parser(flow, "flows").parse_args(line.split()))

    assert parse(cycle.prepare_cycle, "") == {}
    assert parse(cycle.prepare_cycle, "--cycle 22 --grids a b --force --product ATL06") == {
        "cycle": 22,
        "grids": ["a", "b"],
        "force": True,
        "product": "ATL06",
    }
    line = '--no-dry-run --zagg {"max_workers":2}'
    assert parse(aggregate.aggregate, line) == {"dry_run": False, "zagg": {"max_workers": 2}}


@pytest.mark.parametrize("line", ["--cycle x", "--product ATL99", "--zagg {", "--cycle"])
def test_a_wrong_value_ends_with_2(line):
    with pytest.raises(SystemExit) as caught:
        aggregate.main(line.split())
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("import time; time.sleep(600)", "Prefect's server starts: not done within 0.3 s."),
        ("raise SystemExit(7)", "Prefect's server ended with code 7."),
    ],
)
@pytest.mark.parametrize("main", [fetch.main, automations.main])
def test_a_server_that_does_not_start_is_one_line(main, script, expected, monkeypatch, capfd):
    monkeypatch.setattr(local_server, "_UVICORN", script)
    monkeypatch.setattr(local_server, "START_SECONDS", 0.3 if "sleep" in script else 60)
    with temporary_settings(updates={PREFECT_API_URL: None}):
        assert main([]) == 1
    assert [line for line in capfd.readouterr().err.splitlines() if "INFO" not in line] == [
        expected
    ]


def test_a_server_that_starts_slowly_is_waited_for_with_one_line(monkeypatch, caplog):
    answers = iter([False, False, False, True])
    monkeypatch.setattr(local_server, "_UVICORN", "import time; time.sleep(600)")
    monkeypatch.setattr(local_server, "_answers", lambda *_: next(answers))
    monkeypatch.setattr(local_server, "SLOW_SECONDS", 0)
    with temporary_settings(updates={PREFECT_API_URL: None}), temporary_server():
        said = [entry.message for entry in caplog.records if "slowly" in entry.message]
    assert said == ["Prefect's server starts slowly; waiting 300 s."]


@pytest.mark.slow
@pytest.mark.integration
def test_without_a_server_a_temporary_one_starts_and_ends(stac, registry_folder, tmp_path):
    store = str(tmp_path / "store")
    command = [sys.executable, "-m", "flows.fetch", "--cycle", "22", "--region", "greenland"]
    command += ["--store", store, "--stac-root", stac.root_url]
    command += ["--registry", str(registry_folder / "registry.yaml")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment | {"PREFECT_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "Starting temporary server" in said[0]
    assert open_store(store).exists(said[-1])
    assert processes_with(str(tmp_path)) == []
