"""The sandbox's own door: ingest simulated granules into a server of another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zagg_catalog.errors import InvalidQuery
from zagg_catalog.sandbox.granules import Granules
from zagg_catalog.sandbox.reply import Reply
from zagg_catalog.sandbox.simulation import simulate

if TYPE_CHECKING:
    from zagg_catalog.sandbox.server import SandboxServer

ADMIN_PATH = "/sandbox/granules"
_KNOWN = {"product", "version", "cycle", "regions", "tracks", "seed", "missing", "revised"}


def ingest(server: SandboxServer, method: str, given: Mapping[str, list[str]]) -> Reply:
    """Answer ``POST /sandbox/granules?cycle=23``: simulate granules, and add them.

    Parameters
    ----------
    server : SandboxServer
        Which gets them.
    method : str
        ``GET`` only says how many granules there are.
    given : mapping of str to list of str
        ``product``, ``version``, ``cycle``, ``regions``, ``tracks``, ``seed``, ``missing`` and
        ``revised`` of `simulate`; ``tracks=1-30`` and ``cycle=22,23`` are understood.

    Returns
    -------
    Reply
        200 with ``added`` and ``size``; 400 where the arguments are wrong.
    """
    if method == "GET":
        return Reply(200, {"added": 0, "size": server.api.size})
    try:
        granules = _simulated({name: values[-1] for name, values in given.items()})
    except (InvalidQuery, ValueError) as error:
        return Reply(400, {"errors": [str(error)]})
    server.add(granules)
    return Reply(200, {"added": len(granules), "size": server.api.size})


def _simulated(given: dict[str, str]) -> Granules:
    if unknown := sorted(given.keys() - _KNOWN):
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(sorted(_KNOWN))}.")
    return simulate(
        given.get("product", "ATL06"),
        version=given.get("version", "007"),
        cycle=_numbers(given.get("cycle", "22")),
        regions=_numbers(given["regions"]) if "regions" in given else None,
        tracks=_numbers(given["tracks"]) if "tracks" in given else None,
        seed=int(given.get("seed", "0")),
        missing=float(given.get("missing", "0")),
        revised=float(given.get("revised", "0.01")),
    )


def _numbers(text: str) -> list[int]:
    """Read ``22``, ``21,23`` and ``1-30``."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers
