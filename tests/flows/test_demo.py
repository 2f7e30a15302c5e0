"""The demo: the whole chain, offline, from one command."""

from flows.demo import main
from zagg_catalog.releases import verify
from zagg_catalog.store import open_store


def test_the_demo_releases_four_grids_of_two_regions(prefect_server, tmp_path, capsys):
    assert main(["--folder", str(tmp_path), "--every", "40"]) == 0
    said = capsys.readouterr().out
    for name in ("antarctica-healpix", "antarctica-polar", "greenland-healpix", "greenland-polar"):
        assert f"atl06-{name}: " in said
    assert "prefect server start" in said
    found = verify(open_store(str(tmp_path / "store")))
    assert found.clean
    assert (found.releases, found.files) == (2, 6)
