"""The collection of a search of CMR, asked for at most once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from zagg_catalog.errors import BadResponse
from zagg_catalog.sources.http import ApiRequest, Transport
from zagg_catalog.sources.orbit import swath_of
from zagg_catalog.sources.umm import Collection


class CollectionLookup:
    """The collection of a short name, version and provider; threads share one lookup.

    `found` has only the name until `ask` is called. `root` is the URL of the search API.
    """

    def __init__(self, root: str, short_name: str, version: str | int, provider: str) -> None:
        self.root = root.rstrip("/")
        self.found = Collection(name=f"{short_name}_{version}")
        self._short_name = short_name
        self._version = str(version)
        self._provider = provider
        self._asked = False
        self._lock = threading.Lock()

    def ask(self, transport: Transport) -> None:
        """Ask CMR for titles, concept ids and orbit of the collection, the first time only.

        Raises
        ------
        BadResponse
            If CMR has no such collection.
        RequestFailed
            If CMR cannot be read.
        """
        with self._lock:
            if not self._asked:
                self.found = self._read(transport)
                self._asked = True

    def _read(self, transport: Transport) -> Collection:
        parameters = {
            "short_name": self._short_name,
            "version": self._version,
            "provider": self._provider,
        }
        request = ApiRequest(f"{self.root}/collections.umm_json?{encode(parameters)}")
        items = transport.get_json(request, needs="items")["items"]
        records = [item for item in items if _has_record(item)]
        if not records:
            raise BadResponse(
                f"{request} finds no collection, so that it is not known whether the granules are "
                f"of {self.found.name}; check the address of CMR."
            )
        swaths = [swath_of(self._short_name, item["umm"]) for item in records]
        return Collection(
            name=self.found.name,
            concepts=frozenset(filter(None, (_concept(item) for item in records))),
            titles=frozenset(
                title for item in records if isinstance(title := item["umm"].get("EntryTitle"), str)
            ),
            swath=next(filter(None, swaths), None),
        )


def encode(parameters: Mapping[str, str | list[str]]) -> str:
    """Return search parameters as a query string, without empty ones; a list repeats its name."""
    given = {k: v for k, v in parameters.items() if v}
    return urlencode(given, doseq=True, quote_via=quote, safe=":*,")


def _has_record(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("umm"), dict)


def _concept(item: Mapping[str, Any]) -> str | None:
    meta = item.get("meta")
    concept = meta.get("concept-id") if isinstance(meta, dict) else None
    return concept if isinstance(concept, str) else None
