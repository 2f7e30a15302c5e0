"""Payloads of events that start no run: what a valid one is changed to."""

JINJA = {"__prefect_kind": "jinja", "template": "ATL06"}
VARIABLE = {"__prefect_kind": "workspace_variable", "variable_name": "secret"}
NESTED = {"__prefect_kind": "json", "value": '"ATL06"'}
TEMPLATE = "{{ event.id }}"
KINDS = [JINJA, VARIABLE, NESTED]

RELEASE = {
    "store": "/store",
    "product": "ATL06_007",
    "region": "greenland",
    "release": "a" * 64,
    "record": "releases/product=ATL06_007/region=greenland/cycle=22/" + "a" * 64 + ".json",
    "cycle": 22,
    "status": "complete",
    "supersedes": None,
    "grid_count": 1,
    "grids": [{"name": "polar", "manifest": "m", "digest": "b" * 64, "signature_digest": "c" * 64}],
}

_NO_CYCLES = [None, "22", True, 22.0, 0, 100, TEMPLATE, -1, 10**40, *KINDS, [22]]
_NO_NAMES = [None, "", 7, ["ATL06"], TEMPLATE, "../ATL06", "ATL06\n", "ATL06\x00", *KINDS]


def _grid(**change):
    return {"grids": [RELEASE["grids"][0] | change]}


ODD = {
    "cycle": [
        *[{"cycle": value} for value in _NO_CYCLES],
        *[{"product": value} for value in [*_NO_NAMES, "ATL99", "atl06"]],
        *[{"version": value} for value in [*_NO_NAMES, "7", "007\n"]],
        *[{"notice": value} for value in [7, ["x"], TEMPLATE, "a b", "a\n", "a" * 121, *KINDS]],
        *[{"store": value} for value in [7, ["x"], "s" * 2001, *KINDS]],
        *[{"provider": value} for value in KINDS],
    ],
    "release": [
        *[{"cycle": value} for value in _NO_CYCLES if value != 100],
        *[{"product": value} for value in _NO_NAMES],
        *[{"region": value} for value in _NO_NAMES],
        *[{"release": value} for value in [None, "a" * 63, "a" * 64 + "\n", "A" * 64, *KINDS]],
        *[{"store": value} for value in [None, "", 7, *KINDS]],
        *[{"status": value} for value in ["well", *KINDS]],
        *[{"supersedes": value} for value in ["latest", *KINDS]],
        *[_grid(name=value) for value in _NO_NAMES],
        *[_grid(manifest=value) for value in [None, *KINDS]],
        *[{"grids": value} for value in [7, "x", [7], RELEASE["grids"] * 201]],
    ],
}
