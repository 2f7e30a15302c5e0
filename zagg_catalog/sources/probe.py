"""Probes: how many granules a source has, and how many were revised, at one request each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from zagg_catalog.cycles import cycle_to_dates
from zagg_catalog.errors import BadResponse
from zagg_catalog.granule_names import parse_granule_name
from zagg_catalog.sources.cmr import by_name, cycle_pattern, granules_url
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.query import PROVIDER
from zagg_catalog.sources.source import ApiName, CMRSource
from zagg_catalog.sources.stac import declared_count, search_url
from zagg_catalog.sources.umm_collection import encode

# Up to this many granules are counted by name, as those of neighbouring cycles may match.
FEW = 10


class Probe(Protocol):
    """Counts granules of one product; its methods raise `FetchError`."""

    @property
    def requests(self) -> int:
        """Requests sent so far, repetitions included."""

    def total(self) -> int:
        """Return the number of granules of the product; one request."""

    def count(self, cycle: int) -> int:
        """Return the number of granules of a mission cycle; one request."""

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        """Return the number of granules added or replaced since a time; one request.

        None, without a request, if the source does not know.
        """


class StacProbe:
    """Counts granules of a collection by searches of a STAC API.

    A cycle is counted by its time, so that a granule across its border counts for both cycles;
    up to ten granules are counted by name. STAC items have no time of ingest or change, so
    revisions are not known. `url` is that of the search, ``https://…/stac/NSIDC_CPRD/search``.
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
        """Return None: a STAC API does not know."""
        return None

    def _ask(self, parameters: dict[str, Any]) -> tuple[int, list[Any]]:
        query = {"collections": self._collection} | parameters
        request = ApiRequest(f"{self._url}?{urlencode(query, safe=',:/')}")
        page = self._transport.get_json(request)
        count = declared_count(page)
        if count is None:
            raise BadResponse(
                f"{request} declares no count (numberMatched or context.matched), so the product"
                " cannot be watched there; use an API that does."
            )
        return count, page["features"]


class CmrProbe:
    """Counts granules by CMR's own search, which counts exactly and knows revisions."""

    def __init__(
        self, transport: Transport, root: str, short_name: str, version: str, provider: str
    ) -> None:
        self._transport = transport
        self._url = granules_url(root)
        self._short_name = short_name
        self._granules = {"short_name": short_name, "version": version, "provider": provider}

    @property
    def requests(self) -> int:
        """Requests sent so far, repetitions included."""
        return self._transport.requests

    def total(self) -> int:
        """See `Probe`."""
        return self._ask({})

    def count(self, cycle: int) -> int:
        """See `Probe`; exact, by the cycle in the names.

        Granules of a multi-cycle product, such as ATL11, are counted by time.
        """
        return self._ask(self._of_cycle(cycle))

    def revised(self, since: datetime, cycle: int | None = None) -> int | None:
        """See `Probe`."""
        when = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self._ask(
            {"updated_since": when, **({} if cycle is None else self._of_cycle(cycle))}
        )

    def _of_cycle(self, cycle: int) -> dict[str, str | list[str]]:
        pattern = cycle_pattern(self._short_name, cycle)
        if pattern is not None:
            return by_name(pattern)
        return {
            "temporal[]": ",".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in cycle_to_dates(cycle))
        }

    def _ask(self, parameters: dict[str, str | list[str]]) -> int:
        query = encode({**self._granules, **parameters, "page_size": "0"})
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
    """Open the probe of a product such as ``ATL06_007``, with its own connections.

    `root` and `api` default to the settings; `provider` is empty for an API without
    sub-catalogs. Raises `InvalidQuery` if the root is not a URL.
    """
    short_name, _, version = product.rpartition("_")
    source = CMRSource(root_url=root, api=api)
    with source.connect() as transport:
        if source.api == "cmr":
            yield CmrProbe(transport, source.root_url, short_name, version, provider)
        else:
            yield StacProbe(transport, search_url(source.root_url, provider), product)


def _carries(name: Any, cycle: int) -> bool:
    """Return whether a granule is of the cycle; True if its name cannot be parsed."""
    parts = parse_granule_name(name) if isinstance(name, str) else None
    return parts is None or parts.cycle <= cycle <= parts.last_cycle
