"""What a run takes from the event that started it, and what it refuses."""

import json
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate
from prefect.utilities.schema_tools.validation import is_valid

from flows import events
from flows.aggregate import aggregate
from flows.automations import cycle_automation, pickup_automation
from flows.cycle import prepare_cycle
from flows.events import EventPlaces, trusted_place
from flows.watch import report_overdue
from tests.flows.hostile import ODD, RELEASE
from zagg_catalog.errors import EventRefused
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.store import open_store
from zagg_catalog.watch.events import AVAILABLE

ROOT = Path(__file__).parents[2]
CYCLE = {"product": "ATL06", "version": "007", "cycle": 22}
RESOURCE = "zagg-catalog.x.y"
PLACES = ("store", "stac_root", "registry", "provider")


def started(automation, payload):
    """The parameters of the run that an automation starts for a payload; None for no run."""
    (action,) = automation.actions
    event = SimpleNamespace(payload=payload, id=uuid4(), resource=SimpleNamespace(id=RESOURCE))
    parameters = {}
    for name, value in action.parameters.items():
        text = render_user_template_sync(value["value"]["template"], {"event": event})
        parameters[name] = json.loads(text)
    # As the server does, which fills in templates and variables of the parameters themselves.
    parameters = hydrate(parameters, HydrationContext(render_jinja=True))
    flow = prepare_cycle if "cycle" in parameters else aggregate
    return parameters if is_valid(parameters, flow.parameters.model_dump()) else None


def of_cycle(payload):
    return started(cycle_automation(uuid4()), payload)


def of_release(payload):
    return started(pickup_automation(uuid4()), payload)


def test_a_run_gets_the_named_fields_of_an_event_and_nothing_else():
    more = {"notice": "atl06-007-c22-1f-1", "regions": ["x"], "force": True, "store": "s3://a/b"}
    found = of_cycle(CYCLE | more)
    places = {"store": "s3://a/b", "stac_root": None, "registry": None, "provider": None}
    places["resource"] = RESOURCE
    assert found == CYCLE | {"notice": "atl06-007-c22-1f-1", "event": places}
    assert of_release(RELEASE | {"output": "s3://a/b"}) == {
        "event": RELEASE | {"resource": RESOURCE}
    }


def test_without_a_notice_the_id_of_the_event_is_the_notice():
    assert len(of_cycle(CYCLE)["notice"]) == 36


@pytest.mark.parametrize("change", ODD["cycle"], ids=str)
def test_an_odd_event_of_a_cycle_starts_no_run(change):
    assert of_cycle(CYCLE | change) is None


@pytest.mark.parametrize("change", ODD["release"], ids=str)
def test_an_odd_event_of_a_release_starts_no_run(change):
    assert of_release(RELEASE | change) is None


def webhook(payload):
    """The event that the documented webhook makes of a payload."""
    page = (ROOT / "docs/operate/watch.md").read_text()
    template = page.partition("```jinja\n")[2].partition("```")[0]
    body = [{"event": "x.y", "resource": {"prefect.resource.id": "x"}, "payload": payload}]
    return json.loads(Environment().from_string(template).render(body=body))


def test_the_webhook_of_the_page_passes_on_product_version_and_cycle_only():
    event = webhook(CYCLE | {"store": "s3://a/b", "notice": "atl06-007-c22-1f-1"})
    assert event["event"] == AVAILABLE
    assert event["resource"] == {"prefect.resource.id": "zagg-catalog.cycle.atl06-007-c22"}
    assert event["payload"] == CYCLE


@pytest.mark.parametrize("change", ODD["cycle"], ids=str)
def test_an_odd_event_by_the_webhook_starts_no_run_or_loses_what_is_odd(change):
    payload = webhook(CYCLE | change)["payload"]
    assert payload == CYCLE or of_cycle(payload) is None


@pytest.mark.parametrize(
    ("resource", "valid"),
    [
        ("zagg-catalog.cycle.atl06-007-c22", True),
        ("zagg-catalog.watch.atl06-007", True),
        ("zagg-catalog.state.atl06-007-greenland-c22", True),
        ("zagg-catalog.cycle.<b>", False),
        ("prefect.flow-run.x", False),
        ({"__prefect_kind": "workspace_variable", "variable_name": "secret"}, False),
    ],
    ids=str,
)
def test_a_report_is_of_a_cycle_or_a_watch(resource, valid):
    schema = report_overdue.parameters.model_dump()
    assert is_valid({"resource": resource}, schema) == valid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["__prefect_kind", "template", "name", "a"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*CYCLE, "notice", *PLACES]), JSON)
