"""A place where the installed zagg aggregates: granules, releases of them, and the judge.

Three granules of cycle 22 cross a box in East Antarctica: two tracks meet in its centre, a third
runs 160 km west of it and lacks a beam. A fourth, east of it, comes late. A fifth, 12 km beside the
centre and without that beam, too, takes the place of the third where the box is small.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tests.harness.judge import Verdict, judge
from zagg_catalog import Catalog, CMRSource, Query, ShardMap
from zagg_catalog.aggregation.request import PickupRequest
from zagg_catalog.aggregation.run import PickupResult, pick_up
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.regions import bbox_region
from zagg_catalog.registry import Registry, load_registry
from zagg_catalog.releases import Acknowledgement, MapToPublish, Published, ReleaseKey, publish
from zagg_catalog.releases.pickups import PickupHistory, read_pickup_history
from zagg_catalog.sandbox import Granules, SandboxServer, simulate, write_granule
from zagg_catalog.sandbox.granules import pick
from zagg_catalog.store import Store, open_store

GRIDS = pytest.mark.parametrize("grid", ["healpix", "polar"])
# Where the grid decides nothing but what zagg writes, which other tests compare for each.
ONE_GRID = pytest.mark.parametrize(
    "grid", ["healpix", pytest.param("polar", marks=pytest.mark.large)]
)
SHIPPED = Path(__file__).parents[3] / "deployments/grids"
REGION, PRODUCT, CYCLE = "east", "ATL06_007", 22
BUCKET = "nsidc-cumulus-prod-protected"
# Everything that is fetched; the boxes of the grids are smaller, so that no shard lacks granules.
FETCHED = (80.0, -82.0, 120.0, -70.0)

# Track and region of each granule.
CENTRE, WEST, CROSSING, LATE = "0613..10", "0156..10", "0103..12", "0247..10"
BESIDE = "1116..10"
FIRST = (CENTRE, WEST, CROSSING)
# What is in the archive, in turn; a revision replaces a granule.
CATALOGS: Mapping[str, tuple[str, ...]] = {
    "first": FIRST,
    "late": (*FIRST, LATE),
    "revised": (CENTRE, f"{WEST}_007_02", CROSSING),
    "withdrawn": (CENTRE, CROSSING),
    "close": (CENTRE, BESIDE, CROSSING),
}


@dataclass(frozen=True)
class Area:
    """Grids by name, with their pipeline configs, and the box for which maps are made."""

    box: tuple[float, float, float, float]
    configs: Mapping[str, str]

    def inside(self, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
        west, south, east, north = self.box
        return (lons >= west) & (lons <= east) & (lats >= south) & (lats <= north)


def changed(text: str, **values: str) -> str:
    """A config in which the lines of some keys have other values."""
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^(\s*{key}:)[^#\n]*", rf"\1 {value}  ", text)
        assert count == 1, key
    return text


def shipped(name: str) -> str:
    return (SHIPPED / f"atl06-antarctica-{name}.yaml").read_text()


# The shipped grids: shards of 25 and 128 km; of the close granules three with 9 pairs, two with 5.
FINE = Area((99.6, -76.1, 100.4, -75.9), {g: shipped(g) for g in ("healpix", "polar")})
# The same with shards of 200 and 128 km and coarse cells: five and seven shards, 8 and 9 pairs.
COARSE = Area(
    (94.0, -76.8, 106.0, -75.2),
    {
        "healpix": changed(shipped("healpix"), parent_order="5", chunk_inner="7", child_order="9"),
        "polar": changed(shipped("polar"), resolution="4000", chunk_shape="[32, 32]"),
    },
)


class Archive:
    """The data files of the granules, in a folder that servers share, and catalogs of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalogs: dict[tuple[str, int], Catalog] = {}

    def granules(self, name: str, cycle: int = CYCLE) -> Granules:
        tracks = [int(pattern[:4]) for pattern in CATALOGS[name]]
        made = simulate(
            cycle=cycle, regions=[10, 12], tracks=tracks, suffixed=0.0, revised=0.0, gaps=False
        )
        ids = made.table["id"].to_pylist()
        chosen: list[int] = []
        revised: list[str] = []
        for pattern in CATALOGS[name]:
            orbit, _, revision = pattern.partition("_")
            (row,) = (n for n, one in enumerate(ids) if re.search(f"_{orbit}_", one))
            chosen.append(row)
            revised += [ids[row]] if revision else []
        return _revised(pick(made, np.array(sorted(chosen))), revised)

    def catalog(self, name: str, cycle: int = CYCLE) -> Catalog:
        """The catalog, fetched from the sandbox; its data files are written."""
        if (name, cycle) not in self._catalogs:
            granules = self.granules(name, cycle)
            for path in granules.table["data_s3"].to_pylist():
                file = self.folder / path.removeprefix("s3://")
                if not file.exists():
                    write_granule(file)
            with SandboxServer(granules) as server:
                query = Query.for_cycle("ATL06", "007", cycle, FETCHED)
                self._catalogs[name, cycle] = CMRSource(root_url=server.root_url).fetch(query)
        return self._catalogs[name, cycle]

    def files(self, name: str, cycle: int = CYCLE) -> list[Path]:
        paths = self.granules(name, cycle).table["data_s3"].to_pylist()
        return [self.folder / path.removeprefix("s3://") for path in paths]

    def file(self, orbit: str, cycle: int = CYCLE) -> Path:
        """The file of one granule."""
        (found,) = (p for p in self.files("late", cycle) if re.search(f"_{orbit}_", p.name))
        return found


