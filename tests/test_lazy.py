"""Modules that are imported when they are first used."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from zagg_catalog.lazy import lazy_attribute, lazy_module

LOADING, ASKED = Event(), Event()
SLOW = """
from tests.test_lazy import ASKED, LOADING

LOADING.set()
ASKED.wait(600)
value = 1
"""


def test_a_module_is_imported_with_its_first_name_and_whole_for_every_thread(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    module = lazy_module("slow_to_load")
    assert "slow_to_load" not in sys.modules

    def second():
        ASKED.set()
        return module.value

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: module.value)
        assert LOADING.wait(600)
        assert [pool.submit(second).result(), first.result()] == [1, 1]
    assert sys.modules.pop("slow_to_load").value == 1


def test_a_module_that_is_not_installed_is_missed_at_once():
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_installed'"):
        lazy_module("not_installed")


def test_a_package_has_the_names_of_its_modules_and_no_others():
    assert lazy_attribute("package", {"dumps": "json"}, "dumps")({}) == "{}"
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'loads'"):
        lazy_attribute("package", {"dumps": "json"}, "loads")


def test_a_program_imports_the_geometry_without_pandas_and_can_still_use_it():
    code = """
import sys
from zagg_catalog.lazy import import_geometry
import_geometry("odc.geo.geobox", "not_installed")
assert "odc.geo.geobox" in sys.modules
import mortie, numpy, pyarrow
pyarrow.array(numpy.arange(3))
print({"pandas", "dask"} & set(sys.modules))
import pandas
print(pyarrow.table(pandas.DataFrame({"a": [1]})).to_pandas()["a"][0])
print(pyarrow.array(pandas.Series([2]))[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "1", "2"]
