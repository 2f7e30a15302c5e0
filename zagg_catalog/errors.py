"""Exceptions of zagg-catalog.

Those for bad input are also ``ValueError``, those for a missing file also ``FileNotFoundError``.
"""


class ZaggCatalogError(Exception):
    """Base of every error that zagg-catalog raises on purpose."""

    exit_code = 1
    """Exit status of the command line: 1 if the data is wrong, 2 if the call is wrong."""


class InvalidQuery(ZaggCatalogError, ValueError):
    """Raised when a query, cycle, date or region is not valid."""

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


class InvalidYaml(ZaggCatalogError, ValueError):
    """Raised when a file is not YAML, or too large or deep; the message is a part of a sentence."""

    exit_code = 2


class InvalidGrid(ZaggCatalogError, ValueError):
    """Raised when grid parameters or shard keys are not valid for the grid."""

    exit_code = 2


class InvalidOption(ZaggCatalogError, ValueError):
    """Raised when a build option has a value that is not allowed."""

    exit_code = 2


class InvalidSetting(ZaggCatalogError, ValueError):
    """Raised when a setting of the environment has a value that is not allowed; names each."""

    exit_code = 2


class InvalidCatalog(ZaggCatalogError, ValueError):
    """Raised when a file or table is not a usable granule catalog."""


class CatalogNotFound(InvalidCatalog, FileNotFoundError):
    """Raised when a catalog file does not exist."""


class InvalidShardMap(ZaggCatalogError, ValueError):
    """Raised when a manifest is malformed."""


class UnreadableGranules(InvalidShardMap):
    """Raised when the reader of a config can read no granule of a map."""


class ShardMapNotFound(InvalidShardMap, FileNotFoundError):
    """Raised when a manifest does not exist."""


class EmptyShardMap(ZaggCatalogError, ValueError):
    """Raised when a map has no shard or no pair; the message has the boxes of region and grid."""


class UnknownShard(ZaggCatalogError, KeyError):
    """Raised when requested shards are not in a shard map; the message lists them."""

    exit_code = 2

    # A KeyError shows the repr of its message.
    __str__ = Exception.__str__


class UnknownGranule(ZaggCatalogError, KeyError):
    """Raised when a catalog has no granule of an id."""

    exit_code = 2

    __str__ = Exception.__str__


class SignatureMismatch(ZaggCatalogError, ValueError):
    """Raised when a shard map is used with another grid than the one it was built for."""


class MissingBackend(ZaggCatalogError, ImportError):
    """Raised when the requested geometry backend is not installed."""

    exit_code = 2


class MissingPackage(ZaggCatalogError, ImportError):
    """Raised when an optional package is not installed; the message has the command."""

    exit_code = 2


class FetchError(ZaggCatalogError):
    """Raised when a STAC API cannot be read; the message names the request."""


class RequestFailed(FetchError):
    """Raised when a server refuses a request, or the request still fails after all retries."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        """Whether the server would refuse the same request again."""


class SourceDown(RequestFailed):
    """Raised when a source answers no request of a run, so that the run gives it up."""

    def __init__(self, message: str) -> None:
        super().__init__(message, final=True)


class BadResponse(FetchError):
    """Raised when the answer of an API is not the expected JSON."""


class PagingError(FetchError):
    """Raised when a next link has no href, loops, or leads to another origin."""


class IncompleteHarvest(FetchError):
    """Raised when the number of granules received is not the number that the server declares."""


class EmptyHarvest(FetchError, ValueError):
    """Raised when no granule matches a query, or filtering removes all that match."""

    def __init__(self, message: str, *, matched: int = 0) -> None:
        super().__init__(message)
        self.matched = matched
        """Number of granules that matched before filtering."""


class StoreError(ZaggCatalogError):
    """Raised when an object or pointer cannot be stored or read; base of the store's errors."""


class InvalidName(StoreError, ValueError):
    """Raised when the URL of a store, a key or a part of a key is not valid."""

    exit_code = 2


class ObjectMissing(StoreError, LookupError, FileNotFoundError):
    """Raised when the store has no object with a key."""


class ContentNotFound(StoreError, FileNotFoundError):
    """Raised when a file to be stored does not exist."""


class CorruptObject(StoreError):
    """Raised when content does not have the digest in its name."""


class PointerConflict(StoreError):
    """Raised when another writer replaced a pointer first; read it again and retry."""


class UnsafePointerStore(StoreError):
    """Raised when a server ignores conditional writes, so that a pointer could be overwritten."""


class StoreUnavailable(StoreError):
    """Raised when a store refuses a request, or still fails after all retries."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        """Whether the same call may succeed later."""


class InvalidRelease(ZaggCatalogError, ValueError):
    """Raised when a release, or the parts of a new one, are not valid or do not match."""


class NewerVersion(InvalidRelease):
    """Raised when a newer version of this program wrote a document of a store."""


class InvalidRegistry(ZaggCatalogError, ValueError):
    """Raised when the registry or a file that it names is not valid; lists every problem."""

    exit_code = 2


class RegistryNotFound(InvalidRegistry, FileNotFoundError):
    """Raised when the registry does not exist."""


class PickupRefused(ZaggCatalogError):
    """Raised when a release must not be aggregated; the message has the reason and a remedy."""


class PickupBusy(ZaggCatalogError):
    """Raised when another run aggregates the same grid and does not end in time."""


class MissingAggregator(ZaggCatalogError, ImportError):
    """Raised when zagg is not installed; the message has the command that runs it elsewhere."""


class AggregationFailed(ZaggCatalogError):
    """Raised when a zagg process fails; the message has its exit status or signal."""

    def __init__(self, message: str, *, granules: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.granules = granules
        """File names of the granules that were being read when the process ended."""


class GranulesUnread(AggregationFailed):
    """Raised when zagg could not read granules of some shards; the message names them."""


class OutputUnavailable(AggregationFailed):
    """Raised when zagg's output cannot be opened, read or written; the message has the reason."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.denied = denied
        """Whether the credentials do not allow it."""


class InvalidCursor(ZaggCatalogError, ValueError):
    """Raised when the state of the watch in the store is not valid; the message names its key."""


class NotifyFailed(ZaggCatalogError):
    """Raised when Prefect's API does not accept the event of a cycle."""


class EventRefused(ZaggCatalogError):
    """Raised when an event names a place that the settings do not have, or no cycle."""


class InvalidNotification(ZaggCatalogError, ValueError):
    """Raised when a message of a queue is not a notification of CMR; the message has the reason."""


class QueueUnavailable(ZaggCatalogError):
    """Raised when a queue of notifications is not configured, or its server refuses a request."""
