"""Parts of the documentation that are made from the program: commands, settings, file formats.

A page has a line ``<!-- generated: NAME ARGUMENTS -->`` where such a part stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "docs" / "schema"
_MARK = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; MkDocs calls this for each one."""
    return _MARK.sub(lambda mark: PARTS[mark[1]](*mark[2].split()), markdown)


def commands() -> str:
    """Return a section for each command, made by the parser from signatures and docstrings."""
    from zagg_catalog.cli.main import make_app

    text = make_app().generate_docs(output_format="markdown", heading_level=1)
    # The page has a title and a table of contents of its own.
    return text[text.index("\n## zagg-catalog ") :]


def settings(name: str) -> str:
    """Return a table of the variables of a settings class."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for names, default, meaning in setting_rows(name):
        rows.append(f"| {'<br>'.join(f'`{one}`' for one in names)} | {default} | {meaning} |")
    return "\n".join(rows)


def setting_rows(name: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield variables, default and meaning of each setting of a class."""
    import importlib

    import griffe

    module, _, kind = name.rpartition(".")
    model = getattr(importlib.import_module(module), kind)
    members = griffe.load(module, search_paths=[ROOT])[kind].all_members
    prefix = model.model_config["env_prefix"]
    for field, info in model.model_fields.items():
        alias = info.validation_alias
        names = list(alias.choices) if alias else [f"{prefix}{field.upper()}"]
        docstring = members[field].docstring
        meaning = " ".join(docstring.value.split()) if docstring else ""
        yield names, _shown(info.default), meaning.replace("``", "`").replace("|", "\\|")


def _shown(default: object) -> str:
    """Return a default as it is typed in the environment; those that are worked out have none."""
    if default is None or default is PydanticUndefined or default in ("", (), {}):
        return "none"
    text = json.dumps(default) if isinstance(default, bool) else str(default)
    return f"`{text.removesuffix('.0')}`"


def schemas() -> str:
    """Return a section for each JSON schema of `docs/schema`, with a table of its members."""
    return "\n\n".join(_schema(path) for path in sorted(SCHEMAS.glob("*.json")))


def _schema(path: Path) -> str:
    document = json.loads(path.read_text(encoding="utf-8"))
    name = path.name.removesuffix(".schema.json")
    lines = [f"### {name.capitalize()}", "", document.get("description", "").split("\n\n")[0], ""]
    lines += [f"Schema: [{path.name}](../schema/{path.name})", "", *_members(document)]
    for kind, definition in document.get("$defs", {}).items():
        if "properties" in definition:
            text = definition.get("description", "").split("\n\n")[0]
            lines += ["", f"**{kind}**: {text}", "", *_members(definition)]
    return "\n".join(lines).replace("``", "`")


def _members(schema: dict[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    yield "| member | type | |"
    yield "|---|---|---|"
    for name, entry in schema["properties"].items():
        needed = "required" if name in required else ""
        yield f"| `{name}` | {_type(entry)} | {needed} |"


def _type(entry: dict[str, Any]) -> str:
    """Return the type of a member in a few words."""
    if "$ref" in entry:
        return str(entry["$ref"]).rpartition("/")[2]
    if "anyOf" in entry:
        return " or ".join(_type(one) for one in entry["anyOf"])
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{one}`" for one in entry.get("enum", [entry.get("const")]))
    kind = entry.get("type", "any")
    if kind == "array":
        items = entry.get("items") or {"type": "any"}
        return f"array of {_type(items)}"
    if kind == "object" and isinstance(entry.get("additionalProperties"), dict):
        return f"object of {_type(entry['additionalProperties'])}"
    return f"{kind}, {entry['format']}" if "format" in entry else str(kind)


PARTS = {"commands": commands, "settings": settings, "schemas": schemas}
