"""Errors as users of Python expect them: bad input is a ValueError, a missing file not found."""

import inspect
from pathlib import Path

import pytest

from zagg_catalog import Catalog, Query, ShardMap, errors, load_config, load_polygon
from zagg_catalog.archive import catalog_files
from zagg_catalog.registry import load_registry
from zagg_catalog.releases.catalog_file import read_catalog_file
from zagg_catalog.shardmap.parquet_file import read_parquet_metadata
from zagg_catalog.store import open_store

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_the_base_and_is_what_its_name_says(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.ZaggCatalogError)
    assert issubclass(kind, ValueError) or not kind.__name__.startswith("Invalid")
    assert issubclass(kind, FileNotFoundError) == kind.__name__.endswith(("NotFound", "Missing"))
    assert str(kind("A sentence.")) == "A sentence."


def test_an_empty_fetch_is_a_value_error() -> None:
    assert issubclass(errors.EmptyHarvest, ValueError)


def test_a_signature_that_does_not_match_is_a_value_error() -> None:
    assert issubclass(errors.SignatureMismatch, ValueError)


@pytest.mark.parametrize(
    ("read", "name", "kind"),
    [
        (Catalog.from_geoparquet, "no.parquet", errors.InvalidCatalog),
        (read_catalog_file, "no.parquet", errors.InvalidCatalog),
        (ShardMap.from_parquet, "no.parquet", errors.InvalidShardMap),
        (ShardMap.from_json, "no.json", errors.InvalidShardMap),
        (read_parquet_metadata, "no.parquet", errors.InvalidShardMap),
        (load_config, "no.yaml", errors.InvalidConfig),
        (load_polygon, "no.geojson", errors.InvalidRegion),
        (load_registry, "no.yaml", errors.InvalidRegistry),
        (lambda path: catalog_files([str(path)]), "no.parquet", errors.InvalidQuery),
        (lambda path: query(path), "no.geojson", errors.InvalidRegion),
    ],
)
def test_a_missing_file_is_not_found(tmp_path: Path, read, name: str, kind) -> None:
    with pytest.raises(FileNotFoundError, match=name) as caught:
        read(tmp_path / name)
    assert isinstance(caught.value, kind)


def query(region: Path) -> Query:
    return Query("ATL06", "007", "2024-01-01", "2024-01-31", str(region))


def test_a_missing_object_and_missing_content_are_not_found(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="has no object"):
        store.get(f"objects/{'0' * 64}.json")
    with pytest.raises(FileNotFoundError, match="to store it"):
        store.put("objects", tmp_path / "no.json", ".json")
