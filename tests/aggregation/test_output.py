"""One output for one product, region, cycle and grid, made with one aggregation."""

import json
import threading
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.aggregation.desk import RELEASE_KEY, Desk
from tests.harness import servers
from zagg_catalog.aggregation.output import (
    ATTRIBUTE,
    MARKER,
    Claim,
    claim_output,
    read_marker,
    refuse_shared_outputs,
    shared_outputs,
)
from zagg_catalog.aggregation.output_place import open_output, read_config
from zagg_catalog.aggregation.request import output_of
from zagg_catalog.aggregation.semantics import aggregation_core, core_digest
from zagg_catalog.aggregation.zagg import ZaggOptions
from zagg_catalog.errors import OutputUnavailable, PickupRefused
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.pickups import Acknowledgement, PickupHistory, PickupSummary
from zagg_catalog.store import open_store

pytest.importorskip("obstore", reason="obstore comes with the extra aggregator")
zarr = pytest.importorskip("zarr", reason="zarr comes with the extra aggregator")

RELEASE, NEXT = "a" * 64, "b" * 64
NEXT_CYCLE = ReleaseKey(RELEASE_KEY.product, RELEASE_KEY.region, RELEASE_KEY.cycle + 1)
THEN = datetime(2026, 1, 1, tzinfo=UTC)
VARIABLES = "  variables:\n    count:"
MORE = "  variables:\n    h_max: {function: max, source: h_li}\n    count:"


