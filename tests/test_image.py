"""The image, without an engine: what is copied into it, and how it runs. `make image` makes it."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import yaml

from flows.local_server import LEASES
from tests.harness.compose import FILE as COMPOSE

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "tools/make-image"}
FOLDERS = {"zagg_catalog", "flows", "deployments"}


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("make_image", str(ROOT / "tools/make-image"))
    module = module_from_spec(spec_from_loader("make_image", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """A checkout with everything that can lie around in one."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    wanted = [*sorted(COPIED), "zagg_catalog/store/s3.py", "zagg_catalog/py.typed"]
    wanted += ["flows/deploy.py", "deployments/registry.yaml", "deployments/pools/ecs.json"]
    unwanted = [".env", "deployments/.env", "deployments/flows.env", ".git/config"]
    unwanted += [".venv/bin/python", "tests/conftest.py"]
    unwanted += ["flows/__pycache__/deploy.pyc", "zagg_catalog/store/__pycache__/s3.pyc"]
    unwanted += ["zagg-store/releases/latest.json", "demo/a.parquet", "tools/make-env", "key.pem"]
    for path in wanted + unwanted:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path, sorted(wanted)


def test_nothing_but_the_package_and_the_deployments_is_copied(script, folder):
    place, wanted = folder
    assert script.context(place) == wanted


def test_every_file_of_the_package_in_git_is_copied(script):
    command = ["git", "ls-files", *sorted(COPIED | FOLDERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("no checkout of git")
    assert set(done.stdout.split()) <= set(script.context())


def test_the_dockerfile_copies_what_the_context_has():
    sources = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    assert {one for line in sources for one in line.split()} == COPIED | FOLDERS


def test_hadolint_finds_nothing():
    program = Path(sys.executable).with_name("hadolint")
    if not program.is_file():
        pytest.skip("hadolint is not installed: it comes with the dev extra")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_is_pinned_and_runs_as_another_user_with_a_health_check():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert len(stages) == 2
    bases = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))
    assert re.fullmatch(r"3\.12\.\d+", bases["PYTHON"])
    # Arguments of their own, so that a digest can take the place of a tag.
    assert stages == ["${BUILD_BASE}", "${BASE}"]
    assert all(bases[one[2:-1]].startswith("python:${PYTHON}-") for one in stages)
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in last
    assert "\nHEALTHCHECK " in last
    # A worker's command is the whole command line of a container.
    assert "ENTRYPOINT" not in last


def test_the_health_check_asks_prefects_api():
    command = json.loads(re.search(r"^    CMD (\[.*\])$", DOCKERFILE, re.M)[1])
    python = [sys.executable, *command[1:]]
    assert subprocess.run(python, env={}).returncode == 0
    nobody = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    assert subprocess.run(python, env=nobody, capture_output=True).returncode == 1


def test_all_that_is_written_is_below_the_volume():
    assert "\nVOLUME /work\n" in DOCKERFILE
    settings = dict(re.findall(r"\b([A-Z_]+)=(/\S+)", DOCKERFILE))
    places = {"HOME", "TMPDIR", "XDG_CACHE_HOME", "PREFECT_HOME", "PREFECT_UI_STATIC_DIRECTORY"}
    assert all(settings[name].startswith("/work") for name in places)


def test_each_container_of_the_compose_file_is_pinned_and_ours_are_read_only():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2].rstrip("}")
        assert re.match(r"\d+\.\d+", tag), name
        if "zagg-catalog" in service["image"]:
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    assert services["sandbox"]["profiles"] == ["sandbox"]
    assert not any("profiles" in one for name, one in services.items() if name != "sandbox")


def test_no_password_is_written_into_the_compose_file():
    variables = re.findall(r"\$\{(\w+):\?", COMPOSE.read_text())
    assert {"PREFECT_LOGIN", "POSTGRES_PASSWORD", "S3_KEY_ID", "S3_SECRET"} == set(variables)


def test_a_server_of_ours_keeps_its_leases_in_files():
    """In memory, slots that are taken when it is killed would never be free again."""
    (name,) = LEASES
    server = yaml.safe_load(COMPOSE.read_text())["services"]["server"]
    assert server["environment"][name] == LEASES[name]
    assert f"export {name}={LEASES[name]}\n" in (ROOT / "docs/operate/operations.md").read_text()
    assert import_module(LEASES[name]).ConcurrencyLeaseStorage


def test_runs_get_each_setting_by_an_optional_file_that_is_never_copied():
    """Such as those of a queue, which the file does not name."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    given = {name for name, one in services.items() if "env_file" in one}
    assert given == {"deploy", "worker"}
    for name in given:
        assert services[name]["env_file"] == [{"path": "flows.env", "required": False}]
    assert "flows.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_sandbox_of_the_compose_file_is_called_rightly():
    from zagg_catalog.sandbox.__main__ import _parser

    services = yaml.safe_load(COMPOSE.read_text())["services"]
    options = _parser().parse_args(services["sandbox"]["command"][3:])
    assert (options.host, options.port, [*options.cycle]) == ("0.0.0.0", 8000, [21, 22])
