"""Watch the files that zagg opens by h5coro, and find out what is wrong with them.

h5coro's driver of S3 returns nothing when a server refuses, answers of a wrong length become data,
and a file that is cut short is read for ever. Here each of them raises `OSError`, with the words
of the server. Standard library only; zagg's and h5coro's classes are passed in.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from zagg_catalog.aggregation.granule_reads import GranuleReads, granule_name
from zagg_catalog.aggregation.zagg_names import Names

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)", re.IGNORECASE)
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class _Answer(threading.local):
    """What the server said to the request of this thread."""

    said: str | None = None
    total: int | None = None
    whole: bool = False
    page: bool = False


_ANSWER = _Answer()


class _Listener(logging.Handler):
    """Keep the last warning of h5coro in this thread, which has the words of the server."""

    def emit(self, record: logging.LogRecord) -> None:
        _ANSWER.said = record.getMessage()


def watch_files(names: Names, reads: GranuleReads, endpoint: str | None) -> None:
    """Let zagg open granules by classes that report to `reads`.

    Parameters
    ----------
    names : Names
        Names of zagg.
    reads : GranuleReads
        Record of reads.
    endpoint : str or None
        URL of the S3 server of the granules; None for AWS.
    """
    logging.getLogger("h5coro").addHandler(_Listener(logging.WARNING))
    names.replace("S3Driver", s3_driver(names.S3Driver, endpoint))
    names.replace("HTTPDriver", https_driver(names.HTTPDriver))
    names.replace("H5Coro", granule_file(names.H5Coro, reads))
    index_of = names.index_from_config
    names.replace(
        "index_from_config", lambda config: _Index(index_of(config), reads, names.H5Dataset)
    )


def s3_driver(base: type, endpoint: str | None) -> type:
    """Return h5coro's driver of S3 with checked reads, and with the endpoint of the granules."""

    class S3Driver(base):  # type: ignore[misc]
        """h5coro's driver of S3."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.client.meta.events.register("after-call.s3.GetObject", _note_s3)

        def create_session(self, credentials: dict[str, Any]) -> Any:
            """Return a session whose clients use the server of the granules."""
            session = super().create_session(credentials)
            if endpoint is not None:
                session.client = partial(session.client, endpoint_url=endpoint)
            else:  # AWS_ENDPOINT_URL_S3 is the server of the output
                session._session.set_config_variable("ignore_configured_endpoint_urls", True)
            return session

        def read(self, offset: int, size: int) -> bytes:
            """Read bytes, or raise `OSError`."""
            return checked_read(super().read, offset, size)

    return S3Driver


def https_driver(base: type) -> type:
    """Return h5coro's driver of https with checked reads."""

    class HTTPDriver(base):  # type: ignore[misc]
        """h5coro's driver of https."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.session.hooks["response"].append(_note_https)

        def read(self, offset: int, size: int) -> bytes:
            """Read bytes, or raise `OSError`."""
            return checked_read(super().read, offset, size)

    return HTTPDriver


def granule_file(base: type, reads: GranuleReads) -> type:
    """Return h5coro's class of a file, which tells `reads` when it is opened and closed."""

    class H5Coro(base):  # type: ignore[misc]
        """h5coro's class of a file."""

        def __init__(self, resource: str, *args: Any, **options: Any) -> None:
            self._closed = False
            reads.begin(resource)
            try:
                super().__init__(resource, *args, **options)
            except BaseException as error:
                reads.end(resource, error)
                raise

        def close(self) -> None:
            """Close the file, and say so."""
            if not self._closed:
                self._closed = True
                reads.end(self.resource)
            super().close()

        def ioRequest(  # noqa: N802  (h5coro's name)
            self, pos: int, size: int, caching: bool = True, prefetch: bool = False
        ) -> Any:
            """Read bytes; raise `OSError` where the file refers to bytes after its end."""
            block = super().ioRequest(pos, size, caching, prefetch)
            if caching and len(block) < size:
                raise OSError(f"the file refers to byte {pos + size:,}, beyond its end")
            return block

    return H5Coro


def checked_read(read: Callable[[int, int], bytes | None], offset: int, size: int) -> bytes:
    """Read bytes by a driver of h5coro; raise `OSError` if they are not those of the file."""
    _ANSWER.said, _ANSWER.total, _ANSWER.whole, _ANSWER.page = None, None, False, False
    try:
        data = read(offset, size)
    except (RuntimeError, OSError) as error:
        raise OSError(_ANSWER.said or str(error)) from error
    if data is None:
        raise OSError(_ANSWER.said or "the server sent nothing, and gave no reason")
    if _ANSWER.page or (offset == 0 and _WEB_PAGE.match(data[:200])):
        raise OSError("the server sent a web page, as for a login, instead of the file")
    if offset and _ANSWER.whole:
        raise OSError("the server sent the file from its start, although asked for a part")
    _check_length(data, offset, size)
    return data


def _check_length(data: bytes, offset: int, size: int) -> None:
    """Raise `OSError` if bytes are missing in an answer, or at the end of the file."""
    total = _ANSWER.total
    expected = size if total is None else min(size, total - offset)
    if not data or (total is not None and len(data) < expected):
        raise OSError(f"the server sent {len(data):,} bytes instead of {expected:,}")
    end = end_of_file(data) if offset == 0 else None
    if end is not None and total is not None and total < end:
        raise OSError(f"the file is cut short: it has {total:,} bytes of {end:,}")


