"""Public buckets are read unsigned, requesters pay, and objects are encrypted with a key of KMS."""

from __future__ import annotations

import json

import pytest

from tests.harness.proxy import Proxy
from tests.harness.servers import Server, plain_client, settings_for
from zagg_catalog.settings import Settings
from zagg_catalog.store import open_store
from zagg_catalog.store.s3 import read_url

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000  # 8.7 MB: two parts
KEY = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def without_credentials(monkeypatch, tmp_path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def make_public(endpoint: str, bucket: str) -> None:
    """Let everyone list a bucket and read its objects."""
    client = plain_client(endpoint)
    arn = f"arn:aws:s3:::{bucket}"
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"]}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    client.put_bucket_acl(Bucket=bucket, ACL="public-read")


@pytest.mark.usefixtures("without_credentials")
def test_a_public_bucket_is_read_without_credentials(proxy: Proxy, moto: Server, bucket: str):
    with_keys = open_store(f"s3://{bucket}", settings=settings_for(moto.endpoint))
    ref = with_keys.put(FOLDER, SMALL, ".parquet")
    with_keys.swap_pointer(POINTER, b"{}", None)
    make_public(moto.endpoint, bucket)
    settings = Settings(_env_file=None, s3_endpoint=proxy.endpoint, s3_unsigned=True)
    store = open_store(f"s3://{bucket}", settings=settings)
    assert store.get(ref) == SMALL
    assert [info.key for info in store.list("catalogs")] == [ref.key]
    assert store.read_pointer(POINTER).value == b"{}"
    assert read_url(f"s3://{bucket}/{ref.key}", settings) == SMALL
    with store.arrow_filesystem().open_input_file(ref.key) as stream:
        assert stream.read() == SMALL
    assert proxy.headers
    assert not any("authorization" in headers for headers in proxy.headers)


def test_the_requester_pays_for_every_request(proxy: Proxy, bucket: str):
    settings = settings_for(proxy.endpoint, s3_requester_pays=True)
    store = open_store(f"s3://{bucket}/prefix", settings=settings)
    ref = store.put(FOLDER, SMALL, ".parquet")
    store.put(FOLDER, BIG, ".parquet")
    assert store.get(ref) == SMALL
    store.swap_pointer(POINTER, b"{}", None)
    assert len(list(store.list())) == 3
    store.sweep()
    store.delete(ref.key)
    read_url(store.uri(POINTER), settings)
    assert len(proxy.headers) > 10
    assert {headers.get("x-amz-request-payer") for headers in proxy.headers} == {"requester"}


def test_the_requester_pays_nothing_by_default(proxy: Proxy, bucket: str):
    open_store(f"s3://{bucket}", settings=settings_for(proxy.endpoint)).put(FOLDER, SMALL, ".json")
    assert not any("x-amz-request-payer" in headers for headers in proxy.headers)


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_objects_are_encrypted_with_the_key(moto: Server, bucket: str, content: bytes):
    settings = settings_for(moto.endpoint, s3_kms_key_id=KEY)
    store = open_store(f"s3://{bucket}", settings=settings)
    ref = store.put(FOLDER, content, ".parquet")
    token = store.swap_pointer(POINTER, b"{}", None)
    assert store.swap_pointer(POINTER, b"[]", token)
    assert store.get(ref) == content
    assert not store.put(FOLDER, content, ".parquet").written
    for key in (ref.key, POINTER):
        facts = plain_client(moto.endpoint).head_object(Bucket=bucket, Key=key)
        assert (facts["ServerSideEncryption"], facts["SSEKMSKeyId"]) == ("aws:kms", KEY)


def test_files_of_the_arrow_filesystem_are_encrypted(moto: Server, bucket: str):
    settings = settings_for(moto.endpoint, s3_kms_key_id=KEY)
    files = open_store(f"s3://{bucket}", settings=settings).arrow_filesystem()
    with files.open_output_stream("one") as stream:
        stream.write(SMALL)
    facts = plain_client(moto.endpoint).head_object(Bucket=bucket, Key="one")
    assert facts["SSEKMSKeyId"] == KEY


def test_the_environment_sets_the_access(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZAGG_CATALOG_S3_UNSIGNED", "true")
    monkeypatch.setenv("ZAGG_CATALOG_S3_REQUESTER_PAYS", "1")
    monkeypatch.setenv("ZAGG_CATALOG_S3_KMS_KEY_ID", KEY)
    settings = Settings(_env_file=None)
    assert settings.s3_unsigned
    assert settings.s3_requester_pays
    assert settings.s3_kms_key_id == KEY
