"""A judge of aggregations: every cell of an output against the granules' own points.

It imports neither zagg nor zagg_catalog nor mortie: points are read by h5py, HEALPix cells found by
the package ``healpix`` on the authalic latitude, polar grids by the formulas of the projection.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

AXIS, FLATTENING = 6_378_137.0, 1.0 / 298.257223563
ECCENTRICITY = np.sqrt(FLATTENING * (2.0 - FLATTENING))
# Heights are stored in single precision: 0.25 mm at 4,000 m.
TOLERANCE = 2e-3
Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Verdict:
    """Cells that were compared, and those that differ, a sentence each."""

    cells: int = 0
    points: int = 0
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return self.cells > 0 and not (self.wrong or self.missing or self.extra)

    def __str__(self) -> str:
        faults = {"wrong": self.wrong, "missing": self.missing, "extra": self.extra}
        shown = "; ".join(f"{len(v)} {k}: {v[:3]}" for k, v in faults.items() if v)
        return f"{self.cells} cells, {self.points} points: {shown or 'all right'}"


@dataclass(frozen=True)
class Points:
    """The observations of granules that pass the filters of a config."""

    lats: np.ndarray
    lons: np.ndarray
    values: Mapping[str, np.ndarray]

    def take(self, chosen: np.ndarray) -> Points:
        values = {name: column[chosen] for name, column in self.values.items()}
        return Points(self.lats[chosen], self.lons[chosen], values)


def judge(
    output: Path,
    granules: Iterable[Path],
    config: Path | str,
    inside: Inside,
    repository: Any = None,
) -> Verdict:
    """Compare every cell of an output with the points of the granules.

    Parameters
    ----------
    output : Path
        Folder that zagg wrote to, or a copy of it.
    granules : iterable of Path
        The files of all granules of the release.
    config : Path or str
        The pipeline config, as a file or its text.
    inside : callable
        Returns for latitudes and longitudes whether they are inside the region. Shards with a point
        inside have to be complete, as have all others that the output has.
    repository : icechunk.Repository, optional
        The icechunk repository of a HEALPix output, for an output that is a copy.
    """
    content = yaml.safe_load(config.read_text() if isinstance(config, Path) else config)
    points = read_points(granules, content["data_source"])
    grid = content["output"]["grid"]
    variables = content["aggregation"]["variables"]
    if grid["type"] == "healpix":
        return _judge_healpix(output, points, grid, variables, inside, repository)
    return _judge_rectilinear(output, points, grid, variables, inside)


def read_points(granules: Iterable[Path], source: Mapping[str, Any]) -> Points:
    """Read what a config reads, by h5py."""
    import h5py

    columns: dict[str, list[np.ndarray]] = {"lat": [], "lon": []}
    names = source["variables"]
    for path in granules:
        with h5py.File(path) as file:
            for group in source["groups"]:
                if group not in file:
                    continue

                def read(template: str, file: Any = file, group: str = group) -> np.ndarray:
                    return file[template.format(group=group)][()]

                keep = _passes(source, read)
                columns["lat"].append(read(source["coordinates"]["latitude"])[keep])
                columns["lon"].append(read(source["coordinates"]["longitude"])[keep])
                for name, template in names.items():
                    columns.setdefault(name, []).append(read(template)[keep])
    joined = {k: np.concatenate([np.zeros(0), *v]).astype("f8") for k, v in columns.items()}
    return Points(joined.pop("lat"), joined.pop("lon"), joined)


def _passes(source: Mapping[str, Any], read: Callable[[str], np.ndarray]) -> np.ndarray:
    keep: Any = slice(None)
    if quality := source.get("quality_filter"):
        keep = read(quality["dataset"]) == quality["value"]
    for one in source.get("filters", []):
        values = read(one["dataset"])
        values = values[:, one["column"]] if "column" in one else values
        assert one["op"] == "ne"
        passed = values != one["value"]
        keep = passed if isinstance(keep, slice) else keep & passed
    return keep


def authalic(lats: np.ndarray) -> np.ndarray:
    """Return the authalic latitude of geodetic ones on WGS84, degrees (Snyder 3-11, 3-12)."""

    def q(sine: np.ndarray) -> np.ndarray:
        e = ECCENTRICITY
        return (1.0 - e**2) * (
            sine / (1.0 - (e * sine) ** 2) - np.log((1.0 - e * sine) / (1.0 + e * sine)) / (2.0 * e)
        )

    sines = q(np.sin(np.radians(lats))) / q(np.array(1.0))
    return np.degrees(np.arcsin(np.clip(sines, -1.0, 1.0)))


def healpix_cells(lats: np.ndarray, lons: np.ndarray, order: int) -> np.ndarray:
    """Return the nested cells of geodetic points."""
    import healpix

    return healpix.ang2pix(2**order, lons, authalic(lats), nest=True, lonlat=True)


def polar_stereographic(
    lats: np.ndarray, lons: np.ndarray, parallel: float, meridian: float
) -> tuple[np.ndarray, np.ndarray]:
    """Project points on WGS84 (Snyder 21-33 to 21-40); a southern parallel is negative."""
    south = parallel < 0.0
    sign = -1.0 if south else 1.0
    e = ECCENTRICITY

    def t(lat: Any) -> Any:
        sine = np.sin(lat)
        return np.tan(np.pi / 4 - lat / 2) / ((1 - e * sine) / (1 + e * sine)) ** (e / 2)

    lat, true = np.radians(sign * lats), np.radians(abs(parallel))
    scale = np.cos(true) / np.sqrt(1 - (e * np.sin(true)) ** 2) / t(true)
    radius = AXIS * scale * t(lat)
    angle = np.radians(lons - meridian)
    return radius * np.sin(angle), (radius * np.cos(angle) if south else -radius * np.cos(angle))


def project(crs: str, lats: np.ndarray, lons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y in a CRS."""
    polar = {"EPSG:3031": (-71.0, 0.0), "EPSG:3413": (70.0, -45.0)}
    if crs in polar:
        return polar_stereographic(lats, lons, *polar[crs])
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lons, lats)


