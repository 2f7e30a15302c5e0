"""One Prefect server for all of these tests, one STAC API, and a registry of four grids."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

os.environ["ZAGG_CATALOG_FLOW_RETRY_DELAY"] = "0"

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.settings import PREFECT_API_URL
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

from flows.cycle import prepare_cycle
from flows.settings import Product
from tests.harness.prefect_database import copy_database
from zagg_catalog.releases import Release, find_release
from zagg_catalog.sandbox import SandboxServer, simulate
from zagg_catalog.store import Store, open_store

if TYPE_CHECKING:
    from tests.flows.aggregator import Aggregator

ROOT = Path(__file__).parents[2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        # Prefect's own: warnings of its dependencies, and sockets that its threads close late.
        item.add_marker(pytest.mark.filterwarnings("ignore"))
        if "prefect_server" in item.fixturenames:
            item.add_marker(pytest.mark.integration)


@pytest.fixture
def reports() -> None:
    """Let runs of a test write the reports of their releases."""


@pytest.fixture(autouse=True)
def few_reports(request, monkeypatch) -> None:
    """Let runs write no reports, whose drawing is most of their work, where no test reads them.

    Fixtures of a module or of the session are made before, and write them.
    """
    if "reports" not in request.fixturenames:
        monkeypatch.setenv("ZAGG_CATALOG_RELEASE_REPORTS", "false")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """A real Prefect server, in a process of its own; returns its API's address."""
    folder = tmp_path_factory.mktemp("prefect")
    copy_database(folder, "prefect-test.db")
    with pytest.MonkeyPatch.context() as patch:
        # The folder of the harness is always a new one.
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(folder))
        with prefect_test_harness(server_startup_timeout=300):
            yield PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def stac():
    """A STAC API with a twentieth of the tracks of cycle 22."""
    with SandboxServer(simulate("ATL06", cycle=22, tracks=range(1, 1388, 20))) as server:
        yield server


@pytest.fixture(scope="session")
def registry_folder(tmp_path_factory) -> Path:
    """The shipped registry with a fourth grid of ATL06, and shards of 50 km in Antarctica.

    The shipped ones of 25 km are so many that most of a run would be the drawing of its report.
    """
    folder = tmp_path_factory.mktemp("registry")
    shutil.copytree(ROOT / "deployments", folder, dirs_exist_ok=True)
    path = folder / "grids/atl06-antarctica-healpix.yaml"
    path.write_text(re.sub(r"parent_order: 8 ", "parent_order: 7 ", path.read_text()))
    content = yaml.safe_load((folder / "registry.yaml").read_text())
    polar = yaml.safe_load((folder / "grids/atl06-antarctica-polar.yaml").read_text())
    polar["output"]["grid"] |= {
        "crs": "EPSG:3413",
        "bounds": [-768000, -3584000, 1024000, -512000],
    }
    (folder / "grids/atl06-greenland-polar.yaml").write_text(yaml.safe_dump(polar))
    entry = {"config": "grids/atl06-greenland-polar.yaml", "products": ["ATL06_007"]}
    content["grids"]["atl06-greenland-polar"] = entry | {"region": "greenland"}
    (folder / "registry.yaml").write_text(yaml.safe_dump(content))
    return folder


@dataclass
class Team:
    """Somebody's store and registry, and the flow that fills the one by the other."""

    store_url: str
    registry: Path
    stac_root: str
    api_url: str

    @property
    def store(self) -> Store:
        return open_store(self.store_url)

    def parameters(self, **changes) -> dict:
        return {
            "product": Product.ATL06,
            "cycle": 22,
            "store": self.store_url,
            "stac_root": self.stac_root,
            "registry": str(self.registry / "registry.yaml"),
        } | changes

    def run(self, **changes):
        """Run prepare-cycle here, and return its final state."""
        return prepare_cycle(**self.parameters(**changes), return_state=True)

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen:
        """Start ``python -m flows.cycle`` as a process of its own."""
        command = [sys.executable, "-m", "flows.cycle", "--cycle", "22"]
        command += ["--store", self.store_url, "--stac-root", self.stac_root]
        command += ["--registry", str(self.registry / "registry.yaml"), *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PREFECT_API_URL": self.api_url} | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def release(self, region: str, digest: str | None = None) -> Release:
        return find_release(self.store, "ATL06_007", region, 22, digest=digest)

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of everything in the store but leases and results of tasks."""
        root = Path(self.store_url)
        found = (path for path in root.rglob("*") if path.is_file())
        return {
            str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in found
            if not any(part.startswith(".") for part in path.relative_to(root).parts)
            and path.relative_to(root).parts[0] != "results"
            and path.name != "lease.json"
        }


def artifact_of(run: State, key: str) -> Any:
    """The newest artifact of a key that a flow run made.

    The tests share a server, and their stores have releases of equal names.
    """
    made = FlowRunFilter(id=FlowRunFilterId(any_=[run.state_details.flow_run_id]))
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=keyed, flow_run_filter=made)
    return max(found, key=lambda artifact: artifact.created)


@pytest.fixture(scope="session")
def make_team(prefect_server, stac, registry_folder, tmp_path_factory):
    def make() -> Team:
        folder = tmp_path_factory.mktemp("team")
        registry = Path(shutil.copytree(registry_folder, folder / "registry"))
        return Team(str(folder / "store"), registry, stac.root_url, prefect_server)

    return make


@pytest.fixture
def team(make_team) -> Team:
    return make_team()


@pytest.fixture(scope="session")
def prepared(make_team) -> tuple[Team, object]:
    """A team whose cycle is prepared; not to be changed."""
    team = make_team()
    return team, team.run()


@pytest.fixture
def real(prepared, tmp_path, monkeypatch, registry_folder) -> Aggregator:
    """An aggregator with the real zagg."""
    from tests.flows.aggregator import Aggregator

    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER", str(tmp_path / "work"))
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_WAIT", "0")
    found = Aggregator(prepared[0], tmp_path)
    found.registry_file = Path(shutil.copytree(registry_folder, tmp_path / "own")) / "registry.yaml"
    return found


@pytest.fixture
def desk(real, monkeypatch) -> Aggregator:
    """An aggregator with a zagg that is watched."""
    real.watch(monkeypatch)
    return real
