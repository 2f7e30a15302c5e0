"""``zagg-catalog release``: publish, list, show, resolve, verify, diff, rollback and gc."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from pathlib import Path

from zagg_catalog import release_tables as tables
from zagg_catalog import releases
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.releases.gc import GRACE
from zagg_catalog.shardmap import ShardMap
from zagg_catalog.store import Store, open_store

DONE, WRONG_DATA = 0, 1

Parts = argparse._SubParsersAction

_EXAMPLES = """examples:
  zagg-catalog release publish --region antarctica --catalog c22.parquet \\
      --grid healpix=atl06.yaml:c22.json --grid polar=polar.yaml:c22-polar.parquet
  zagg-catalog release list
  zagg-catalog release resolve --product ATL06_007 --region antarctica --cycle 22 --grid healpix
  zagg-catalog release verify
"""


def add_release(parts: Parts[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    """Add ``release`` and its own commands.

    Parameters
    ----------
    parts : subparsers action
        The commands of ``zagg-catalog``.
    common : ArgumentParser
        Flags that every command has.
    """
    release = parts.add_parser(
        "release",
        help="publish, find and keep releases",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    store = argparse.ArgumentParser(add_help=False, parents=[common])
    store.add_argument(
        "--store", metavar="URL", help="folder or s3://bucket/prefix (default: the setting)"
    )
    commands = release.add_subparsers(dest="release_command", required=True, metavar="COMMAND")
    _add_publish(commands, store)
    _add_readers(commands, store)
    _add_keepers(commands, store)


def _add_publish(commands: Parts[argparse.ArgumentParser], store: argparse.ArgumentParser) -> None:
    publish = commands.add_parser("publish", parents=[store], help="a catalog and its maps")
    add = publish.add_argument
    add("--catalog", required=True, metavar="FILE", help="the catalog, .parquet")
    add("--region", required=True, help="name of the region")
    add("--product", help="such as ATL06_007 (default: what the catalog says)")
    add("--cycle", type=int, help="default: what the catalog says")
    add(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=CONFIG:MAP",
        help="a grid's name, config and map (.json, .parquet); once per grid",
    )
    add("--partial-latest", action="store_true", help="let latest move to a partial release")
    add("--json", action="store_true", help="also store the JSON manifests that zagg loads")
    add("--by", metavar="WHO", help="who publishes (default: user@host)")
    publish.set_defaults(run=_publish)


def _add_readers(commands: Parts[argparse.ArgumentParser], store: argparse.ArgumentParser) -> None:
    listing = commands.add_parser("list", parents=[store], help="which releases there are")
    _add_slot(listing, required=False)
    _add_json(listing)
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", parents=[store], help="what is in a release")
    _add_slot(show)
    _add_digest(show)
    _add_json(show)
    show.set_defaults(run=_show)
    resolve = commands.add_parser("resolve", parents=[store], help="a local manifest for zagg")
    _add_slot(resolve)
    _add_digest(resolve)
    resolve.add_argument("--grid", required=True, help="name of the grid")
    resolve.add_argument(
        "--folder", default="manifests", help="where to put the manifest (default: %(default)s)"
    )
    resolve.set_defaults(run=_resolve)
    diff = commands.add_parser("diff", parents=[store], help="what to aggregate again")
    diff.add_argument("old", metavar="OLD", help="digest of a release, or its beginning")
    diff.add_argument("new", metavar="NEW", nargs="?", help="default: the latest")
    _add_slot(diff)
    _add_json(diff)
    diff.add_argument("--exit-code", action="store_true", help="exit with 1 where they differ")
    diff.set_defaults(run=_diff)


def _add_keepers(commands: Parts[argparse.ArgumentParser], store: argparse.ArgumentParser) -> None:
    verify = commands.add_parser("verify", parents=[store], help="check everything in the store")
    _add_slot(verify, required=False)
    _add_json(verify)
    verify.set_defaults(run=_verify)
    rollback = commands.add_parser("rollback", parents=[store], help="back to another release")
    rollback.add_argument("digest", metavar="DIGEST", help="of that release, or its beginning")
    _add_slot(rollback)
    rollback.add_argument("--by", metavar="WHO", help="who does it (default: user@host)")
    rollback.set_defaults(run=_rollback)
    gc = commands.add_parser("gc", parents=[store], help="remove what no release refers to")
    gc.add_argument("--delete", action="store_true", help="remove it; otherwise it is only shown")
    gc.add_argument(
        "--grace",
        type=float,
        default=GRACE.days,
        metavar="DAYS",
        help="leave younger objects alone (default: %(default)s)",
    )
    gc.add_argument(
        "--releases",
        type=float,
        metavar="DAYS",
        help="also older releases that no pointer's history names (default: none)",
    )
    gc.set_defaults(run=_gc)


def _add_slot(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--product", required=required, help="such as ATL06_007")
    parser.add_argument("--region", required=required, help="name of the region")
    parser.add_argument("--cycle", required=required, type=int, help="cycle number")


def _add_digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--digest", help="of a release, or its beginning (default: the latest)")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _publish(options: argparse.Namespace) -> int:
    published = releases.publish(
        _store(options),
        catalog=options.catalog,
        maps=[_grid_build(text) for text in options.grid],
        region=options.region,
        product=options.product,
        cycle=options.cycle,
        partial_latest=options.partial_latest,
        json_manifests=options.json,
        published_by=options.by,
    )
    tables.print_published(published)
    if published.record.status == "complete" or options.partial_latest:
        return DONE
    print(
        "zagg-catalog: the release is partial (see above), so latest does not move to it;"
        " --partial-latest moves it.",
        file=sys.stderr,
    )
    return WRONG_DATA


def _list(options: argparse.Namespace) -> int:
    found = releases.list_releases(_store(options), options.product, options.region, options.cycle)
    if options.json:
        _print_json([tables.listed_facts(one) for one in found])
    else:
        tables.print_list(found)
    return DONE


def _show(options: argparse.Namespace) -> int:
    shown = releases.show(_store(options), *_slot(options), digest=options.digest)
    if options.json:
        _print_json(tables.shown_facts(shown))
    else:
        tables.print_shown(shown)
    return DONE


def _resolve(options: argparse.Namespace) -> int:
    store = _store(options)
    release = releases.find_release(store, *_slot(options), digest=options.digest)
    print(releases.resolve_grid(store, release, options.grid, options.folder))
    if release.record.status == "partial":
        print("zagg-catalog: but the release is partial.", file=sys.stderr)
    return DONE


def _diff(options: argparse.Namespace) -> int:
    store = _store(options)
    old, new = (
        releases.find_release(store, *_slot(options), digest=digest)
        for digest in (options.old, options.new)
    )
    found = releases.diff(store, old, new)
    if options.json:
        _print_json(tables.diff_facts(found))
    else:
        tables.print_diff(found)
    return WRONG_DATA if options.exit_code and not found.same else DONE


def _verify(options: argparse.Namespace) -> int:
    found = releases.verify(_store(options), options.product, options.region, options.cycle)
    if options.json:
        _print_json(tables.verification_facts(found))
    else:
        tables.print_verification(found)
    return DONE if found.clean else WRONG_DATA


def _rollback(options: argparse.Namespace) -> int:
    publication = releases.rollback(
        _store(options), *_slot(options), options.digest, published_by=options.by
    )
    tables.print_publication(publication)
    return DONE


def _gc(options: argparse.Namespace) -> int:
    garbage = releases.collect_garbage(
        _store(options),
        delete=options.delete,
        grace=timedelta(days=options.grace),
        releases_after=None if options.releases is None else timedelta(days=options.releases),
    )
    tables.print_garbage(garbage)
    return DONE


def _store(options: argparse.Namespace) -> Store:
    return open_store(options.store)


def _slot(options: argparse.Namespace) -> tuple[str, str, int]:
    return options.product, options.region, options.cycle


def _grid_build(text: str) -> releases.MapToPublish:
    """Read ``NAME=CONFIG:MAP``."""
    name, equals, files = text.partition("=")
    config, colon, path = files.rpartition(":")
    if not (name and equals and config and colon and path):
        raise InvalidQuery(
            f"--grid is NAME=CONFIG:MAP, such as healpix=atl06.yaml:map.json, not {text!r}."
        )
    if not Path(path).is_file():
        raise InvalidQuery(f"There is no file {path}.")
    read = ShardMap.from_parquet if Path(path).suffix == ".parquet" else ShardMap.from_json
    return releases.MapToPublish(name, Path(config), shard_map=read(path))


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))
