"""JSON of others, and documents that a store has."""

import pytest

from zagg_catalog.errors import InvalidRelease
from zagg_catalog.files import parse_json
from zagg_catalog.jsonio import Document

ODD = [
    ("[" * 10**6, "is nested too deeply"),
    ("9" * 5000, "too many digits"),
    ("{", "is not JSON"),
    (b"\xff", "is not JSON"),
    ("", "is not JSON"),
]


@pytest.mark.parametrize(("content", "says"), ODD)
def test_json_that_cannot_be_read_has_a_reason(content, says):
    with pytest.raises(ValueError, match=says):
        parse_json(content)


@pytest.mark.parametrize(("content", "says"), ODD)
def test_a_document_that_cannot_be_read_is_named(content, says):
    content = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(InvalidRelease, match=f"^Pointer p .*{says}"):
        Document.load(content, "Pointer p")
