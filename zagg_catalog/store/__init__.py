"""The store: immutable objects and pointers, in a local folder or an S3 bucket."""

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
