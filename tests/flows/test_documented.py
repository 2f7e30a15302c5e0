"""The commands of flows that pages show run as they are written, on a Prefect server."""

import contextlib
import importlib
import io
import os
import shutil

import pytest

from tests.docs.conftest import shelf, source  # noqa: F401 - fixtures
from tests.docs.test_commands import SHORTER, all_commands, reason
from tests.harness.pages import Command
from tests.harness.reader import terminal


def flow_commands():
    return [
        pytest.param(command.text, id=f"{block.name}-{number}")
        for number, (block, command) in enumerate(all_commands())
        if reason(command) == "flow"
    ]


@pytest.fixture(scope="module")
def shell(shelf, source, tmp_path_factory, prefect_server):  # noqa: F811
    """A terminal for all of them; a later command may need what an earlier one made."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(shelf, folder, symlinks=True, dirs_exist_ok=True)
    with terminal(folder) as opened:
        opened.patch.setenv("ZAGG_CATALOG_STAC_ROOT", source.root_url)
        opened.patch.setenv("PREFECT_API_URL", prefect_server)
        yield opened


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("text", flow_commands())
def test_a_command_of_a_flow_runs(text, shell):
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    text = shell.here(text).replace(" URL", f" {os.environ['ZAGG_CATALOG_STAC_ROOT']}")
    if text.startswith("zagg-catalog notify"):
        shown = shell.type(Command(text, None))
        assert shell.code == 0, shown
        return
    words = text.replace("zagg-catalog backfill", "python -m flows.backfill").split()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = importlib.import_module(words[2]).main(words[3:])
    assert code == 0, output.getvalue()
