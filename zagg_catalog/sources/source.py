"""CMRSource: a Query to a Catalog, from CMR-STAC, another STAC API, or CMR itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from zagg_catalog.catalog.completeness import IncompleteCatalog, explain_missing
from zagg_catalog.catalog.geoparquet import GROUP_ROWS, write_catalog
from zagg_catalog.catalog.harvest_report import HarvestReport, total
from zagg_catalog.catalog.table import Catalog
from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import BadResponse, EmptyHarvest, InvalidQuery
from zagg_catalog.jsonio import canonical_digest
from zagg_catalog.messages import utc_now
from zagg_catalog.settings import get_settings
from zagg_catalog.sources.checkpoint import StoredSlices
from zagg_catalog.sources.cmr import cmr_searches
from zagg_catalog.sources.earthdata import check_root, earthdata_auth
from zagg_catalog.sources.harvest import Harvest, harvest
from zagg_catalog.sources.http import PACKAGE_VERSION, Transport
from zagg_catalog.sources.progress import OnPage, show_progress
from zagg_catalog.sources.query import Query
from zagg_catalog.sources.received import Received
from zagg_catalog.sources.search import BoxSearch
from zagg_catalog.sources.spool import Spool
from zagg_catalog.sources.stac import stac_searches
from zagg_catalog.sources.update import CannotUpdate, Previous, Update

Method = Literal["GET", "POST"]
ApiName = Literal["stac", "cmr"]

# CMR needs seconds for a page of 2,000 granules; more connections gain little and load it.
CMR_CONNECTIONS = 4
# More than the error of a computed border of cycles, 98 s, and less than the time of a granule.
BORDER = timedelta(minutes=2)


class FetchOptions(TypedDict, total=False):
    """Options of a fetch; see `CMRSource.fetch`."""

    preserve_thumbnails: bool
    limit: int
    partial: bool
    progress: bool | OnPage | None
    checkpoint: str | Path | StoredSlices | None
    previous: Previous | None


class CMRSource:
    """Fetch granule metadata from NASA's CMR-STAC, another STAC API, or CMR's own search.

    Parameters
    ----------
    provider : str, optional
        Overrides the query's provider, which is the sub-catalog of the root. Empty for an API
        without sub-catalogs.
    timeout : float, optional
        Seconds for one request. Default: the setting ``ZAGG_CATALOG_TIMEOUT``, 60.
    root_url : str, optional
        Root of the API; searches go to ``{root_url}/{provider}/search``. Default: the setting
        ``ZAGG_CATALOG_STAC_ROOT``, NASA's CMR-STAC. With ``api="cmr"`` searches go to
        ``{root_url}/granules.umm_json``; default: ``ZAGG_CATALOG_CMR_ROOT``, NASA's CMR.
    method : {"GET", "POST"}, optional
        Method of searches; some servers support paging by only one. Default: the setting
        ``ZAGG_CATALOG_STAC_METHOD``, GET.
    connections : int, optional
        Number of connections of a large fetch. Default: the setting
        ``ZAGG_CATALOG_CONNECTIONS``, 8.
    api : {"stac", "cmr"}, optional
        API to use. Default: the setting ``ZAGG_CATALOG_API``, stac.
    transport : Transport, optional
        Used instead of a new one per fetch, and not closed; pages are then read one after
        another.

    Attributes
    ----------
    last_report : HarvestReport or None
        Report of the last fetch that succeeded, with its transfer figures.
    last_received : Received or None
        What the last fetch received beside its catalog, for `Previous`; None if it is of no use.

    Raises
    ------
    InvalidQuery
        If the root is not an HTTP URL, or the method or API is unknown.

    Examples
    --------
    >>> catalog = CMRSource().fetch(query)
    >>> other = CMRSource(root_url="https://stac.example.org", provider="", timeout=120)
    """

    def __init__(
        self,
        provider: str | None = None,
        timeout: float | None = None,
        *,
        root_url: str | None = None,
        method: Method | None = None,
        connections: int | None = None,
        api: ApiName | None = None,
        transport: Transport | None = None,
    ) -> None:
        settings = get_settings()
        self.api: ApiName = settings.api if api is None else api
        if self.api not in ("stac", "cmr"):
            raise InvalidQuery(f"The API is 'stac' or 'cmr', not {self.api!r}.")
        default = settings.stac_root if self.api == "stac" else settings.cmr_root
        root = default if root_url is None else root_url
        self.provider = provider
        self.timeout = timeout
        self.root_url, self._login = check_root(root)
        self.method = settings.stac_method if method is None else method
        if self.method not in ("GET", "POST"):
            raise InvalidQuery(f"A search is sent by GET or POST, not {self.method!r}.")
        most = settings.connections
        if self.api == "cmr":
            most = min(most, CMR_CONNECTIONS)
        self.connections = most if connections is None else connections
        self.last_report: HarvestReport | None = None
        self.last_received: Received | None = None
        self._transport = transport

    def fetch(
        self,
        query: Query,
        *,
        preserve_thumbnails: bool = False,
        limit: int = 2000,
        partial: bool = False,
        progress: bool | OnPage | None = None,
        checkpoint: str | Path | StoredSlices | None = None,
        previous: Previous | None = None,
    ) -> Catalog:
        """Run a query and return its Catalog, proven complete.

        Parameters
        ----------
        query : Query
            Product, time range and region.
        preserve_thumbnails : bool, default False
            Keep thumbnails and browse images.
        limit : int, default 2000
            Page size hint, at most 5000 for a STAC API and 2000 for CMR; servers may reduce it.
        partial : bool, default False
            Return the granules received even if they cannot be proven complete;
            ``Catalog.complete`` is then False. A request that fails still raises. Do not warn of
            granules that cannot be used.
        progress : bool or callable, optional
            Show a bar on standard error; by default only on a terminal. A callable is called with
            the granules received so far and the declared count, or None.
        checkpoint : str, Path or StoredSlices, optional
            Folder for finished slices of a large fetch, deleted when it succeeds. A fetch that was
            killed continues from it within six hours, and returns the same catalog.
        previous : Previous, optional
            An earlier fetch of the same query: only what may have changed is asked for, and the
            catalog is the one that a full fetch gives. If the server's counts do not prove it, or
            the earlier fetch was another one, everything is fetched, and ``full_because`` of
            `last_report` is the reason. Of a STAC API, counts do not show changes that leave the
            number of granules as it is.

        Returns
        -------
        Catalog
            Rows sorted by id. ``metadata`` has the query, ``complete``, and the ``harvest``
            report; it depends on the content of the server only. A table of more than 50,000
            rows is memory-mapped from a deleted file.

        Warns
        -----
        IncompleteCatalog
            If granules cannot be used; it names them, ``complete`` is false, and ``quarantined``
            lists them with the reasons. Not with `partial`.

        Raises
        ------
        IncompleteHarvest
            If the granules received cannot be proven complete.
        EmptyHarvest
            If no granule matches.
        RequestFailed, BadResponse, PagingError
            If the API cannot be read.
        InvalidQuery
            If the limit is not a positive number, or the checkpoint is not a folder.

        Examples
        --------
        >>> query = Query.for_cycle("ATL06", "007", 22, "jakobshavn.gpkg")
        >>> catalog = CMRSource().fetch(query, checkpoint="slices")
        """
        with self._harvest(
            query,
            preserve_thumbnails=preserve_thumbnails,
            limit=limit,
            partial=partial,
            progress=progress,
            checkpoint=checkpoint,
            previous=previous,
        ) as (found, metadata):
            return Catalog.of_checked(found.table(), metadata)

    def fetch_to(
        self, query: Query, path: str | Path, **options: Unpack[FetchOptions]
    ) -> HarvestReport:
        """Run a query and write its catalog to a stac-geoparquet file.

        The file is the same as with `fetch` and `Catalog.to_geoparquet`, byte for byte, but
        20,000 rows are written at a time, so that memory does not grow with the number of
        granules. An interrupted fetch leaves no partial file.

        Parameters
        ----------
        query : Query
            Product, time range and region.
        path : str or Path
            File to write.
        **options
            ``preserve_thumbnails``, ``limit``, ``partial``, ``progress``, ``checkpoint`` and
            ``previous`` of `fetch`.

        Returns
        -------
        HarvestReport
            Also in ``last_report``.

        Raises
        ------
        FetchError, InvalidQuery
            See `fetch`.
        """
        with self._harvest(query, **options) as (found, metadata):
            write_catalog(path, found.tables(GROUP_ROWS), metadata)
        return found.report

    def count(self, query: Query) -> int | None:
        """Return how many granules the API declares for a query now, one request for each search.

        Other cycles on the first and last day are left out: a STAC API is asked for the time of the
        cycle, CMR for its number. Other filters by name count with CMR only. A granule in two boxes
        counts twice. None if the API declares no count; raises `FetchError` if it cannot be read.
        """
        searches = self._searches(query, 1)
        if self.api == "stac" and query.name_cycle is not None:
            searches = _within_cycle(searches, query.name_cycle)
        with self.connect() as transport:
            return total([one.read_count(transport) for one in searches])

    def declared(self, query: Query, *, limit: int = 2000, slices: int = 1) -> tuple[int, int]:
        """Return how many granules a source declares for a query, and what a fetch would ask.

        Parameters
        ----------
        query : Query
            Product, time range and region.
        limit : int
            Page size of the fetch.
        slices : int
            Number of slices of time that the fetch is cut into.

        Returns
        -------
        granules : int
            Sum of the counts of its searches; granules in two of them count twice. One request
            is sent for each search.
        requests : int
            Estimate of the requests of a fetch: its pages, and two for each search of a slice.

        Raises
        ------
        RequestFailed, BadResponse
            If the API cannot be read, or declares no count.
        """
        granules = requests = 0
        with self.connect() as transport:
            for search in self._searches(query, limit):
                count = search.read_count(transport)
                if count is None:
                    raise BadResponse(f"{search.first} declares no count.")
                granules += count
                requests += count // search.limit + 2 * slices
        return granules, requests

    def update(
        self,
        query: Query,
        previous: Previous,
        *,
        preserve_thumbnails: bool = False,
        limit: int = 2000,
        partial: bool = False,
        progress: bool | OnPage | None = None,
    ) -> Catalog:
        """Return the catalog of a query from an earlier fetch and what has changed since.

        As `fetch` with ``previous``, but it raises instead of fetching everything.

        Parameters
        ----------
        query : Query
            Product, time range and region, those of the earlier fetch.
        previous : Previous
            The earlier fetch.
        preserve_thumbnails, limit, partial, progress
            See `fetch`.

        Returns
        -------
        Catalog
            The catalog that a full fetch gives.

        Raises
        ------
        CannotUpdate
            If the earlier fetch was another one, or the counts do not prove the result.
        FetchError, InvalidQuery
            See `fetch`.
        """
        with self._harvest(
            query,
            preserve_thumbnails=preserve_thumbnails,
            limit=limit,
            partial=partial,
            progress=progress,
            previous=previous,
            only_update=True,
        ) as (found, metadata):
            return Catalog.of_checked(found.table(), metadata)

    def connect(self) -> AbstractContextManager[Transport]:
        """Return a context manager for the source's transport, which stays open, or a new one."""
        transport = self._transport or Transport(self.timeout, connections=self.connections)
        if self._login is not None:
            transport.session.auth = self._login
        elif (auth := earthdata_auth(self.root_url, get_settings())) is not None:
            transport.session.auth, transport.secret = auth, auth.token
        return transport if self._transport is None else nullcontext(transport)

    @contextmanager
    def _harvest(
        self,
        query: Query,
        *,
        preserve_thumbnails: bool = False,
        limit: int = 2000,
        partial: bool = False,
        progress: bool | OnPage | None = None,
        checkpoint: str | Path | StoredSlices | None = None,
        previous: Previous | None = None,
        only_update: bool = False,
    ) -> Iterator[tuple[Harvest, dict[str, Any]]]:
        """Yield the rows of a query, readable within the context, and the catalog's metadata."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidQuery(f"limit is a whole number from 1, not {limit!r}.")
        searches = self._searches(query, limit)
        spool = Spool(
            query.collection,
            preserve_thumbnails=preserve_thumbnails,
            data_asset=query.asset,
            checkpoint=(
                checkpoint if isinstance(checkpoint, StoredSlices | None) else Path(checkpoint)
            ),
            facts={
                "api": self.api,
                "root": self.root_url,
                "searches": [str(search.first) for search in searches],
                "thumbnails": preserve_thumbnails,
                "data_asset": str(query.asset),
            },
        )
        sliced = self._transport is None and (self.connections > 1 or checkpoint is not None)
        began, why, found = utc_now(), None, None
        key = self.fetch_key(query, preserve_thumbnails=preserve_thumbnails)
        with spool:
            with self.connect() as transport, show_progress(query.collection, progress) as shown:
                if previous is not None:
                    known = self._metadata(query, preserve_thumbnails)
                    try:
                        held = previous.read(key, known)
                        update = Update(transport, searches[0], spool, shown, held)
                        found, began = update.harvest(query.filters), held.received.facts.full_at
                    except CannotUpdate as error:
                        if only_update:
                            raise
                        why = str(error)
                if found is None:
                    found = self._find(
                        query,
                        searches,
                        limit,
                        transport=transport,
                        spool=spool,
                        partial=partial,
                        connections=self.connections if sliced else None,
                        progress=shown,
                    )
            if why is not None:
                found = found.full_because(why)
            self.last_report = found.report
            self.last_received = found.received(key, began)
            yield found, self._metadata(query, preserve_thumbnails, found.report)
            # The caller has read the rows, so that no later fetch needs the checkpoint.
            spool.clear()
        if not (found.report.complete or partial):
            lacks = explain_missing({"harvest": found.report.model_dump()})
            # At the caller of `fetch`, above this generator and its context manager.
            warnings.warn(
                IncompleteCatalog(f"The catalog of {query.collection} is incomplete: {lacks}."),
                stacklevel=4,
            )

    def fetch_key(self, query: Query, *, preserve_thumbnails: bool = False) -> str | None:
        """Return a digest of all that the result of a fetch depends on but the server's content.

        None for a query of several searches, which cannot be updated.
        """
        searches = self._searches(query, 1)
        if len(searches) != 1:
            return None
        facts = [PACKAGE_VERSION, self.api, str(searches[0].first), preserve_thumbnails]
        return canonical_digest([*facts, str(query.asset)])

    def _find(
        self,
        query: Query,
        searches: list[BoxSearch],
        limit: int,
        *,
        transport: Transport,
        spool: Spool,
        **options: Any,
    ) -> Harvest:
        """Harvest the searches of a query; search again if some names are not found as ids."""
        if self._by_id(query):
            with suppress(EmptyHarvest):
                found = harvest(transport, searches, spool, filters=query.filters, **options)
                if not found.report.missing:
                    return found
            searches = self._searches(query, limit, by_id=False)
        return harvest(transport, searches, spool, filters=query.filters, **options)

    def _by_id(self, query: Query) -> bool:
        """Return whether a STAC API selects granule names as ids."""
        return self.api == "stac" and bool(query.filters.granules)

    def _searches(self, query: Query, limit: int, *, by_id: bool = True) -> list[BoxSearch]:
        provider = self._provider(query)
        if self.api == "stac":
            by_id = by_id and self._by_id(query)
            return stac_searches(self.root_url, query, provider, limit, self.method, by_id=by_id)
        if not provider:
            raise InvalidQuery(
                "CMR itself needs a provider, such as NSIDC_CPRD; others list the same products."
            )
        if not query.version:
            raise InvalidQuery(
                f"CMR itself needs the version of {query.short_name}; only a STAC API has"
                " collections whose id is not short name and version."
            )
        return cmr_searches(self.root_url, query, provider, limit)

    def _provider(self, query: Query) -> str:
        return query.provider if self.provider is None else self.provider

    def _metadata(
        self, query: Query, preserve_thumbnails: bool, report: HarvestReport | None = None
    ) -> dict[str, Any]:
        """Return the metadata of a catalog; without a report those of the query."""
        metadata = {
            "source": "CMR-STAC" if self.api == "stac" else "CMR",
            f"{self.api}_root": self.root_url,
            "provider": self._provider(query),
            "collection": query.collection,
            "short_name": query.short_name,
            "version": query.version,
            "start_date": query.start_date,
            "end_date": query.end_date,
            "bbox": list(query.bbox),
            "area": [list(box) for box in query.boxes],
            "cycle": query.cycle,
            "cycle_convention": None if query.cycle is None else query.convention,
            **({"filters": query.filter_values} if query.filter_values else {}),
            **({"data_asset": query.data_asset} if query.data_asset else {}),
            "preserve_thumbnails": preserve_thumbnails,
        }
        if report is None:
            return metadata
        harvest = report.to_dict()
        return metadata | {
            "total_granules": report.kept,
            "complete": report.complete,
            "quarantined": harvest["quarantined"],
            "harvest": harvest,
        }


def _within_cycle(searches: Sequence[BoxSearch], cycle: int) -> list[BoxSearch]:
    """Return searches for the time of a cycle, without the neighbours that touch its borders."""
    start, end = cycle_to_dates(cycle)
    start, end = start + BORDER, end - BORDER
    return [
        one.between((max(one.interval[0], start), min(one.interval[1], end))) for one in searches
    ]
