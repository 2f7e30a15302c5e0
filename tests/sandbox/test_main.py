"""``python -m zagg_catalog.sandbox``."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
import requests

from zagg_catalog.sandbox.__main__ import main


def test_it_serves_until_interrupted() -> None:
    options = ["--cycle", "21,22", "--regions", "10,11", "--fault", "status=503:times=1"]
    command = [sys.executable, "-m", "zagg_catalog.sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.match(r"export ZAGG_CATALOG_STAC_ROOT=(\S+) ", line)
            assert match, line
            assert "5,548 granules" in line
            url = f"{match[1]}/NSIDC_CPRD/search"
            assert requests.get(url, timeout=60).status_code == 503
            assert requests.get(url, timeout=60).json()["context"]["matched"] == 5548
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=100) == 0
        finally:
            process.kill()


def test_it_serves_a_story() -> None:
    options = ["--story", "--cycle", "22", "--regions", "10", "--tracks", "1-60"]
    command = [sys.executable, "-m", "zagg_catalog.sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "serving 120 granules" in line
            root = line.split("=")[1].split()[0]
            clock = root.replace("/stac", "/sandbox/clock")
            moved = requests.post(clock, params={"days": "90"}, timeout=60).json()
            assert moved["happened"][-1] == "180 granules of ATL06_008 arrive"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=100) == 0
        finally:
            process.kill()


def test_it_lists_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    assert "null-geometry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault", "earthquake"], "no fault 'earthquake'"),
        (["--cycle", "0"], "from 1 to 99"),
        (["--items", "nowhere.parquet"], "nowhere.parquet"),
        (["--regions", "15"], "1 to 14"),
        (["--story", "--cycle", "21,22"], "--story has one product and one cycle."),
    ],
)
def test_wrong_calls_exit_with_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
