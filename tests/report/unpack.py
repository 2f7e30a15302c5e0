"""What a page's packs hold: a decoder that shares nothing with the encoder."""

import base64
import json
import re
import zlib

SCRIPT = re.compile(r'<script type="text/plain" id="pack-([a-z0-9-]+)">([A-Za-z0-9+/=]*)</script>')


def unpack(text: str) -> dict[str, list]:
    """Return the columns of a pack."""
    content = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    found = {}
    for name, (kind, start, size) in header.items():
        column = content[4 + length + start : 4 + length + start + size]
        found[name] = column.decode().split("\n") if kind == "t" else _numbers(column, kind == "s")
    return found


def packs_of(page: str) -> dict[str, dict[str, list]]:
    """Return the packs of a page by name."""
    return {name: unpack(text) for name, text in SCRIPT.findall(page)}


def facts_of(page: str) -> dict:
    """Return the page's facts."""
    return json.loads(
        re.search(r'<script type="application/json" id="facts">(.*?)</script>', page)[1]
    )


def shapes_of(pack: dict[str, list], name: str) -> list[list[list[tuple[int, int]]]]:
    """Return the rings of each shape, as units of the map."""
    flat = list(zip(*(_coordinates(pack, name, axis) for axis in "xy"), strict=True))
    rings, at = [], 0
    for size in pack[f"{name}.sizes"]:
        rings.append(flat[at : at + size])
        at += size
    shapes, at = [], 0
    for count in pack[f"{name}.parts"]:
        shapes.append(rings[at : at + count])
        at += count
    return shapes


def pairs_of(pack: dict[str, list]) -> dict[int, list[int]]:
    """Return the places of the granules of each shard, by its key."""
    found, key, at = {}, 0, 0
    for step, count in zip(pack["keys"], pack["counts"], strict=True):
        key += step
        place, places = 0, []
        for gap in pack["pairs"][at : at + count]:
            place += gap
            places.append(place)
        found[key] = places
        at += count
    return found


def _numbers(column: bytes, signed: bool) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in column:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(
                -(value + 1) // 2 if signed and value % 2 else value // 2 if signed else value
            )
            value = shift = 0
    return found


def _coordinates(pack: dict[str, list], name: str, axis: str) -> list[int]:
    steps, found, first, at = pack[f"{name}.{axis}"], [], 0, 0
    for size in pack[f"{name}.sizes"]:
        value = step = 0
        for i, one in enumerate(steps[at : at + size]):
            if i == 0:
                first = value = first + one
            else:
                step = one if i == 1 else step + one
                value += step
            found.append(value)
        at += size
    return found
