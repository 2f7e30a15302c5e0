"""Where catalogs, shard maps and releases are kept: a local folder or an S3 bucket.

Objects are immutable and named by the SHA-256 of their content; pointers are the only names
whose content changes, by compare-and-swap.
"""

from zagg_catalog.store.base import ObjectInfo, ObjectRef, Pointer, Store, UnsafeStoreWarning
from zagg_catalog.store.keys import check_key, check_name
from zagg_catalog.store.local import LocalStore
from zagg_catalog.store.open import open_store

__all__ = [
    "LocalStore",
    "ObjectInfo",
    "ObjectRef",
    "Pointer",
    "Store",
    "UnsafeStoreWarning",
    "check_key",
    "check_name",
    "open_store",
]
