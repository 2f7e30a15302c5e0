"""The index of a store: a page of its products, regions and cycles, renewed with each change."""

from zagg_catalog.index.model import INDEX_KEY, Index
from zagg_catalog.index.renew import (
    Checked,
    Renewed,
    check_index,
    renew_index,
    try_to_renew_index,
)

__all__ = [
    "INDEX_KEY",
    "Checked",
    "Index",
    "Renewed",
    "check_index",
    "renew_index",
    "try_to_renew_index",
]
