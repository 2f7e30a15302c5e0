"""Probes: cheap questions to a source, how many granules there are and how many were revised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from zagg_catalog.cycles import cycle_to_dates, parse_granule_name
from zagg_catalog.errors import BadResponse
from zagg_catalog.sources.cmr import by_name, cycle_pattern, encode, granules_url
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.sources.source import ApiName, CMRSource
from zagg_catalog.sources.stac import declared_count, search_url

# So few granules are counted by their names, since a neighbour's may reach over the border.
FEW = 10


class Probe(Protocol):
    """Cheap questions about one product.

    What it raises is a `FetchError`.
    """

    @property
    def requests(self) -> int:
        """Requests sent so far, repetitions included."""

    def total(self) -> int:
        """Return how many granules the product has; one request."""

    def count(self, cycle: int) -> int:
        """Return how many granules a mission cycle has; one request."""

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        """Return how many granules were added or replaced since then; one request.

        Returns
        -------
        int or None
            None, without a request, where the source cannot tell.
        """


class StacProbe:
    """Asks a STAC API, by searches for a page that is hardly read.

    A cycle is counted by its time. So the one granule that may reach over each border counts
    for both neighbours; ten granules and fewer are counted by their names. A STAC item does
    not say when it was ingested or changed, so revisions are not known.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    url : str
        ``https://…/stac/NSIDC_CPRD/search``.
    collection : str
        ``ATL06_007``.
    """

    def __init__(self, transport: Transport, url: str, collection: str) -> None:
        self._transport = transport
        self._url = url
        self._collection = collection

    @property
    def requests(self) -> int:
        """Requests sent so far, repetitions included."""
        return self._transport.requests

    def total(self) -> int:
        """See `Probe`."""
        return self._ask({"limit": 1})[0]

    def count(self, cycle: int) -> int:
        """See `Probe`."""
        start, end = cycle_to_dates(cycle)
        between = "/".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in (start, end))
        count, items = self._ask({"datetime": between, "limit": FEW})
        if count != len(items):
            return count
        return sum(_carries(item.get("id"), cycle) for item in items if isinstance(item, dict))

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        """Return None: a STAC API cannot tell."""
        return None

    def _ask(self, parameters: dict[str, Any]) -> tuple[int, list[Any]]:
        given = {"collections": self._collection} | parameters
        request = ApiRequest(f"{self._url}?{urlencode(given, safe=',:/')}")
        page = self._transport.get_json(request)
        count = declared_count(page)
        if count is None:
            raise BadResponse(
                f"{request} declares no count (numberMatched or context.matched), so the product"
                " cannot be watched there; use an API that does."
            )
        return count, page["features"]


class CmrProbe:
    """Asks CMR itself, which counts exactly and knows what was revised.

    Parameters
    ----------
    transport : Transport
        Sends the requests.
    root : str
        ``https://cmr.earthdata.nasa.gov/search``.
    short_name, version : str
        ``ATL06``, ``007``.
    provider : str
        ``NSIDC_CPRD``.
    """

    def __init__(
        self, transport: Transport, root: str, short_name: str, version: str, provider: str
    ) -> None:
        self._transport = transport
        self._url = granules_url(root)
        self._short_name = short_name
        self._given = {"short_name": short_name, "version": version, "provider": provider}

    @property
    def requests(self) -> int:
        """Requests sent so far, repetitions included."""
        return self._transport.requests

    def total(self) -> int:
        """See `Probe`."""
        return self._ask({})

    def count(self, cycle: int) -> int:
        """See `Probe`; by the cycle in the names, so exactly."""
        return self._ask(self._of_cycle(cycle))

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        """See `Probe`."""
        when = {"updated_since": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        return self._ask(when | ({} if cycle is None else self._of_cycle(cycle)))

    def _of_cycle(self, cycle: int) -> dict[str, str]:
        return by_name(cycle_pattern(self._short_name, cycle))

    def _ask(self, parameters: dict[str, str]) -> int:
        query = encode({**self._given, **parameters, "page_size": "0"})
        request = ApiRequest(f"{self._url}?{query}")
        hits = self._transport.get_json(request, needs="items").get("hits")
        if not isinstance(hits, int) or isinstance(hits, bool) or hits < 0:
            raise BadResponse(f"{request} declares no number of hits; it is not a CMR search.")
        return hits


@contextmanager
def open_probe(
    product: str,
    root: str | None = None,
    provider: str = PROVIDER,
    *,
    api: ApiName | None = None,
) -> Iterator[StacProbe | CmrProbe]:
    """Open the probe of a product, with connections of its own.

    Parameters
    ----------
    product : str
        ``ATL06_007``.
    root : str, optional
        Root of the API; by default that of the settings.
    provider : str
        Its sub-catalog, empty for an API without.
    api : {"stac", "cmr"}, optional
        A STAC API, or CMR's own search; by default the setting ``ZAGG_CATALOG_API``.

    Raises
    ------
    InvalidQuery
        If the root is not an address.
    """
    short_name, _, version = product.rpartition("_")
    source = CMRSource(root_url=root, api=api)
    with source.connect() as transport:
        if source.api == "cmr":
            yield CmrProbe(transport, source.root_url, short_name, version, provider)
        else:
            yield StacProbe(transport, search_url(source.root_url, provider), product)


def _carries(name: Any, cycle: int) -> bool:
    """Return whether a granule is of the cycle; one whose name cannot be read counts."""
    parts = parse_granule_name(name) if isinstance(name, str) else None
    return parts is None or parts.cycle <= cycle <= parts.last_cycle
