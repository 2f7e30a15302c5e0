"""S3 servers that refuse what AWS accepts: the store does without it, or says so in a sentence."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.harness.proxy import Proxy, Refusal
from tests.harness.servers import SECRET, plain_client, settings_for
from zagg_catalog.errors import ObjectMissing, StoreUnavailable, UnsafePointerStore
from zagg_catalog.store import Store, UnsafeStoreWarning, open_store

FOLDER, POINTER = "catalogs/product=A", "releases/latest.json"
SMALL, BIG = b"content", bytes(range(256)) * 34_000  # 8.7 MB: two parts
KEY = f"{FOLDER}/{'0' * 64}.json"

pytestmark = pytest.mark.usefixtures("impatient", "unknown_servers")


@pytest.fixture
def reopen(proxy: Proxy, bucket: str):
    """Open the store; another store of one process knows what the first one found out."""
    opened: list[Store] = []

    def opening(**changes) -> Store:
        values = {"s3_timeout": 10, "s3_attempts": 3} | changes
        settings = settings_for(values.pop("endpoint", proxy.endpoint), **values)
        opened.append(open_store(f"s3://{bucket}/prefix", settings=settings))
        return opened[-1]

    yield opening
    for store in opened:
        store._client.close()


def operations(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "put": lambda: store.put(FOLDER, SMALL, ".json"),
        "put parts": lambda: store.put(FOLDER, BIG, ".json"),
        "get": lambda: store.get(KEY),
        "exists": lambda: store.exists(KEY),
        "list": lambda: list(store.list()),
        "read pointer": lambda: store.read_pointer(POINTER),
        "swap pointer": lambda: store.swap_pointer(POINTER, b"", None),
    }


def sentence_of(operation: Callable[[], object]) -> str:
    """The error of an operation: one line, no secret, no chained traceback, no false hope."""
    with pytest.raises(StoreUnavailable) as caught:
        operation()
    text = str(caught.value)
    assert len(text) < 600
    assert "\n" not in text
    assert SECRET not in text
    assert caught.value.__suppress_context__
    assert not caught.value.transient
    assert "try again" not in text
    return text


# As Cloudflare R2 and Backblaze B2 answer.
CHECKSUMS = {
    "of an object": Refusal(
        400,
        "InvalidArgument",
        "Unsupported header 'x-amz-checksum-sha256' received for this API call.",
    ),
    "of parts": Refusal(
        501,
        "NotImplemented",
        "Header 'x-amz-checksum-algorithm' with value 'SHA256' not implemented",
    ),
}


def refuse_checksums(request: str, headers: dict[str, str]) -> Refusal | None:
    if "x-amz-checksum-algorithm" in headers:
        return CHECKSUMS["of parts"]
    return CHECKSUMS["of an object"] if "x-amz-checksum-sha256" in headers else None


def refuse_conditions(request: str, headers: dict[str, str]) -> Refusal | None:
    if "if-none-match" in headers or "if-match" in headers:
        text = "A header you provided implies functionality that is not implemented."
        return Refusal(501, "NotImplemented", text)
    return None


def refuse_both(request: str, headers: dict[str, str]) -> Refusal | None:
    return refuse_checksums(request, headers) or refuse_conditions(request, headers)


@pytest.mark.parametrize("decide", [refuse_checksums, refuse_conditions, refuse_both])
@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_objects_are_stored_without_what_is_refused(proxy, reopen, decide, content):
    proxy.decide = decide
    store = reopen()
    ref = store.put(FOLDER, content, ".json")
    assert ref.written
    assert store.get(ref) == content
    assert not store.put(FOLDER, content, ".json").written


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in parts"])
def test_a_process_finds_out_once_what_a_server_refuses(proxy, reopen, content):
    refused = []

    def decide(request: str, headers: dict[str, str]) -> Refusal | None:
        answer = refuse_both(request, headers)
        refused.extend([request] if answer else [])
        return answer

    proxy.decide = decide
    reopen().put(FOLDER, content, ".json")
    assert len(refused) >= 2
    before = len(refused)
    reopen().put(FOLDER, content + b"x", ".json")
    assert len(refused) == before


def test_a_server_that_takes_checksums_gets_them(proxy, reopen):
    store = reopen()
    store.put(FOLDER, SMALL, ".json")
    store.put(FOLDER, BIG, ".json")
    parts = [request for request in proxy.seen if "PUT" in request or "uploads" in request]
    sent = [
        h for h in proxy.headers if {"x-amz-checksum-sha256", "x-amz-checksum-algorithm"} & {*h}
    ]
    assert len(sent) == len(parts) == 4


def test_a_refusal_for_another_reason_is_passed_on_once(proxy, reopen):
    text = "Your metadata headers exceed the maximum allowed metadata size."
    proxy.decide = lambda request, _: (
        Refusal(400, "MetadataTooLarge", text) if request.startswith("PUT") else None
    )
    told = sentence_of(lambda: reopen().put(FOLDER, SMALL, ".json"))
    assert f"refused the request (MetadataTooLarge, HTTP 400: {text[:-1]})" in told
    assert proxy.count("^PUT") == 4, "with less each time, and no further attempts"


def test_a_501_is_final_and_quotes_the_server(proxy, reopen):
    proxy.decide = lambda *_: Refusal(501, "NotImplemented", "Not on this server.")
    for name, operation in operations(reopen()).items():
        if name != "swap pointer":
            told = sentence_of(operation)
            assert "does not support the request (NotImplemented, HTTP 501: Not on" in told or (
                "does not support the request (HTTP 501)" in told
            )


def test_pointers_stay_as_they_are_without_conditions(proxy, reopen):
    proxy.decide = refuse_conditions
    with (
        pytest.warns(UnsafeStoreWarning, match="ignores or refuses"),
        pytest.raises(UnsafePointerStore, match="ACCEPT_LAST_WRITER_WINS"),
    ):
        reopen().swap_pointer(POINTER, b"1", None)


def test_the_arrow_filesystem_sends_no_checksum_that_was_not_required(proxy, reopen):
    with reopen().arrow_filesystem().open_output_stream("one") as stream:
        stream.write(SMALL)
    assert proxy.count("^PUT") == 1
    assert not any(name.startswith("x-amz-checksum") for h in proxy.headers for name in h)


def test_a_slow_server_is_waited_for(proxy, reopen):
    proxy.delay = 1
    store = reopen()
    ref = store.put(FOLDER, SMALL, ".json")
    assert store.get(ref) == SMALL


TOKEN = "FwoGZXIvYXdzEXAMPLE"
EXPIRED = Refusal(
    400, "ExpiredToken", "The provided token has expired.", f"<Token-0>{TOKEN}</Token-0>"
)
WRONG_KEY = Refusal(
    403,
    "InvalidAccessKeyId",
    "The AWS Access Key Id you provided does not exist in our records.",
    "<AWSAccessKeyId>testkey</AWSAccessKeyId>",
)
WRONG_SECRET = Refusal(
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your"
    " key and signing method.",
    "<StringToSign>AWS4-HMAC-SHA256</StringToSign>",
)
DENIED = Refusal(
    403, "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject"
)
SKEWED = Refusal(
    403,
    "RequestTimeTooSkewed",
    "The difference between the request time and the current time is too large.",
)
HOST_ONLY = Refusal(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
MOVED = Refusal(301, "PermanentRedirect", "Please send all future requests to this endpoint.")
SENTENCES = {
    EXPIRED: "the session token has expired (ExpiredToken, HTTP 400: The provided token has",
    WRONG_KEY: "refused the credentials or their rights (InvalidAccessKeyId, HTTP 403: The AWS",
    WRONG_SECRET: "refused the credentials or their rights (SignatureDoesNotMatch, HTTP 403: The",
    DENIED: "not authorized to perform: s3:PutObject); check the access key",
    SKEWED: "the clock of this machine is wrong (RequestTimeTooSkewed, HTTP 403: The diff",
    HOST_ONLY: "Please use virtual hosted style to access); set ZAGG_CATALOG_S3_ADDRESSING=virtual",
    MOVED: "the server redirects each request and names no region; check ZAGG_CATALOG_S3_ENDPOINT",
}


@pytest.mark.parametrize("refusal", SENTENCES, ids=lambda refusal: refusal.code)
def test_every_operation_has_the_reason_of_the_server(proxy, reopen, refusal):
    proxy.decide = lambda *_: refusal
    for operation in operations(reopen(s3_session_token=TOKEN)).values():
        told = sentence_of(operation)
        assert SENTENCES[refusal] in told
        assert TOKEN not in told


def wrong_region(names_it: bool):
    """A server of ``eu-west-1``, which says so or not."""

    def decide(request: str, headers: dict[str, str]) -> Refusal | None:
        if "/eu-west-1/s3/" in headers.get("authorization", ""):
            return None
        text = "The authorization header is malformed; the region 'us-east-1' is wrong"
        more = "<Region>eu-west-1</Region>" if names_it else ""
        return Refusal(400, "AuthorizationHeaderMalformed", text, more)

    return decide


def test_a_region_that_the_server_names_is_used(proxy, reopen):
    proxy.decide = wrong_region(names_it=True)
    store = reopen()
    assert store.get(store.put(FOLDER, SMALL, ".json")) == SMALL


def test_a_wrong_region_is_a_sentence_and_the_right_one_works(proxy, reopen):
    proxy.decide = wrong_region(names_it=False)
    for operation in operations(reopen()).values():
        told = sentence_of(operation)
        assert "in another region (AuthorizationHeaderMalformed, HTTP 400: The auth" in told
        assert told.endswith("set AWS_REGION to it.")
    store = reopen(s3_region="eu-west-1")
    assert store.get(store.put(FOLDER, SMALL, ".json")) == SMALL


def test_buckets_are_hosts_where_the_setting_says_so(proxy, reopen, bucket, monkeypatch):
    resolve = socket.getaddrinfo

    def local(host, *rest, **more):
        return resolve("127.0.0.1" if host.endswith(".test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    proxy.virtual = "s3.test"

    def decide(request: str, headers: dict[str, str]) -> Refusal | None:
        return None if headers["host"].startswith(f"{bucket}.s3.test") else HOST_ONLY

    proxy.decide = decide
    endpoint = proxy.endpoint.replace("127.0.0.1", "s3.test")
    assert "S3_ADDRESSING=virtual" in sentence_of(lambda: reopen(endpoint=endpoint).exists(KEY))
    store = reopen(endpoint=endpoint, s3_addressing="virtual")
    assert store.get(store.put(FOLDER, SMALL, ".json")) == SMALL


def test_a_bucket_that_is_gone_is_said_by_every_operation(reopen, moto, bucket):
    store = reopen()
    ref = store.put(FOLDER, SMALL, ".json")
    assert not store.exists(KEY)
    with pytest.raises(ObjectMissing):
        store.get(KEY)
    client = plain_client(moto.endpoint)
    client.delete_object(Bucket=bucket, Key=f"prefix/{ref.key}")
    client.delete_bucket(Bucket=bucket)
    for operation in operations(store).values():
        assert f"bucket {bucket} at" in (told := sentence_of(operation))
        assert "the bucket does not exist; create it or correct ZAGG_CATALOG_STORE" in told
