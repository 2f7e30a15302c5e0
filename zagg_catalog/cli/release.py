"""The commands ``release``: publish, list, show, resolve, verify, diff, rollback, gc and index."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from zagg_catalog import releases
from zagg_catalog.aggregation.output_verify import verify_outputs
from zagg_catalog.cli import release_tables as tables
from zagg_catalog.cli.common import (
    DONE,
    WRONG_DATA,
    check_file,
    print_error,
    print_json,
    print_line,
    print_result,
)
from zagg_catalog.cli.options import (
    AcceptPartial,
    AsJson,
    Digest,
    ExitCode,
    PublishedBy,
    RegistryFile,
    ReleaseFilter,
    ReleasePlace,
    StoreUrl,
)
from zagg_catalog.errors import InvalidOption, InvalidQuery
from zagg_catalog.index import INDEX_KEY, check_index, renew_index, try_to_renew_index
from zagg_catalog.messages import first_few
from zagg_catalog.registry import Registry
from zagg_catalog.registry.load import registry_if_any
from zagg_catalog.releases.gc import GRACE
from zagg_catalog.releases.report import try_to_write_report, write_missing_reports
from zagg_catalog.settings import get_settings
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store, open_store

EXAMPLES = """Examples:
  zagg-catalog release publish --region antarctica --catalog c22.parquet \\
      --grid healpix=atl06.yaml:c22.json \\
      --grid polar=polar.yaml:c22-polar.parquet
  zagg-catalog release list
  zagg-catalog release resolve --product ATL06_007 --region antarctica \\
      --cycle 22 --grid healpix
  zagg-catalog release verify
"""
app = App(name="release", help="Publish, find and maintain releases.", help_epilogue=EXAMPLES)


@app.command(help_epilogue="")
def publish(
    *,
    catalog: Annotated[Path, Parameter(metavar="FILE")],
    region: Annotated[str, Parameter(metavar="NAME")],
    product: Annotated[str | None, Parameter(metavar="NAME")] = None,
    cycle: Annotated[int | None, Parameter(metavar="N")] = None,
    grid: Annotated[list[str] | None, Parameter(metavar="NAME=CONFIG:MAP")] = None,
    partial_latest: bool = False,
    allow_contraction: bool = False,
    allow_failed_checks: bool = False,
    registry: RegistryFile = None,
    json_manifests: bool = False,
    by: PublishedBy = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Publish a catalog and its maps.

    Parameters
    ----------
    catalog
        The catalog, .parquet.
    region
        Name of the region.
    product
        Such as ATL06_007 (default: the catalog's).
    cycle
        Cycle number (default: the catalog's).
    grid
        A grid's name, config and map (.json, .parquet); once per grid.
    partial_latest
        Move latest to the release even if it is partial.
    allow_contraction
        Move latest to the release even if it lacks granules of the latest one.
    allow_failed_checks
        Move latest to the release even if a check of severity error failed.
    registry
        Path or s3://bucket/key, for rules of checks (default: the setting).
    json_manifests
        Also store the JSON manifests that zagg loads.
    """
    opened, maps = open_store(store), [_read_map(text) for text in grid or []]
    registered = registry_if_any(registry)
    published = releases.publish(
        opened,
        catalog=catalog,
        maps=maps,
        region=region,
        product=product,
        cycle=cycle,
        partial_latest=partial_latest,
        allow_contraction=allow_contraction,
        allow_failed_checks=allow_failed_checks,
        checks=registered.check_plan(region) if registered else None,
        json_manifests=json_manifests,
        published_by=by,
    )
    facts = tables.published_facts(published)
    print_result(facts, lambda: tables.print_published(published), as_json=as_json)
    if get_settings().release_reports:
        known = not published.written
        load = {build.name: build.readable_map for build in maps}.get
        problem = try_to_write_report(opened, published.release, unless_stored=known, load=load)
        if problem:
            print_error(f"warning: {problem}")
    _renew_index(opened, registered)
    if published.held_back:
        print_error(
            f"latest does not point to the release: {'; '.join(published.held_back)}."
            " --partial-latest accepts a partial release, --allow-contraction one that lacks"
            " granules, --allow-failed-checks one with failed checks."
        )
        return WRONG_DATA
    if published.record.status == "complete" or partial_latest:
        return DONE
    print_error("the release is partial (see above); --partial-latest accepts that.")
    return WRONG_DATA


