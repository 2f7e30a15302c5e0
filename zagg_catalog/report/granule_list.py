"""Granules on a page: their order, names and addresses."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zagg_catalog.catalog.ids import shown_id
from zagg_catalog.geometry.sphere import Ints
from zagg_catalog.granule_names import granule_name_columns
from zagg_catalog.messages import one_line, shortened
from zagg_catalog.report.pack import Pack
from zagg_catalog.sandbox.orbit import SHIFT_PER_ORBIT

# In a pattern of an address: the name of the file, and the day of its start as folders. Addresses
# lose characters like these before.
_FILE, _DAY = "\x01", "\x02"
_LONGEST = 2000
_NAME = re.compile(r"[^/]*?\.(?:h5|nc|hdf5?)")
_START = re.compile(r"ATL\d\d[^_]*_(\d{4})(\d\d)(\d\d)\d{6}_")


def orbit_order(ids: pa.Array) -> Ints:
    """Return the rows of granules so that neighbours in space are neighbours in the list.

    By along-track region, longitude of the track and cycle; granules without a track come last,
    in their own order. A shard's granules are then few runs, which are packed in few bytes.
    """
    names = granule_name_columns(ids)
    none = np.iinfo(np.int16).max
    track, region, cycle = (
        pc.fill_null(names[part], none).to_numpy() for part in ("rgt", "region", "cycle")
    )
    node = np.where(track == none, 1e4, (SHIFT_PER_ORBIT * (track.astype(float) - 1)) % 360.0)
    order: Ints = np.lexsort((np.arange(len(track)), cycle, node, region))
    return order


def add_granules(pack: Pack, table: pa.Table) -> None:
    """Add names and addresses of granules to a pack.

    ``id``; ``https.patterns`` and ``s3.patterns``, the first of them empty; and ``https.which`` and
    ``s3.which``, the place of each granule's pattern. In a pattern, U+0001 stands for the name of
    the file, and U+0002 for its day, ``2024/01/31``.
    """
    ids = [shown_id(name) for name in table["id"].to_pylist()]
    pack.add_lines("id", ids)
    for slot in ("https", "s3"):
        places: dict[str, int] = {"": 0}
        which = [
            places.setdefault(_pattern(name, address), len(places))
            for name, address in zip(ids, table[slot].to_pylist(), strict=True)
        ]
        pack.add_lines(f"{slot}.patterns", places)
        pack.add_counts(f"{slot}.which", which)


def _pattern(name: str, address: str | None) -> str:
    """Return an address with marks in place of what follows from the granule's name."""
    address = shortened(one_line(address or ""), _LONGEST)
    file = _NAME.match(name)
    pattern = address.replace(file[0], _FILE) if file else address
    if day := _START.match(name):
        pattern = pattern.replace("/".join(day.groups()), _DAY)
    return pattern