def test_whatever_an_event_has_a_run_gets_texts_and_integers_only(name, value):
    found = of_cycle(CYCLE | {name: value})
    if found is not None:
        assert type(found["cycle"]) is int
        values = [found[key] for key in ("product", "version", "notice")]
        assert all(isinstance(one, str) for one in values)
        assert all(one is None or isinstance(one, str) for one in found["event"].values())


@pytest.fixture(autouse=True)
def worker(monkeypatch, tmp_path):
    """Settings of a worker, with one more place of each kind."""
    ours = {name: str(tmp_path / name) for name in PLACES}
    for name in ("store", "stac_root", "registry"):
        monkeypatch.setenv(f"ZAGG_CATALOG_{name.upper()}", ours[name])
    for name, more in zip(PLACES, ("STORES", "STAC_ROOTS", "REGISTRIES", "PROVIDERS"), strict=True):
        monkeypatch.setenv(f"ZAGG_CATALOG_FLOW_EVENT_{more}", json.dumps([f"allowed-{name}"]))
    return ours | {"provider": PROVIDER}


@pytest.mark.parametrize("what", PLACES)
def test_an_event_names_the_places_of_the_settings_or_of_their_list(what, worker):
    assert trusted_place(what, None, None) == worker[what]
    assert trusted_place(what, None, worker[what]) == worker[what]
    assert trusted_place(what, None, f"allowed-{what}") == f"allowed-{what}"
    with pytest.raises(EventRefused, match=f"names the {what} 'other'.* ZAGG_CATALOG_FLOW_EVENT_"):
        trusted_place(what, None, "other")


@pytest.mark.parametrize("what", PLACES)
def test_a_user_gives_any_place_and_an_automation_only_those(what, monkeypatch):
    assert trusted_place(what, "other", None) == "other"
    with pytest.raises(EventRefused):
        trusted_place(what, "other", "another")
    monkeypatch.setattr(events, "_started_by_automation", lambda: True)
    assert trusted_place(what, f"allowed-{what}", None) == f"allowed-{what}"
    with pytest.raises(EventRefused):
        trusted_place(what, "other", None)


def test_the_store_of_an_event_may_be_written_as_its_url(worker):
    url = open_store(worker["store"]).url
    assert open_store(trusted_place("store", None, url)).url == url


def test_the_message_has_no_secret_of_the_event():
    with pytest.raises(EventRefused) as caught:
        trusted_place("stac_root", None, "https://user:hunter2@evil.example/stac")
    assert "hunter2" not in str(caught.value)
    assert "evil.example" in str(caught.value)


@pytest.mark.parametrize("what", PLACES)
def test_a_run_for_another_place_is_refused_before_it_does_anything(
    what, prefect_server, worker, tmp_path
):
    place = EventPlaces(**{what: "https://evil.example"})
    state = prepare_cycle(cycle=22, notice="one", event=place, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("The event names the")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resource", ["zagg-catalog.cycle.atl06-007-c21", "zagg-catalog.x.<b>"])
def test_a_run_for_another_cycle_than_the_events_resource_is_refused(
    resource, prefect_server, tmp_path
):
    place = EventPlaces(resource=resource)
    state = prepare_cycle(cycle=22, notice="one", event=place, return_state=True)
    assert state.is_failed()
    assert f"The event's resource is {resource!r}" in state.message
    assert "'zagg-catalog.cycle.atl06-007-c22'" in state.message
    assert not list(tmp_path.iterdir())


def test_a_run_for_another_release_than_the_events_resource_is_refused(prefect_server, tmp_path):
    event = RELEASE | {"resource": "zagg-catalog.release.atl06-007-antarctica-c22"}
    state = aggregate(event=event, return_state=True)
    assert state.is_failed()
    assert "'zagg-catalog.release.atl06-007-greenland-c22'" in state.message
    assert not list(tmp_path.iterdir())


def test_a_run_for_an_event_without_a_cycle_is_refused(prefect_server, tmp_path):
    state = prepare_cycle(notice="one", return_state=True)
    assert "names no cycle" in state.message
    assert not list(tmp_path.iterdir())