@app.command(name="list", help_epilogue="")
def list_releases(
    *,
    which: ReleaseFilter = ReleaseFilter(),
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """List the releases of a store."""
    opened = open_store(store)
    found = releases.list_releases(opened, which.product, which.region, which.cycle)
    if not found:
        print_error(f"note: {_none(opened, which)}")
    facts = [tables.listed_facts(one) for one in found]
    print_result(facts, lambda: tables.print_list(found), as_json=as_json)
    return DONE


@app.command(help_epilogue="")
def show(
    *,
    place: ReleasePlace,
    digest: Digest = None,
    partial: AcceptPartial = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Describe a release; a partial one that is not the latest ends with exit code 1."""
    shown = releases.show(open_store(store), *place.parts(), digest=digest)
    facts = tables.shown_facts(shown)
    print_result(facts, lambda: tables.print_shown(shown), as_json=as_json)
    return _code_of(shown.release.record, accepted=shown.latest or partial)


@app.command(help_epilogue="")
def resolve(
    *,
    place: ReleasePlace,
    grid: Annotated[str, Parameter(metavar="NAME")],
    digest: Digest = None,
    partial: AcceptPartial = False,
    output: Annotated[Path, Parameter(alias=("-o", "--folder"), metavar="DIR")] = Path("manifests"),
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Write a grid's manifest to a local file for zagg, and print its path.

    A partial release that is not the latest ends with exit code 1.

    Parameters
    ----------
    grid
        Name of the grid.
    output
        Folder of the manifest.
    """
    opened = open_store(store)
    release = releases.find_release(opened, *place.parts(), digest=digest)
    path = releases.resolve_grid(opened, release, grid, output)
    facts = {
        "map": path,
        "grid": grid,
        "release": release.digest,
        "complete": release.record.complete,
        "lacks": release.record.lacks,
    }
    print_result(facts, lambda: print_line(path), as_json=as_json)
    return _code_of(release.record, accepted=digest is None or partial)


@app.command(help_epilogue="")
def diff(
    old: str,
    new: str | None = None,
    /,
    *,
    place: ReleasePlace,
    store: StoreUrl = None,
    as_json: AsJson = False,
    exit_code: ExitCode = False,
) -> int:
    """List the granules and shards that differ between two releases.

    Parameters
    ----------
    old
        Digest of a release, or its beginning.
    new
        Digest of another one (default: the latest).
    """
    opened = open_store(store)
    before, after = (
        releases.find_release(opened, *place.parts(), digest=digest) for digest in (old, new)
    )
    found = releases.diff(opened, before, after)
    facts = tables.diff_facts(found)
    print_result(facts, lambda: tables.print_diff(found), as_json=as_json)
    return WRONG_DATA if exit_code and not found.same else DONE


@app.command(help_epilogue="")
def verify(
    *,
    which: ReleaseFilter = ReleaseFilter(),
    output: Annotated[bool, Parameter(negative="")] = False,
    registry: RegistryFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Check every file of the releases in a store.

    Parameters
    ----------
    output
        Also compare zagg's outputs with the records of their pick-ups, shard by shard.
    registry
        Path or s3://bucket/key, for endpoints of outputs (default: the setting).
    """
    opened, parts = open_store(store), (which.product, which.region, which.cycle)
    found = releases.verify(opened, *parts)
    outputs = None
    if output:
        outputs = list(verify_outputs(opened, *parts, registry=registry_if_any(registry)))
    facts = tables.verification_facts(found, outputs)
    print_result(facts, lambda: tables.print_verification(found, outputs), as_json=as_json)
    if not found.releases:
        print_error(f"{_none(opened, which)} There is nothing to verify; check the name.")
    sound = found.clean and found.releases and all(one.clean for one in outputs or [])
    return DONE if sound else WRONG_DATA


@app.command(help_epilogue="")
def rollback(
    digest: str,
    /,
    *,
    place: ReleasePlace,
    partial_latest: bool = False,
    by: PublishedBy = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Move the latest pointer back to another release.

    Parameters
    ----------
    digest
        Digest of that release, or its beginning.
    partial_latest
        Accept a partial release that was never the latest.
    """
    opened = open_store(store)
    publication = releases.rollback(
        opened, *place.parts(), digest, partial_latest=partial_latest, published_by=by
    )
    facts = tables.publication_facts(publication)
    print_result(facts, lambda: tables.print_publication(publication), as_json=as_json)
    _renew_index(opened)
    return DONE


@app.command(help_epilogue="")
def gc(
    *,
    delete: bool = False,
    yes: bool = False,
    accept_lost: bool = False,
    grace: Annotated[float, Parameter(metavar="DAYS")] = GRACE.days,
    older_releases: Annotated[float | None, Parameter(name="--releases", metavar="DAYS")] = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """List or remove the files that no release and no run needs.

    Parameters
    ----------
    delete
        Remove the files that are listed, after a question.
    yes
        Do not ask; needed where there is no terminal.
    accept_lost
        Go on without records of earlier releases that are missing and that a history names.
    grace
        Do not remove files younger than this.
    older_releases
        Also remove older releases that no pointer's history names (default: none).
    """
    if as_json and delete and not yes:
        raise InvalidOption("--delete asks for an answer, and --json does not; give --yes, too.")
    place = open_store(store)
    garbage = releases.collect_garbage(
        place,
        grace=timedelta(days=grace),
        releases_after=None if older_releases is None else timedelta(days=older_releases),
        accept_lost=accept_lost,
    )
    if not as_json:
        tables.print_garbage(garbage)
    for sentence in garbage.left:
        print_error(sentence)
    if delete and garbage.files:
        if not yes and not sys.stdin.isatty():
            raise InvalidOption("--delete asks on a terminal, and there is none; give --yes, too.")
        if not yes and input("Remove these files? [y/N] ").strip().lower() not in ("y", "yes"):
            print_line("Nothing was removed.")
            return DONE
        garbage = releases.remove_garbage(place, garbage)
        if not as_json:
            tables.print_garbage(garbage)
    if delete:
        _renew_index(place)
    if as_json:
        print_json(tables.garbage_facts(garbage))
    return DONE


@app.command(help_epilogue="")
def index(
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    reports: Annotated[bool, Parameter(negative="")] = False,
    registry: RegistryFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> int:
    """Make the page of all releases, index.html, from what the store has.

    Parameters
    ----------
    check
        Write nothing; exit with 1 if the page does not say what the store has.
    reports
        First make the reports of releases that have none, or a damaged one.
    registry
        Path or s3://bucket/key, for the rules of states (default: the setting).
    """
    opened, registered = open_store(store), registry_if_any(registry)
    if check and reports:
        raise InvalidOption("--check writes nothing; leave --reports out.")
    failed = [*write_missing_reports(opened)] if reports else []
    for sentence in failed:
        print_error(sentence)
    checked = check_index(opened, registered) if check else None
    found = checked.index if checked else renew_index(opened, registered, whole=True).index
    differing, problem = (checked.differing, checked.problem) if checked else ([], None)
    facts = tables.index_facts(opened.uri(INDEX_KEY), found, differing, problem)
    print_result(facts, lambda: tables.print_index(facts["index"], found), as_json=as_json)
    if problem:
        print_error(problem)
    if differing:
        print_error(
            f"the index says something else than the store of {first_few(differing)};"
            " zagg-catalog release index renews it."
        )
    return WRONG_DATA if problem or differing or failed else DONE


def _renew_index(store: Store, registry: Registry | None = None) -> None:
    """Renew the index after a change of the store; say it if that fails, which is no error."""
    problem = try_to_renew_index(store, registry)
    if problem:
        print_error(f"warning: {problem}")


def _none(store: Store, which: ReleaseFilter) -> str:
    """Say that a store has no release, or none of the selected ones."""
    chosen = any(value is not None for value in (which.product, which.region, which.cycle))
    return f"Store {store.url} has no release{' of these' if chosen else ''}."


def _code_of(record: releases.ReleaseRecord, *, accepted: bool) -> int:
    """Say that a release is partial, and what it lacks; return 1 unless that is accepted."""
    if record.complete:
        return DONE
    accepts = "" if accepted else " --partial accepts that."
    print_error(f"the release is partial: {'; '.join(record.lacks)}.{accepts}")
    return DONE if accepted else WRONG_DATA


def _read_map(text: str) -> releases.MapToPublish:
    """Read ``NAME=CONFIG:MAP``."""
    name, equals, files = text.partition("=")
    config, colon, path = files.rpartition(":")
    if not (name and equals and config and colon and path):
        raise InvalidQuery(
            f"--grid must be NAME=CONFIG:MAP, such as healpix=atl06.yaml:map.json; got {text!r}."
        )
    file = check_file(Path(path))
    read = ShardMap.from_parquet if file.suffix == ".parquet" else ShardMap.from_json
    return releases.MapToPublish(name, Path(config), shard_map=read(file))