@pytest.fixture
def output(tmp_path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def claim(real_desk, output):
    """Make the claim of a grid on the output, as a function of what differs."""

    def make(grid="plate", *, release=RELEASE, where=output, **changes) -> Claim:
        request = real_desk.request(grid, **({"dry_run": False} | changes))
        registered = real_desk.registry.grids[grid]
        return Claim(
            store=real_desk.store,
            output=where,
            request=request,
            grid=registered,
            release=release,
            zagg_version="0.61.0",
        )

    return make


def marker_of(claim: Claim):
    place = open_output(claim.output, read_config(claim.grid.config))
    return None if place is None else read_marker(place)


def write(output: str, key: str, content: str = "{}") -> None:
    path = Path(output, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def make_hive(output: str, claim: Claim) -> None:
    """Write what zagg writes into a HEALPix output before the first shard."""
    core = aggregation_core(read_config(claim.grid.config))
    manifest = {"spec": "morton-hive/1", "semantic_hash": core_digest(core)}
    write(output, "morton_hive.json", json.dumps(manifest))
    write(output, "aggregation.yaml", yaml.safe_dump(core))


def make_arrays(output: str, *variables: str) -> None:
    """Write a rectilinear output with these variables."""
    for name in ("", "x", "y", *variables):
        write(output, f"rectilinear/{name}/zarr.json")


def put_history(desk: Desk, release_key: ReleaseKey, grid: str, **changes) -> None:
    """Store the history of a pick-up of earlier versions, which left no marker."""
    record = Acknowledgement(
        **{"release": RELEASE, "dry_run": False, "by": "me", "started": True, "output": "x"}
        | {"product": release_key.product, "region": release_key.region, "grid": grid}
        | {"cycle": release_key.cycle, "outcome": "aggregated"}
        | {"began_at": THEN, "ended_at": THEN}
        | changes
    )
    key = desk.store.put(release_key.folder("pickups", grid), record.to_bytes(), ".json").key
    history = PickupHistory(entries=(PickupSummary.of(record, key),))
    desk.store.swap_pointer(release_key.pointer("pickups", grid), history.to_bytes(), None)


def test_an_output_is_marked_with_what_it_holds(claim):
    assert claim_output(claim()) == ()
    found = marker_of(claim())
    assert found.slot == (*RELEASE_KEY.__dict__.values(), "plate")
    assert found.releases == (RELEASE,)
    assert (found.by, found.zagg_version) == ("someone@somewhere", "0.61.0")
    assert found.aggregation["aggregation"]["variables"] == {
        "count": {"function": "len", "source": "h_li", "dtype": "int32", "fill_value": 0}
    }


def test_the_next_release_of_the_same_is_added(claim, output):
    claim_output(claim())
    assert claim_output(claim(release=NEXT)) == ()
    assert marker_of(claim()).releases == (NEXT, RELEASE)
    before = Path(output, MARKER).stat().st_mtime_ns
    claim_output(claim(release=NEXT))
    assert Path(output, MARKER).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other",
    [
        NEXT_CYCLE,
        ReleaseKey(RELEASE_KEY.product, "greenland", RELEASE_KEY.cycle),
        ReleaseKey("ATL03_007", RELEASE_KEY.region, RELEASE_KEY.cycle),
    ],
    ids=str,
)
def test_another_product_region_or_cycle_is_refused_with_the_remedy(claim, output, other):
    claim_output(claim())
    before = Path(output, MARKER).read_bytes()
    with pytest.raises(PickupRefused, match=r"holds ATL06_007, antarctica, cycle 22, grid") as info:
        claim_output(claim(release_key=other))
    assert f"so {other}, grid plate was not started" in str(info.value)
    assert "{product}/{region}/{cycle}/{grid}" in str(info.value)
    assert Path(output, MARKER).read_bytes() == before


def test_another_grid_is_refused_even_with_overwrite_and_force(claim):
    claim_output(claim())
    options = {"zagg": ZaggOptions(overwrite=True), "force": True}
    with pytest.raises(PickupRefused, match="grid plate"):
        claim_output(claim("healpix", **options))


def test_a_dry_run_says_it_too_and_writes_nothing(claim, output):
    assert claim_output(claim(dry_run=True)) == ()
    assert not Path(output).exists()
    claim_output(claim())
    with pytest.raises(PickupRefused, match="cycle 22"):
        claim_output(claim(dry_run=True, release_key=NEXT_CYCLE))
    before = Path(output, MARKER).read_bytes()
    claim_output(claim(dry_run=True, release=NEXT))
    assert Path(output, MARKER).read_bytes() == before


def test_of_claims_at_the_same_moment_one_wins(claim):
    claims = [claim(release_key=replace(RELEASE_KEY, cycle=cycle)) for cycle in range(1, 9)]
    start, ends = threading.Barrier(len(claims)), []

    def ask(one: Claim) -> None:
        start.wait()
        try:
            claim_output(one)
            ends.append(one.request.release_key.cycle)
        except PickupRefused:
            ends.append(None)

    askers = [threading.Thread(target=ask, args=(one,)) for one in claims]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(ends) == len(claims)
    assert [cycle for cycle in ends if cycle] == [marker_of(claims[0]).cycle]


def test_an_output_of_earlier_versions_is_known_from_the_histories(claim, real_desk, output):
    make_arrays(output, "count")
    put_history(real_desk, NEXT_CYCLE, "plate", output=output + "/")
    with pytest.raises(PickupRefused, match="holds ATL06_007, antarctica, cycle 23"):
        claim_output(claim())


@pytest.mark.parametrize(
    "changes", [{"dry_run": True}, {"outcome": "refused", "started": False}, {"output": "/other"}]
)
def test_pick_ups_that_did_not_write_there_do_not_count(claim, real_desk, output, changes):
    make_arrays(output, "count")
    put_history(real_desk, NEXT_CYCLE, "plate", **({"output": output} | changes))
    claim_output(claim())
    assert marker_of(claim()).cycle == RELEASE_KEY.cycle


def test_an_own_output_without_a_marker_gets_one(claim, real_desk, output):
    make_arrays(output, "count")
    put_history(real_desk, RELEASE_KEY, "plate", output=output)
    assert claim_output(claim()) == ()
    assert marker_of(claim()) is not None


def test_an_output_that_nobody_knows_is_used_with_a_note(claim, output):
    make_arrays(output, "count")
    (note,) = claim_output(claim())
    assert "neither a marker nor a pick-up" in note


def test_another_store_of_releases_is_a_note(claim, tmp_path):
    claim_output(claim())
    other = replace(claim(), store=open_store(str(tmp_path / "copy")))
    (note,) = claim_output(other)
    assert "was made from releases in" in note


@pytest.mark.parametrize("grid", ["healpix", "plate"])
def test_a_changed_aggregation_is_refused_and_says_what_changed(claim, real_desk, output, grid):
    claim_output(claim(grid))
    make_hive(output, claim(grid))
    make_arrays(output, "count")
    real_desk.configure(grid, VARIABLES, MORE)
    real_desk.configure(grid, "groups: [gt1l]", "groups: [gt1l, gt1r]")
    with pytest.raises(PickupRefused) as info:
        claim_output(claim(grid))
    said = str(info.value)
    assert "aggregation.variables.h_max is new" in said
    assert 'data_source.groups is ["gt1l", "gt1r"] and was ["gt1l"]' in said
    assert "give another output, delete this one, or restore the config" in said


def test_a_comment_and_how_granules_are_read_change_nothing(claim, real_desk, output):
    claim_output(claim())
    make_arrays(output, "count")
    real_desk.configure("plate", "driver: s3", "driver: https  # from anywhere")
    assert claim_output(claim()) == ()


def test_an_aggregation_may_change_before_zagg_has_written(claim, real_desk):
    claim_output(claim())
    real_desk.configure("plate", VARIABLES, MORE)
    assert claim_output(claim()) == ()
    assert "h_max" in marker_of(claim()).aggregation["aggregation"]["variables"]


def test_overwrite_replaces_a_rectilinear_output_and_not_a_healpix_one(claim, real_desk, output):
    options = {"zagg": ZaggOptions(overwrite=True)}
    for grid in ("plate", "healpix"):
        where = f"{output}/{grid}"
        claim_output(claim(grid, where=where))
        make_hive(where, claim(grid))
        make_arrays(where, "count")
        real_desk.configure(grid, VARIABLES, MORE)
    assert claim_output(claim("plate", where=f"{output}/plate", **options)) == ()
    with pytest.raises(PickupRefused, match="even with overwrite"):
        claim_output(claim("healpix", where=f"{output}/healpix", **options))


def test_another_grid_of_the_same_name_is_refused(claim, real_desk, output):
    claim_output(claim())
    make_arrays(output, "count")
    real_desk.configure("plate", "resolution: 0.1", "resolution: 0.2")
    with pytest.raises(PickupRefused, match="another grid of the same name"):
        claim_output(claim())


@pytest.mark.parametrize("grid", ["healpix", "plate"])
def test_a_changed_aggregation_is_found_without_a_marker(claim, real_desk, output, grid):
    make_hive(output, claim(grid))
    make_arrays(output, "count")
    real_desk.configure(grid, VARIABLES, MORE)
    with pytest.raises(PickupRefused, match=r"aggregation\.variables\.h_max is new"):
        claim_output(claim(grid))


def test_an_output_that_is_a_file_is_refused(claim, output):
    Path(output).write_text("a file")
    with pytest.raises(PickupRefused, match=r"has to be a folder, and .*out is a file"):
        claim_output(claim())
    with pytest.raises(PickupRefused, match=r"has to be a folder, and .*out is a file"):
        claim_output(claim(where=f"{output}/below"))


def test_an_output_that_may_not_be_written_is_refused(claim, output, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PickupRefused, match=f"this user may not write to {tmp_path}"):
        claim_output(claim())


def test_a_marker_that_cannot_be_read_is_refused(claim, output):
    write(output, MARKER, '{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(PickupRefused, match="is not a marker"):
        claim_output(claim())


def test_zarr_lists_the_marker_without_a_warning(claim, output):
    claim_output(claim())
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    write(output, "zarr.json", json.dumps(group))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = zarr.open_group(output, mode="r")
        ((name, marker),) = found.members()
    assert (name, dict(marker.attrs)[ATTRIBUTE]["cycle"]) == ("zagg_catalog.output", 22)


@pytest.mark.zagg
def test_zagg_does_not_take_the_marker_for_a_product(claim, output):
    hive = pytest.importorskip("zagg.hive")
    claim_output(claim("healpix"))
    assert hive.classify_store_root(output) == "empty"
    assert hive.list_products(output) == {}


def test_requests_for_one_output_are_found_before_anything_starts(real_desk, tmp_path):
    registry = real_desk.registry
    requests = [
        real_desk.request(grid, release_key=key, output=str(tmp_path / "x/{grid}"))
        for grid in ("healpix", "plate")
        for key in (RELEASE_KEY, NEXT_CYCLE)
    ]
    found = shared_outputs(requests, registry)
    assert len(found) == 2
    assert "cycle 22, grid healpix and for ATL06_007, antarctica, cycle 23" in found[0]
    with pytest.raises(PickupRefused, match=r"template such as …/\{product\}"):
        refuse_shared_outputs(requests, registry)
    apart = [replace(one, output=str(tmp_path / "x/{cycle}/{grid}")) for one in requests]
    assert shared_outputs(apart, registry) == []
    assert output_of(apart[0], None) != output_of(apart[1], None)


@pytest.fixture
def bucket(moto, monkeypatch) -> str:
    """A new bucket, and the environment in which zagg reaches it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
    return f"s3://{servers.new_bucket(moto.endpoint)}/out"


@pytest.mark.integration
def test_an_output_in_a_bucket_is_claimed_in_the_same_way(claim, bucket):
    test_of_claims_at_the_same_moment_one_wins(lambda **changes: claim(where=bucket, **changes))
    held = marker_of(claim(where=bucket)).cycle
    with pytest.raises(PickupRefused, match=f"cycle {held}"):
        claim_output(claim(where=bucket, release_key=replace(RELEASE_KEY, cycle=99)))


@pytest.mark.integration
def test_the_endpoint_is_that_of_the_config_if_the_environment_has_none(
    claim, real_desk, bucket, moto, monkeypatch
):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    real_desk.configure("plate", "output:\n", f"output:\n  endpoint_url: {moto.endpoint}\n")
    claim_output(claim(where=bucket))
    assert marker_of(claim(where=bucket)) is not None


@pytest.mark.integration
def test_a_bucket_that_cannot_be_reached_is_said_without_secrets(claim, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{servers.free_port()}")
    with pytest.raises(OutputUnavailable, match="cannot be read") as info:
        claim_output(claim(where=bucket))
    assert servers.SECRET not in str(info.value)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(OutputUnavailable, match="set AWS_ALLOW_HTTP=true"):
        claim_output(claim(where=bucket))


@pytest.mark.integration
def test_a_bucket_that_does_not_exist_is_said(claim, bucket):
    with pytest.raises(OutputUnavailable, match="cannot be"):
        claim_output(claim(where="s3://there-is-no-such-bucket/out"))
