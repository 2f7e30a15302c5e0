"""Granules whose names public bug reports showed, fetched from a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.served import WORLD, fetch, ids
from zagg_catalog.errors import EmptyHarvest
from zagg_catalog.sandbox import SandboxServer
from zagg_catalog.sandbox.items import from_items
from zagg_catalog.sources import Catalog, Query

JANUARY = ("2024-01-01", "2024-01-31")


def harvested(real_data: Path, name: str, product: tuple[str, str], **more: Any) -> Catalog:
    items = json.loads((real_data / "reported" / name).read_text(encoding="utf-8"))
    with SandboxServer(from_items(items)) as server:
        return fetch(server, Query(*product, *JANUARY, WORLD, **more))


def report(catalog: Catalog) -> dict[str, Any]:
    found: dict[str, Any] = catalog.metadata["harvest"]
    return found


def test_the_newest_revision_of_a_quick_look_is_kept(real_data: Path) -> None:
    catalog = harvested(real_data, "ql.json", ("ATL08QL", "007"))
    old, new = (f"ATL08QL_20240110000000_03352211_007_0{n}.h5" for n in (1, 2))
    assert ids(catalog) == [new, "ATL08QL_20240110013400_03362211_007_01.h5"]
    assert report(catalog)["superseded"] == [{"id": old, "by": new}]


def test_quick_looks_are_selected_by_cycle(real_data: Path) -> None:
    assert len(ids(harvested(real_data, "ql.json", ("ATL08QL", "007"), cycle=22))) == 2
    with pytest.raises(EmptyHarvest, match="not of cycle 21"):
        harvested(real_data, "ql.json", ("ATL08QL", "007"), cycle=21)


def test_the_longest_edition_of_an_atl11_granule_is_kept(real_data: Path) -> None:
    catalog = harvested(real_data, "atl11.json", ("ATL11", "007"))
    assert ids(catalog) == ["ATL11_033511_0328_007_01.h5", "ATL11_033611_0328_007_01.h5"]
    assert [entry["id"] for entry in report(catalog)["superseded"]] == [
        "ATL11_033511_0326_007_01.h5"
    ]


def test_an_atl24_name_ends_in_its_own_revision(real_data: Path) -> None:
    catalog = harvested(real_data, "atl24.json", ("ATL24", "002"))
    assert ids(catalog) == [
        "ATL24_20240110000000_03352211_006_01_002_02.h5",
        "ATL24_20240110000500_03352212_006_01_002_02.h5",
        "ATL24_20240110013400_03362211_007_01_002_01.h5",
    ]
    assert len(report(catalog)["superseded"]) == 3


def test_the_report_says_once_how_many_names_are_not_understood(real_data: Path) -> None:
    items = json.loads((real_data / "reported" / "ql.json").read_text(encoding="utf-8"))
    for number, item in enumerate(items[:2]):
        item["id"] = f"quick_look_{number}.h5"
    with SandboxServer(from_items(items)) as server:
        catalog = fetch(server, Query("ATL08QL", "007", *JANUARY, WORLD))
    assert len(ids(catalog)) == 3
    assert report(catalog)["irregular_names"] == 2
