"""Settings that cannot be used are named, and no secret is shown."""

import pytest

from flows.settings import declared_settings, flow_settings
from zagg_catalog.errors import InvalidSetting
from zagg_catalog.settings import get_settings

WRONG = {
    "ZAGG_CATALOG_RETRIES": ("many", "ZAGG_CATALOG_RETRIES=many: Input should be a valid integer"),
    "ZAGG_CATALOG_S3_ADDRESSING": ("auto", "=auto: Input should be 'path' or 'virtual'"),
    "ZAGG_CATALOG_TIMEOUT": ("0", "ZAGG_CATALOG_TIMEOUT=0: Input should be greater than 0"),
    "ZAGG_CATALOG_CONNECTIONS": (
        "https://user:hunter2@host",
        "ZAGG_CATALOG_CONNECTIONS: Input should be a valid integer",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named(monkeypatch, name):
    value, sentence = WRONG[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSetting) as caught:
        get_settings()
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_all_wrong_settings_are_named_at_once(monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_WORKERS", "0")
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_LEASE", "soon")
    with pytest.raises(InvalidSetting, match=r"FLOW_WORKERS=0: .*FLOW_LEASE=soon: ") as caught:
        flow_settings()
    assert "\n" not in str(caught.value)


def test_a_file_of_settings_is_named_in_the_remedy(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("ZAGG_CATALOG_FLOW_RETRIES=many\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match=r"FLOW_RETRIES=many: .*or the file \.env"):
        flow_settings()


def test_what_modules_declare_does_without_wrong_settings(monkeypatch):
    monkeypatch.setenv("ZAGG_CATALOG_FLOW_WORKERS", "0")
    assert declared_settings().workers == 4
