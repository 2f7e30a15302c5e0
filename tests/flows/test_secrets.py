"""No secret is written: not to the store, results, Prefect's database, logs or process lists."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from flows import automations, fetch
from flows.aggregate import aggregate
from flows.cycle import prepare_cycle
from flows.events import EventPlaces
from flows.fetch import fetch_catalog
from flows.local_server import ROOT
from flows.watch import watch_cycles
from tests.flows.live import LiveServer
from tests.harness.proxy import Proxy, proxied
from tests.harness.servers import free_port, new_bucket, plain_client
from zagg_catalog.sandbox import SandboxServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("reports"),
]

SECRETS = {
    place: f"hunter{number}-{place}"
    for number, place in enumerate(
        ("login", "s3key", "s3token", "awskey", "earthdata", "api", "apikey", "slack", "event")
    )
}
# Of the form of Slack's own; a library would print any other address.
SECRETS["slack"] = "hunter7slack".ljust(24, "x")
AUTH = f"admin:{SECRETS['api']}"


@dataclass
class Planted:
    """A server that wants a login, a store on S3, and what runs said."""

    folder: Path
    prefect: LiveServer
    proxy: Proxy
    bucket: str
    environment: dict[str, str]
    messages: list[str] = field(default_factory=list)
    processes: set[str] = field(default_factory=set)

    def run(self, flow, **parameters):
        """Run a flow here; return whether it completed."""
        state = flow(**parameters, return_state=True)
        self.messages.append(f"{flow.name}: {state.message}")
        return state.is_completed()

    def watch_processes(self, done: threading.Event) -> None:
        """Note the command lines of all processes of this machine, again and again."""
        while not done.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().replace(b"\0", b" ")
                    self.processes.add(line.decode("utf-8", "replace"))
                except OSError:
                    continue  # it has ended

    def objects(self) -> Iterator[tuple[str, str]]:
        """Give the key and the text of everything in the bucket."""
        client = plain_client(f"http://127.0.0.1:{self.port}")
        for entry in client.list_objects_v2(Bucket=self.bucket)["Contents"]:
            path = self.folder / "object"
            client.download_file(self.bucket, entry["Key"], str(path))
            facts = client.head_object(Bucket=self.bucket, Key=entry["Key"])["Metadata"]
            text = path.read_bytes().decode("utf-8", "replace") + str(facts)
            if entry["Key"].endswith(".parquet"):
                table = pq.read_table(path)
                text += f"{table.schema.metadata} {table.to_pylist()}"
            yield entry["Key"], text

    @property
    def port(self) -> int:
        return int(self.environment["S3_PORT"])


@pytest.fixture(scope="module")
def planted(moto, stac, registry_folder, tmp_path_factory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("planted")
    login = f"user:{SECRETS['login']}@"
    bucket = new_bucket(moto.endpoint)
    with ExitStack() as open_, pytest.MonkeyPatch.context() as patch:
        proxy = open_.enter_context(proxied("127.0.0.1", moto.port))
        environment = {
            "S3_PORT": str(moto.port),
            "ZAGG_CATALOG_STORE": f"s3://{bucket}/team",
            "ZAGG_CATALOG_REGISTRY": str(registry_folder / "registry.yaml"),
            "ZAGG_CATALOG_STAC_ROOT": stac.root_url.replace("://", f"://{login}"),
            "ZAGG_CATALOG_S3_ENDPOINT": proxy.endpoint,
            "ZAGG_CATALOG_S3_REGION": "us-east-1",
            "ZAGG_CATALOG_S3_ACCESS_KEY_ID": "testkey",
            "ZAGG_CATALOG_S3_SECRET_ACCESS_KEY": SECRETS["s3key"],
            "ZAGG_CATALOG_S3_SESSION_TOKEN": SECRETS["s3token"],
            "ZAGG_CATALOG_EARTHDATA_TOKEN": SECRETS["earthdata"],
            "ZAGG_CATALOG_RETRIES": "0",
            "ZAGG_CATALOG_FLOW_RETRIES": "0",
            "ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER": str(folder / "work"),
            "AWS_SECRET_ACCESS_KEY": SECRETS["awskey"],
            "PREFECT_API_AUTH_STRING": AUTH,
            "PREFECT_HOME": str(folder / "home"),
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = {"PREFECT_SERVER_API_AUTH_STRING": AUTH}
        prefect = open_.enter_context(LiveServer(folder / "prefect", **settings))
        open_.enter_context(temporary_settings(updates={PREFECT_API_AUTH_STRING: AUTH}))
        open_.enter_context(prefect.here())
        yield Planted(folder, prefect, proxy, bucket, environment)


def run_everything(planted: Planted, stac: SandboxServer, monkeypatch, capfd) -> str:
    """Run flows that succeed and flows that fail; return what the terminal shows."""
    greenland = {"cycle": 22, "regions": ["greenland"]}
    login = f"user:{SECRETS['login']}@"
    SlackWebhook(
        url=f"https://hooks.slack.com/services/T1JJ3T3L2/B1BRTD4JD/{SECRETS['slack']}"
    ).save("team")
    assert automations.main(["--alert-block", "slack-webhook/team"]) == 0
    assert planted.run(prepare_cycle, **greenland)
    assert planted.run(watch_cycles, products=["ATL06_007"])
    event = EventPlaces(store=f"s3://user:{SECRETS['event']}@other/x")
    assert not planted.run(prepare_cycle, **greenland, event=event)
    # Sources and servers that fail, each with a login in its address.
    monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", f"http://{login}127.0.0.1:{free_port()}/stac")
    assert not planted.run(fetch_catalog, cycle=22, region="greenland")
    assert not planted.run(watch_cycles, products=["ATL06_007"])
    monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", stac.root_url.replace("//", f"//{login}") + "/no")
    assert not planted.run(fetch_catalog, cycle=22, region="greenland")
    monkeypatch.undo()
    for kind in ("denied", "expired"):
        planted.proxy.decide = lambda *_, kind=kind: kind
        assert not planted.run(prepare_cycle, **greenland)
        assert not planted.run(aggregate)
    planted.proxy.decide = lambda *_: None
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", f"http://{login}127.0.0.1:{free_port()}")
    monkeypatch.setenv("ZAGG_CATALOG_S3_ATTEMPTS", "1")
    assert not planted.run(prepare_cycle, **greenland)
    monkeypatch.setenv("ZAGG_CATALOG_CONNECTIONS", SECRETS["earthdata"])
    assert not planted.run(prepare_cycle, **greenland)
    monkeypatch.undo()
    wrong = planted.prefect.api_url.replace("//", f"//{login}")
    with temporary_settings(updates={PREFECT_API_AUTH_STRING: f"admin:{SECRETS['apikey']}"}):
        monkeypatch.setenv("PREFECT_API_URL", wrong)
        assert fetch.main([]) == 1
        assert automations.main([]) == 1
    monkeypatch.undo()
    return "".join(capfd.readouterr())


def aggregate_as_a_command(planted: Planted) -> str:
    """Run ``flows.aggregate`` with zagg's processes, and note the processes that run meanwhile."""
    done = threading.Event()
    watching = threading.Thread(target=planted.watch_processes, args=(done,))
    watching.start()
    command = [sys.executable, "-m", "flows.aggregate", "--product", "ATL06"]
    command += ["--region", "greenland", "--cycle", "22", "--dry-run"]
    environment = planted.prefect.environment({"PREFECT_API_AUTH_STRING": AUTH})
    try:
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
        )
    finally:
        done.set()
        watching.join()
    planted.messages.append(ran.stdout)
    return ran.stdout + ran.stderr


