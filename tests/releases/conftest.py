"""Something to publish."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.harness import killed
from tests.releases import inputs


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder of inputs: three catalogs of one release key, each with its maps; see `inputs`."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, numbers in inputs.CATALOGS.items():
        inputs.write(folder, name, numbers)
    return folder


@pytest.fixture(autouse=True)
def one_session(monkeypatch):
    """One boto3 session for all stores, which are all opened with the same credentials."""
    monkeypatch.setattr("zagg_catalog.store.s3.make_session", lambda _: killed.SESSION)


@pytest.fixture
def publish(store, files):
    """Publish inputs by name into the store."""
    return lambda name, **options: inputs.publish(store, files, name, **options)


@pytest.fixture
def calls(store, monkeypatch):
    """How often each object and folder was read or written."""
    calls = Counter()

    def counted(method, call):
        def count(key, *arguments):
            calls[method, key] += 1
            return call(key, *arguments)

        return count

    for method in ("list", "get", "exists", "read_pointer", "swap_pointer", "delete"):
        monkeypatch.setattr(store, method, counted(method, getattr(store, method)))
    return calls
