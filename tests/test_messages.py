"""Text for messages: one line, of bounded length, and without secrets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zagg_catalog.messages import as_markdown, clean_text, one_line, without_userinfo


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x?a=1&token=t&b=2", "http://h/x?a=1&token=***&b=2"),
        ('{"access_token": "abc", "x": 1}', '{"access_token": "***", "x": 1}'),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("a\r\nb\tc\x00d", "a b c d"),
        ("a\x1b[31mb\u202ec\u2066d\u200fe\x9bf", "a [31mb c d e f"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_text_is_cleaned_for_messages(text, shown):
    assert clean_text(text) == shown


PASSWORDS = ("hunter2", "hun/ter2", "hun:ter2", "hunter2?x=1", "h%40nter2", "h@nter2")
PLACES = ("cmr.example/stac", "127.0.0.1:8080/x", "[::1]:80/x", "example.org")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["https://", "s3://", "//", ""])
def test_a_login_is_not_shown(scheme, password, place):
    """With a scheme and without, whatever is in the password."""
    if not scheme and ":" in password:
        password = password.replace(":", "-")  # a drive or a port, as well as a password
    address = f"{scheme}someone:{password}@{place}"
    for text in (address, f"Cannot reach {address}, give another.", f"root={address!r}"):
        shown = clean_text(text)
        assert password not in shown
        assert "someone" not in shown
        assert place in shown
    assert without_userinfo(address) == scheme + place


@pytest.mark.parametrize("rest", ["/x@evil.example/y", "/?after=a@b.example", "/a:b@c", "/"])
@pytest.mark.parametrize("host", ["h.example", "h.example:443", "127.0.0.1:8080", "[::1]:80"])
def test_an_address_keeps_its_host(host, rest):
    """Requests go there, so that a path with an at sign does not lead to another host."""
    assert without_userinfo(f"https://{host}{rest}") == f"https://{host}{rest}"
    assert without_userinfo(f"https://someone:hunter2@{host}{rest}") == f"https://{host}{rest}"


@pytest.mark.parametrize(
    "text",
    [
        "Bearer eyJhbGci.abc_def",
        "authorization: Basic dXNlcjpwYXNz",
        "https://e.example/back?code=S3CRET1&state=S3CRET2",
        "https://h.example/x?a=1&key=S3CRET1",
        "Cookie: sessionid=S3CRET1; jwt=S3CRET2",
        "session_id: S3CRET1",
        "https://b.example/o?X-Amz-Credential=S3CRET1&X-Amz-Signature=S3CRET2",
        '{"refresh_token": "S3CRET1"}',
        "callback with code=S3CRET1, state=S3CRET12 and key=S3CRET3",
        "key: S3CRET1",
        "code=" + "S3CRET".lower() * 6,
        "https://e.example/back#code=S3CRET1&state=S3CRET",
        "https://e.example/?%61ccess_token=S3CRET",
        "{'key': 'S3CRET1', \"code\": \"S3CRET2\"}",
        "{'password': 'S3CRET and S3CRET; S3CRET'}",
        'body "{\\"token\\": \\"S3CRET\\"}"',
        '{"token": ["S3CRET"]}',
        "token%3DS3CRET",
        "Bearer eyJsecretletters",
        "bearer eyjletters",
        "Basic dXNlLetters",
        "https://h.example:8080/?token=S3CRET@x",
    ],
)
def test_a_secret_is_not_shown(text):
    shown = clean_text(text)
    assert "***" in shown
    for secret in ("eyj", "dxnl", "s3cret"):
        assert secret not in shown.lower()


@pytest.mark.parametrize(
    "text",
    [
        "exit code=2, state=open, key=releases/product=A/latest.json",
        "Object catalogs/product=ATL06_007/region=a/cycle=22/0.parquet is damaged",
        "https://cmr.earthdata.nasa.gov/stac?collections=ATL06_007&limit=100",
        "the bearer of this message; basic geometry; at 12:30 UTC; C:\\data; ratio 3:4",
        "someone@somewhere stored it at 12:30:15",
        '{"code": "NotFoundError", "state": "open", "description": "no bearer token"}',
        "https://h.example:8080/a@2/b.h5 and localhost:4200/a@b and https://[::1]:80/a@b",
        "Bearer authentication failed; the bearer of it",
        "s3://bucket/a@b/c",
    ],
)
def test_other_text_stays(text):
    assert clean_text(text) == text


@given(st.text(st.sampled_from("aw.|<>[]()`*_#!\\\n\r\x1b\u202e:/@ "), max_size=40))
def test_text_of_others_has_no_meaning_in_markdown_and_in_a_terminal(text):
    """No cell, link, picture, tag or heading of its own; a backslash is before each mark."""
    shown = as_markdown(text)
    assert re.sub(r"\\(.)", r"\1", shown) == one_line(text)
    assert not set("\n\r\x1b\u202e") & set(shown)
    assert re.sub(r"\\.", "", shown).strip("aw.:/_ ") == ""
    assert not re.search(r"://|www\.", shown)
