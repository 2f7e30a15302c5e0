"""The Earthdata token goes to the API and nowhere else."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.sources.served import WORLD
from tests.sources.stub import Stub, answer, name, ok, page
from zagg_catalog.errors import EmptyHarvest, InvalidQuery, RequestFailed, ZaggCatalogError
from zagg_catalog.settings import Settings
from zagg_catalog.sources import CMRSource, Query
from zagg_catalog.sources.earthdata import earthdata_auth

TOKEN = "eyJ0eXAiOiJKV1Qi.eyJwbGFudGVk.c2VjcmV0-_x"
NASA_ROOT = "https://cmr.earthdata.nasa.gov/stac"
QUERY = Query("ATL06", "007", "2024-01-01", "2024-01-31", WORLD)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZAGG_CATALOG_EARTHDATA_TOKEN", TOKEN)
    monkeypatch.setenv("ZAGG_CATALOG_RETRIES", "0")


def source(stub: Stub) -> CMRSource:
    return CMRSource(root_url=f"{stub.origin}/stac", connections=1)


def test_every_request_to_the_api_carries_the_token() -> None:
    following = {"rel": "next", "href": "?p=2"}
    pages = [ok(page([name(1)], following, numberMatched=2)), ok(page([name(2)], numberMatched=2))]
    with Stub(*pages) as stub:
        source(stub).fetch(QUERY)
    assert len(stub.seen) == 3
    assert {headers["authorization"] for *_, headers in stub.seen} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("how", ["redirect", "next"])
def test_no_other_origin_receives_it(how: str) -> None:
    with Stub(ok(page([name(1)], numberMatched=1))) as other:
        first = {
            "redirect": answer(302, Location=f"{other.origin}/elsewhere"),
            "next": ok(
                page([name(1)], {"rel": "next", "href": f"{other.origin}/x"}, numberMatched=2)
            ),
        }[how]
        with Stub(first) as stub, pytest.raises(ZaggCatalogError, match="origin"):
            source(stub).fetch(QUERY)
    assert other.seen == []


@pytest.mark.parametrize(
    "response",
    [
        answer(401, f'{{"errors": ["Token [{TOKEN}] has expired."]}}'.encode()),
        answer(403, f"<html>Bearer {TOKEN}</html>".encode()),
        answer(502, TOKEN.encode()),
        answer(200, f"not JSON {TOKEN}".encode()),
        answer(200, f'{{"message": "{TOKEN}"}}'.encode()),
        answer(302, Location=f"http://example.org/?token={TOKEN}"),
        answer(302, Location=f"http://example.org/{TOKEN}"),
        None,
    ],
)
def test_neither_errors_nor_logs_hold_it(
    response: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Stub(response) as stub, pytest.raises(ZaggCatalogError) as caught:
        source(stub).fetch(QUERY)
    chain, error = "", caught.value
    while error is not None:
        chain += f"{error!r} {error}"
        error = error.__cause__ or error.__context__
    assert TOKEN not in chain
    assert TOKEN not in caplog.text


def test_neither_files_nor_settings_show_it(tmp_path: Path) -> None:
    item_page = ok(page([name(1)], numberMatched=1, description=TOKEN))
    with Stub(item_page) as stub:
        made = source(stub)
        made.fetch_to(QUERY, tmp_path / "c.parquet", checkpoint=tmp_path / "checkpoint")
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
    assert TOKEN not in repr(Settings())
    assert TOKEN.encode() not in pickle.dumps(made)
    assert TOKEN not in repr(vars(made))


def test_a_refused_or_missing_token_is_hinted_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub(answer(401)) as stub:
        with pytest.raises(RequestFailed, match="may be wrong or expired"):
            source(stub).fetch(QUERY)
        monkeypatch.delenv("ZAGG_CATALOG_EARTHDATA_TOKEN")
        with pytest.raises(RequestFailed, match="ZAGG_CATALOG_EARTHDATA_TOKEN"):
            source(stub).fetch(QUERY)


def test_no_granules_without_a_token_are_hinted_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub(ok(page([], numberMatched=0))) as stub:
        with pytest.raises(EmptyHarvest) as caught:
            source(stub).fetch(QUERY)
        assert "TOKEN" not in str(caught.value)
        monkeypatch.delenv("ZAGG_CATALOG_EARTHDATA_TOKEN")
        with pytest.raises(EmptyHarvest, match=r"access control .*ZAGG_CATALOG_EARTHDATA_TOKEN"):
            source(stub).fetch(QUERY)


@pytest.mark.parametrize(
    ("root", "sent"),
    [
        (NASA_ROOT, True),
        ("https://cmr.uat.earthdata.nasa.gov/search", True),
        ("http://127.0.0.1:8000/stac", True),
        ("http://localhost/stac", True),
        ("https://earth-search.aws.element84.com/v1", False),
        ("https://cmr.earthdata.nasa.gov.example.org/stac", False),
    ],
)
def test_it_is_for_nasa_and_this_machine(root: str, sent: bool) -> None:
    settings = Settings(_env_file=None, earthdata_token=SecretStr(TOKEN))
    assert (earthdata_auth(root, settings) is not None) == sent


def test_a_root_of_the_settings_receives_it() -> None:
    root = "https://cmr-mirror.example.org/stac"
    settings = Settings(_env_file=None, earthdata_token=SecretStr(TOKEN), stac_root=root)
    assert earthdata_auth(root, settings) is not None
    plain = Settings(
        _env_file=None, earthdata_token=SecretStr(TOKEN), stac_root="http://a.org/stac"
    )
    with pytest.raises(InvalidQuery, match="without encryption"):
        earthdata_auth("http://a.org/stac", plain)


@pytest.mark.parametrize("text", [f"Bearer {TOKEN}", f" {TOKEN}\n"])
def test_a_pasted_token_is_cleaned(text: str) -> None:
    settings = Settings(_env_file=None, earthdata_token=SecretStr(text))
    auth = earthdata_auth(NASA_ROOT, settings)
    assert auth is not None
    assert auth.token.get_secret_value() == TOKEN


@pytest.mark.parametrize("text", ["", "two words", "with\nline", "naïve"])
def test_a_malformed_token_is_refused_without_showing_it(text: str) -> None:
    settings = Settings(_env_file=None, earthdata_token=SecretStr(text))
    with pytest.raises(InvalidQuery, match="is not a bearer token") as caught:
        earthdata_auth(NASA_ROOT, settings)
    assert not text or text not in str(caught.value)
