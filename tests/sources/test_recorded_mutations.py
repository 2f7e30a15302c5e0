"""Recorded answers of CMR, spoilt in thousands of ways: rows, or a sentence, within limits."""

from __future__ import annotations

import copy
import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.sources.test_odd_items import ODD, places
from zagg_catalog.errors import FetchError
from zagg_catalog.messages import HIDDEN
from zagg_catalog.sources.http import ApiRequest, RetryableError, parse_body
from zagg_catalog.sources.items import read_items
from zagg_catalog.sources.search import SearchResult
from zagg_catalog.sources.stac import StacSearch
from zagg_catalog.sources.umm import needs_collection, stac_items
from zagg_catalog.sources.umm_collection import Collection

COUNT = 30
"""Spoilt bodies of each recorded answer and way."""
SECONDS, MEGABYTES = 20.0, 100
"""Most processor time and memory of one answer; both are far beyond what an answer takes."""
URL = "https://cmr.earthdata.nasa.gov/search"
SEARCH = StacSearch(
    bbox=(-77, 38, -76, 39),
    interval=(datetime(2018, 1, 1), datetime(2026, 1, 2)),
    limit=20,
    url=URL,
    collection="ATL03_007",
)


def read_stac(body: bytes) -> None:
    page = parse_body(body, "features")
    found = SearchResult(SEARCH)
    read = SEARCH.parse(page, {}, ApiRequest(f"{URL}?limit=20"))
    found.ends_short(read)
    found.add(read)
    check(read_items(page["features"], "ATL03_007"), len(page["features"]))


def read_umm(body: bytes) -> None:
    records = parse_body(body, "items")["items"]
    needs_collection(records)
    check(read_items(stac_items(records, Collection(name="ATL06_005"), URL), "ATL06_005"))


def check(rows: Any, count: int | None = None) -> None:
    """Every item is a row or is named, and its name and the reason can be shown."""
    if count is not None:
        assert rows.table.num_rows + len(rows.quarantined) == count
    for one in rows.quarantined:
        assert not HIDDEN.search(f"{one.id} {one.reason}")
        assert len(f"{one.id} {one.reason}") < 2000


def answers(folder: Path) -> Iterator[tuple[str, Any, Callable[[bytes], None]]]:
    """The recorded answers, each with the function that reads it."""
    recorded = folder / "recorded"
    for number, page in enumerate(
        json.loads((recorded / "cmr_stac_three_pages.json").read_text())["pages"]
    ):
        yield f"page {number}", page, read_stac
    yield "atl21", json.loads((recorded / "atl21_box_items.json").read_text()), read_stac
    for path in sorted(recorded.glob("umm_*.json")):
        yield path.stem, json.loads(path.read_text()), read_umm


def spoilt_bytes(body: bytes, chance: random.Random) -> bytes:
    """Bytes changed, lost, doubled, moved, cut off or of another encoding."""
    text = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 8))):
        start = chance.randrange(len(text))
        end = min(start + chance.choice((1, 2, 9, 80)), len(text))
        kind = chance.randrange(5)
        if kind == 0:
            text[start:end] = chance.randbytes(end - start)
        elif kind == 1:
            del text[start:end]
        elif kind == 2:
            text[start:start] = text[start:end] * chance.choice((1, 2, 300))
        elif kind == 3:
            place = chance.randrange(len(text))
            text[start:end] = text[place : place + end - start]
        else:
            text[start:end] = chance.choice((b'"', b"{", b"[", b"9" * 400, b"\\u0000", b"\\ud800"))
        text = text or bytearray(b"{")
    return bytes(text[: chance.randrange(len(text))] if chance.random() < 0.05 else text)


def spoilt_values(answer: Any, chance: random.Random) -> bytes:
    """Values of one place at another, odd ones, and ones that are repeated or nested."""
    whole = copy.deepcopy(answer)
    every = [place for place in places(whole) if place]
    for _ in range(chance.choice((1, 1, 3, 10))):
        target, source = chance.choice(every), chance.choice(every)
        with suppress(LookupError, TypeError):  # an earlier change removed the place
            value = copy.deepcopy(at(whole, source))
            size = len(json.dumps(value))
            if size > 20_000:
                continue  # copies of copies would fill the memory
            kind = chance.randrange(4)
            if kind == 1:
                value = chance.choice(ODD)
            elif kind == 2 and size < 1000:
                value = [value] * chance.choice((0, 2, 500))
            elif kind == 3:
                for _ in range(chance.choice((1, 30))):
                    value = {"type": [value]}
            at(whole, target[:-1])[target[-1]] = value
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def at(document: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_a_spoilt_answer_is_read_or_refused_in_a_sentence(real_data: Path, kind: str) -> None:
    for name, answer, read in answers(real_data):
        body, chance = json.dumps(answer).encode(), random.Random(f"{name} {kind}")
        read(body)
        tracemalloc.start()
        for number in range(COUNT):
            spoilt = (
                spoilt_bytes(body, chance) if kind == "bytes" else spoilt_values(answer, chance)
            )
            tracemalloc.reset_peak()
            before, began = tracemalloc.get_traced_memory()[0], time.process_time()
            sentence = ""
            try:
                read(spoilt)
            except (FetchError, RetryableError) as error:
                sentence = str(error)
            assert not HIDDEN.search(sentence), (name, number)
            assert len(sentence) < 3000, (name, number)
            took = time.process_time() - began
            assert took < SECONDS, (name, number)
            assert tracemalloc.get_traced_memory()[1] - before < MEGABYTES << 20, (name, number)
        tracemalloc.stop()