def end_of_file(head: bytes) -> int | None:
    """Return the length of an HDF5 file that its superblock states; None if it states none."""
    if not head.startswith(SIGNATURE) or len(head) < 100:
        return None
    version = head[len(SIGNATURE)]
    if version in (0, 1):
        width, start = head[13], 24 + 4 * version
    elif version in (2, 3):
        width, start = head[9], 12
    else:
        return None
    place = start + 2 * width
    return int.from_bytes(head[place : place + width], "little")


class _Index:
    """zagg's reader of beams, which tells `reads` of each."""

    def __init__(self, index: Any, reads: GranuleReads, dataset: type) -> None:
        self._index, self._reads, self._dataset = index, reads, dataset

    def read_group(
        self,
        h5obj: Any,
        group: str,
        data_source: dict[str, Any],
        shard_key: int,
        *args: Any,
        **options: Any,
    ) -> Any:
        """Read a beam of a granule for a shard."""
        place = int(shard_key), h5obj.resource, group
        try:
            found = self._index.read_group(h5obj, group, data_source, shard_key, *args, **options)
        except Exception as error:
            if (why := why_unread(self._dataset, h5obj, group, data_source, error)) is None:
                self._reads.absent(*place)
            else:
                self._reads.failed(*place, why)
            raise
        self._reads.beam(*place, values=found is not None)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


def why_unread(
    dataset: type, h5obj: Any, group: str, data_source: Mapping[str, Any], error: Exception
) -> Exception | None:
    """Return why a beam could not be read; None if the file simply does not have it.

    Parameters
    ----------
    dataset : type
        h5coro's class of datasets.
    h5obj : object
        The open file.
    group : str
        Group of the beam.
    data_source : mapping
        Section of the config.
    error : Exception
        What zagg raised. It raises the same `TypeError` for a beam that is not there and for a
        file that is damaged.
    """
    try:
        if _lacks(dataset, h5obj, group, data_source):
            return None
    except Exception as found:  # noqa: BLE001  (a damaged file may raise anything)
        return error if isinstance(error, OSError) else OSError(f"the file is damaged ({found})")
    return error


def find_absent(
    names: Names, reads: GranuleReads, addresses: Iterable[str], data_source: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return the beams that granules do not have, by file name; opens the granules by https.

    Granules that cannot be opened, and damaged ones, have none.
    """
    token = names.edl_token()
    opened, driver = granule_file(names.H5Coro, reads), https_driver(names.HTTPDriver)

    def absent(address: str) -> list[str]:
        try:
            file = opened(address, driver, credentials=token)
        except (OSError, RuntimeError):
            return []
        try:
            given = TypeError("absent")
            return [
                beam
                for beam in data_source["groups"]
                if why_unread(names.H5Dataset, file, beam, data_source, given) is None
            ]
        finally:
            file.close()

    wanted = sorted(set(addresses))
    with ThreadPoolExecutor(8) as pool:
        found = zip(wanted, pool.map(absent, wanted), strict=True)
    return {granule_name(address): beams for address, beams in found if beams}


def _lacks(dataset: type, h5obj: Any, group: str, data_source: Mapping[str, Any]) -> bool:
    """Return whether a file has the coordinates of another beam, and not this one's.

    A beam without any point counts as lacking.
    """
    places = [place for place in data_source["coordinates"].values() if "{group}" in str(place)]
    if not places or _has_points(dataset, h5obj, group, places):
        return False
    others = [*data_source["groups"], *sorted(_links(dataset, h5obj, ""))]
    return any(_has_points(dataset, h5obj, other, places) for other in others if other != group)


def _has_points(dataset: type, h5obj: Any, group: str, places: Iterable[str]) -> bool:
    paths = [place.format(group=group).strip("/") for place in places]
    return all(_exists(dataset, h5obj, path) for path in paths) and not any(
        0 in _described(dataset, h5obj, path).meta.dimensions for path in paths
    )


def _exists(dataset: type, h5obj: Any, path: str) -> bool:
    parent = ""
    for name in path.split("/"):
        if name not in _links(dataset, h5obj, parent):
            return False
        parent = f"{parent}/{name}".strip("/")
    return True


def _links(dataset: type, h5obj: Any, path: str) -> set[str]:
    """Return the names in a group; raise `ValueError` if they cannot be names of a sound file."""
    _described(dataset, h5obj, path)
    start = f"{path}/" if path else ""
    rest = {known[len(start) :] for known in [*h5obj.pathAddresses] if known.startswith(start)}
    names = {name for name in rest if name and "/" not in name}
    if (not path and not names) or not all(map(_is_plain, names)):
        raise ValueError(f"the names in {path or '/'} are damaged")
    return names


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable()


def _described(dataset: type, h5obj: Any, path: str) -> Any:
    """Read what a file says of a group or dataset, and the names in a group, without its data."""
    return dataset(h5obj, path or "/", earlyExit=False, metaOnly=True, enableAttributes=False)


def _note_s3(parsed: Mapping[str, Any], **_: Any) -> None:
    _note_range(parsed.get("ContentRange"))


def _note_https(response: Any, **_: Any) -> None:
    _note_range(response.headers.get("Content-Range"))
    _ANSWER.whole = response.status_code == 200
    _ANSWER.page = response.headers.get("Content-Type", "").startswith("text/html")


def _note_range(text: str | None) -> None:
    found = _TOTAL.match(text or "")
    _ANSWER.total = int(found[1]) if found else None
