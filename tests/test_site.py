"""The documentation builds without a broken link, opens from disk, and lists what there is."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zagg_catalog import errors

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a broken link, a missing anchor or a page out of the menu fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "tools" / "docs_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_loads_nothing_from_the_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe|source)[^>]+(?:src|href)="([^"]+)"', text)
        assert loaded, page
        assert [one for one in loaded if re.match(r"(https?:)?//", one)] == [], page
    for sheet in site.rglob("*.css"):
        found = re.findall(r"url\(['\"]?((?:https?:)?//[^)]*)", sheet.read_text(encoding="utf-8"))
        assert found == [], sheet


def test_the_search_index_is_a_script_that_a_page_from_disk_can_load(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {")
    assert "SignatureMismatch" in index


def test_a_broken_link_or_anchor_fails_the_build(tmp_path):
    for name in ("mkdocs.yml", "docs", "tools", "zagg_catalog", "flows"):
        source = ROOT / name
        if name in ("mkdocs.yml", "docs"):
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
        else:
            (tmp_path / name).symlink_to(source)
    page = tmp_path / "docs" / "tutorial.md"
    page.write_text(page.read_text() + "\n[a](nowhere.md) [b](reference/cli.md#nowhere)\n")
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "-d", tmp_path / "s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert "#nowhere" in done.stderr


@pytest.mark.parametrize("kind", ["zagg_catalog.settings.Settings", "flows.settings.FlowSettings"])
def test_every_setting_has_a_meaning(hooks, kind):
    rows = list(hooks.setting_rows(kind))
    assert len(rows) > 25
    assert [names for names, _, meaning in rows if not meaning.endswith(".")] == []


def test_every_schema_and_every_command_is_on_its_page(site):
    formats = (site / "reference" / "formats.html").read_text(encoding="utf-8")
    for schema in (ROOT / "docs" / "schema").glob("*.json"):
        assert f"../schema/{schema.name}" in formats
        assert (site / "schema" / schema.name).read_bytes() == schema.read_bytes()
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    from zagg_catalog.cli.main import COMMANDS

    assert [name for name in COMMANDS if f'id="zagg-catalog-{name}"' not in commands] == []


def test_every_error_is_in_the_table():
    page = (ROOT / "docs" / "how-to" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d) \| (.+?) \| (.*?) \|$", page, re.M)
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ZaggCatalogError)
    }
    assert {name: int(code) for name, code, *_ in rows} == {
        name: kind.exit_code for name, kind in classes.items()
    }
    without = [name for name, _, meaning, remedy in rows if not (remedy or "base of" in meaning)]
    assert without == []
