"""What a program must not import: it would take longer than the work."""

import subprocess
import sys

import pytest

from tests.shardmap.test_model import make_map
from tests.test_catalog import SQUARE, make_catalog

SLOW = {"pandas", "odc", "pyproj", "requests", "boto3", "botocore", "prefect", "pystac_client"}
HELP = "from zagg_catalog.cli import main; assert main(['--help']) == 0"
SHOW = "from zagg_catalog.cli import main; assert main(['show', {path!r}]) == 0"


def imported(code):
    """Return the packages that a program imports."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_package_imports_nothing_slow():
    assert not imported("import zagg_catalog") & (SLOW | {"numpy", "pyarrow", "pydantic"})


def test_the_overview_needs_no_other_package():
    assert not imported(HELP) & (SLOW | {"numpy", "pyarrow", "pydantic", "cyclopts", "rich"})


@pytest.mark.parametrize("command", ["build", "status"])
def test_help_imports_nothing_of_the_command(command):
    code = (
        "from zagg_catalog.cli import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    )
    assert not imported(code) & (SLOW | {"mortie", "shapely", "numpy", "pyarrow", "pydantic"})


@pytest.mark.parametrize("kind", ["catalog", "map"])
def test_show_needs_pyarrow_only(tmp_path, kind):
    path = tmp_path / "file.parquet"
    if kind == "catalog":
        make_catalog(SQUARE).to_geoparquet(path)
    else:
        make_map().to_parquet(path)
    found = imported(SHOW.format(path=str(path)))
    assert "pyarrow" in found
    assert not found & (SLOW | {"pydantic", "rich", "yaml", "shapely"})


def test_every_public_name_is_found():
    code = "import zagg_catalog\nfor name in zagg_catalog.__all__: getattr(zagg_catalog, name)"
    for package in ("catalog", "grids", "registry", "shardmap", "sources"):
        code += f"\nimport zagg_catalog.{package} as p\nfor name in p.__all__: getattr(p, name)"
    assert "requests" in imported(code + "\nfrom zagg_catalog import *")
