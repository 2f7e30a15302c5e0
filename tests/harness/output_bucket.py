"""Outputs of zagg on an S3 server that checks signatures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import servers


@dataclass(frozen=True)
class OutputBucket:
    """A bucket that outputs are written to."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/team"

    @property
    def environment(self) -> dict[str, str]:
        """What zagg needs to write here."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": servers.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": servers.SECRET,
            "AWS_ALLOW_HTTP": "true",
        }

    def download(self, place: str, folder: Path) -> Path:
        """Copy what lies below an output to a folder."""
        prefix = place.removeprefix(f"s3://{self.name}/") + "/"
        client = servers.plain_client(self.endpoint)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
            path = folder / key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=self.name, Key=key)["Body"].read())
        return folder

    def repository(self, place: str) -> Any:
        """Open the icechunk repository of an output on HEALPix."""
        import icechunk

        keys = {"access_key_id": servers.KEY_ID, "secret_access_key": servers.SECRET}
        storage = icechunk.s3_storage(
            bucket=self.name,
            prefix=place.removeprefix(f"s3://{self.name}/") + "/icechunk",
            region="us-west-2",
            endpoint_url=self.endpoint,
            allow_http=True,
            force_path_style=True,
            **keys,
        )
        config = icechunk.Repository.fetch_config(storage)
        prefixes = dict.fromkeys(config.virtual_chunk_containers, icechunk.s3_credentials(**keys))
        access = icechunk.containers_credentials(prefixes)
        return icechunk.Repository.open(storage, authorize_virtual_chunk_access=access)
