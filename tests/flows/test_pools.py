"""Templates of work pools, against the schemas of the workers and of the systems that they call."""

import asyncio
import json
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect.client.schemas.actions import DeploymentUpdate
from pydantic import SecretStr

from flows import engine
from flows.pools import (
    FOLDER,
    POOL_TYPES,
    PREFECT_FILE,
    pool_template,
    public_environment,
    read_template,
    secret_names,
)
from zagg_catalog.errors import InvalidOption
from zagg_catalog.settings import Settings

ENTRIES = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
CONTAINERS = [kind for kind in POOL_TYPES if kind != "process"]
# CPU units and MiB that Fargate has.
FARGATE = {512: {1024, 2048}, 1024: {2048, 3072, 4096}, 2048: {4096, 5120, 6144}}
# What a team has to name.
ROLES = {"task_role_arn": "arn:aws:iam::1:role/a", "execution_role_arn": "arn:aws:iam::1:role/b"}
IMAGE = "registry/zagg:1"


def worker(kind):
    """The class of the workers of a pool."""
    module, name = {
        "process": ("prefect.workers.process", "ProcessWorker"),
        "docker": ("prefect_docker.worker", "DockerWorker"),
        "kubernetes": ("prefect_kubernetes.worker", "KubernetesWorker"),
        "ecs": ("prefect_aws.workers.ecs_worker", "ECSWorker"),
    }[kind]
    return getattr(import_module(module), name)


def template(kind):
    path, environment = FOLDER / "pools" / f"{kind}.json", {"ZAGG_CATALOG_STORE": "s3://b"}
    return pool_template(path, IMAGE, environment, variables=ROLES if kind == "ecs" else {})


def configuration(kind, entry):
    """The job of a deployment, as its worker makes it of the pool's template."""
    made = worker(kind).job_configuration.from_template_and_values(
        template(kind),
        entry["resources"].get(kind, {}),
        client=object(),  # there is no block to ask a server for
    )
    return asyncio.run(made)


@pytest.mark.parametrize("kind", POOL_TYPES)
def test_a_template_has_each_variable_of_the_worker(kind):
    own = worker(kind).get_default_base_job_template()["variables"]["properties"]
    ours = template(kind)["variables"]["properties"]
    # Set by the template itself, since a run may not do without a read-only file system.
    assert set(own) - set(ours) == ({"container_create_kwargs"} if kind == "docker" else set())


@pytest.mark.parametrize("kind", POOL_TYPES)
def test_job_variables_are_variables_of_the_template_and_valid(kind):
    known = set(template(kind)["variables"]["properties"])
    for entry in ENTRIES:
        variables = entry["resources"].get(kind, {})
        assert set(variables) <= known
        # As the server does when a deployment is created.
        DeploymentUpdate(job_variables=variables).check_valid_configuration(template(kind))


def test_each_deployment_has_its_resources_for_all_containers():
    assert all(set(entry["resources"]) == set(CONTAINERS) for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: f"{one['entrypoint'][6:]}-{one['name']}")
def test_docker_accepts_the_container(entry):
    from docker.models.containers import _create_container_args

    job = configuration("docker", entry)
    assert job.image == IMAGE
    assert job.env["ZAGG_CATALOG_STORE"] == "s3://b"
    assert job.env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    kwargs = {"image": job.image, "version": "1.45", "mem_limit": job.mem_limit}
    made = _create_container_args(kwargs | job.container_create_kwargs)
    host = made["host_config"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] >= 2**30
    assert host["NanoCpus"] >= 5 * 10**8
    assert host["CapDrop"] == ["ALL"]
    assert made["user"] == "10001:10001"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: f"{one['entrypoint'][6:]}-{one['name']}")
def test_kubernetes_knows_every_field_of_the_job(entry):
    from kubernetes_asyncio import client

    job = configuration("kubernetes", entry)
    manifest = job.job_manifest
    assert unknown_fields(manifest, "V1Job", client.models) == []
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert pod["serviceAccountName"] == "zagg-catalog"
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["limits"])
    assert container["envFrom"] == [{"secretRef": {"name": "zagg-catalog", "optional": True}}]


