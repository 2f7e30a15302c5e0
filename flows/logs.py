"""Log lines that say which product, region and cycle they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from zagg_catalog.releases import ReleaseKey

_ABOUT: ContextVar[ReleaseKey | None] = ContextVar("zagg_catalog_about", default=None)


@contextmanager
def log_about(release_key: ReleaseKey) -> Iterator[None]:
    """Let the log lines of flows and tasks in the block name a product, region and cycle.

    Lines that name them already stay as they are. Records get the fields ``product``, ``region``
    and ``cycle``, which a JSON formatter writes; Prefect adds the run.
    """
    before = _ABOUT.set(release_key)
    try:
        yield
    finally:
        _ABOUT.reset(before)


def logged_about() -> ReleaseKey | None:
    """Return what the log lines of this thread or task are about; None if nothing is set."""
    return _ABOUT.get()


def _name(record: logging.LogRecord) -> bool:
    """Add to a record what it is about."""
    about = _ABOUT.get()
    if about is None or hasattr(record, "cycle"):
        return True
    record.product, record.region, record.cycle = about.product, about.region, about.cycle
    if str(about) not in record.getMessage():
        record.msg, record.args = f"{about}: {record.getMessage()}", ()
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_logger).addFilter(_name)
