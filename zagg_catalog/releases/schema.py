"""JSON schemas of the release files: ``python -m zagg_catalog.releases.schema FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from zagg_catalog.releases.pickups import Acknowledgement, PickupHistory
from zagg_catalog.releases.publication import Publication
from zagg_catalog.releases.record import ReleaseRecord

_MODELS: dict[str, type[BaseModel]] = {
    "release.schema.json": ReleaseRecord,
    "publication.schema.json": Publication,
    "acknowledgement.schema.json": Acknowledgement,
    "standing.schema.json": PickupHistory,
}


def schemas() -> dict[str, str]:
    """Return file name → JSON schema, as text."""
    texts = {}
    for name, model in _MODELS.items():
        schema = model.model_json_schema(mode="serialization")
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        texts[name] = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return texts


def main(folder: str) -> None:
    """Write the schemas into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        Path(folder, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
