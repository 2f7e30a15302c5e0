"""An aggregator's flow, for tests to run: a store, the team's registry, and a zagg."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.aggregate import aggregate
from flows.settings import Product
from tests.aggregation.desk import Desk
from tests.flows.conftest import Team
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.releases.pickups import read_pickup_histories

HEALPIX, POLAR = "atl06-greenland-healpix", "atl06-greenland-polar"
GREENLAND = {"product": Product.ATL06, "region": "greenland", "cycle": 22}
RELEASE_KEY = ReleaseKey("ATL06_007", "greenland", 22)


class Aggregator(Desk):
    """A copy of a prepared store, the team's registry, and a zagg that is watched."""

    def __init__(self, team: Team, folder: Path) -> None:
        self.folder, self.calls, self.handed = folder, [], []
        self.ending, self.summary, self.results, self.absent = None, {}, {}, {}
        self.steps, self.step_ending = [], None
        self.registry_file = team.registry / "registry.yaml"
        self.store_url = str(shutil.copytree(team.store_url, folder / "store"))

    def run(self, **changes):
        given = {"store": self.store_url, "registry": str(self.registry_file)}
        return aggregate(**(given | changes), return_state=True)

    def outcomes(self, release_key=RELEASE_KEY):
        found = read_pickup_histories(self.store, release_key)
        return {grid: standing.entries[0].outcome for grid, standing in found.items()}

    @property
    def grids(self):
        """The grids that zagg was called for, once each."""
        parts = [Path(call.config).parts for call in self.calls]
        return sorted({grid for path in parts for grid in (HEALPIX, POLAR) if grid in path})
