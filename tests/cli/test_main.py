"""The program as a whole: help, version, completion, and calls that are wrong."""

import errno
import os
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from zagg_catalog import __version__
from zagg_catalog.cli import COMMANDS, main
from zagg_catalog.cli.main import make_app
from zagg_catalog.cli.options import GeometryOptions
from zagg_catalog.shardmap.backends import BACKENDS
from zagg_catalog.shardmap.build import FOOTPRINTS


def test_the_overview_and_every_command_have_help(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in overview
        assert main([command, "-h"]) == 0
        assert f"Usage: zagg-catalog {command}" in capsys.readouterr().out


def test_the_overview_says_what_a_command_says(capsys):
    app = make_app()
    for command, (_, summary) in COMMANDS.items():
        assert summary.endswith(".")
        assert app[command].help


@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_the_terminal(width):
    """In a process of its own, since the console reads its width once."""
    script = "from zagg_catalog.cli import main; [main([c, '--help']) for c in {}]"
    done = subprocess.run(
        [sys.executable, "-c", script.format(["build", "map", "release"])],
        env=os.environ | {"COLUMNS": str(width)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 20


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (["shwo", "x"], 'Did you mean "show"?'),
        (["release", "lst"], 'Did you mean "list"?'),
        (["build", "--confg", "x"], "Unknown option: --confg. Did you mean --config?"),
        (["build", "--confg=x"], "Unknown option: --confg. Did you mean --config?"),
        (["build", "--backnd", "x"], "Unknown option: --backnd. Did you mean --backend?"),
        (["map", "--confg", "x"], "Unknown option: --confg. Did you mean --config?"),
        (["map", "--cycels", "1-3"], "Unknown option: --cycels. Did you mean --cycles?"),
        (["release", "show", "--prodct", "x"], "Unknown option: --prodct. Did you mean --product?"),
        (["release", "show", "--jsno"], "Unknown option: --jsno. Did you mean --json?"),
        (["release", "show", "--qqq"], "Unknown option: --qqq."),
        (["build", "--config", "x.yaml", "--backend", "morty"], 'Did you mean "mortie"?'),
        (["build", "--short-name", "ATL06"], "--config is required; see zagg-catalog build --help"),
        (["build", "--config"], "--config needs a value"),
        (["show", "a", "b"], "Unexpected argument: b."),
        (["--config", "g.yaml", "build"], "The command comes first: zagg-catalog build --config …"),
        (["-o", "m.json", "show"], "The command comes first: zagg-catalog show -o …"),
        (
            ["build", "--config", "g", "--bbox", "-52", "68", "-46", "70"],
            "A box is one value with commas: --bbox=W,S,E,N.",
        ),
        (["notify", "--product", "ATL06", "--cycle", "x"], "--cycle"),
    ],
)
def test_a_wrong_call_is_one_sentence_with_a_suggestion(call, says, capsys):
    with pytest.raises(SystemExit) as caught:
        main(call)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("zagg-catalog: ")
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out


def test_help_is_a_command_too(capsys):
    assert main(["help"]) == 0
    assert "Commands:" in capsys.readouterr().out
    assert main(["help", "build"]) == 0
    assert "Usage: zagg-catalog build" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (["check", "g.yaml", "--config", "m.json"], "zagg-catalog check m.json --config g.yaml"),
        (["show", "nowhere.json"], "There is no file nowhere.json."),
        (["grid", "show", "FOLDER/other.yaml"], "it is no pipeline config of zagg"),
        (["grid", "show", "FOLDER/list.yaml"], "must be a mapping with data_source"),
        (["backfill", "--registry", "nowhere.yaml"], "The registry nowhere.yaml cannot be read"),
    ],
)
def test_a_usual_mistake_is_told_its_remedy(call, says, capsys, tmp_path):
    (tmp_path / "other.yaml").write_text("name: build\non: [push]\njobs: {}\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert main([one.replace("FOLDER", str(tmp_path)) for one in call]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out


def test_a_read_only_folder_is_found_before_the_fetch(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    config = "deployments/grids/atl06-antarctica-healpix.yaml"
    product = ["--short-name", "ATL06", "--cycle", "22", "--bbox=0,-80,1,-79"]
    output = ["-o", str(tmp_path / "m.json")]
    assert main(["build", "--config", config, *product, *output]) == 2
    assert "its folder is read-only for you" in capsys.readouterr().err


def test_a_reader_that_has_enough_gets_no_message(tmp_path):
    """As `head`: the pipe is closed before the command writes."""
    ours, theirs = os.pipe()
    os.close(ours)
    call = [sys.executable, "-c", "import sys; from zagg_catalog.cli import main; sys.exit(main())"]
    registry = ["grids", "--registry", "deployments/registry.yaml", "--json"]
    done = subprocess.run([*call, *registry], stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_without_a_command_the_overview_is_shown_and_the_code_is_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "Commands:" in capsys.readouterr().err


def test_old_and_new_names_of_a_flag_do_the_same(capsys):
    calls = [
        ["build", "--config", "no.yaml", "--from-catalog", "c.parquet"],
        ["build", "--grid", "no.yaml", "--catalog", "c.parquet", "-o", "m.json"],
        ["map", "--grid", "no.yaml", "--catalogs", "c.parquet"],
        ["map", "--config", "no.yaml", "--catalog", "c.parquet", "-o", "maps"],
    ]
    for call in calls:
        assert main(call) == 2
        assert "no.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("box", [["--bbox", "-76,38,1"], ["--bbox=-76,38,1"]])
def test_a_box_may_begin_with_a_minus(box, capsys, tmp_path):
    config = "deployments/grids/atl06-antarctica-healpix.yaml"
    assert main(["build", "--config", config, *box]) == 2
    assert "'-76', '38', '1'" in capsys.readouterr().err


def test_completion_is_installed(tmp_path):
    command = [sys.executable, "-c", "from zagg_catalog.cli import main; main()"]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "--install-completion", "--shell", "bash"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (script,) = tmp_path.glob(".local/share/bash-completion/completions/zagg-catalog")
    assert "--short-name" in script.read_text()


def test_the_choices_are_those_of_the_library():
    hints = get_type_hints(GeometryOptions)
    assert set(get_args(get_args(hints["backend"])[0])) == set(BACKENDS)
    assert set(get_args(get_args(hints["footprint"])[0])) == set(FOOTPRINTS)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "write /a/b: No space left on"),
        (PermissionError(errno.EACCES, "Permission denied"), "read or write: Permission denied;"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"/a"), "write /a: Is a directory;"),
        (OSError("parquet: a sentence of a library."), "parquet: a sentence of a library."),
    ],
)
def test_an_error_of_the_system_is_a_sentence(monkeypatch, capsys, error, shown):
    def fail(arguments):
        raise error

    monkeypatch.setattr(sys.modules["zagg_catalog.cli.main"], "_run", fail)
    assert main(["show", "x"]) == 1
    said = capsys.readouterr().err
    assert shown in said
    assert "[Errno" not in said
