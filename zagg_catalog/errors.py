"""The errors of zagg-catalog: one base, and one subclass for each thing that can be wrong.

Errors of bad input are also ``ValueError``, errors of a missing file also ``FileNotFoundError``.
"""


class ZaggCatalogError(Exception):
    """Base of every error that zagg-catalog raises on purpose.

    Attributes
    ----------
    exit_code : int
        What the command line ends with: 1 where the data is wrong, 2 where the call is.
    """

    exit_code = 1


class InvalidQuery(ZaggCatalogError, ValueError):
    """Raised when a query, cycle, date or region cannot be understood."""

    exit_code = 2


class InputNotFound(InvalidQuery, FileNotFoundError):
    """Raised when a file that a command names does not exist."""


class InvalidRegion(InvalidQuery):
    """Raised when a region file or box is not a usable area on the Earth."""


class RegionNotFound(InvalidRegion, FileNotFoundError):
    """Raised when a region file does not exist."""


class InvalidConfig(ZaggCatalogError, ValueError):
    """Raised when a pipeline config does not define a spatial grid."""

    exit_code = 2


class ConfigNotFound(InvalidConfig, FileNotFoundError):
    """Raised when a pipeline config does not exist."""


class InvalidGrid(ZaggCatalogError, ValueError):
    """Raised when grid parameters or shard keys are outside what the grid allows."""

    exit_code = 2


class InvalidOption(ZaggCatalogError, ValueError):
    """Raised when a build option has a value that is not allowed."""

    exit_code = 2


class InvalidCatalog(ZaggCatalogError, ValueError):
    """Raised when a file or table is not a usable granule catalog."""


class CatalogNotFound(InvalidCatalog, FileNotFoundError):
    """Raised when a catalog file does not exist."""


class InvalidShardMap(ZaggCatalogError, ValueError):
    """Raised when a manifest is malformed."""


class ShardMapNotFound(InvalidShardMap, FileNotFoundError):
    """Raised when a manifest does not exist."""


class UnknownShard(ZaggCatalogError, LookupError):
    """Raised when shards are asked for that a shard map does not have; names them."""

    exit_code = 2


class SignatureMismatch(ZaggCatalogError, ValueError):
    """Raised when a shard map was built for another grid than the one it is used with."""


class MissingBackend(ZaggCatalogError, ImportError):
    """Raised when a geometry backend was asked for that is not installed."""

    exit_code = 2


class FetchError(ZaggCatalogError):
    """Raised when a STAC API cannot be read; the message names the request."""


class RequestFailed(FetchError):
    """Raised when one request is refused, or still fails after its retry budget is spent.

    Attributes
    ----------
    final : bool
        Whether the same request would be refused later, too.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class BadResponse(FetchError):
    """Raised when an API answers with something that is not the expected JSON."""


class PagingError(FetchError):
    """Raised when a next link has no href, loops, or leads to another origin."""


class IncompleteHarvest(FetchError):
    """Raised when fewer or more granules were harvested than the server declares."""


class EmptyHarvest(FetchError, ValueError):
    """Raised when a query matches no granule at all, or none that is left.

    Attributes
    ----------
    matched : int
        Granules that matched, all of which were set aside.
    """

    def __init__(self, message: str, *, matched: int = 0) -> None:
        super().__init__(message)
        self.matched = matched


class StoreError(ZaggCatalogError):
    """Raised when an object or pointer cannot be stored or read; base of the store's errors."""


class InvalidName(StoreError, ValueError):
    """Raised when a store's URL, a key or a part of one is not a usable name."""

    exit_code = 2


class ObjectMissing(StoreError, LookupError, FileNotFoundError):
    """Raised when the store has nothing under a key."""


class ContentNotFound(StoreError, FileNotFoundError):
    """Raised when a file to be stored does not exist."""


class CorruptObject(StoreError):
    """Raised when content does not have the digest that its name says."""


class PointerConflict(StoreError):
    """Raised when someone else moved a pointer first; reading it again and retrying is fine."""


class UnsafePointerStore(StoreError):
    """Raised when a server ignores conditional writes, so that pointers could be overwritten."""


class StoreUnavailable(StoreError):
    """Raised when a store refuses, or still fails after the retries; the message says why.

    Attributes
    ----------
    transient : bool
        Whether the same call may succeed later.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class InvalidRelease(ZaggCatalogError, ValueError):
    """Raised when a release or what is to become one does not fit together."""


class InvalidRegistry(ZaggCatalogError, ValueError):
    """Raised when the registry or a file that it names cannot be used; names every problem."""

    exit_code = 2


class RegistryNotFound(InvalidRegistry, FileNotFoundError):
    """Raised when the registry does not exist."""


class PickupRefused(ZaggCatalogError):
    """Raised when a release must not be aggregated; the message says why and what to do."""


class PickupBusy(ZaggCatalogError):
    """Raised when another run aggregates the same grid and did not end in time."""


class MissingAggregator(ZaggCatalogError, ImportError):
    """Raised when zagg is not installed; the message has the command that runs it elsewhere."""


class AggregationFailed(ZaggCatalogError):
    """Raised when zagg was started and did not finish; the message says how it ended."""


class InvalidCursor(ZaggCatalogError, ValueError):
    """Raised when what the watch keeps in the store is not what it wrote; the message names it."""


class NotifyFailed(ZaggCatalogError):
    """Raised when Prefect's API cannot be told of a cycle; the message says why."""