def statistics(
    cells: np.ndarray, values: Mapping[str, np.ndarray], variables: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the cells that have points, ascending, and the config's variables of each."""
    order = np.argsort(cells, kind="stable")
    found, starts = np.unique(cells[order], return_index=True)
    limits = [*starts.tolist(), len(cells)]
    made: dict[str, np.ndarray] = {}
    for name, how in variables.items():
        source = values[how["source"]][order]
        weights = _weights(how, values, order)
        made[name] = np.array(
            [
                _value(how, source[a:b], None if weights is None else weights[a:b])
                for a, b in pairwise(limits)
            ]
        )
    return found, made


def _weights(how: Mapping[str, Any], values: Mapping[str, np.ndarray], order: np.ndarray) -> Any:
    text = how.get("params", {}).get("weights")
    if text is None:
        return None
    match = re.fullmatch(r"1\.0 / (\w+)\*\*2", text)
    assert match, f"the judge does not know the weights {text!r}"
    return 1.0 / values[match[1]][order] ** 2


def _value(how: Mapping[str, Any], source: np.ndarray, weights: Any) -> float:
    function = how["function"]
    if function == "len":
        return float(len(source))
    if function == "average":
        return float((source * weights).sum() / weights.sum())
    if function == "quantile":
        return float(np.quantile(source, how["params"]["q"]))
    known = {"nanmin": np.min, "min": np.min, "nanmax": np.max, "max": np.max, "median": np.median}
    return float(known[function](source))


def compare(
    verdict: Verdict,
    label: str,
    expected: tuple[np.ndarray, Mapping[str, np.ndarray]],
    found: tuple[np.ndarray, Mapping[str, np.ndarray]],
) -> None:
    """Add to a verdict how the cells that were found differ from those expected.

    Variables that were not found are not compared, but cells have at least a count.
    """
    cells, values = expected
    there, stored = found
    verdict.cells += len(cells)
    verdict.missing += [f"{label} cell {cell}" for cell in np.setdiff1d(cells, there)]
    verdict.extra += [f"{label} cell {cell}" for cell in np.setdiff1d(there, cells)]
    both, mine, theirs = np.intersect1d(cells, there, return_indices=True)
    wrong: dict[int, str] = {}
    if len(both) and "count" not in stored:
        verdict.missing.append(f"{label}: count")
    for name, column in stored.items():
        a, b = values[name][mine], column[theirs].astype("f8")
        for at in np.flatnonzero(~(np.abs(a - b) <= TOLERANCE)):
            wrong.setdefault(int(both[at]), f"{name} is {b[at]}, not {a[at]}")
    verdict.wrong += [f"{label} cell {cell}: {text}" for cell, text in wrong.items()]


# HEALPix: a tree of folders by shard, with overviews, and an icechunk repository.


@dataclass(frozen=True)
class Slab:
    """Cells of one array that follow one another: those of a node of the tree, at one order."""

    kind: str  # ``leaf``, its ``column`` of overviews, or ``node`` above the shards
    node_order: int
    order: int
    first: int
    arrays: Mapping[str, np.ndarray]

    def cells(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the cells with points, and their values."""
        count = self.arrays["count"]
        used = np.flatnonzero(count > 0)
        values = {k: v[used] for k, v in self.arrays.items() if k != "morton"}
        return self.first + used, values


def node_of(path: str) -> tuple[int, int]:
    """Return order and nested number of a node, from its folders ``-4/1/3``."""
    base, *digits = path.split("/")
    number = int(base) - 1 if not base.startswith("-") else 5 - int(base)
    for digit in digits:
        number = 4 * number + int(digit) - 1
    return len(digits), number


def words_to_cells(words: np.ndarray, order: int) -> np.ndarray:
    """Return the nested cells of words of an order: four bits of base cell, two bits a level."""
    words = words.astype("u8")
    base = (words >> np.uint64(60)).astype("i8") - 1
    inside = (words >> np.uint64(60 - 2 * order)) & np.uint64(4**order - 1)
    return base * 4**order + inside.astype("i8")


def slabs(output: Path) -> Iterator[Slab]:
    """Read every array of a HEALPix output."""
    import zarr

    for meta in sorted(output.glob("-*/**/zarr.json")) + sorted(output.glob("[1-6]/**/zarr.json")):
        group = meta.parent
        if not group.name.endswith(".zarr"):
            continue
        node_order, number = node_of(str(group.parent.relative_to(output)))
        kind = {"all.zarr": "node", "all.pyramid.zarr": "column"}.get(group.name, "leaf")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Object at .* is not recognized")
            root = zarr.open_group(str(group), mode="r")
            commit = root.attrs.get("morton_hive_commit", {})
            if kind == "leaf":
                if not isinstance(commit, dict) or "current" not in commit:
                    continue
                root = root[commit["current"]]
            for name, part in root.groups():
                arrays = {key: array[...] for key, array in part.arrays()}
                order = int(name)
                first = number * 4 ** (order - node_order)
                yield Slab(kind, node_order, order, first, arrays)


def _judge_healpix(
    output: Path,
    points: Points,
    grid: Mapping[str, Any],
    variables: Mapping[str, Any],
    inside: Inside,
    repository: Any,
) -> Verdict:
    shard_order, order = grid["parent_order"], grid["child_order"]
    verdict = Verdict()
    found: dict[tuple[str, int, int], list[Slab]] = {}
    for slab in slabs(output):
        found.setdefault((slab.kind, slab.node_order, slab.order), []).append(slab)
        _check_words(verdict, slab)
    leaves = found.pop(("leaf", shard_order, order), [])
    per_shard = 4 ** (order - shard_order)
    cells = healpix_cells(points.lats, points.lons, order)
    needed = cells[inside(points.lats, points.lons)] // per_shard
    shards = np.union1d(needed, [leaf.first // per_shard for leaf in leaves])
    keep = np.isin(cells // per_shard, shards)
    cells, points = cells[keep], points.take(keep)
    verdict.points = len(cells)
    compare(verdict, f"order {order}", statistics(cells, points.values, variables), _joined(leaves))
    levels = [("column", shard_order, shard_order + k) for k in range(3)]
    levels += [("node", k, k + 2) for k in range(shard_order)]
    for level in {*levels, *found}:
        coarse = cells // 4 ** (order - level[2])
        expected = statistics(coarse, points.values, variables)
        label = f"{level[0]} {level[1]} order {level[2]}"
        compare(verdict, label, expected, _joined(found.get(level, [])))
    if repository is not None or (output / "icechunk").is_dir():
        _judge_icechunk(verdict, repository or open_local(output), cells, points, order, variables)
    else:
        verdict.missing.append("icechunk repository")
    return verdict


def _check_words(verdict: Verdict, slab: Slab) -> None:
    """The coordinate names the cells of a slab: those with points, and others only in order."""
    words = slab.arrays["morton"]
    named = np.flatnonzero(words)
    cells = words_to_cells(words[named], slab.order)
    used = slab.arrays["count"] > 0
    if (cells != slab.first + named).any() or (used & (words == 0)).any():
        verdict.wrong.append(f"{slab.kind} order {slab.order} at {slab.first}: coordinate morton")


def _joined(parts: Iterable[Slab]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the cells of slabs together; a cell of two slabs is there twice, which is wrong."""
    pairs = [slab.cells() for slab in parts]
    cells = np.concatenate([np.zeros(0, "i8"), *(p[0] for p in pairs)])
    assert len(np.unique(cells)) == len(cells), "a cell lies in two nodes"
    names = pairs[0][1] if pairs else ()
    return cells, {name: np.concatenate([p[1][name] for p in pairs]) for name in names}


def open_local(output: Path) -> Any:
    """Open the icechunk repository of an output in a folder."""
    import icechunk

    storage = icechunk.local_filesystem_storage(str(output / "icechunk"))
    config = icechunk.Repository.fetch_config(storage)
    local = icechunk.credentials.LocalFileSystemAccess
    prefixes = dict.fromkeys(config.virtual_chunk_containers or {}, local)
    return icechunk.Repository.open(storage, authorize_virtual_chunk_access=prefixes)


def _judge_icechunk(
    verdict: Verdict,
    repository: Any,
    cells: np.ndarray,
    points: Points,
    order: int,
    variables: Mapping[str, Any],
) -> None:
    import zarr

    session = repository.readonly_session("main")
    root = zarr.open_group(session.store, mode="r")
    orders = sorted(int(name) for name, _ in root.groups())
    if orders != [*range(2, orders[-2] + 1), order]:
        verdict.missing.append(f"icechunk orders, which are {orders}")
    for level in orders:
        coarse = cells // 4 ** (order - level)
        expected = statistics(coarse, points.values, variables)
        group = root[str(level)]
        # Of overviews, zagg makes those variables only that follow from the cells below.
        stored = [name for name in variables if name in group]
        found = _icechunk_cells(session, group, level, stored)
        compare(verdict, f"icechunk order {level}", expected, found)


def _icechunk_cells(
    session: Any, group: Any, order: int, names: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read the cells with points of a level from the chunks that are there."""
    size = group["count"].chunks[1]
    blocks = [b for _, b in sorted(_chunks(session, f"/{order}/count"))]
    cells, columns = [np.zeros(0, "i8")], {name: [np.zeros(0)] for name in names}
    for block in blocks:
        part = slice(block * size, (block + 1) * size)
        count = group["count"][0, part]
        used = np.flatnonzero(count > 0)
        cells.append(block * size + used)
        for name in names:
            columns[name].append(group[name][0, part][used])
    return np.concatenate(cells), {k: np.concatenate(v) for k, v in columns.items()}


def _chunks(session: Any, path: str) -> list[tuple[int, ...]]:
    import asyncio

    async def listed() -> list[tuple[int, ...]]:
        return [tuple(c) async for c in session.chunk_coordinates(path)]

    return asyncio.run(listed())


# Rectilinear: one array for each variable.


def _judge_rectilinear(
    output: Path,
    points: Points,
    grid: Mapping[str, Any],
    variables: Mapping[str, Any],
    inside: Inside,
) -> Verdict:
    import zarr

    group = zarr.open_group(str(output), mode="r")["rectilinear"]
    xmin, _, xmax, ymax = grid["bounds"]
    step, (high, wide) = grid["resolution"], grid.get("chunk_shape", [256, 256])
    across = -(-int(np.ceil((xmax - xmin) / step - 1e-9)) // wide)
    x, y = project(grid["crs"], points.lats, points.lons)
    columns, rows = np.floor((x - xmin) / step), np.floor((ymax - y) / step)
    within = (columns >= 0) & (rows >= 0) & (columns < group["count"].shape[1])
    within &= rows < group["count"].shape[0]
    points, columns, rows = points.take(within), columns[within], rows[within]
    tiles = (rows // high * across + columns // wide).astype("i8")
    there = _tiles(output / "rectilinear/count/c", across, group["count"], (high, wide))
    tiles_needed = np.union1d(tiles[inside(points.lats, points.lons)], there)
    keep = np.isin(tiles, tiles_needed)
    width = across * wide
    cells = (rows * width + columns).astype("i8")[keep]
    verdict = Verdict(points=len(cells))
    expected = statistics(cells, points.take(keep).values, variables)
    compare(verdict, "cell", expected, _tile_cells(group, there, across, (high, wide), variables))
    return verdict


def _tiles(folder: Path, across: int, array: Any, tile: tuple[int, int]) -> np.ndarray:
    """Return the tiles of which a chunk is stored."""
    shape = array.shards or array.chunks
    files = [path.relative_to(folder).parts for path in folder.glob("*/*")]
    found = [
        int(row) * shape[0] // tile[0] * across + int(column) * shape[1] // tile[1]
        for row, column in files
    ]
    return np.unique(np.array(found, "i8"))


def _tile_cells(
    group: Any, tiles: np.ndarray, across: int, tile: tuple[int, int], names: Iterable[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    names = list(names)
    cells, columns = [np.zeros(0, "i8")], {name: [np.zeros(0)] for name in names}
    width = across * tile[1]
    for number in tiles.tolist():
        top, left = number // across * tile[0], number % across * tile[1]
        part = slice(top, top + tile[0]), slice(left, left + tile[1])
        rows, lines = np.nonzero(group["count"][part] > 0)
        cells.append((top + rows) * width + left + lines)
        for name in names:
            columns[name].append(group[name][part][rows, lines])
    return np.concatenate(cells), {k: np.concatenate(v) for k, v in columns.items()}
