"""Notifications of CMR: what messages say, and what they must not make anybody do."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.hostile_texts import HIDDEN, TEXTS
from tests.watch.notices import NAME, body, envelope
from zagg_catalog.errors import InvalidNotification
from zagg_catalog.watch.notifications import LONGEST, group_changes, read_message

NOW = datetime(2024, 8, 20, tzinfo=UTC)
SENT = NOW - timedelta(minutes=1)


def test_an_envelope_and_raw_delivery_say_the_same():
    wrapped = read_message(envelope(body(), "New"), SENT, NOW)
    assert wrapped == read_message(body(), SENT, NOW, mode="New")
    assert (wrapped.product, [*wrapped.cycles], wrapped.mode) == ("ATL06_007", [24], "New")
    assert wrapped.sent == SENT


def test_a_message_of_an_older_cmr_has_no_revision_and_no_mode():
    found = read_message(body(**{"revision-id": None}), SENT, NOW)
    assert (found.product, found.mode) == ("ATL06_007", None)


def test_the_name_may_be_that_of_the_producer():
    text = body("SC:ATL06.007:12345", **{"producer-granule-id": NAME})
    assert read_message(text, SENT, NOW).product == "ATL06_007"


def test_a_granule_of_many_cycles_changes_all_of_them():
    found = read_message(body("ATL11_000103_0322_007_01.h5"), SENT, NOW)
    assert (found.product, found.cycles) == ("ATL11_007", range(3, 23))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 10_000, "is nested too deeply"),
        ("x" * (LONGEST + 1), "expected at most 20,000"),
        (f'{{"concept-id": {"9" * 5000}}}', "too many digits"),
        ("null", "is no notification of CMR"),
        ("[]", "is no notification of CMR"),
        ('{"Message": "{}"}', "Type: Field required"),
        ('{"Type": "Notification", "Message": {}}', "Message: Input should be a valid string"),
        (envelope("{", "New"), "is not JSON"),
        (envelope(body(), "Rename"), "mode: Input should be 'New', 'Update' or 'Delete'"),
        (envelope(body(), "New", Type="UnsubscribeConfirmation"), "expected Notification"),
        (body(**{"concept-id": "C1-NSIDC_CPRD"}), "concept-id: String should match"),
        (body(**{"concept-id": "G1-NSIDC_CPRD\n"}), "concept-id: String should match"),
        (body(""), "granule-ur: String should have at least 1 character"),
        (body("ATL06" * 100), "granule-ur: String should have at most 250"),
        (body("../../etc/passwd"), "is no name of an ICESat-2 granule"),
        (body("MOD09GA.A2024001.h08v05.061.hdf"), "is no name of an ICESat-2 granule"),
        (body(NAME.replace("24", "٢٤")), "is no name of an ICESat-2 granule"),
        (body(NAME.replace("_123424", "_123499")), "Cycle 99 is in the future"),
        (body(NAME.replace("_123424", "_123400")), "of the cycles 0 to 0"),
        (body("ATL11_000103_2203_007_01.h5"), "of the cycles 22 to 3"),
    ],
)
def test_any_other_message_is_refused_with_the_reason(text, problem):
    with pytest.raises(InvalidNotification) as caught:
        read_message(text, SENT, NOW)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_request_to_confirm_is_not_followed_and_its_token_not_shown():
    url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37"
    text = envelope("You have chosen.", "New", Type="SubscriptionConfirmation", SubscribeURL=url)
    with pytest.raises(InvalidNotification, match="open its SubscribeURL once") as caught:
        read_message(text, SENT, NOW)
    assert "2336412f37" not in str(caught.value)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_no_text_raises_another_error(text):
    with pytest.raises(InvalidNotification):
        read_message(text, SENT, NOW)
    with pytest.raises(InvalidNotification):
        read_message(json.dumps({"Type": "Notification", "Message": text}), SENT, NOW)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_reason_does_no_more_than_be_read(text):
    for message in (text, body(text), envelope(body(), text), envelope(text, "New", Type=text)):
        with pytest.raises(InvalidNotification) as caught:
            read_message(message, SENT, NOW)
        assert HIDDEN.search(str(caught.value)) is None
        assert len(str(caught.value)) < 500


SENDINGS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["New", "Update", "Delete", None])), min_size=1
)


@given(SENDINGS, st.randoms())
def test_order_and_duplicates_change_nothing(sendings, random):
    read = [
        read_message(body(), SENT + timedelta(seconds=second), NOW, mode=mode)
        for second, mode in sendings
    ]
    mixed = [*read, *random.sample(read, random.randint(0, len(read)))]
    random.shuffle(mixed)
    assert group_changes(mixed) == group_changes(read)
    (change,) = group_changes(read).values()
    assert change.until == max(one.sent for one in read)
    assert change.only_new == all(mode == "New" for _, mode in sendings)
