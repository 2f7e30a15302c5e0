"""Log lines of runs: what they are about, and Prefect's own lines in fewer words."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from prefect import get_run_logger

from flows.jobs import Job
from zagg_catalog.messages import without_userinfo
from zagg_catalog.releases import ReleaseKey
from zagg_catalog.store import Store

# What Prefect logs of a task that has completed or failed, and of one that it tries again.
_COMPLETED = re.compile(r"Finished in state Completed\(.*\)")
_FAILED = re.compile(
    r"Finished in state Failed\((['\"])Task run encountered an exception (?P<error>.*)\1\)",
    re.DOTALL,
)
_RETRY = re.compile(
    r"Task run failed with (?:exception|state): (?:\w+\((['\"]))?(?P<error>.*?)(?:\1\))?"
    r" - Retry (?P<number>\d+)/(?P<total>\d+) will start (?P<when>.*)"
)
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


def log_start(what: str, jobs: Sequence[Job], store: Store) -> None:
    """Log what a run is about to do: product, cycle, source, store and regions."""
    roots = dict.fromkeys(without_userinfo(job.root) for job in jobs)
    get_run_logger().info(
        "%s: from %s into the store %s, for %s.",
        what,
        " and ".join(roots) or "no source",
        store.url,
        ", ".join(job.region.name for job in jobs) or "no region",
    )


def _shorten(record: logging.LogRecord) -> bool:
    """Drop the line of a task that has completed, and shorten those of one that failed.

    A task that failed, crashed or was cancelled keeps a line, with its error.
    """
    text = record.getMessage()
    if record.levelno == logging.INFO and _COMPLETED.fullmatch(text):
        return False
    if found := _FAILED.fullmatch(text):
        record.msg, record.args = f"Failed: {found['error']}", ()
    if found := _RETRY.fullmatch(text):
        when = found["when"].replace("second(s) from now", "s")
        when = re.sub(r"(\d+\.\d)\d+", r"\1", when)
        record.msg = (
            f"Attempt {found['number']} of {int(found['total']) + 1} failed, the next one begins"
            f" {when if when == 'immediately' else f'in {when}'}: {found['error']}"
        )
        record.args = ()
    return True


logging.getLogger("prefect.task_runs").addFilter(_shorten)


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
