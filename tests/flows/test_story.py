"""A cycle is published over simulated months: what the watch sees, and what runs make of it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import events
from flows import watch as watching
from flows.cycle import prepare_cycle
from flows.watch import watch_cycles
from tests.harness.moved_clock import following
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.diff import CatalogDiff, diff_catalogs
from zagg_catalog.releases import Release, find_release
from zagg_catalog.sandbox import Fault, SandboxServer, story
from zagg_catalog.store import LocalStore, Store, open_store
from zagg_catalog.watch.events import AVAILABLE
from zagg_catalog.watch.states import read_states

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.random_order(disabled=True),  # one story
    pytest.mark.usefixtures("reports"),
]

# Cycle 22 was measured from 2023-12-17 to 2024-03-17.
START, CYCLE = datetime(2024, 2, 20, tzinfo=UTC), 22
OLD, NEW, REGION = "ATL06_006", "ATL06_007", "greenland"
# Requests of a run that has fetched all before it was killed: counts, and what is newer.
COUNTS = 4
QUIET = f"{OLD}: nothing new; {NEW}: nothing new."
RULES = {"first_cycle": CYCLE, "share": 0.5, "recheck_days": 0, "settled_days": 7}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.flows.test_story"])


class Used(logging.Handler):
    """The numbers of the newest run, which it logs: granules, pairs, and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("Used: "):
            self.numbers = {
                name: float(value)
                for name, value in re.findall(r"([a-z_]+) ([0-9.]*[0-9])(?=[,.])", said)
            }