def shapes(secret: str) -> set[bytes]:
    """The forms in which a secret may stand."""
    plain = secret.encode()
    logins = [f"user:{secret}".encode(), f"admin:{secret}".encode(), plain]
    return {plain, quote(secret).encode(), *map(base64.b64encode, logins)}


def test_no_secret_is_written_anywhere(planted, stac, monkeypatch, capfd):
    terminal = run_everything(planted, stac, monkeypatch, capfd)
    terminal += aggregate_as_a_command(planted)
    planted.prefect.stop()  # so that all of the database is in its files
    places = dict(planted.objects())
    places |= {"terminal": terminal, "messages": "\n".join(planted.messages)}
    places |= {f"process {line[:60]}": line for line in planted.processes}
    for path in planted.folder.rglob("*"):
        if path.is_file() and path.name != "object":
            places[str(path)] = path.read_bytes().decode("utf-8", "replace")
    assert any(key.endswith("latest.json") for key in places)
    assert any(key.endswith("prefect.db") for key in places)
    assert any("zagg" in line for line in planted.processes)
    found = [
        (name, place)
        for name, secret in SECRETS.items()
        for place, text in places.items()
        # Prefect stores the parameters of a run before the run sees them.
        if not (name == "event" and "prefect.db" in place)
        and any(shape.decode() in text for shape in shapes(secret))
    ]
    assert found == []
