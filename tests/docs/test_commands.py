"""Every command of the documentation runs, and prints what its page shows.

The commands of a page run in their order, in one folder. Those of flows run in
`tests/flows/test_documented.py`, where there is a Prefect server. What does not run here is listed
with a reason, and is parsed.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from functools import cache

import pytest
import yaml

import zagg_catalog
from tests.harness.pages import PAGES, ROOT, Block, Command, blocks, commands, differs
from tests.harness.reader import terminal
from zagg_catalog import Catalog, Query, ShardMap, from_config, load_polygon

# Commands that do not run, by their beginning, and why. All are parsed.
NOT_RUN = {
    r"pip install|python -m venv": "installs packages from an index",
    r".*\bdocker |umask |cat > deployments/.env": "needs a container engine",
    r"prefect (server|worker|deployment)|python -m flows\.serve": "serves until it is stopped",
    r"python -m flows\.(demo|deploy)": "takes minutes, or changes a server; tests/flows runs it",
    r"dask ": "needs several machines; tests/flows/test_machines.py runs it",
    r"make ": "runs these tests, or others",
    r"curl .*(https://|\$PREFECT_API_URL)": "posts to a server on the internet",
    r"python -m flows.watch_queue": "needs a queue; tests/flows/test_watch_queue.py runs it",
    r".*\bstac\.example\.org": "reads an API that does not exist",
    r".*\"backend\": \"lambda\"": "runs on AWS",
}
# Their number; a larger one needs a reason above as good as these.
MOST_NOT_RUN = 44
FLOW = (
    r"python -m flows\.(aggregate|backfill|cycle|fetch|shardmaps|watch)\b"
    r"|zagg-catalog (backfill|notify)(?!.* --(dry-run|print))"
)
# A page may say 1-30 of what is here 21-22, so that no test builds thirty cycles.
SHORTER = {"--cycles 1-30": "--cycles 21-22", "--cycles 18-24,30": "--cycles 21"}
# The store here lacks what these report: exit code 1, as their pages say.
INCOMPLETE = r"zagg-catalog (status|backfill .*--dry-run)|zagg-catalog release (diff|verify)"
SHELL = {"&", "&&", "|", ">", ";"}
LANGUAGES = {"bash", "console", "python", "sql", "yaml", "json", "jinja", "text", "ini"}


def reason(command: Command) -> str | None:
    """Why a command does not run here, None if it does."""
    if re.match(FLOW, command.text) and "lambda" not in command.text:
        return "flow"
    return next((why for begin, why in NOT_RUN.items() if re.match(begin, command.text)), None)


def all_commands() -> list[tuple[Block, Command]]:
    return [
        (block, command)
        for page in PAGES
        for block in blocks(page, "bash", "console")
        for command in commands(block)
    ]


def with_blocks():
    """The pages that have commands or Python."""
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if blocks(page, "bash", "console", "python")
    ]


@pytest.fixture
def folder(shelf, tmp_path):
    """A reader's folder, with the files that pages name."""
    shutil.copytree(shelf, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", with_blocks())
def test_the_commands_of_a_page_run(page, folder, source):
    with terminal(folder) as shell:
        shell.patch.setenv("ZAGG_CATALOG_STAC_ROOT", source.root_url)
        shell.patch.setenv("ZAGG_CATALOG_CMR_ROOT", source.cmr_url)
        shell.patch.setenv("MPLBACKEND", "agg")
        names = readers_names(folder)
        for block in blocks(page, "bash", "console", "python"):
            if block.language == "python":
                run_python(block, names, shell.here)
            else:
                run_shell(block, shell)


def run_shell(block, shell):
    for command in commands(block):
        if reason(command):
            continue
        text = command.text
        for long, short in SHORTER.items():
            text = text.replace(long, short)
        shown = shell.type(Command(text, command.expected))
        allowed = {0, 1} if re.match(INCOMPLETE, text) else {0}
        shows_code = "echo $?" in block.text
        assert shell.code in allowed or shows_code, f"{block.name}: {text}\n{shown}"
        if block.language == "console" and command.expected:
            assert not differs(command.expected, shown), f"{block.name}: $ {text}\n{shown}"


def readers_names(folder) -> dict:
    """The names that blocks of Python use and other blocks, or the text, define."""
    names = {name: getattr(zagg_catalog, name) for name in zagg_catalog.__all__}
    region = load_polygon("jakobshavn.geojson")
    return names | {
        "catalog": Catalog.from_geoparquet("catalog.parquet"),
        "command": ["true"],
        "datetime": datetime.datetime,
        "folder": folder,
        "grid": from_config("greenland.yaml"),
        "os": os,
        "query": Query.for_cycle("ATL06", "007", 22, (-50.5, 68.9, -47, 69.6)),
        "region": region,
        "shard_map": ShardMap.from_parquet("map.parquet"),
        "subprocess": subprocess,
    }


def run_python(block, names, here):
    if "prefect" in block.text or "await " in block.text:
        return  # with the flows; and lines of other programs in tests/test_docs.py
    code = compile(here(block.text), block.name, "exec")
    exec(code, names)


def test_every_block_has_a_language():
    found = {(block.name, block.language) for page in PAGES for block in blocks(page)}
    assert [name for name, language in sorted(found) if language not in LANGUAGES] == []


def test_a_command_is_in_a_block_that_runs():
    hidden = re.compile(r"^(\$ )?(zagg-catalog|python -m) ", re.M)
    text = [
        block.name
        for page in PAGES
        for block in blocks(page, "text", "ini", "yaml")
        if hidden.search(block.text)
    ]
    assert text == []


def test_most_commands_run(capsys):
    reasons = [reason(command) for _, command in all_commands()]
    here, flows = reasons.count(None), reasons.count("flow")
    left = len(reasons) - here - flows
    with capsys.disabled():
        print(f"\n{here} documented commands run here, {flows} with a server, {left} are parsed")
    assert left <= MOST_NOT_RUN
    assert here + flows > 2 * left


@pytest.mark.parametrize("begin", NOT_RUN)
def test_every_reason_is_needed(begin):
    assert any(re.match(begin, command.text) for _, command in all_commands())


def not_run():
    return [
        pytest.param(command, id=f"{block.name}-{number}")
        for number, (block, command) in enumerate(all_commands())
        if reason(command)
    ]


@pytest.mark.parametrize("command", not_run())
def test_a_command_that_does_not_run_is_valid(command):
    """Its flags, sub commands, targets and extras exist."""
    words = shlex.split(command.text, comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in SHELL), None)]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    match words:
        case ["zagg-catalog", *arguments]:
            from zagg_catalog.cli.main import make_app

            make_app().parse_args(arguments, exit_on_error=False, print_error=False)
        case ["python", "-m", module, *arguments] if module.startswith("flows."):
            check_flags(module, arguments)
        case ["prefect", *arguments]:
            from prefect.cli import app  # it registers the commands
            from prefect.cli._app import _app

            assert app
            _app.parse_args(arguments, exit_on_error=False, print_error=False)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
        case ["pip", "install", *arguments]:
            check_extras(arguments)


def check_flags(module, arguments):
    for word in arguments:
        if word.startswith("--"):
            assert word.partition("=")[0] in help_of(module)


@cache
def help_of(module):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    return shown.getvalue()


def check_extras(arguments):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for names in re.findall(r"\[(.*?)\]", " ".join(arguments)):
        assert set(names.split(",")) <= set(extras)


@pytest.mark.parametrize(
    "block",
    [pytest.param(one, id=one.name) for page in PAGES for one in blocks(page, "json", "yaml")],
)
def test_data_can_be_parsed(block):
    assert (json.loads if block.language == "json" else yaml.safe_load)(block.text)


@pytest.mark.parametrize(
    "block", [pytest.param(one, id=one.name) for page in PAGES for one in blocks(page, "python")]
)
def test_a_python_block_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
