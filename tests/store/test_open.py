"""One URL names a store; settings say how to reach it and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.servers import settings_for
from zagg_catalog.errors import InvalidName, StoreUnavailable
from zagg_catalog.settings import Settings
from zagg_catalog.store import LocalStore, open_store

pytestmark = pytest.mark.usefixtures("one_loader")


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No settings from outside."""
    for name in ("ZAGG_CATALOG_STORE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_the_default_is_a_folder_here(clean, tmp_path):
    store = open_store()
    assert isinstance(store, LocalStore)
    assert store.url == str(tmp_path / "zagg-store")
    assert not Path(store.url).exists(), "opening must not write"


def test_the_environment_names_a_store(clean, tmp_path):
    clean.setenv("ZAGG_CATALOG_STORE", "s3://bucket/a/b/")
    clean.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    clean.setenv("AWS_REGION", "eu-west-1")
    store = open_store()
    assert store.url == "s3://bucket/a/b"
    assert store.uri("k/l") == "s3://bucket/a/b/k/l"


@pytest.mark.parametrize("url", ["{}/s p", "file://{}/s%20p", "FILE://localhost{}/s%20p"])
def test_paths_and_file_urls(tmp_path, url):
    assert open_store(url.format(tmp_path)).url == f"{tmp_path}/s p"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://",
        "s3:///prefix",
        "s3://bu cket",
        "s3://bucket/../other",
        "s3://bucket//a",
        "gs://bucket",
        "https://bucket.s3.amazonaws.com/x",
        "file://host/x",
        "a\0b",
        " ",
        "\t\n",
        " s3://bucket/prefix",
        "store ",
        "a\nb",
        "s3:/bucket",
        "s3:bucket/prefix",
        "S3:/bucket",
        "file:",
        "file:/tmp/store",
        "file:store",
        "file:///tmp/a?b",
        "file:///tmp/a#b",
        "file:///tmp/a%00b",
        "gs:/bucket",
        "C:\\store",
        "C:/store",
        "c:store",
        "\\\\server\\share",
        "a\\b",
        "~no-such-user-here/store",
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(InvalidName, match=r"expected|not usable"):
        open_store(url)


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(InvalidName) as error:
        open_store("s3://AKIAKEY:topsecret@bucket/prefix")
    assert "topsecret" not in str(error.value)


def test_secrets_are_not_shown():
    settings = settings_for("http://127.0.0.1:9", s3_session_token="token-secret")
    for shown in (repr(settings), str(settings), str(settings.model_dump())):
        assert "test-secret-key" not in shown
        assert "token-secret" not in shown


def test_a_profile_that_is_missing_is_said(clean):
    settings = Settings(_env_file=None, s3_profile="nobody")
    with pytest.raises(StoreUnavailable, match="profile"):
        open_store("s3://bucket", settings=settings)


def test_an_endpoint_that_is_no_url_is_said(clean):
    with pytest.raises(StoreUnavailable, match="endpoint"):
        open_store("s3://bucket", settings=settings_for("no url"))


@pytest.mark.parametrize("url", ["./a:b", "a b", "a/s3:/b", "é", "-x"])
def test_odd_names_of_folders_stay_folders(clean, tmp_path, url):
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert Path(store.url) == tmp_path / url


def test_a_refusal_does_not_repeat_a_secret():
    with pytest.raises(InvalidName) as error:
        open_store("s3:/AKIAKEY:topsecret@bucket/prefix")
    assert "topsecret" not in str(error.value)


def test_a_relative_store_in_a_folder_that_is_gone_is_a_sentence(clean, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    clean.chdir(gone)
    gone.rmdir()
    with pytest.raises(StoreUnavailable, match="change to another folder"):
        open_store("store")
