"""Work pools: what `deployments/` has for each type of pool, completed for one installation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from flows.engine import command, command_in_image
from flows.settings import FlowSettings, PoolType
from zagg_catalog.errors import InvalidOption
from zagg_catalog.settings import Settings

# In a checkout, and where the package is installed from a wheel.
_PLACES = (Path(__file__).parents[1] / "deployments", Path(__file__).with_name("deployments"))
FOLDER = next((place for place in _PLACES if (place / "prefect.yaml").is_file()), _PLACES[0])
PREFECT_FILE = FOLDER / "prefect.yaml"
POOL_TYPES: tuple[PoolType, ...] = get_args(PoolType)
# Settings of other programs that a container needs as well.
_OTHERS = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
)
_PREFIX = "ZAGG_CATALOG_"
# Settings that concern the program `deploy` only.
_OWN = {
    f"{_PREFIX}FLOW_{name}"
    for name in ("POOL", "POOL_TYPE", "POOL_SECRETS", "POOL_VARIABLES", "IMAGE")
}

Template = dict[str, Any]


def pool_template(
    path: Path,
    image: str,
    environment: Mapping[str, str],
    secrets: Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
) -> Template:
    """Return the base job template of a file with the defaults of one installation.

    `secrets` are environment variables whose values are Prefect's Secret blocks, see
    `secret_block`; `variables` are further defaults. A template without a command gets that of
    `flows.engine`. One without an image, as of processes, gets no environment: a worker gives its
    processes its own.
    Raises `InvalidOption` for a file that is no template, an unknown variable, or one that lacks
    its value.
    """
    template = read_template(path)
    known = template["variables"]["properties"]
    if "image" in known:
        blocks = {name: f"{{{{ prefect.blocks.secret.{secret_block(name)} }}}}" for name in secrets}
        given = known["env"].get("default", {})
        known["image"]["default"] = image
        known["env"]["default"] = given | dict(environment) | blocks
    if "command" in known and not known["command"].get("default"):
        known["command"]["default"] = command_in_image() if "image" in known else command()
    for name, value in (variables or {}).items():
        if name not in known:
            raise InvalidOption(f"{path.name} has no variable {name!r}, only {', '.join(known)}.")
        known[name]["default"] = value
    for name in template["variables"].get("required", ()):
        if known[name].get("default") is None:
            raise InvalidOption(f"{path.name} needs a value of {name}: give --set {name}=VALUE.")
    return template


def read_template(path: Path) -> Template:
    """Read a base job template. Raises `InvalidOption` if the file is not one."""
    try:
        template = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(template["variables"]["properties"], dict) and template["job_configuration"]:
            return dict(template)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidOption(
            f"{path} is not a base job template ({type(error).__name__}); expected a JSON file such"
            " as deployments/pools/kubernetes.json."
        ) from None
    raise InvalidOption(f"{path} has no job_configuration; see deployments/pools.")


def secret_block(variable: str) -> str:
    """Return the name of the Secret block of an environment variable: ``zagg-catalog-…``."""
    return variable.lower().replace("_", "-")


def public_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings of this environment that containers get: none that is a secret.

    Raises `InvalidOption` for an address with a login: templates are readable in Prefect's UI.
    """
    given = os.environ if environment is None else environment
    hidden = secret_names() | _OWN
    found = {
        name: value
        for name, value in sorted(given.items())
        if (name.startswith(_PREFIX) or name in _OTHERS) and name not in hidden
    }
    for name, value in found.items():
        if "@" in urlsplit(value).netloc:
            raise InvalidOption(
                f"{name} has a login in its address, and Prefect would show it; give the login"
                " through a setting for credentials."
            )
    return found


def secret_names() -> set[str]:
    """Return the environment variables of all settings that are secrets."""
    return {
        f"{kind.model_config['env_prefix']}{name}".upper()
        for kind in (Settings, FlowSettings)
        for name, field in kind.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
