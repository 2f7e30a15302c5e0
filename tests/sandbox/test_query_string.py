"""Query strings with lists and objects, as the package qs of JavaScript writes and reads them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from zagg_catalog.sandbox.query_string import read_query, write_query


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({"collections": "A_007", "limit": 2}, "collections=A_007&limit=2"),
        ({"bbox": [-77, 38.5, 170.0]}, "bbox[0]=-77&bbox[1]=38.5&bbox[2]=170"),
        ({"sortby": [{"field": "id"}]}, "sortby[0][field]=id"),
        ({"intersects": {"type": "Point", "coordinates": [1, 2]}},
         "intersects[type]=Point&intersects[coordinates][0]=1&intersects[coordinates][1]=2"),
        ({"ids": [], "a": None, "b": True}, "a=&b=true"),
    ],
    ids=str,
)  # fmt: skip
def test_lists_and_objects_are_written_by_place_and_name(
    parameters: dict[str, Any], query: str
) -> None:
    assert unquote(write_query(parameters)) == query


def test_names_and_values_are_escaped() -> None:
    assert write_query({"a[]": ["x,y z/+"]}) == "a%5B%5D%5B0%5D=x%2Cy%20z%2F%2B"


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("collections[0]=A&collections[1]=B", {"collections": ["A", "B"]}),
        ("bbox[1]=38&bbox[0]=-77", {"bbox": ["-77", "38"]}),
        ("ids=a&ids=b", {"ids": ["a", "b"]}),
        ("ids[]=a", {"ids": ["a"]}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("limit=2&empty=", {"limit": "2", "empty": ""}),
        ("a=1&a[b]=2", {"a": "1"}),
        ("[x]=1", {"[x]": "1"}),
    ],
)
def test_they_are_read_back(query: str, parameters: dict[str, Any]) -> None:
    assert read_query(parse_qs(query, keep_blank_values=True)) == parameters
