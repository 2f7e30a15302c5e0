"""A HEALPix output: one Zarr store per shard in a tree of digits, overviews, Icechunk companion.

The layout is that of zagg's specification: each store has a commit with the number of its cells and
the SHA-256 of each array, and each node of the tree an overview with the counts of those below it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from zagg_catalog.aggregation.output_place import HIVE_MANIFEST, OutputPlace
from zagg_catalog.aggregation.zagg_names import COMPANION, MissingName, look_up
from zagg_catalog.errors import OutputUnavailable
from zagg_catalog.lazy import lazy_module
from zagg_catalog.messages import clean_text

mortie = lazy_module("mortie")

COMMIT = "morton_hive_commit"
PYRAMID = "zagg-pyramid/2"
# Nodes and shards that are read in the Icechunk companion.
_ICECHUNK_READS = 200
_ERROR_LENGTH = 200
THREADS = 16

Path = tuple[str, ...]


@dataclass(frozen=True)
class HiveOutput:
    """A HEALPix output that is being checked; each node is read once."""

    place: OutputPlace
    shard_order: int
    cell_order: int
    count: str | None
    """Variable with the number of observations of a cell."""
    known: dict[Path, int] = field(default_factory=dict)
    """Number of observations by node, as far as they were read."""

    def leaf(self, key: int) -> Path:
        """Return the digits of a shard."""
        words = np.asarray([key], np.uint64)
        (path,) = mortie.MortonIndexArray.from_words(words).hive_path()
        return tuple(path.split("/")[:-1])

    def manifest_problems(self) -> list[str]:
        """Compare the orders of the manifest with those of the grid."""
        found = self.manifest
        if not found:
            return [f"{HIVE_MANIFEST} is missing or cannot be read."]
        orders = {"shard_order": self.shard_order, "cell_order": self.cell_order}
        return [
            f"{HIVE_MANIFEST} has {name} {found.get(name)}, and the grid {order}."
            for name, order in orders.items()
            if found.get(name) != order
        ]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the output; empty if it cannot be read."""
        return _json(self.place.read(HIVE_MANIFEST))

    def commit(self, node: Path) -> dict[str, Any] | None:
        """Return the commit of a shard, or None if the shard is missing or was not finished."""
        attributes = _json(self.place.read(f"{_store_of(node)}/zarr.json")).get("attributes") or {}
        found = attributes.get(COMMIT)
        return found if isinstance(found, dict) and found.get("complete") else None

    def problem(self, key: int, observations: int, cells: int, *, read: bool) -> str | None:
        """Return what is wrong with a shard; `read` its cells, or only look it up."""
        node = self.leaf(key)
        commit = self.commit(node)
        if commit is None:
            return "it is missing, or zagg did not finish it"
        if commit.get("cells_with_data") != cells:
            return (
                f"it has {commit.get('cells_with_data')} cells with data, and zagg reported {cells}"
            )
        if not read:
            return None
        return self._values_problem(node, commit, observations, cells)

    def _values_problem(
        self, node: Path, commit: dict[str, Any], observations: int, cells: int
    ) -> str | None:
        root = (
            f"{_store_of(node)}/{commit['current']}" if commit.get("current") else _store_of(node)
        )
        counted = f"{self.cell_order}/{self.count}" if self.count else None
        digests = dict((commit.get("content_hashes") or {}).get("arrays") or {})
        for name in dict.fromkeys([*digests, *([counted] if counted else [])]):
            try:
                values = self.array(f"{root}/{name}")
            except OutputUnavailable as error:
                return str(error)
            if name in digests and values.dtype != object and _sha256(values) != digests[name]:
                return f"the values of {name} are not those that zagg wrote"
            if name == counted:
                total, filled = int(values.sum()), int((values > 0).sum())
                self.known[node] = total
                if (total, filled) != (observations, cells):
                    return (
                        f"it has {total} observations in {filled} cells, and zagg reported"
                        f" {observations} in {cells}"
                    )
        return None

    def array(self, path: str) -> np.ndarray[Any, Any]:
        """Read an array; raises `OutputUnavailable` with its path if that is not possible."""
        return read_array(self.place.arrays, path)

    def overview_orders(self) -> tuple[dict[int, int], str | None]:
        """Return the order of the cells by order of the node, or why nothing can be compared."""
        pyramid = self.manifest.get("pyramid") or {}
        if not self.count:
            return {}, "the config has no variable with function len"
        if pyramid.get("spec") != PYRAMID:
            return {}, f"{HIVE_MANIFEST} declares none of {PYRAMID}"
        fields = (pyramid.get("overview") or {}).get("fields") or {}
        if (fields.get(self.count) or {}).get("method") != "sum":
            return {}, f"they have no sums of {self.count}"
        orders = {
            int(one["node"]): int(max(one["cells"])) for one in pyramid.get("overviews") or []
        }
        return {node: cells for node, cells in orders.items() if node < self.shard_order}, None

    def observations(self, node: Path, orders: dict[int, int]) -> int:
        """Return the number of observations below a node, as the node itself has it."""
        if node not in self.known:
            self.known[node] = self._read_observations(node, orders)
        return self.known[node]

    def _read_observations(self, node: Path, orders: dict[int, int]) -> int:
        order = len(node) - 1
        if order < self.shard_order:
            path = f"{'/'.join(node)}/all.zarr"
            if self.place.read(f"{path}/zarr.json") is None:
                return 0
            return int(self.array(f"{path}/{orders[order]}/{self.count}").sum())
        commit = self.commit(node)
        if commit is None:
            return 0
        root = (
            f"{_store_of(node)}/{commit['current']}" if commit.get("current") else _store_of(node)
        )
        return int(self.array(f"{root}/{self.cell_order}/{self.count}").sum())

    def overview_problems(
        self, leaves: Iterable[Path], orders: dict[int, int], damaged: Iterable[Path]
    ) -> Iterator[tuple[Path, str | None]]:
        """Yield the nodes above `leaves`, and not above `damaged`, with what is wrong with each."""
        for order in sorted(orders, reverse=True):
            if order + 1 not in (*orders, self.shard_order):
                continue  # the order below has no overviews
            nodes = {leaf[: order + 1] for leaf in leaves}
            nodes -= {leaf[: order + 1] for leaf in damaged}
            families = {node: [(*node, digit) for digit in "1234"] for node in sorted(nodes)}
            self._read_ahead(
                [*families, *(one for below in families.values() for one in below)], orders
            )
            for node, below in families.items():
                yield node, self._overview_problem(node, below, orders)

    def _overview_problem(
        self, node: Path, below: Sequence[Path], orders: dict[int, int]
    ) -> str | None:
        """Return how the overview of a node differs from the nodes below it."""
        where = f"the overview of order {len(node) - 1} at {'/'.join(node)}"
        try:
            mine = self.observations(node, orders)
            theirs = sum(self.observations(one, orders) for one in below)
        except OutputUnavailable as error:
            return f"{where}: {error}"
        if mine == theirs:
            return None
        return f"{where} has {mine} observations, and those below it have {theirs}"

    def _read_ahead(self, nodes: Iterable[Path], orders: dict[int, int]) -> None:
        """Read nodes side by side; one that cannot be read is read again when it is needed."""

        def read(node: Path) -> None:
            with suppress(OutputUnavailable):
                self.observations(node, orders)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(read, nodes))

    def icechunk_problems(self, keys: Sequence[int], orders: dict[int, int]) -> list[str]:
        """Compare the Icechunk companion with the stores of some shards and the nodes above."""
        try:
            arrays = _open_icechunk(self.place)
        except OutputUnavailable as error:
            return [f"Its Icechunk companion cannot be opened: {error}."]
        problems = []
        for node, cell in self._sample(keys, orders):
            order = len(node) - 1
            inner = orders.get(order, self.cell_order)
            width = 4 ** (inner - order)
            part = slice(cell * width, (cell + 1) * width)
            where = f"of order {inner} at {'/'.join(node)}"
            try:
                values = read_array(arrays, f"{inner}/{self.count}", (..., part))
                theirs = self.observations(node, orders)
            except OutputUnavailable as error:
                problems.append(f"Its Icechunk companion {where}: {error}.")
                break
            if int(values.sum()) != theirs:
                problems.append(
                    f"Its Icechunk companion has {int(values.sum())} observations {where}, and the"
                    f" store {theirs}."
                )
        return problems

    def _sample(self, keys: Sequence[int], orders: dict[int, int]) -> list[tuple[Path, int]]:
        """Return nodes above some shards, the coarsest first, and shards, each with its cell id.

        The id is that of HEALPix' nested scheme at the order of the node.
        """
        if not len(keys):
            return []
        cells, _ = mortie.mort2healpix(np.asarray(keys, np.uint64))
        leaves = [(self.leaf(key), int(cell)) for key, cell in zip(keys, cells, strict=True)]
        nodes = {
            leaf[: order + 1]: cell >> 2 * (self.shard_order - order)
            for order in sorted(orders)
            for leaf, cell in leaves
        }
        return [*list(nodes.items())[:_ICECHUNK_READS], *leaves[:_ICECHUNK_READS]]


