"""``python -m flows.deploy``: what it creates, changes, leaves alone and removes."""

import json
import os
import shlex
import subprocess
import sys
from uuid import uuid4

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import automations, serve
from flows.deploy import RECORD, Target, deploy, main, warnings
from flows.local_server import free_port
from flows.pools import FOLDER
from zagg_catalog.errors import InvalidOption
from zagg_catalog.registry import load_registry

DAILY = "prepare-cycle/daily"


def target(kind="process", **changes):
    template = FOLDER / "pools" / f"{kind}.json"
    pool = {"pool": f"pool-{kind}", "pool_type": kind}
    return Target(**{**pool, "image": "registry/zagg:1", "template": template, **changes})


@pytest.fixture
def client(prefect_server):
    with get_client(sync_client=True) as client:
        yield client


def states(changes):
    return {(one.kind, one.name): one.state for one in changes}


def test_a_second_call_changes_nothing(client):
    first = deploy(target())
    assert {one.kind for one in first} >= {"Work pool", "Deployment", "Automation", "Variable"}
    seen = client.read_deployment_by_name(DAILY).updated
    assert {one.state for one in deploy(target())} == {"unchanged"}
    assert client.read_deployment_by_name(DAILY).updated == seen


def test_a_dry_run_names_the_changes_and_makes_none(client):
    deploy(target())
    found = client.read_deployment_by_name(DAILY)
    client.update_deployment(found.id, DeploymentUpdate(description="Mine."))
    pool = f"pool-{uuid4().hex[:8]}"
    announced = states(deploy(target(pool=pool), dry_run=True))
    assert announced["Work pool", pool] == "created"
    assert announced["Work pool", "pool-process"] == "no longer used"
    assert announced["Deployment", DAILY] == "changed"
    assert client.read_deployment_by_name(DAILY).description == "Mine."
    assert pool not in {one.name for one in client.read_work_pools()}
    assert states(deploy(target()))["Deployment", DAILY] == "changed"
    assert client.read_deployment_by_name(DAILY).description != "Mine."


def test_a_schedule_that_an_operator_paused_stays_paused(client):
    deploy(target())
    found = client.read_deployment_by_name(DAILY)
    (schedule,) = found.schedules
    client.update_deployment_schedule(found.id, schedule.id, active=False)
    client.update_deployment(found.id, DeploymentUpdate(tags=["theirs"]))
    (change,) = [one for one in deploy(target()) if one.name == DAILY]
    assert (change.state, change.fields) == ("changed", ("tags",))
    again = client.read_deployment_by_name(DAILY)
    assert [one.active for one in again.schedules] == [False]
    assert "zagg-catalog" in again.tags
    client.update_deployment_schedule(again.id, again.schedules[0].id, active=True)


def test_a_limit_of_an_older_version_is_removed(client):
    """A slot that is taken when the server is killed is never free again."""
    deploy(target())
    found = client.read_deployment_by_name(DAILY)
    limit = {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}}
    client.update_deployment(found.id, DeploymentUpdate(**limit))
    assert client.read_deployment_by_name(DAILY).global_concurrency_limit.limit == 1
    (change,) = [one for one in deploy(target()) if one.name == DAILY]
    assert change.fields == ("concurrency_limit",)
    assert client.read_deployment_by_name(DAILY).global_concurrency_limit is None
    assert states(deploy(target()))["Deployment", DAILY] == "unchanged"


def test_an_automation_that_an_operator_disabled_stays_disabled(client):
    deploy(target())
    (found,) = client.read_automations_by_name(automations.CYCLE)
    client.pause_automation(found.id)
    assert states(deploy(target()))["Automation", automations.CYCLE] == "unchanged"
    assert not client.read_automations_by_name(automations.CYCLE)[0].enabled
    client.resume_automation(found.id)


@pytest.fixture
def webhook(client):
    """A notification block; no automation of a later test uses it."""
    block = CustomWebhookNotificationBlock(name="team", url="https://team.example/hook")
    block.save("alerts", overwrite=True)
    yield "custom-webhook/alerts"
    deploy(target(alert_block="none"))


def test_alerts_stay_until_a_call_removes_them(client, webhook):
    deploy(target(alert_block=webhook))
    found = client.read_automations_by_name(automations.FAILED)
    assert found
    assert {one.state for one in deploy(target())} == {"unchanged"}
    automations.ensure_automations()  # as `flows.serve` does
    assert [one.id for one in client.read_automations_by_name(automations.FAILED)] == [found[0].id]
    removed = states(deploy(target(alert_block="none")))
    assert removed["Variable", automations.ALERT_BLOCK] == "removed"
    assert removed["Automation", automations.FAILED] == "removed"
    assert not client.read_automations_by_name(automations.FAILED)
    assert {one.state for one in deploy(target())} == {"unchanged"}


def test_objects_of_an_older_version_are_removed_and_those_of_an_operator_stay(client):
    deploy(target())
    flow = client.read_deployment_by_name(DAILY).flow_id
    for name in ("former", "operators"):
        client.create_deployment(flow, name, tags=["zagg-catalog"])
    old, own = "zagg-catalog: former", "zagg-catalog: operators"
    for name in (old, own):
        made = automations.heartbeat_automation()
        made.name = name
        client.create_automation(made)
    record = dict(client.read_variable_by_name(RECORD).value)
    record["deployments"] = [*record["deployments"], "prepare-cycle/former", "prepare-cycle/gone"]
    record["automations"] = [*record["automations"], old, "not with our prefix"]
    client._client.patch(f"/variables/name/{RECORD}", json={"name": RECORD, "value": record})
    removed = {key for key, state in states(deploy(target())).items() if state == "removed"}
    assert removed == {("Deployment", "prepare-cycle/former"), ("Automation", old)}
    client.delete_deployment(client.read_deployment_by_name("prepare-cycle/operators").id)
    assert client.read_automations_by_name(own)
    assert not client.read_automations_by_name(old)
    client.delete_automation(client.read_automations_by_name(own)[0].id)


