"""The licence of every installed package is allowed, as the packages themselves state it."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "tools" / "licences.py"


def list_licences(path: Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=300
    )


def install(folder: Path, name: str, *facts: str) -> None:
    """Make the metadata of an installed package."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *facts]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_every_licence_is_allowed():
    done = list_licences()
    assert done.returncode == 0, done.stderr
    assert "\nnumpy " in done.stdout
    assert "\nprefect " in done.stdout


def test_a_licence_that_is_not_allowed_is_named(tmp_path):
    install(tmp_path, "closed", "License-Expression: LicenseRef-Proprietary")
    install(tmp_path, "silent")
    install(tmp_path, "copyleft", "Classifier: License :: OSI Approved :: GNU AGPL v3")
    install(tmp_path, "mixed", "License-Expression: MIT AND GPL-3.0-only")
    install(tmp_path, "choice", "License-Expression: MIT AND (Apache-2.0 OR GPL-3.0-only)")
    done = list_licences(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Not in the list of allowed licences: closed: LicenseRef-Proprietary",
        "Not in the list of allowed licences: copyleft: GNU AGPL v3",
        "Not in the list of allowed licences: mixed: MIT AND GPL-3.0-only",
        "Not in the list of allowed licences: silent: none stated",
    ]