def read_array(arrays: Any, path: str, part: Any = ...) -> np.ndarray[Any, Any]:
    """Read a part of an array of a group; raises `OutputUnavailable` with its path if it cannot."""
    try:
        return np.asarray(arrays[path][part])
    except Exception as error:  # codecs and stores raise all kinds
        text = clean_text(f"{type(error).__name__}: {error}", limit=_ERROR_LENGTH)
        raise OutputUnavailable(f"{path} cannot be read ({text})") from error


def _open_icechunk(place: OutputPlace) -> Any:
    """Open the companion with zagg's own function, which knows its containers and credentials."""
    import zarr

    try:
        zagg = look_up(COMPANION)
    except (ImportError, MissingName) as error:
        raise OutputUnavailable(str(error)) from None
    try:
        options = {"region": place.region, "endpoint_url": place.endpoint}
        repo = zagg.open_repo(place.url, store_kwargs=options)
        return zarr.open_group(repo.readonly_session("main").store, mode="r")
    except Exception as error:
        text = clean_text(f"{type(error).__name__}: {error}", limit=_ERROR_LENGTH)
        raise OutputUnavailable(text) from error


def _store_of(node: Path) -> str:
    """Return the path of the Zarr store of a shard."""
    return f"{'/'.join(node)}/{''.join(node)}.zarr"


def _sha256(values: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 of the values as zagg's specification has it: C order, little endian."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()


def _json(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
