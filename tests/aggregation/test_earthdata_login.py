"""The login is looked for before zagg starts, which would ask for it at a terminal."""

from __future__ import annotations

import base64
import json

import pytest

from zagg_catalog.aggregation.earthdata_login import NoLogin, check_login, check_s3_credentials

LOGIN = "machine urs.earthdata.nasa.gov login someone password hunter2\n"


def token(expires: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{claims}.signature"


@pytest.fixture
def home(tmp_path):
    return {"HOME": str(tmp_path)}


def test_none_is_a_sentence_that_says_what_to_set(home):
    with pytest.raises(
        NoLogin, match=r"no Earthdata login .* set EARTHDATA_TOKEN, or .* ~/\.netrc"
    ):
        check_login("https", None, home)


@pytest.mark.parametrize(
    "environ",
    [
        {"EARTHDATA_TOKEN": "opaque"},
        {"EARTHDATA_TOKEN": token(4e9)},
        {"EARTHDATA_USERNAME": "someone", "EARTHDATA_PASSWORD": "hunter2"},
    ],
)
def test_a_login_of_the_environment_is_enough(home, environ):
    check_login("s3", None, home | environ)
    check_login("https", None, home | environ)


@pytest.mark.parametrize("environ", [{"EARTHDATA_TOKEN": ""}, {"EARTHDATA_USERNAME": "someone"}])
def test_half_a_login_is_none(home, environ):
    with pytest.raises(NoLogin):
        check_login("s3", "nsidc", home | environ)


@pytest.mark.parametrize("name", ["home", "named"])
def test_a_line_in_the_netrc_is_enough(home, tmp_path, name):
    path = tmp_path / (".netrc" if name == "home" else "elsewhere")
    path.write_text(LOGIN)
    check_login("s3", None, home if name == "home" else {**home, "NETRC": str(path)})


@pytest.mark.parametrize("content", ["machine other login a password b\n", "not a netrc at all"])
def test_a_netrc_without_the_line_is_none(home, tmp_path, content):
    (tmp_path / ".netrc").write_text(content)
    with pytest.raises(NoLogin):
        check_login("s3", None, home)


def test_a_token_that_has_expired_is_said_with_its_date_and_without_itself(home):
    old = token(1e9)
    with pytest.raises(NoLogin, match="expired on 2001-09-09 01:46 UTC") as caught:
        check_login("https", None, home | {"EARTHDATA_TOKEN": old})
    assert old not in str(caught.value)


def test_a_plugin_that_gives_the_keys_needs_no_login(home):
    check_login("s3", "ours", home)
    with pytest.raises(NoLogin):
        check_login("https", "ours", home)


def test_no_keys_from_earthdata_are_an_error_and_those_of_a_plugin_are_its_own_affair():
    keys = {"accessKeyId": "key"}
    assert check_s3_credentials(keys, None) == keys
    assert check_s3_credentials({}, "ours") == {}
    with pytest.raises(NoLogin, match="Earthdata gave no S3 credentials"):
        check_s3_credentials({}, "nsidc")