def _revised(granules: Granules, ids: Sequence[str]) -> Granules:
    """Granules of which some are revision 02."""
    table = granules.table
    for column in ("id", "data", "data_s3", "metadata"):
        values = [
            re.sub(r"_007_01(\.\w+)", r"_007_02\1", value) if one in ids else value
            for one, value in zip(
                granules.table["id"].to_pylist(), table[column].to_pylist(), strict=True
            )
        ]
        place = table.schema.get_field_index(column)
        table = table.set_column(place, column, pa.array(values, table.schema.field(column).type))
    return replace(granules, table=table)


@dataclass
class Site:
    """A team's store with releases, its registry, and an output; tests act on it."""

    archive: Archive
    area: Area
    folder: Path
    footprint: str = "swath"
    driver: str = "https"
    product: str = PRODUCT
    output: str | None = None
    configs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output = self.output or str(self.folder / "output")
        self.configs = self.configs or dict(self.area.configs)

    @property
    def store(self) -> Store:
        return open_store(str(self.folder / "store"))

    @property
    def registry(self) -> Registry:
        for grid, text in self.configs.items():
            (self.folder / f"{grid}.yaml").write_text(text)
        box = {"bbox": list(self.area.box)}
        grids = {
            grid: {"config": f"{grid}.yaml", "products": [self.product], "region": REGION}
            for grid in self.configs
        }
        path = self.folder / "registry.yaml"
        path.write_text(yaml.safe_dump({"regions": {REGION: box}, "grids": grids}))
        return load_registry(path)

    def publish(self, name: str = "first", cycle: int = CYCLE, **options) -> Published:
        catalog = self.archive.catalog(name, cycle)
        path = self.folder / f"{name}-{cycle}.parquet"
        catalog.to_geoparquet(path)
        maps = []
        for grid, text in self.configs.items():
            empty = MapToPublish(grid, text.encode())
            region = bbox_region(self.area.box)
            built = ShardMap.build(
                catalog, empty.output_grid, region=region, footprint=self.footprint
            )
            maps.append(replace(empty, shard_map=built))
        given = {"catalog": path, "maps": maps, "region": REGION, "allow_contraction": True}
        return publish(self.store, **(given | options))

    def request(self, grid: str, cycle: int = CYCLE, **changes) -> PickupRequest:
        given = {
            "release_key": ReleaseKey(self.product, REGION, cycle),
            "grid": grid,
            "dry_run": False,
            "output": self.output,
            "folder": self.folder / "work",
            "by": "someone@somewhere",
            "lease": timedelta(seconds=60),
            "wait": 0.0,
            "timeout": 900.0,
            "zagg": ZaggOptions(driver=self.driver, region="us-west-2"),
        }
        return PickupRequest(**(given | changes))

    def aggregate(self, grid: str, cycle: int = CYCLE, **changes) -> PickupResult:
        """Pick a release up with the installed zagg, not as a dry run."""
        return pick_up(self.store, self.request(grid, cycle, **changes), self.registry)

    def place(self, grid: str, cycle: int = CYCLE) -> str:
        """The output of a grid."""
        return f"{self.output}/product={self.product}/region={REGION}/cycle={cycle}/grid={grid}"

    def judge(self, grid: str, name: str = "first", cycle: int = CYCLE, **given) -> Verdict:
        """Compare the output of a grid with the granules of a catalog."""
        where = given.pop("output", None) or Path(self.place(grid, cycle))
        files = self.archive.files(name, cycle)
        return judge(where, files, self.configs[grid], self.area.inside, **given)

    def history(self, grid: str, cycle: int = CYCLE) -> PickupHistory:
        return read_pickup_history(self.store, ReleaseKey(self.product, REGION, cycle), grid)[0]

    def acknowledgement(self, grid: str) -> Acknowledgement:
        """The newest acknowledgement."""
        key = self.history(grid).entries[0].key
        return Acknowledgement.load(self.store.get(key))


@contextlib.contextmanager
def spoilt(files: Mapping[Path, bytes | None]) -> Iterator[None]:
    """Let data files have another content, or none, for a while."""
    before = {path: path.read_bytes() for path in files}
    for path, content in files.items():
        path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def with_noise(content: bytes) -> bytes:
    """A file with 16 kB of noise in its second half, where the data are."""
    noise = np.random.default_rng(1).bytes(1 << 14)
    middle = len(content) * 2 // 3
    return content[:middle] + noise + content[middle + len(noise) :]
