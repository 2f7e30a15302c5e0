"""Texts of others, through every edge of the library and of the command line."""

import json
import logging
import re
import sys
import warnings
from pathlib import Path

import pytest

from tests.harness.hostile_texts import TEXTS, assert_plain
from zagg_catalog.cli import common, main, tables
from zagg_catalog.errors import InvalidRegistry
from zagg_catalog.messages import as_cell, clean_text, plain_logger

PACKAGE = Path(common.__file__).parents[1]


@pytest.fixture(params=TEXTS.values(), ids=list(TEXTS))
def text(request):
    return request.param


def test_a_table(text, capsys):
    tables.print_table(("a", "b"), [(text, "1"), ("c", text)], title=text)
    assert_plain(capsys.readouterr().out, longest=10_000)


def test_fields(text, capsys):
    tables.print_fields(text, [("a", text.replace("\n", " ")), ("b", "1")])
    assert_plain(capsys.readouterr().out, lines=3)


def test_a_line(text, capsys):
    common.print_line(text)
    assert_plain(capsys.readouterr().out, lines=1)


def test_an_error(text, capsys):
    common.print_error(text)
    shown = capsys.readouterr().err
    assert_plain(shown)
    assert not re.search("^zagg-catalog", shown.removeprefix("zagg-catalog"), re.MULTILINE)


def test_an_error_of_several_lines_has_them_indented(capsys):
    common.print_error("The registry has two problems:\n  one\n  two")
    assert capsys.readouterr().err == (
        "zagg-catalog: The registry has two problems:\n  one\n  two\n"
    )


def test_json(text, capsys):
    common.print_json({text: [text]})
    shown = capsys.readouterr().out
    assert_plain(shown, lines=5, longest=300_000)
    assert json.loads(shown) == {text: [text]}


def test_json_has_other_letters_as_they_are(capsys):
    common.print_json("Grönland 名")
    assert capsys.readouterr().out == '"Grönland 名"\n'


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_an_error_of_a_command(text, debug, capsys, monkeypatch):
    def fail(*_, **more):
        # As Python does; pytest collects warnings itself.
        sys.stderr.write(warnings.formatwarning(UserWarning(text), UserWarning, "file", 1))
        raise InvalidRegistry(text)

    monkeypatch.setattr("zagg_catalog.cli.pipeline.load_registry", fail)
    assert main(["grids", *debug]) == 2
    assert_plain(capsys.readouterr().err)


def test_a_log_record_and_its_traceback(text, caplog):
    logger = plain_logger("zagg_catalog.sources.http")
    with caplog.at_level(logging.DEBUG, logger.name):
        logger.warning("%s answered", text)
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("failed: %s", text)
    formatter = logging.Formatter("%(message)s")
    first, second = map(formatter.format, caplog.records)
    assert_plain(first, lines=1)
    assert_plain(second)


def test_a_message_and_a_cell(text):
    assert_plain(clean_text(text), lines=1, longest=201)
    assert_plain(as_cell(text), lines=1, longest=10_001)


def test_commands_print_through_these_functions():
    """So that no other place can forget to clean."""
    known = {"common", "tables", "main", "demo"}
    for path in (*(PACKAGE / "cli").glob("*.py"), *(PACKAGE.parent / "flows").glob("*.py")):
        found = re.findall(r"(?<![\w.])print\((.*)", path.read_text())
        assert path.stem in known or not found, path
    for path in PACKAGE.glob("**/*.py"):
        if path.stem not in ("zagg_process", "granule_files", "messages"):
            assert "getLogger(" not in path.read_text(), path
