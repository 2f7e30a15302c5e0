"""A sample registry: the shipped grids of ATL06 and one more, watched without patience."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from zagg_catalog.registry import load_registry

DEPLOYMENTS = Path(__file__).parents[1] / "deployments"
PRODUCT = "ATL06_007"
REGIONS = ("antarctica", "greenland")
NORTH = "atl06-greenland-polar"
# NSIDC's north polar stereographic grid, cut to Greenland: metres, left, bottom, right, top.
NORTH_BOUNDS = [-768000, -3584000, 1024000, -512000]


def write_registry(folder: Path, **rules: object) -> Path:
    """Write a registry of four grids of ATL06: HEALPix and polar, Antarctica and Greenland.

    Parameters
    ----------
    folder : Path
        Where it goes.
    rules : object
        How the product is watched, as in the section ``watch``.

    Returns
    -------
    Path
        Its file, ``registry.yaml``.
    """
    source = yaml.safe_load((DEPLOYMENTS / "registry.yaml").read_text(encoding="utf-8"))
    grids = {
        name: entry | {"config": str(DEPLOYMENTS / entry["config"]), "products": [PRODUCT]}
        for name, entry in source["grids"].items()
        if PRODUCT in entry["products"]
    }
    grids[NORTH] = _north(grids["atl06-antarctica-polar"], folder)
    regions = {name: _absolute(source["regions"][name]) for name in REGIONS}
    content = {"regions": regions, "watch": {PRODUCT: rules}, "grids": grids}
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    load_registry(path)
    return path


def _north(south: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the config of Antarctica's polar grid for Greenland, and return its entry."""
    config = yaml.safe_load(Path(south["config"]).read_text(encoding="utf-8"))
    config["output"]["grid"] |= {"crs": "EPSG:3413", "bounds": NORTH_BOUNDS}
    path = folder / f"{NORTH}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return south | {"config": str(path), "products": [PRODUCT], "region": "greenland"}


def _absolute(region: dict[str, Any]) -> dict[str, Any]:
    if "geojson" in region:
        return region | {"geojson": str(DEPLOYMENTS / region["geojson"])}
    return region
