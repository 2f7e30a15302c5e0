"""Errors that are foreseen: one sentence in the log and in the state, and no traceback."""

from __future__ import annotations

import errno
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from flows.settings import flow_settings
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.messages import clean_text
from zagg_catalog.settings import get_settings

# Most characters of the sentence of an error.
SENTENCE = 1500
# Errors of a folder that an operator can mend.
_FOLDER = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


class PrefectUnavailable(ZaggCatalogError):
    """Raised when the Prefect server of the settings cannot be used."""


class RunFailed(Exception):
    """Result of a run that ends Failed by itself; its message is that of the state."""


def sentence_of(error: object) -> str | None:
    """Return a foreseen error as a sentence; None for an error that needs its traceback."""
    if isinstance(error, ZaggCatalogError):
        return clean_text(str(error), limit=SENTENCE)
    if isinstance(error, OSError) and error.errno in _FOLDER and error.filename:
        path = clean_text(str(error.filename))
        return (
            f"Cannot use {path}: {error.strerror}; check the folder, its permissions and the free"
            " space."
        )
    return None


def error_sentence(error: object, limit: int = 500) -> str:
    """Return an error as a sentence, with its class if it was not foreseen."""
    text = str(error).strip() or "the error has no message."
    return clean_text(sentence_of(error) or f"{type(error).__name__}: {text}", limit=limit)


def plainly[**P](run: Callable[P, Any]) -> Callable[P, Any]:
    """Let a flow that raises a foreseen error end Failed, with the sentence as its message.

    Prefect logs a traceback for any error that a flow raises. The settings are read first, so that
    a wrong one ends the run, whichever part of it would have read them.
    """

    @functools.wraps(run)
    def plain(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            get_settings()
            flow_settings()
            return run(*args, **kwargs)
        except (ZaggCatalogError, OSError) as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            get_run_logger().error("%s", sentence)
            return Failed(message=sentence, data=error)

    # Prefect reads the types of the parameters, whose names are known where the flow is.
    plain.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return plain


def _needs_traceback(record: logging.LogRecord) -> bool:
    """Drop Prefect's traceback of a foreseen error: of a task, and of the process of a run.

    The line of the state, before or after it, has the error.
    """
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return error is None or not (isinstance(error, RunFailed) or sentence_of(error))


for _name in ("flow_runs", "task_runs"):
    logging.getLogger(f"prefect.{_name}").addFilter(_needs_traceback)


@contextmanager
def reaching_prefect() -> Iterator[None]:
    """Turn errors of a Prefect server that cannot be used into `PrefectUnavailable`."""
    try:
        yield
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise PrefectUnavailable(
            f"Prefect's server at {_api_url()} does not answer ({type(error).__name__}); start it,"
            " or correct PREFECT_API_URL."
        ) from None
    except PrefectHTTPStatusError as error:
        raise PrefectUnavailable(_refusal(error.response)) from None


def check_server() -> None:
    """Raise `PrefectUnavailable` if the server of the settings cannot be used.

    Without this the first request of a run would fail, and those of its log as well.
    """
    with reaching_prefect(), get_client(sync_client=True) as client:
        try:
            client.read_work_pools(limit=1)
        except ValueError as error:
            if isinstance(error, (httpx.InvalidURL, PrefectHTTPStatusError)):
                raise
            raise PrefectUnavailable(_no_api("not JSON")) from None


def _refusal(response: httpx.Response) -> str:
    status = response.status_code
    if status in (401, 403):
        return (
            f"Prefect's server at {_api_url()} wants a login (HTTP {status}); set"
            " PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud."
        )
    if status in (404, 405):
        return _no_api(f"HTTP {status}")
    if status < 500:
        text = clean_text(response.text, limit=300)
        return f"Prefect's server at {_api_url()} refuses a request (HTTP {status}): {text}"
    return f"Prefect's server at {_api_url()} fails (HTTP {status}); see its log."


def _no_api(answer: str) -> str:
    return (
        f"The server at {_api_url()} is not an API of Prefect ({answer}); correct PREFECT_API_URL,"
        " which ends with /api."
    )


def _api_url() -> str:
    return clean_text(str(PREFECT_API_URL.value()))
