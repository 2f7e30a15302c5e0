"""Least privilege: each policy in ``deployments/policies`` allows its work, and nothing else.

moto checks users, actions and resources; it knows no conditions, which the proxy checks instead.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from flows.aggregate import aggregate
from flows.cycle import prepare_cycle
from flows.settings import Product
from flows.watch import watch_cycles
from tests.aggregation.desk import RELEASE_KEY, Desk, write_inputs
from tests.harness.proxy import Proxy, proxied
from tests.harness.servers import moto, plain_client, running
from tests.harness.sqs import Mailbox
from zagg_catalog.errors import QueueUnavailable, StoreUnavailable
from zagg_catalog.index import check_index
from zagg_catalog.messages import utc_now
from zagg_catalog.registry import load_registry
from zagg_catalog.releases import collect_garbage, find_release, resolve, verify
from zagg_catalog.store import Store, open_store
from zagg_catalog.watch.queue import Group, Queue

pytestmark = pytest.mark.integration

POLICIES = Path(__file__).parents[2] / "deployments" / "policies"
ROLES = sorted(path.stem for path in POLICIES.glob("*.json") if path.stem != "queue")
BUCKET, PREFIX, OUTPUT = "team-bucket", "team/zagg", "output-bucket"
NAMES = {
    "OUTPUT-BUCKET": OUTPUT,
    "OUTPUT-PREFIX": "aggregated",
    "BUCKET": BUCKET,
    "PREFIX": PREFIX,
}


def filled(role: str) -> dict:
    """A policy with the names of this test in place of those to be replaced."""
    text = (POLICIES / f"{role}.json").read_text()
    for name, value in NAMES.items():
        text = text.replace(name, value)
    return json.loads(text)


def without_conditions(policy: dict) -> str:
    for statement in policy["Statement"]:
        statement.pop("Condition", None)
    return json.dumps(policy)


@dataclass
class Guarded:
    """A server that checks rights, and a key for each role."""

    proxy: Proxy
    keys: dict[str, tuple[str, str]]
    mailbox: Mailbox
    """A queue with three messages that cannot be read."""
    monkeypatch: pytest.MonkeyPatch

    def act_as(self, role: str) -> Store:
        """Let the settings have the key of a role; return the store."""
        key, secret = self.keys[role]
        for name, value in {
            "ENDPOINT": self.proxy.endpoint,
            "REGION": "us-east-1",
            "ACCESS_KEY_ID": key,
            "SECRET_ACCESS_KEY": secret,
        }.items():
            self.monkeypatch.setenv(f"ZAGG_CATALOG_S3_{name}", value)
            self.monkeypatch.setenv(f"AWS_{name.replace('ENDPOINT', 'ENDPOINT_URL_S3')}", value)
        self.monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        return open_store(f"s3://{BUCKET}/{PREFIX}")


@pytest.fixture(scope="module")
def server(one_loader) -> Iterator[tuple[Proxy, dict[str, tuple[str, str]], Mailbox]]:
    import boto3

    with running(moto()) as server, proxied("127.0.0.1", server.port) as proxy:
        for bucket in (BUCKET, OUTPUT):
            plain_client(server.endpoint).create_bucket(Bucket=bucket)
        login = {"aws_access_key_id": "testkey", "aws_secret_access_key": "test"}
        iam = boto3.client("iam", "us-east-1", endpoint_url=server.endpoint, **login)
        mailbox = Mailbox.make(server.endpoint)
        for text in ("one", "two", "three"):
            mailbox.send(text)
        texts = {role: without_conditions(filled(role)) for role in ROLES}
        texts["queue"] = (POLICIES / "queue.json").read_text()
        # To moto a request of many messages is another action than that of one; not to AWS.
        for action in ("sqs:DeleteMessage", "sqs:ChangeMessageVisibility"):
            texts["queue"] = texts["queue"].replace(f'"{action}"', f'"{action}", "{action}Batch"')
        for name, value in mailbox.names.items():
            texts["queue"] = texts["queue"].replace(name, value)
        keys = {}
        for role, policy in texts.items():
            iam.create_user(UserName=role)
            iam.put_user_policy(UserName=role, PolicyName=role, PolicyDocument=policy)
            made = iam.create_access_key(UserName=role)["AccessKey"]
            keys[role] = (made["AccessKeyId"], made["SecretAccessKey"])
        # From now on the server checks the signature and the rights of each request.
        url, plain = f"{server.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, b"0", plain)).close()
        yield proxy, keys, mailbox


@pytest.fixture
def guarded(server, monkeypatch) -> Guarded:
    return Guarded(*server, monkeypatch)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def assert_refused(operation) -> None:
    with pytest.raises(StoreUnavailable, match=r"refused the credentials or their rights"):
        operation()


@pytest.mark.usefixtures("reports")
def test_flows_run_with_the_policy_of_their_role(
    guarded, prefect_server, stac, registry_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("ZAGG_CATALOG_STORE", f"s3://{BUCKET}/{PREFIX}")
    monkeypatch.setenv("ZAGG_CATALOG_REGISTRY", str(registry_folder / "registry.yaml"))
    monkeypatch.setenv("ZAGG_CATALOG_STAC_ROOT", stac.root_url)
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_AGGREGATE_FOLDER", str(tmp_path / "work"))
    release = {"product": Product.ATL06, "cycle": 22}
    guarded.act_as("writer")
    for _ in range(2):
        state = prepare_cycle(**release, regions=["greenland"], return_state=True)
        assert state.is_completed(), state.message
    state = watch_cycles(products=["ATL06_007"], return_state=True)
    assert state.is_completed(), state.message
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk", tmp_path / "desk", f"s3://{BUCKET}/{PREFIX}")
    desk.watch(monkeypatch)
    guarded.act_as("aggregator")
    state = aggregate(**release, region="greenland", return_state=True)
    assert state.message == "Grids: 2 checked."
    store = guarded.act_as("reader")
    found = check_index(store, load_registry(registry_folder / "registry.yaml"))
    rows = [row for row in found.index.rows if row.releases]
    assert [(one.report, row.pickups != ()) for row in rows for one in row.releases] == [
        (True, True)
    ]


def test_each_role_does_its_work_and_no_other(guarded, inputs, tmp_path, monkeypatch):
    desk = Desk(inputs, tmp_path, f"s3://{BUCKET}/{PREFIX}")
    desk.watch(monkeypatch)
    store = guarded.act_as("writer")
    assert desk.publish("first").moved
    assert desk.publish("more").moved
    store.swap_pointer("watch/product=A/cursor.json", b"{}", None)
    orphan = store.put(RELEASE_KEY.folder("catalogs"), b"an orphan", ".parquet")
    store.swap_pointer("results/session.json", b"{}", None)
    store.delete("results/session.json")
    assert store.sweep(timedelta(0)) == []
    assert_refused(lambda: store.put("pickups/product=A", b"x", ".json"))
    assert_refused(lambda: store.delete(RELEASE_KEY.pointer()))

    store = guarded.act_as("reader")
    release = find_release(store, *desk_key(), digest=None)
    assert len(release.record.grids) == 2
    assert resolve(store, *desk_key(), "healpix", folder=tmp_path / "maps").is_file()
    assert verify(store).clean
    assert_refused(lambda: store.put("catalogs/product=A", b"x", ".json"))
    assert_refused(lambda: store.delete(RELEASE_KEY.pointer()))

    store = guarded.act_as("aggregator")
    assert desk.aggregate(output=f"s3://{OUTPUT}/aggregated").status == "done"
    assert desk.history().entries[0].outcome == "aggregated"
    assert_refused(lambda: store.put("catalogs/product=A", b"x", ".json"))
    assert_refused(lambda: store.delete(RELEASE_KEY.pointer("pickups", "healpix")))

    store = guarded.act_as("collector")
    garbage = collect_garbage(store, delete=True, clock=lambda: utc_now() + timedelta(days=8))
    assert orphan.key in [info.key for info in garbage.objects]
    assert not store.exists(orphan.key)
    assert_refused(lambda: store.put("catalogs/product=A", b"x", ".json"))


def desk_key() -> tuple[str, str, int]:
    return RELEASE_KEY.product, RELEASE_KEY.region, RELEASE_KEY.cycle


def test_lists_are_of_the_prefix_alone(guarded):
    """Which the conditions of the policies demand."""
    store = guarded.act_as("reader")
    assert not store.exists("catalogs/none")
    lists = [
        parse_qs(urlsplit(request.split(" ")[1]).query)
        for request in guarded.proxy.seen
        if re.match(rf"GET /{BUCKET}\?", request)
    ]
    assert lists
    assert all(query["prefix"][0].startswith(f"{PREFIX}/") for query in lists)
    for role in ROLES:
        found = [one["Condition"] for one in filled(role)["Statement"] if "Condition" in one]
        assert {"StringLike": {"s3:prefix": [f"{PREFIX}/*"]}} in found


@pytest.mark.parametrize("role", ROLES)
def test_a_key_of_a_role_reaches_no_other_prefix_and_no_other_bucket(guarded, role):
    guarded.act_as(role)
    for place in (f"s3://{BUCKET}/other", "s3://another-bucket/team/zagg"):
        store = open_store(place)
        assert_refused(lambda store=store: store.get(f"catalogs/{'0' * 64}.json"))
        assert_refused(lambda store=store: store.put("catalogs", b"x", ".json"))


def test_the_policy_of_a_queue_allows_what_a_reader_does_and_no_more(guarded, monkeypatch):
    mailbox, key = guarded.mailbox, guarded.keys["queue"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key[1])
    with closing(Queue(mailbox.settings)) as queue, Group(queue) as group:
        assert group.collect(0, 0) == 3
        refused, hidden, good = group.sort(utc_now()).unread
        assert group.refuse(refused)
        group.postpone([hidden])
        assert group.delete([good]) == 0
    settings = mailbox.settings.model_copy(update={"queue_url": mailbox.dead_url})
    with pytest.raises(QueueUnavailable, match=r"refused the credentials or their rights"):
        Queue(settings).receive()


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_names_actions_and_places(role):
    for statement in filled(role)["Statement"]:
        assert statement["Effect"] == "Allow"
        assert all(re.fullmatch(r"s3:[A-Za-z]+", action) for action in statement["Action"])
        assert "arn:aws:s3:::*" not in statement["Resource"]