def unknown_fields(value, kind, models, where=""):
    """The fields of a manifest that Kubernetes' own models lack."""
    if kind.startswith("list["):
        entries = value if isinstance(value, list) else []
        return [x for one in entries for x in unknown_fields(one, kind[5:-1], models, where)]
    model = getattr(models, kind, None)
    if model is None or not isinstance(value, dict):
        return []
    names = {key: model.openapi_types[name] for name, key in model.attribute_map.items()}
    found = [f"{where}.{key}" for key in value if key not in names]
    for key in set(value) & set(names):
        found += unknown_fields(value[key], names[key], models, f"{where}.{key}")
    return found


def test_an_unknown_field_of_a_job_is_found():
    from kubernetes_asyncio import client

    manifest = {"spec": {"template": {"spec": {"containers": [{"readOnly": True}]}}}}
    (found,) = unknown_fields(manifest, "V1Job", client.models)
    assert found == ".spec.template.spec.containers.readOnly"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: f"{one['entrypoint'][6:]}-{one['name']}")
def test_aws_accepts_the_task_definition(entry):
    import boto3
    from botocore.validate import ParamValidator

    made = configuration("ecs", entry)
    definition = made.task_definition
    made.task_definition["cpu"], made.task_definition["memory"] = map(
        str, (definition["cpu"], definition["memory"])
    )
    ecs = boto3.client("ecs", region_name="us-east-1")
    shape = ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    problems = ParamValidator().validate(definition, shape)
    assert not problems.has_errors(), problems.generate_report()
    (container,) = definition["containerDefinitions"]
    assert container["readonlyRootFilesystem"]
    assert container["image"] == IMAGE
    assert definition["ephemeralStorage"] == {"sizeInGiB": 30}
    assert int(definition["memory"]) in FARGATE[int(definition["cpu"])]


def test_a_process_has_the_environment_of_its_worker_and_a_heartbeat():
    job = configuration("process", ENTRIES[0])
    assert job.env == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def test_a_process_imports_prefect_once():
    # Without a command the worker starts two processes one after the other.
    job = configuration("process", ENTRIES[0])
    assert shlex.split(job.command) == [sys.executable, "-P", str(Path(engine.__file__))]


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_container_imports_prefect_once(kind):
    # Without a command it would be `prefect flow-run execute`, which starts a second process.
    assert configuration(kind, ENTRIES[0]).command == engine.command_in_image()


def test_a_command_that_is_given_stays():
    found = pool_template(FOLDER / "pools/docker.json", IMAGE, {}, variables={"command": "mine"})
    assert found["variables"]["properties"]["command"]["default"] == "mine"


def test_containers_get_settings_and_no_secret():
    names = [name for name, one in Settings.model_fields.items() if SecretStr in one_of(one)]
    assert names
    secrets = {f"ZAGG_CATALOG_{name.upper()}": "x" for name in names}
    assert set(secrets) <= secret_names()
    given = {
        "AWS_ENDPOINT_URL_SQS": "http://sqs.example",
        "AWS_REGION": "eu-west-1",
        "ZAGG_CATALOG_QUEUE_URL": "http://sqs.example/1/q",
        "ZAGG_CATALOG_STORE": "s3://b",
    }
    own = {"ZAGG_CATALOG_FLOW_POOL_TYPE": "ecs", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/root"}
    assert public_environment({**given, **own, **secrets}) == given


def one_of(field):
    return getattr(field.annotation, "__args__", (field.annotation,))


def test_a_role_that_is_not_named_is_asked_for():
    with pytest.raises(InvalidOption, match="--set task_role_arn=VALUE"):
        pool_template(FOLDER / "pools/ecs.json", IMAGE, {})


def test_an_unknown_variable_is_refused():
    with pytest.raises(InvalidOption, match=r"no variable 'namspace', only .*namespace"):
        pool_template(FOLDER / "pools/kubernetes.json", IMAGE, {}, variables={"namspace": "x"})


def test_an_address_with_a_login_is_refused():
    with pytest.raises(InvalidOption, match="ZAGG_CATALOG_S3_ENDPOINT has a login"):
        public_environment({"ZAGG_CATALOG_S3_ENDPOINT": "https://user:pass@s3.example.com"})


@pytest.mark.parametrize("content", ["", "[]", '{"variables": {}}', '{"job_configuration": {}}'])
def test_a_file_that_is_no_template_is_refused(tmp_path, content):
    path = tmp_path / "pool.json"
    path.write_text(content)
    with pytest.raises(InvalidOption, match=r"pool\.json"):
        read_template(path)


def test_templates_are_written_as_json_writes_them():
    for kind in POOL_TYPES:
        text = (FOLDER / "pools" / f"{kind}.json").read_text()
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
