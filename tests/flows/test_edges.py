"""Texts of others, through every edge of the flows: artifacts, logs and events."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from markdown_it import MarkdownIt
from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.states import Failed

from flows import artifacts, automations, events
from flows.release_report import report
from tests.flows.conftest import artifact_of
from tests.harness.hostile_texts import TEXTS, assert_plain
from tests.harness.waiting import wait_for
from tests.releases import inputs
from zagg_catalog.aggregation.references import artifact_reference
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.store import LocalStore

ACTIVE = {"link_open", "image", "html_inline", "html_block", "fence", "code_block"}
KEY = ReleaseKey(*inputs.RELEASE_KEY)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store whose address has marks of Markdown."""
    return LocalStore(tmp_path_factory.mktemp("store") / "a`b|[c](http:" / "d)")


@pytest.fixture(scope="module")
def published(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    inputs.write(folder, "first", inputs.CATALOGS["first"])
    return inputs.publish(store, folder, "first")


@pytest.fixture(params=TEXTS.values(), ids=list(TEXTS))
def text(request):
    return request.param


def kinds(markdown):
    """The kinds of tokens that a renderer sees; addresses without a mark around become links."""
    found = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        found += [token.type, *(inner.type for inner in token.children or ())]
    return found


def hostile(published, text):
    """A release whose record has the text wherever it may have one of others."""
    record = published.record
    grid = record.grids[0].model_copy(update={"error": text})
    query = record.query.model_copy(update={"filters": {"season": text}, "stac_root": text})
    changed = {"grids": (grid, *record.grids[1:]), "query": query}
    return replace(
        published, record=record.model_copy(update=changed), held_back=[text], latest=False
    )


def test_the_report_of_a_release(store, published, text):
    quiet = report(store, KEY, hostile(published, "planted"))
    found = report(store, KEY, hostile(published, text))
    assert_plain(found, lines=len(quiet.rstrip("\n").split("\n")))
    assert kinds(found) == kinds(quiet)
    # The blocks of the report itself are the same; nothing else is active.
    assert not (ACTIVE - {"fence", "html_block"}) & set(kinds(found))


@pytest.fixture(scope="module")
def run(prefect_server, store, published):
    """A run that meets all of the texts."""
    text = " ".join(TEXTS.values())

    @flow
    def meet():
        artifacts.record_release(store, KEY, hostile(published, text))
        artifacts.Progress("fetch", KEY, 1, text)
        get_run_logger().warning("one %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            get_run_logger().exception("two")
        return Failed(message="three")

    return meet(return_state=True)


NAME = "atl06-007-antarctica-c22"


def test_the_tables_of_a_release(run):
    cells = json.loads(artifact_of(run, f"release-{NAME}-grids").data)
    assert not ACTIVE & {
        kind for row in cells for cell in row.values() for kind in kinds(str(cell))
    }
    assert_plain(cells[0]["error"], lines=1, longest=20_001)


def test_descriptions(run):
    for key in (f"release-{NAME}", f"release-{NAME}-grids", f"fetch-{NAME}"):
        described = artifact_of(run, key).description
        assert not ACTIVE & set(kinds(described))
    assert_plain(described, lines=1, longest=20_001)


def test_a_pick_up_reads_the_map_of_a_table(run, store, published):
    (row,) = json.loads(artifact_of(run, f"shardmap-{NAME}-healpix").data)
    assert artifact_reference("shardmap-x", row).maps_equal(published.record)
    assert not artifacts.is_news(store, KEY, published)


def test_the_log_of_a_run(run):
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.state_details.flow_run_id]))

    def read():
        with get_client(sync_client=True) as client:
            logs = client.read_logs(wanted)
        return logs if any("three" in one.message for one in logs) else None

    found = [one.message for one in wait_for(read) if "planted" in one.message]
    assert len(found) == 2
    for message in found:
        assert_plain(message, lines=1 if message.startswith("one") else None)


def test_the_texts_of_an_event(text, monkeypatch):
    sent = []
    monkeypatch.setattr(events, "emit_event", lambda event, **rest: sent.append(rest))
    resource = {"prefect.resource.id": "x", "prefect.resource.name": text}
    events.emit("zagg-catalog.x", resource, {"message": text, "grids": [{"name": text}]})
    (found,) = sent
    for one in (
        found["resource"]["prefect.resource.name"],
        found["payload"]["message"],
        found["payload"]["grids"][0]["name"],
    ):
        assert_plain(one, lines=1)


def test_an_alert(text):
    """Whoever can send an event can write the text of an alert."""
    action = automations.alert(block_id=uuid4())
    for template, given in ((action.subject, {"labels": labels(text)}), (action.body, event(text))):
        assert_plain(render_user_template_sync(template, given), lines=1)


def labels(text):
    return {"prefect": {"resource": {"id": text}}}


def event(text):
    return {"event": {"payload": {"message": text.strip()}}}


def test_an_alert_without_a_message_says_so():
    body = automations.alert(block_id=uuid4()).body
    assert (
        render_user_template_sync(body, {"event": {"payload": {}}}) == "No event arrived in time."
    )
    assert render_user_template_sync(body, event("Cycle 22 is late.")) == "Cycle 22 is late."
