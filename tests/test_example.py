"""The notebook of the docs runs in a kernel, and shows what it showed when it was stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration  # a kernel and a sandbox
PAGE = Path(__file__).parents[1] / "docs" / "example.ipynb"


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The outputs of the notebook, run again in an empty folder."""
    for name in ("nbclient", "ipykernel", "matplotlib", "geopandas"):
        pytest.importorskip(name, reason=f"the notebook needs {name}")
    folder = tmp_path_factory.mktemp("notebook")
    (folder / PAGE.name).write_bytes(PAGE.read_bytes())
    command = [Path(sys.executable).with_name("jupyter-execute"), "--inplace", PAGE.name]
    environment = os.environ | {"IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return outputs(folder / PAGE.name)


def outputs(path):
    """For each output its cell, its kind, and what it shows by media type."""
    cells = json.loads(path.read_text())["cells"]
    return [
        (number, output["output_type"], output.get("data") or {output["name"]: output["text"]})
        for number, cell in enumerate(cells)
        for output in cell.get("outputs", [])
    ]


def test_the_stored_outputs_are_those_of_today(again):
    text = [(cell, kind, {**shown, "image/png": ""}) for cell, kind, shown in again]
    assert text == [(cell, kind, {**shown, "image/png": ""}) for cell, kind, shown in outputs(PAGE)]


def test_nothing_warns(again):
    assert [shown for _, kind, shown in again if kind == "stream" and "stdout" not in shown] == []


def test_catalog_and_map_have_a_small_map_and_two_pictures_are_drawn(again):
    shown = [shown for *_, shown in again]
    assert sum("<svg" in "".join(one.get("text/html", "")) for one in shown) == 2
    assert sum("image/png" in one for one in shown) == 2


def test_the_notebook_is_small():
    assert PAGE.stat().st_size < 300_000
