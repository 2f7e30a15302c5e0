"""The names that are used of zagg, and how they are called, in the installed zagg."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from zagg_catalog.aggregation.zagg_names import COMPANION, TESTED, look_up

pytest.importorskip("zagg", reason="zagg comes with the extra aggregator")
pytestmark = pytest.mark.zagg
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def zagg():
    return look_up()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("agg", "config catalog store dry_run allow_contraction overwrite backend driver"),
        ("agg", "max_workers region function_name"),
        ("load_config", "1"),
        ("load_catalog", "1"),
        ("get_driver", "1"),
        ("from_config", "1"),
        ("check_signature", "2"),
        ("s3_credentials", "1"),
        ("edl_token", "0"),
        ("index_from_config", "1"),
        ("dispatch", "executor payloads retry accumulate"),
        ("H5Coro", "resource driverClass credentials"),
        ("S3Driver", "resource credentials"),
        ("HTTPDriver", "resource credentials"),
        ("H5Dataset", "resourceObject dataset earlyExit metaOnly enableAttributes"),
    ],
)
def test_a_name_takes_the_arguments_that_it_is_given(zagg, name, arguments):
    """A number is the count of arguments by position."""
    signature = inspect.signature(getattr(zagg, name))
    if arguments.isdigit():
        signature.bind(*range(int(arguments)))
    else:
        assert set(arguments.split()) <= signature.parameters.keys()


def test_a_companion_is_opened_with_the_arguments_that_are_given():
    signature = inspect.signature(look_up(COMPANION).open_repo)
    assert {"store_root", "store_kwargs"} <= signature.parameters.keys()


def test_h5coro_s_methods_take_the_arguments_that_they_are_given(zagg):
    inspect.signature(zagg.H5Coro.ioRequest).bind(None, 0, 9, True, False)
    inspect.signature(zagg.H5Coro.close).bind(None)
    for driver in (zagg.S3Driver, zagg.HTTPDriver):
        inspect.signature(driver.read).bind(None, 0, 9)
    inspect.signature(zagg.S3Driver.create_session).bind(None, {})


def test_the_reader_of_beams_takes_the_arguments_that_are_passed_on(zagg):
    config = type("Config", (), {"data_source": {"index": {"backend": "inline"}}})
    reader = zagg.index_from_config(config)
    taken = list(inspect.signature(reader.read_group).parameters)
    assert taken[:5] == ["h5obj", "group", "data_source", "shard_key", "grid"]


def test_a_shard_without_values_is_no_failure_by_these_words(zagg):
    assert set(zagg.benign_errors) == {"No granules found", "No data after filtering"}


def test_the_pinned_version_is_one_that_is_named_as_tested():
    pinned = re.search(r'"zagg==([\d.]+)', (ROOT / "pyproject.toml").read_text())
    assert pinned[1] in TESTED
