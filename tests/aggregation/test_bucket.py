"""The same on S3: claims and acknowledgements by conditional writes."""

import threading

import pytest

from tests.aggregation.desk import RELEASE_KEY, Desk
from tests.harness import servers
from zagg_catalog.releases import verify
from zagg_catalog.releases.pickups import batch_keys


@pytest.fixture
def desk(pickup_inputs, tmp_path, s3_place, moto, monkeypatch) -> Desk:
    monkeypatch.setenv("ZAGG_CATALOG_S3_ENDPOINT", moto.endpoint)
    monkeypatch.setenv("ZAGG_CATALOG_S3_ACCESS_KEY_ID", servers.KEY_ID)
    monkeypatch.setenv("ZAGG_CATALOG_S3_SECRET_ACCESS_KEY", servers.SECRET)
    found = Desk(pickup_inputs, tmp_path, s3_place.url)
    found.watch(monkeypatch)
    return found


@pytest.mark.integration
def test_a_release_in_a_bucket_is_picked_up_once_however_many_ask(desk):
    desk.publish("first")
    found = []
    askers = [threading.Thread(target=lambda: found.append(desk.aggregate())) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(found) == 4
    assert [one.status for one in found].count("done") == 1
    assert len(desk.calls) == 1
    (entry,) = desk.history().entries
    assert (entry.outcome, desk.history().claim) == ("aggregated", None)
    keys = {info.key for info in desk.store.list("pickups")}
    batches = batch_keys(RELEASE_KEY, "healpix", desk.acknowledgement().batches)
    assert keys > {entry.key, RELEASE_KEY.pointer("pickups", "healpix"), *batches}
    assert servers.SECRET not in desk.store.get(entry.key).decode()
    assert verify(desk.store).clean
