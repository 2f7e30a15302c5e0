"""YAML from outside: whatever it holds, it is values or one sentence, in little time."""

import contextlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zagg_catalog.errors import InvalidYaml
from zagg_catalog.yamlio import load_yaml

LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 30))]
)


@pytest.mark.parametrize("text", ["a: &b [1, 2]\nc: *b", "- 2024-01-01\n- 5", "", "\ufeffa: 1"])
def test_usual_yaml_is_read(text):
    load_yaml(text.encode())


def test_an_alias_repeats_its_values():
    assert load_yaml("a: &b {x: 1}\nc: *b\nd: {<<: *b}") == {key: {"x": 1} for key in "acd"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{a: " * 1000 + "1" + "}" * 1000, "deeper than 50 levels"),
        ("[" * 100_000, "deeper than 50 levels"),
        (LAUGHS, "more than 50,000 values"),
        ("a: &a [*a]", "an alias holds itself"),
        ("x" * 1_000_001, "larger than 1,000,000 bytes"),
        ("a: 1\nd: 2024-99-99", r"line 2, column 4: a value is not valid \(month"),
        ("d: " + "9" * 5000, "line 1, column 4: a value is not valid"),
        ("? [1, 2]\n: 3", "unhashable"),
        ("!!python/object/apply:os.system [true]", "line 1"),
        ("a: b: c", "line 1, column 5"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        ("a: \x00", "line 1|special characters"),
    ],
)
def test_each_other_file_is_one_sentence(text, problem):
    with pytest.raises(InvalidYaml, match=problem) as error:
        load_yaml(text)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


@given(st.lists(st.sampled_from("a1-:,.[]{}&*!|>'\"%@#? \n\t0x~<<é"), max_size=60).map("".join))
@settings(max_examples=150, deadline=None)
def test_any_text_is_values_or_a_sentence(text):
    depth = sys.getrecursionlimit()
    with contextlib.suppress(InvalidYaml):
        load_yaml(text)
    assert sys.getrecursionlimit() == depth
