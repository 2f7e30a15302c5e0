"""Mutated configs: each is a grid or one sentence, in bounded time and memory."""

import copy
import os
import random
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from zagg_catalog.config import parse_config
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.grids import from_config
from zagg_catalog.regions import bbox_region

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "deployments" / "grids").glob("*.yaml"))
# Characters of a sentence, with those of the file's name.
LONGEST = 1000
CAP = bbox_region([-180, -90, 180, -60])
DEEP: Any = 1
for _ in range(200):
    DEEP = [DEEP]
ODD = [
    None, True, 0, -1, 1, 2, 29, 30, 2**31, 2**63, 2**64, 10**40, 10**400,
    0.5, 1e-300, 5e-324, 1e300, -1e300, float("inf"), float("nan"),
    "", " ", "x", "\x00", "EPSG:4326", "EPSG:4978", "EPSG:5703", "healpix",
    "9" * 500, date(2024, 1, 1), [], [[]], {}, {5: 6}, {date(2024, 1, 1): None}, [1, 2],
    [1e300] * 4, DEEP,
]  # fmt: skip
BYTES = [
    b"\x00",
    b"\xff",
    b"{",
    b"[",
    b"]",
    b"&a ",
    b"*a",
    b"!!",
    b": ",
    b"- ",
    b"9" * 99,
    b"\n",
    b".",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    below = [((*path, key), item) for key, item in inner]
    nested = [p for q, item in below if isinstance(item, (dict, list)) for p in places(item, q)]
    return [q for q, _ in below] + nested


def of_values(dice: random.Random) -> dict[str, Any]:
    """Return a config with one to three odd values or keys, most of them in its grid."""
    config = yaml.safe_load(dice.choice(GRIDS).read_bytes())
    for _ in range(dice.randint(1, 3)):
        root = config["output"] if dice.random() < 0.7 and "output" in config else config
        if not isinstance(root, dict):
            break
        *path, last = dice.choice(places(root) or [("x",)])
        inner: Any = root
        for key in path:
            inner = inner[key]
        odd = copy.deepcopy(dice.choice(ODD))
        if dice.random() < 0.15 and isinstance(inner, dict) and not isinstance(odd, (dict, list)):
            inner[odd] = inner.pop(last, 1)
        else:
            inner[last] = odd
    return config


def of_bytes(dice: random.Random) -> bytes:
    """Return a config's file with a few bytes removed, repeated or put in."""
    content = dice.choice(GRIDS).read_bytes()
    for _ in range(dice.randint(1, 4)):
        at, count = dice.randrange(len(content)), dice.randint(0, 9)
        content = (
            content[:at] + dice.choice(BYTES) * dice.choice([1, 2, 500]) + content[at + count :]
        )
    return content


def attempt(number: int) -> None:
    """Make a grid of a mutated config, and cover a region with it."""
    dice = random.Random(number)
    try:
        grid = (
            from_config(of_values(dice))
            if number % 2
            else from_config(parse_config(of_bytes(dice)))
        )
        grid.spatial_signature()
        grid.check_size(CAP)
    except ZaggCatalogError as error:
        if len(str(error)) > LONGEST:
            raise


def run(first: int, last: int) -> None:
    for number in range(first, last):
        try:
            attempt(number)
        except BaseException as error:
            raise SystemExit(f"config {number}: {error!r}") from error


@pytest.mark.parametrize("first", [0, 200])
def test_each_is_a_grid_or_a_sentence(first):
    """In a process of its own, whose memory and time the system limits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    script = f"from tests.grids.test_mutated_configs import run; run({first}, {first + 200})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, preexec_fn=limit,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
