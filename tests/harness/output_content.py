"""What an output of zagg holds, by content: every array that a reader finds, at every order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

# Versions of a leaf lie in folders of these names; its group says which is current.
VERSION = re.compile(r"/(run-[0-9a-f]{32}-[^/]+)(?=/)")


def content_of(output: Path) -> dict[str, Any]:
    """Digest and sum of every array of a folder, and of its Icechunk repository."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _arrays(output) | _documents(output)
        if (output / "icechunk").is_dir():
            found |= _icechunk(output)
    return found


def _arrays(output: Path) -> dict[str, Any]:
    import zarr

    documents = {
        str(path.parent.relative_to(output)): json.loads(path.read_text())
        for path in output.rglob("zarr.json")
        if "icechunk" not in path.parts
    }
    current = {
        value["current"]
        for document in documents.values()
        for value in document.get("attributes", {}).values()
        if isinstance(value, dict) and value.get("current")
    }
    found = {}
    for path, document in documents.items():
        version = VERSION.search(path)
        if document["node_type"] == "array" and (version is None or version[1] in current):
            values = zarr.open_array(output / path, mode="r")[...]
            found[VERSION.sub("", path)] = _digest(values.tobytes(), values.sum())
    return found


def _documents(output: Path) -> dict[str, Any]:
    """The rollups, which have times, and the shards that the coverage names."""
    found: dict[str, Any] = {
        str(path.relative_to(output)): "present" for path in output.rglob("*.rollup.json")
    }
    coverage = output / "coverage.moc"
    if coverage.exists():
        found["coverage.moc"] = str(json.loads(coverage.read_text())["ranges"])
    return found


def _icechunk(output: Path) -> dict[str, Any]:
    import icechunk
    import zarr

    storage = icechunk.local_filesystem_storage(str(output / "icechunk"))
    config = icechunk.Repository.fetch_config(storage)
    prefixes = dict.fromkeys(config.virtual_chunk_containers)
    access = icechunk.containers_credentials(prefixes)
    repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=access)
    session = repository.readonly_session("main")
    tips = {repository.lookup_tag(tag) for tag in repository.list_tags()}
    found: dict[str, Any] = {"tip is tagged": session.snapshot_id in tips}
    for name, array in zarr.open_group(session.store, mode="r").members(max_depth=None):
        if isinstance(array, zarr.Array):
            found[f"icechunk/{name}"] = _chunks(session, name, array)
    return found


def _chunks(session: Any, name: str, array: Any) -> str:
    async def initialized() -> list[tuple[int, ...]]:
        return [one async for one in session.chunk_coordinates(f"/{name}")]

    content, total = b"", 0.0
    for place in sorted(asyncio.run(initialized())):
        at = tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, array.chunks, strict=True))
        values = array[at]
        if not (values == array.fill_value).all():
            content += repr(place).encode() + values.tobytes()
            total += values.sum()
    return _digest(content, total)


def _digest(content: bytes, total: float) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:12]}, sum {total:g}"
