"""From a query to a map in one call, and the house's own rules."""

import subprocess
import sys

import pytest

import zagg_catalog
from zagg_catalog import (
    Catalog,
    CMRSource,
    HealpixGrid,
    Query,
    ShardMap,
    ZaggCatalogError,
    errors,
    make_shardmap,
)
from zagg_catalog.sandbox import SandboxServer, simulate

GRID = HealpixGrid(6, 12)
BOX = (170, -80, -170, -70)


@pytest.fixture(scope="module")
def source():
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 30))) as server:
        yield CMRSource(root_url=server.root_url)


def test_fetch_and_build_in_one_call(source, tmp_path):
    query = Query.for_cycle("ATL06", "007", 22, BOX)
    out = tmp_path / "c.parquet"
    shard_map = make_shardmap(query, GRID, catalog_out=out, source=source)
    again = ShardMap.build(Catalog.from_geoparquet(out), GRID)
    assert shard_map.n_pairs > 0
    assert shard_map.granules == again.granules


def test_the_mask_is_the_querys_box_unless_another_is_given(source):
    query = Query.for_cycle("ATL06", "007", 22, BOX)
    whole = make_shardmap(query, GRID, source=source)
    part = make_shardmap(
        query, GRID, source=source, region=[([-75, -75, -72, -72], [172, 175, 175, 172])]
    )
    assert set(part.shard_keys) < set(whole.shard_keys)


def test_the_public_names_are_there():
    assert all(hasattr(zagg_catalog, name) for name in zagg_catalog.__all__)


def test_every_error_has_one_base_and_says_when_it_is_raised():
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    for kind in kinds:
        assert issubclass(kind, ZaggCatalogError)
        assert kind.exit_code in (1, 2)
        assert kind.__doc__.startswith(("Raised", "Base"))


def test_the_library_does_not_import_prefect_or_the_aggregator():
    code = "import sys, zagg_catalog; print({'prefect', 'zagg', 'spherely'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