def test_a_pool_of_containers_runs_the_flows_of_its_image(client, monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_STORE", "s3://bucket/zagg")
    monkeypatch.setenv("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY", "never-shown")
    deploy(target("kubernetes", secrets=("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY",)))
    pool = client.read_work_pool("pool-kubernetes")
    assert pool.type == "kubernetes"
    variables = pool.base_job_template["variables"]["properties"]
    assert variables["image"]["default"] == "registry/zagg:1"
    environment = variables["env"]["default"]
    assert environment["ZAGG_CATALOG_STORE"] == "s3://bucket/zagg"
    block = "{{ prefect.blocks.secret.zagg-catalog-s3-secret-access-key }}"
    assert environment["ZAGG_CATALOG_S3_SECRET_ACCESS_KEY"] == block
    assert "never-shown" not in json.dumps(pool.base_job_template)
    found = client.read_deployment_by_name(DAILY)
    assert found.work_pool_name == pool.name
    assert (found.entrypoint, found.pull_steps) == ("flows.cycle.prepare_cycle", [])
    assert found.job_variables


def test_the_command_of_containers_runs_a_flow_and_imports_little(client, tmp_path):
    """In any folder, as in the image; the deployment has no code to pull."""
    deploy(target("docker"))
    entry = client.read_deployment_by_name("aggregate/aggregate-one-release")
    run = client.create_flow_run_from_deployment(entry.id)
    pool = client.read_work_pool("pool-docker").base_job_template
    command = pool["variables"]["properties"]["command"]["default"].replace(
        "python", f"{sys.executable} -X importtime", 1
    )
    env = {"PREFECT__FLOW_RUN_ID": str(run.id), "PREFECT_API_URL": PREFECT_API_URL.value()}
    own = {"ZAGG_CATALOG_STORE": str(tmp_path), "ZAGG_CATALOG_REGISTRY": f"{FOLDER}/registry.yaml"}
    said = subprocess.run(
        shlex.split(command),
        cwd=tmp_path,
        env=os.environ | env | own,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    state = client.read_flow_run(run.id).state
    assert (state.name, state.message) == ("Completed", "Nothing to pick up.")
    imported = {line.rpartition("|")[2].strip() for line in said.stderr.splitlines()}
    assert {"mortie.convert", "odc.geo.geobox"} <= imported
    # One that is refused is listed, too.
    assert not {"pandas.core.api", "dask.base", "zagg", "prefect.server.api.server"} & imported
    deploy(target())


def test_a_pool_does_not_change_its_type(client):
    name = f"pool-{uuid4().hex[:8]}"
    client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    with pytest.raises(InvalidOption, match="is of type process"):
        deploy(target("docker", pool=name))


def test_a_missing_zagg_and_a_missing_secret_are_mentioned(client, monkeypatch):
    assert warnings(target()) == []
    monkeypatch.setattr("flows.deploy.find_spec", lambda _: None)
    (said,) = warnings(target())
    assert "every run of aggregate fails" in said
    assert "zagg-catalog[aggregator]" in said
    # An image has zagg.
    (said,) = warnings(target("docker", secrets=("EARTHDATA_TOKEN",)))
    assert "Secret block earthdata-token does not exist" in said


def test_limits_of_an_older_version_are_removed(client):
    deploy(target())
    old, own = "zagg-catalog-atl06-007-c21", "zagg-catalog-of-the-team"
    for name in (old, own):
        client.upsert_global_concurrency_limit_by_name(name, 1)
    found = client.read_deployment_by_name(DAILY)
    client.update_deployment(found.id, DeploymentUpdate(concurrency_limit=2))
    made = states(deploy(target()))
    assert made["Concurrency limit", old] == "removed"
    assert ("Concurrency limit", own) not in made
    assert made["Deployment", DAILY] == "changed"
    assert client.read_deployment_by_name(DAILY).global_concurrency_limit is None
    assert {one.state for one in deploy(target())} == {"unchanged"}
    client.delete_global_concurrency_limit_by_name(own)


def test_the_shipped_registry_is_copied_for_an_installation_without_a_checkout(tmp_path, capsys):
    folder = tmp_path / "deployments"
    assert main(["--copy-examples", str(folder)]) == 0
    assert load_registry(folder / "registry.yaml").grids
    assert main(["--copy-examples", str(folder)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--pool-type", "kubernetes", "--dry-run"]])
def test_a_server_that_is_down_is_one_sentence(arguments, capsys):
    url = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Prefect's server at {url} does not answer")


@pytest.mark.parametrize("remove", [lambda: deploy(target()), serve.remove_former])
def test_a_deployment_under_a_name_of_earlier_versions_is_removed(client, remove):
    deploy(target())
    (old, *_) = serve.FORMER
    flow_id = client.read_deployment_by_name(DAILY).flow_id
    for tags, there in ((["theirs"], True), (["zagg-catalog"], False)):
        client.create_deployment(flow_id, old.partition("/")[2], tags=tags)
        remove()
        assert (old in names_of(client)) is there


def names_of(client) -> set[str]:
    flows = {one.id: one.name for one in client.read_flows()}
    return {f"{flows[one.flow_id]}/{one.name}" for one in client.read_deployments()}
