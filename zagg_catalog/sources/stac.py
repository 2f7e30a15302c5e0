"""CMRSource: from a Query to a Catalog, over CMR-STAC or any STAC API."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

from zagg_catalog.catalog import Catalog
from zagg_catalog.errors import InvalidQuery
from zagg_catalog.regions import Bbox, split_bbox
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.harvest import harvest
from zagg_catalog.sources.haul import BoxSearch, Wanted
from zagg_catalog.sources.pool import Pool
from zagg_catalog.sources.progress import harvest_progress
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.report import HarvestReport
from zagg_catalog.sources.request import ApiRequest, clean_text, without_userinfo
from zagg_catalog.sources.transport import Gate, Transport

Method = Literal["GET", "POST"]

# CMR-STAC answers larger limits with an error, and clamps smaller ones anyway.
LIMIT_MAX = 5000


# Slices are not cut below so many seconds: a few granules start in them.
SHORTEST_SLICE = 3600.0

Interval = tuple[datetime, datetime]


class Area(NamedTuple):
    """What every slice of a search has in common."""

    query: Query
    provider: str
    box: Bbox
    limit: int


class CMRSource:
    """Fetch granule metadata from NASA's CMR-STAC, or from another STAC API.

    Parameters
    ----------
    provider : str, optional
        Overrides the query's provider, which is the sub-catalog of the root. Empty for an API
        without sub-catalogs.
    timeout : float, optional
        Seconds for one request. Default: the setting ``ZAGG_CATALOG_TIMEOUT``, 60.
    root_url : str, optional
        Root of the API; searches go to ``{root_url}/{provider}/search``. Default: the setting
        ``ZAGG_CATALOG_STAC_ROOT``, NASA's CMR-STAC.
    method : {"GET", "POST"}, optional
        How to search; some servers page rightly by one of them only. Default: the setting
        ``ZAGG_CATALOG_STAC_METHOD``, GET.
    connections : int, optional
        Connections that a large fetch uses at once. Default: the setting
        ``ZAGG_CATALOG_CONNECTIONS``, 8.
    transport : Transport, optional
        To be used, and not closed, instead of new ones per fetch; then one page is read after
        the other.

    Attributes
    ----------
    last_report : HarvestReport or None
        Of the last fetch that succeeded, with its transfer figures.

    Raises
    ------
    InvalidQuery
        If the root is not an HTTP address or the method unknown.
    """

    def __init__(
        self,
        provider: str | None = None,
        timeout: float | None = None,
        *,
        root_url: str | None = None,
        method: Method | None = None,
        connections: int | None = None,
        transport: Transport | None = None,
    ) -> None:
        settings = get_settings()
        root = settings.stac_root if root_url is None else root_url
        self.provider = provider
        self.timeout = timeout
        self.root_url, self._login = _check_root(root)
        self.method = settings.stac_method if method is None else method
        if self.method not in ("GET", "POST"):
            raise InvalidQuery(f"A search is sent by GET or POST, not {self.method!r}.")
        self.connections = settings.connections if connections is None else connections
        self.last_report: HarvestReport | None = None
        self._transport = transport

    def fetch(
        self,
        query: Query,
        *,
        preserve_thumbnails: bool = False,
        limit: int = 2000,
        partial: bool = False,
        progress: bool | Callable[[int, int | None], None] | None = None,
    ) -> Catalog:
        """Run a query and return its Catalog, proven complete.

        Parameters
        ----------
        query : Query
            What, when, where.
        preserve_thumbnails : bool
            Keep thumbnails and browse images.
        limit : int
            Page size hint; servers clamp it, and so is what CMR-STAC refuses (over 5000).
        partial : bool
            Return what came, too, where the count harvested is not the one declared;
            ``Catalog.complete`` is False then. A request that fails still raises.
        progress : bool or callable, optional
            Bar on standard error; by default on a terminal only. A callable is called with the
            granules so far and the count declared, or None.

        Returns
        -------
        Catalog
            Rows sorted by id. ``metadata`` holds the query, whether it is ``complete``, and
            the ``harvest`` report; equal for equal content of the server.

        Raises
        ------
        IncompleteHarvest
            If it cannot be proven that everything declared came.
        EmptyHarvest
            If nothing matches.
        RequestFailed, BadResponse, PagingError
            If the API cannot be read.
        InvalidQuery
            If the limit is not a positive number.
        """
        provider = query.provider if self.provider is None else self.provider
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidQuery(f"limit is a whole number from 1, not {limit!r}.")
        parts = split_bbox(query.bbox)
        boxes = [
            self._box(
                Area(query, provider, box, min(limit, LIMIT_MAX)),
                query.interval,
                f"box {number} " if len(parts) > 1 else "",
            )
            for number, box in enumerate(parts, 1)
        ]
        wanted = Wanted(
            collection=query.collection,
            cycle=query.name_cycle,
            preserve_thumbnails=preserve_thumbnails,
            partial=partial,
        )
        with (
            self._connections() as (transport, pool),
            harvest_progress(query.collection, progress) as on_page,
        ):
            table, report = harvest(transport, boxes, wanted, on_page=on_page, pool=pool)
        self.last_report = report
        metadata = self._metadata(query, provider, preserve_thumbnails, report)
        return Catalog(table, metadata)

    @contextmanager
    def _connections(self) -> Iterator[tuple[Transport, Pool | None]]:
        """Yield the transport of a fetch, and the pool for its slices."""
        if self._transport is not None:
            yield self._login_to(self._transport), None
            return
        gate = Gate()

        def make() -> Transport:
            return self._login_to(Transport(self.timeout, gate=gate))

        pool = Pool(make, self.connections) if self.connections > 1 else None
        with make() as transport:
            try:
                yield transport, pool
            finally:
                if pool is not None:
                    pool.close()

    def _login_to(self, transport: Transport) -> Transport:
        if self._login is not None:
            transport.session.auth = self._login
        return transport

    def _box(self, area: Area, interval: Interval, label: str) -> BoxSearch:
        """Return the search of a box between two times, which can be cut further."""

        def slices(count: int) -> list[BoxSearch]:
            return [
                self._box(area, part, f"{label}slice {part[0]:%Y-%m-%dT%H:%M:%SZ} ")
                for part in cut(interval, count)
            ]

        seconds = (interval[1] - interval[0]).total_seconds()
        return BoxSearch(
            bbox=area.box,
            first=self._search(area, interval, area.limit),
            count=self._search(area, interval, 1),
            label=label,
            slices=slices if seconds > SHORTEST_SLICE else None,
        )

    def _search(self, area: Area, interval: Interval, limit: int) -> ApiRequest:
        url = "/".join(part for part in (self.root_url, area.provider, "search") if part)
        between = "/".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in interval)
        if self.method == "POST":
            body = {
                "collections": [area.query.collection],
                "bbox": list(area.box),
                "datetime": between,
                "limit": limit,
            }
            return ApiRequest(url, "POST", body)
        parameters = {
            "collections": area.query.collection,
            "bbox": ",".join(format(side, ".15g") for side in area.box),
            "datetime": between,
            "limit": limit,
        }
        return ApiRequest(f"{url}?{urlencode(parameters, safe=',:/')}")

    def _metadata(
        self, query: Query, provider: str, preserve_thumbnails: bool, report: HarvestReport
    ) -> dict[str, Any]:
        return {
            "source": "CMR-STAC",
            "stac_root": self.root_url,
            "provider": provider,
            "collection": query.collection,
            "short_name": query.short_name,
            "version": query.version,
            "start_date": query.start_date,
            "end_date": query.end_date,
            "bbox": list(query.bbox),
            "cycle": query.cycle,
            "cycle_convention": None if query.cycle is None else query.convention,
            "preserve_thumbnails": preserve_thumbnails,
            "total_granules": report.kept,
            "complete": report.complete,
            "harvest": report.to_dict(),
        }


def cut(interval: Interval, count: int) -> list[Interval]:
    """Cut a time range into equal parts of whole seconds that share their borders."""
    start, end = interval
    seconds = round((end - start).total_seconds())
    count = max(1, min(count, seconds))
    borders = [start + timedelta(seconds=seconds * i // count) for i in range(count + 1)]
    return list(itertools.pairwise(borders))


def _check_root(root: str) -> tuple[str, tuple[str, str] | None]:
    """Return the root without userinfo, and the userinfo for the session."""
    try:
        parts = urlsplit(root.strip())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query
        _ = parts.port
    except (ValueError, AttributeError):
        good = False
    if not good:
        raise InvalidQuery(
            "The root of a STAC API is an address such as https://cmr.earthdata.nasa.gov/stac, "
            f"without a query, not {clean_text(str(root))!r}."
        )
    login = (parts.username, parts.password or "") if parts.username else None
    return without_userinfo(root.strip()).rstrip("/"), login