class World:
    """An archive, a store, and a team that watches the one and fills the other."""

    def __init__(self, server: SandboxServer, folder: Path, api_url: str) -> None:
        self.server, self.folder, self.api_url = server, folder, api_url
        self.url = str(folder / "store")
        self.payloads: list[dict[str, Any]] = []
        self.used = Used()

    @property
    def store(self) -> Store:
        return open_store(self.url)

    def until(self, day: float) -> list[str]:
        """Let all happen in the archive until a day of the story."""
        return self.server.advance(to=START + timedelta(days=day))

    def poll(self) -> str:
        """Poll as every hour, and return what the run says."""
        self.payloads.clear()
        state = watch_cycles(return_state=True)
        return str(state.message)

    def prepare(self, **changes: Any) -> str:
        """Do what the automation does for the newest event, and return what the run says."""
        payload = self.payloads[-1]
        given = {name: payload[name] for name in ("product", "version", "cycle", "notice")}
        state = prepare_cycle(**(given | changes), return_state=True)
        return str(state.message).partition(": ")[2]

    def news(self) -> str:
        """Poll, prepare what is announced, and return what both say."""
        said = self.poll()
        return f"{said} {self.prepare()}" if self.payloads else said

    def files(self) -> dict[str, tuple[int, int]]:
        """Sizes and times of all files of the store."""
        found = (path for path in Path(self.url).rglob("*") if path.is_file())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    def release(self, product: str = OLD, url: str | None = None) -> Release:
        return find_release(open_store(url or self.url), product, REGION, CYCLE)

    def state(self, product: str = OLD, cycle: int = CYCLE) -> str | None:
        """The state of a cycle at the last poll."""
        found = read_states(self.store, product)[0].of(REGION, cycle)
        return found.state if found else None

    def catalog(self, release: Release) -> Catalog:
        path = self.store.download(release.record.catalog.key, self.folder / "catalog.parquet")
        return Catalog.from_geoparquet(path)

    def is_quiet(self) -> bool:
        """Whether another poll asks at most twice for each product, and writes nothing.

        The poll before it records that a run has succeeded.
        """
        assert self.poll() == QUIET
        files, asked = self.files(), len(self.server.requests)
        assert self.poll() == QUIET
        assert len(self.server.requests) - asked <= 4
        return self.files() == files and not self.payloads

    def is_built_on_the_last_maps(self) -> bool:
        """Whether the newest run took most pairs over, and built some."""
        used = self.used.numbers
        return 0.5 * used["pairs"] < used["pairs_taken_over"] < used["pairs"]

    def is_as_from_scratch(self, product: str = OLD) -> bool:
        """Whether a forced run into an empty store gives the same release, byte for byte."""
        fresh = str(self.folder / "fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        name, version = product.split("_")
        state = prepare_cycle(
            product=name, version=version, cycle=CYCLE, store=fresh, force=True, return_state=True
        )
        assert state.is_completed(), state.message
        ours, theirs = self.release(product), self.release(product, fresh)
        return ours.record.to_bytes() == theirs.record.to_bytes()

    def killed(self, target: Callable[..., None], *arguments: Any) -> None:
        """Run something in a process of its own that ends by SIGKILL."""
        environment = {k: v for k, v in os.environ.items() if k.startswith("ZAGG_CATALOG_")}
        ahead = self.server.now - datetime.now(UTC)
        child = CONTEXT.Process(
            target=_in_child, args=(target, arguments, environment, self.api_url, ahead)
        )
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL


def _in_child(target, arguments, environment, api_url, ahead) -> None:
    os.environ.update(environment)
    with (
        following(lambda: datetime.now(UTC) + ahead),
        temporary_settings(updates={PREFECT_API_URL: api_url}),
    ):
        target(*arguments)


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def poll_and_die_before_the_event() -> None:
    watching.emit = die
    watch_cycles(return_state=True)


def prepare_and_die(before: str, given: dict[str, Any]) -> None:
    """Let a run die before it writes a pointer."""
    swap = LocalStore.swap_pointer

    def guarded(store, key, value, expected=None):
        if before in key:
            die()
        return swap(store, key, value, expected)

    LocalStore.swap_pointer = guarded
    prepare_cycle(**given, return_state=True)


def registry(source: Path, folder: Path, rules: dict[str, Any]) -> Path:
    """A registry with one grid of two releases of ATL06."""
    content = yaml.safe_load((source / "registry.yaml").read_text())
    name = "atl06-greenland-healpix"
    entry = content["grids"][name]
    config = str(source / entry["config"])
    content["grids"] = {name: entry | {"config": config, "products": [OLD, NEW]}}
    content["regions"] = {REGION: {"bbox": [-100, 55, 20, 84]}}
    content["watch"] = dict.fromkeys((OLD, NEW), RULES | rules)
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def settings(**values: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"ZAGG_CATALOG_{name}", value)
        yield


@contextmanager
def began(prefect_server, source, folder, api, **rules: Any) -> Iterator[World]:
    """An archive before cycle 22 of release 006, and an empty store."""
    content = story(
        cycle=CYCLE, regions=[3, 4, 5], tracks=range(1, 1388, 20), share=0.05, start=START
    )
    with (
        SandboxServer(content) as server,
        settings(
            STORE=str(folder / "store"),
            API=api,
            CMR_ROOT=server.cmr_url,
            STAC_ROOT=server.root_url,
            REGISTRY=str(registry(source, folder, rules)),
            RETRIES="0",
            FLOW_RETRIES="0",
            FLOW_LEASE="2",
        ),
        following(lambda: server.now),
        pytest.MonkeyPatch.context() as patch,
    ):
        found = World(server, folder, prefect_server)

        def emit(event: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
            if event == AVAILABLE:
                found.payloads.append(payload)

        patch.setattr(events, "emit_event", emit)
        runs = logging.getLogger("prefect.flow_runs")
        runs.addHandler(found.used)
        yield found
        runs.removeHandler(found.used)


@pytest.fixture(scope="module")
def world(prefect_server, registry_folder, tmp_path_factory) -> Iterator[World]:
    """The story by CMR's own search."""
    folder = tmp_path_factory.mktemp("story")
    with began(prefect_server, registry_folder, folder, "cmr") as found:
        yield found


def change(world: World, before: Release, product: str = OLD) -> CatalogDiff:
    """What the newest release has changed."""
    after = world.release(product)
    assert after.digest != before.digest
    return diff_catalogs(world.catalog(before), world.catalog(after))


def test_before_the_cycle_the_watch_is_quiet(world):
    assert world.is_quiet()
    assert world.state() == "open"


def test_a_cycle_that_fills_is_announced_at_a_share_and_released(world):
    for day in (2, 9, 16):
        world.until(day)
        assert world.poll() == QUIET
        assert world.state() == "open"


def test_an_outage_is_named_and_changes_nothing(world):
    world.until(17.5)
    files = world.files()
    assert "503" in world.poll()
    assert world.files() == files
    world.until(18.5)


def test_a_run_in_an_outage_fails_and_the_event_comes_again(world):
    world.until(23)
    assert world.poll() == f"{OLD}: cycle 22 new; {NEW}: nothing new."
    world.server.faults.append(Fault("status", 503, times=10**6, skip=1))
    assert "503" in world.prepare()
    world.server.faults.clear()
    world.until(24)
    assert world.news() == f"{OLD}: cycle 22 again; {NEW}: nothing new. released greenland."
    assert world.is_quiet()


def test_each_week_is_a_release_that_adds_granules(world):
    for day in (30, 37):
        before = world.release()
        world.until(day)
        assert world.news() == f"{OLD}: cycle 22 changed; {NEW}: nothing new. released greenland."
        found = change(world, before)
        assert found.added
        assert not found.removed
        assert not found.revised
        assert world.is_built_on_the_last_maps()
        assert world.state() == "filling"
    assert world.is_as_from_scratch()
    world.until(45)
    assert world.is_quiet()
    assert world.state() == "settled"


def test_a_watch_that_is_killed_before_its_event_loses_no_late_granule(world):
    before = world.release()
    world.until(49)
    world.killed(poll_and_die_before_the_event)
    assert world.poll() == QUIET
    world.until(49.5)
    assert world.news() == f"{OLD}: cycle 22 again; {NEW}: nothing new. released greenland."
    found = change(world, before)
    assert found.added
    assert not found.removed
    assert world.is_built_on_the_last_maps()
    assert world.is_as_from_scratch()
    assert world.is_quiet()
    assert world.state() == "revised"


def test_a_run_that_is_killed_twice_loses_no_reprocessed_granule_and_fetches_once(world):
    before = world.release()
    world.until(63)
    assert world.poll() == f"{OLD}: cycle 22 changed; {NEW}: nothing new."
    (payload,) = world.payloads
    given = {name: payload[name] for name in ("product", "version", "cycle", "notice")}
    world.killed(prepare_and_die, "map-", given)  # the catalog is fetched, and a map is built
    asked = len(world.server.requests)
    world.killed(prepare_and_die, "latest.json", given)
    assert len(world.server.requests) - asked <= COUNTS
    assert world.release().digest == before.digest
    world.until(63.5)
    assert world.poll() == f"{OLD}: cycle 22 again; {NEW}: nothing new."
    asked = len(world.server.requests)
    assert world.prepare() == "released greenland."
    assert len(world.server.requests) - asked <= COUNTS
    found = change(world, before)
    assert found.revised
    assert not found.added
    assert not found.removed
    assert world.is_quiet()
    assert world.state() == "revised"
    assert world.is_as_from_scratch()


def test_a_corrected_footprint_is_found_although_no_count_shows_it(world):
    before = world.release()
    world.until(70)
    assert world.news() == f"{OLD}: cycle 22 changed; {NEW}: nothing new. released greenland."
    assert change(world, before).same
    assert world.is_built_on_the_last_maps()
    assert world.is_as_from_scratch()


def test_deleted_granules_are_held_back_until_somebody_accepts_that(world):
    before = world.release()
    world.until(77)
    assert f"{OLD}: cycle 22 changed" in world.poll()
    assert "latest stays" in world.prepare()
    assert world.release().digest == before.digest
    world.until(78)
    assert f"{OLD}: cycle 22 again" in world.poll()
    assert world.prepare(allow_contraction=True) == "released greenland."
    found = change(world, before)
    assert found.removed
    assert not found.added
    assert not found.revised
    assert world.is_quiet()
    assert world.state() == "revised"
    assert world.is_as_from_scratch()


def test_the_next_release_of_the_product_is_new_and_the_former_one_stays(world):
    former = world.release()
    world.until(86)
    assert world.poll() == (f"{OLD}: nothing new; {NEW}: cycle 20 new, cycle 21 new, cycle 22 new.")
    assert world.state() == "settled"
    assert world.prepare() == "released greenland."
    assert world.release(NEW).record.catalog.rows > 0
    world.until(100)
    world.poll()
    assert {cycle: world.state(NEW, cycle) for cycle in (21, 22)} == {21: "overdue", 22: "settled"}
    world.until(112)
    said = world.poll()
    assert f"The source declares no granule of {OLD}" in said
    assert world.release().digest == former.digest


def test_a_stac_api_shows_changes_by_counts_and_by_a_recheck(
    prefect_server, registry_folder, tmp_path
):
    """A granule has no footprint at first, and the reprocessed ones change no count."""
    with began(prefect_server, registry_folder, tmp_path, "stac", recheck_days=10) as world:
        assert world.poll() == QUIET
        world.until(50)
        world.server.faults.append(Fault("null-geometry", 1, times=10**6))
        assert world.poll() == f"{OLD}: cycle 22 new; {NEW}: nothing new."
        assert "incomplete" in world.prepare()
        world.server.faults.clear()
        world.until(51)
        assert world.poll() == f"{OLD}: cycle 22 again; {NEW}: nothing new."
        assert world.state() == "incomplete"
        assert world.prepare() == "released greenland."
        before = world.release()
        world.until(57)
        assert world.is_quiet()
        assert world.state() == "filling"
        world.until(71)
        assert world.news() == f"{OLD}: cycle 22 recheck; {NEW}: nothing new. released greenland."
        found = change(world, before)
        assert found.revised
        assert not found.added
        assert not found.removed
        assert world.is_as_from_scratch()
