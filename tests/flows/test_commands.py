"""Every flow is a plain command."""

import pytest

from flows import cycle, fetch, shardmaps


def flags(team):
    return ["--store", team.store_url, "--registry", str(team.registry / "registry.yaml")]


def test_a_catalog_is_fetched_and_its_maps_are_built(team, capsys):
    call = ["--cycle", "22", "--region", "greenland", "--stac-root", team.stac_root, *flags(team)]
    assert fetch.main(call) == 0
    key = capsys.readouterr().out.splitlines()[-1]
    assert team.store.exists(key)
    assert shardmaps.main(["--catalog", key, *flags(team)]) == 0
    assert "2 maps of ATL06_007, greenland, cycle 22" in capsys.readouterr().out


def test_a_cycle_is_prepared_and_a_second_time_there_is_nothing_new(team, capsys):
    call = ["--cycle", "22", "--regions", "greenland", "--stac-root", team.stac_root, *flags(team)]
    assert cycle.main(call) == 0
    assert "released greenland" in capsys.readouterr().out
    assert cycle.main(call) == 0
    assert "nothing new" in capsys.readouterr().out


def test_a_command_that_fails_ends_with_1_and_says_why(team, capsys):
    call = ["--cycle", "22", "--region", "atlantis", *flags(team)]
    assert fetch.main(call) == 1
    assert "no region 'atlantis'" in capsys.readouterr().out


@pytest.mark.parametrize("flow", [cycle, fetch, shardmaps])
def test_an_unknown_flag_ends_with_2(flow):
    with pytest.raises(SystemExit) as caught:
        flow.main(["--nonsense"])
    assert caught.value.code == 2
