"""Release records and publications as files: equal values, equal bytes; old ones still load."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zagg_catalog.catalog.harvest_report import HarvestReport, Quarantined, SliceCount, Superseded
from zagg_catalog.errors import InvalidRelease
from zagg_catalog.jsonio import canonical_digest, canonical_json
from zagg_catalog.releases.layout import ReleaseKey
from zagg_catalog.releases.publication import Contraction, Publication
from zagg_catalog.releases.record import (
    CatalogRecord,
    GridRecord,
    ManifestFiles,
    QueryRecord,
    ReleaseRecord,
    StoredFile,
    status_of,
)

FIXTURES = Path(__file__).parent / "fixtures"
ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schema"
WRITE_SCHEMAS = ROOT / "tools" / "write-schemas"

names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
counts = st.integers(0, 2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
days = st.dates().map(str)
degrees = st.floats(-180, 180)
boxes = st.tuples(degrees, degrees, degrees, degrees)
values = st.recursive(
    st.none() | st.booleans() | counts | texts | degrees,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
signatures = st.dictionaries(texts, values, max_size=4)


@st.composite
def stored(draw, folder, suffix):
    digest = draw(digests)
    return StoredFile(key=f"{folder}/{digest}{suffix}", digest=digest, size=draw(counts))


@st.composite
def grids(draw, name, release_key):
    signature = draw(signatures)
    folder = release_key.folder("shardmaps", name)
    status = draw(st.sampled_from(["complete", "partial", "failed"]))
    facts = {"error": draw(texts.filter(bool))}
    if status != "failed":
        document = draw(st.none() | stored(folder, ".json"))
        facts = {
            "manifest": ManifestFiles(parquet=draw(stored(folder, ".parquet")), document=document),
            "shards": draw(counts),
            "pairs": draw(counts),
            "granules": draw(counts),
            "backend": draw(st.none() | texts),
            "order": draw(st.none() | st.integers(0, 29)),
        }
    return GridRecord(
        name=name,
        config_digest=draw(digests),
        signature=signature,
        signature_digest=canonical_digest(signature),
        status=status,
        **facts,
    )


harvests = st.builds(
    HarvestReport,
    complete=st.booleans(),
    declared_before=st.none() | counts,
    declared_after=st.none() | counts,
    harvested=counts,
    shared=counts,
    kept=counts,
    outside_cycle=counts,
    superseded=st.tuples(st.builds(Superseded, id=texts, by=texts)),
    quarantined=st.tuples(st.builds(Quarantined, id=texts, reason=texts)),
    slices=st.tuples(
        st.builds(
            SliceCount,
            bbox=boxes,
            declared_before=st.none() | counts,
            declared_after=st.none() | counts,
            harvested=counts,
        )
    ),
)
queries = st.builds(
    QueryRecord,
    collection=st.none() | texts,
    provider=st.none() | texts,
    stac_root=st.none() | texts,
    cmr_root=st.none() | texts,
    start_date=st.none() | days,
    end_date=st.none() | days,
    bbox=st.none() | boxes,
)


@st.composite
def records(draw):
    release_key = ReleaseKey(draw(names), draw(names), draw(st.integers(1, 9999)))
    digest = draw(digests)
    catalog = CatalogRecord(
        key=release_key.key("catalogs", digest),
        digest=digest,
        size=draw(counts),
        rows=draw(counts),
        complete=draw(st.booleans()),
    )
    named = sorted(draw(st.sets(names, max_size=3)))
    made = tuple(draw(grids(name, release_key)) for name in named)
    return ReleaseRecord(
        product=release_key.product,
        region=release_key.region,
        cycle=release_key.cycle,
        cycle_convention=draw(st.sampled_from([None, "mission", "nominal"])),
        query=draw(queries),
        harvest=draw(st.none() | harvests),
        catalog=catalog,
        grids=made,
        status=status_of(catalog, made),
    )


@settings(max_examples=60, deadline=None)
@given(records())
def test_a_record_comes_back_equal_and_with_equal_bytes(record):
    content = record.to_bytes()
    again = ReleaseRecord.load(content)
    assert again == record
    assert again.to_bytes() == content
    assert again.digest == record.digest


@settings(max_examples=40, deadline=None)
@given(records(), st.randoms())
def test_the_order_of_keys_and_the_spaces_between_do_not_matter(record, random):
    def shuffled(value):
        if isinstance(value, dict):
            items = [(key, shuffled(item)) for key, item in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(shuffled(json.loads(record.to_bytes())), indent=random.choice([None, 5]))
    assert ReleaseRecord.load(text.encode()).digest == record.digest


@settings(max_examples=30, deadline=None)
@given(records(), st.integers(1, 9999))
def test_another_cycle_is_another_record(record, cycle):
    document = json.loads(record.to_bytes())
    document["cycle"] = cycle
    if cycle == record.cycle:
        assert ReleaseRecord.load(canonical_json(document)).digest == record.digest
    else:
        with pytest.raises(InvalidRelease, match="belongs to another"):
            ReleaseRecord.load(canonical_json(document))


@settings(max_examples=40, deadline=None)
@given(values)
def test_canonical_json_is_json_with_sorted_keys_and_one_newline(value):
    content = canonical_json(value)
    assert json.loads(content) == value
    assert content == canonical_json(json.loads(content))
    assert content.endswith(b"\n")
    assert not content.endswith(b"\n\n")


def test_what_json_has_no_word_for_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": float("nan")})


def test_a_query_has_its_filters_if_there_are_some():
    filters = {"tracks": "1-100", "granules": ["ATL06_20240101000000_00012202_007_01.h5"]}
    query = QueryRecord(filters=filters)
    assert QueryRecord.model_validate_json(query.model_dump_json()) == query
    assert "filters" not in QueryRecord().model_dump()


def test_a_record_of_version_1_still_loads():
    content = (FIXTURES / "release-v1.json").read_bytes()
    record = ReleaseRecord.load(content)
    assert record.schema_version == 1
    assert (record.product, record.region, record.cycle) == ("ATL06_007", "antarctica", 22)
    assert [grid.status for grid in record.grids] == ["complete", "failed"]
    assert record.harvest.superseded[0].by.endswith("_007_02.h5")
    # As long as 1 is the version that is written, these are the bytes to write.
    assert record.to_bytes() == content


def test_an_older_record_that_says_complete_and_lists_unusable_granules_is_not_complete():
    document = json.loads((FIXTURES / "release-v1.json").read_bytes())
    document |= {"status": "complete", "grids": document["grids"][:1]}
    record = ReleaseRecord.load(canonical_json(document))
    assert (record.status, record.complete) == ("complete", False)
    (lacks,) = record.lacks
    unusable = document["harvest"]["quarantined"][0]["id"]
    assert lacks.startswith(f"the catalog is incomplete, 1 granule cannot be used, {unusable}: ")
    document["harvest"]["quarantined"] = []
    whole = ReleaseRecord.load(canonical_json(document))
    assert (whole.complete, whole.lacks) == (True, [])


def test_a_publication_of_version_1_still_loads():
    content = (FIXTURES / "publication-v1.json").read_bytes()
    publication = Publication.load(content)
    assert publication.action == "rollback"
    assert publication.history[0].published_at == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert publication.to_bytes() == content


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "update zagg-catalog"),
        ({"schema_version": "1"}, "no schema_version"),
        ({"schema_version": True}, "no schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"cycle": "22"}, "cycle"),
        ({"cycle": 0}, "cycle"),
        ({"region": "../x"}, "region"),
        ({"status": "complete"}, "status complete is not"),
        ({"product": "ATL03_007"}, "belongs to another release"),
    ],
)
def test_a_record_that_does_not_fit_together_is_refused(change, says):
    document = json.loads((FIXTURES / "release-v1.json").read_bytes())
    with pytest.raises(InvalidRelease, match=says):
        ReleaseRecord.load(json.dumps(document | change).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b'{"schema_version": 1}'])
def test_rubbish_is_no_record_and_no_publication(content):
    for load in (ReleaseRecord.load, Publication.load):
        with pytest.raises(InvalidRelease, match="Somewhere"):
            load(content, "Somewhere")


def test_a_signature_that_was_tampered_with_is_refused():
    document = json.loads((FIXTURES / "release-v1.json").read_bytes())
    document["grids"][0]["signature"]["child_order"] += 1
    with pytest.raises(InvalidRelease, match="signature_digest"):
        ReleaseRecord.load(canonical_json(document))


def test_a_record_does_not_change():
    record = ReleaseRecord.load((FIXTURES / "release-v1.json").read_bytes())
    with pytest.raises(ValidationError, match="frozen"):
        record.cycle = 23


times = st.datetimes(
    datetime(2020, 1, 1),
    datetime(2040, 1, 1),
    timezones=st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours))),
)


@settings(max_examples=40, deadline=None)
@given(digests, times, texts, st.none() | digests, st.lists(texts, max_size=3))
def test_a_publication_comes_back_equal_and_in_utc(digest, when, who, before, ids):
    publication = Publication(
        digest=digest,
        key=ReleaseKey("ATL06_007", "antarctica", 22).key("releases", digest),
        published_at=when,
        published_by=who,
        action="publish",
        supersedes=before,
        packages={"numpy": "2"},
        contraction=Contraction(count=len(ids), ids=tuple(ids)),
    )
    again = Publication.load(publication.to_bytes())
    assert again == publication
    assert again.published_at.tzinfo is UTC
    assert again.to_bytes() == publication.to_bytes()


def test_the_schemas_in_the_docs_are_up_to_date(tmp_path):
    """If not: .venv/bin/python tools/write-schemas docs/schema."""
    command = [sys.executable, WRITE_SCHEMAS, tmp_path / "schema"]
    subprocess.run(command, check=True, timeout=300)
    written = sorted((tmp_path / "schema").iterdir())
    assert len(written) == 5
    for path in written:
        assert (SCHEMAS / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
