"""The reports of releases in a store: derived, outside of the digests, and made again at will.

Keys are ``reports/product=…/region=…/cycle=…/release=<digest>.html``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from zagg_catalog.errors import InvalidName
from zagg_catalog.files import digest_of
from zagg_catalog.releases.layout import ReleaseKey, parse_key
from zagg_catalog.store import ObjectInfo, Store
from zagg_catalog.store.keys import check_digest, check_key

REPORTS = "reports"
_NAME = re.compile(rf"{REPORTS}/(.+)/release=([0-9a-f]{{64}})\.html")
_END_TEXT = "<!-- report of release {}, sha256 {} -->\n"
_END = re.compile(rb"<!-- report of release ([0-9a-f]{64}), sha256 ([0-9a-f]{64}) -->\n\Z")


def report_key(release_key: ReleaseKey, digest: str) -> str:
    """Return the key of the report of a release."""
    folder = REPORTS + release_key.folder("releases").removeprefix("releases")
    return check_key(f"{folder}/release={check_digest(digest)}.html")


def record_of(key: str) -> str | None:
    """Return the key of the record of the release of a report; None for another key."""
    found = _NAME.fullmatch(key)
    try:
        return parse_key(f"releases/{found[1]}/{found[2]}.json").key if found else None
    except InvalidName:
        return None


def report_bytes(digest: str, page: str) -> bytes:
    """Return the page of the report of a release with a last line that says what it is."""
    content = page.encode()
    return content + _END_TEXT.format(digest, digest_of([content])[0]).encode()


def report_problem(store: Store, key: str) -> str | None:
    """Return what is wrong with the content of a stored report, a sentence; None if nothing is."""
    stored = store.read_pointer(key)
    if stored is None:
        return "The report does not exist."
    found = _END.search(stored.value)
    if found is None:
        return "The report is not whole, or another program wrote it."
    if f"release={found[1].decode()}.html" not in key:
        return f"It is the report of release {found[1].decode()}."
    if digest_of([stored.value[: found.start()]])[0] != found[2].decode():
        return "The report is not as it was written."
    return None


def orphaned_reports(store: Store, records: Collection[str]) -> list[ObjectInfo]:
    """Return the reports of releases whose records are not among those of these keys."""
    found = [(info, record_of(info.key)) for info in store.list(REPORTS)]
    return [info for info, record in found if record is not None and record not in records]
