"""Where zagg writes: a folder, or a prefix of a bucket, opened by zagg's rules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from zagg_catalog.errors import MissingPackage, OutputUnavailable, PickupRefused
from zagg_catalog.messages import clean_text

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Layout = Literal["hive", "rectilinear", "flat"]
# zagg's own default.
REGION = "us-west-2"
HIVE_MANIFEST = "morton_hive.json"
_REASON_LENGTH = 300
_RETRIES: Any = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


@dataclass(frozen=True)
class ArraysByPath:
    """The arrays of a Zarr store, without listing it."""

    store: Any

    def __getitem__(self, path: str) -> Any:
        import zarr

        return zarr.open_array(self.store, path=path, mode="r")


@dataclass(frozen=True, kw_only=True)
class OutputPlace:
    """The root of an output."""

    url: str
    """Folder or ``s3://bucket/prefix``."""
    layout: Layout
    """One Zarr store per shard, or arrays of the whole grid."""
    group: str
    """Path of the group of arrays of the whole grid; empty for ``hive``."""
    objects: ObjectStore
    """The opened store."""
    product: str | None = None
    """``output.product_name`` of the config, the last part of the root."""
    region: str = REGION
    """AWS region."""
    endpoint: str | None = None
    """``output.endpoint_url`` of the config."""

    @property
    def arrays(self) -> ArraysByPath:
        """The Zarr arrays, by path; each look-up opens one."""
        from zarr.storage import ObjectStore

        return ArraysByPath(ObjectStore(self.objects, read_only=True))

    @property
    def first_key(self) -> str:
        """Key of the object that zagg writes first; without it there is no output yet."""
        return HIVE_MANIFEST if self.layout == "hive" else f"{self.group}/zarr.json"

    def read(self, key: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""
        import obstore

        with explained(self.url, "read"):
            try:
                return bytes(obstore.get(self.objects, key).bytes())
            except FileNotFoundError:
                return None

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless it exists, by a conditional write; return whether it was new."""
        import obstore

        with explained(self.url, "written"):
            try:
                obstore.put(self.objects, key, content, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def write(self, key: str, content: bytes) -> None:
        """Write or replace an object."""
        import obstore

        with explained(self.url, "written"):
            obstore.put(self.objects, key, content, use_multipart=False)

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders in a folder."""
        import obstore

        with explained(self.url, "listed"):
            found = obstore.list_with_delimiter(self.objects, prefix)
        return [str(path).rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]


def read_config(content: bytes) -> dict[str, Any]:
    """Return the content of a pipeline config that the registry has checked."""
    found = yaml.safe_load(content)
    return found if isinstance(found, dict) else {}


def open_output(
    output: str, config: Mapping[str, Any], *, region: str | None = None, create: bool = False
) -> OutputPlace | None:
    """Open the output that zagg writes to with a config.

    On S3 the endpoint is ``AWS_ENDPOINT_URL_S3``, or else ``output.endpoint_url`` of the config:
    obstore, with which zagg writes, prefers them in this order. Credentials are those of the
    environment.

    Parameters
    ----------
    output : str
        Folder or ``s3://bucket/prefix``, as zagg gets it.
    config : mapping
        Content of the pipeline config.
    region : str or None
        AWS region; None for zagg's default.
    create : bool
        Make a folder that does not exist.

    Returns
    -------
    OutputPlace or None
        None if it is a folder that does not exist.

    Raises
    ------
    PickupRefused
        If the folder is a file, or this user may not write it.
    OutputUnavailable
        If it cannot be opened.
    MissingPackage
        If obstore, which comes with zagg, is not installed.
    """
    section = config.get("output") or {}
    layout, group = _layout(section)
    product = section.get("product_name")
    url = f"{output.rstrip('/')}/{product}" if product else output.rstrip("/") or "/"
    _require_obstore()
    options = {"region": region or section.get("region") or REGION}
    options |= {"endpoint": section.get("endpoint_url")}
    with explained(url, "opened"):
        objects = (
            _bucket(url, **options) if url.startswith("s3://") else _folder(url, create=create)
        )
    if objects is None:
        return None
    return OutputPlace(
        url=url, layout=layout, group=group, objects=objects, product=product, **options
    )


def is_written(output: str, config: Mapping[str, Any], *, region: str | None = None) -> bool:
    """Return whether zagg has written to an output; see `open_output`."""
    place = open_output(output, config, region=region)
    return place is not None and place.read(place.first_key) is not None


def _layout(section: Mapping[str, Any]) -> tuple[Layout, str]:
    """Return the layout, and the path of the group of arrays of the whole grid."""
    grid = section.get("grid") or {}
    if grid.get("type") != "healpix":
        return "rectilinear", "rectilinear"
    if section.get("store_layout") == "flat":
        return "flat", str(grid.get("child_order"))
    return "hive", ""


def _require_obstore() -> None:
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise MissingPackage(
            "Outputs are read with obstore, which comes with zagg and is not installed here; run"
            " `pip install zagg-catalog[aggregator]`."
        ) from None


def _folder(url: str, *, create: bool) -> ObjectStore | None:
    from obstore.store import LocalStore

    path = Path(url)
    if create:
        _check_folder(path)
    elif not path.is_dir():
        return None
    return LocalStore(path, mkdir=create)


def _check_folder(path: Path) -> None:
    """Refuse a folder that is a file, or that this user may not write."""
    there = next(one for one in (path, *path.parents) if one.exists() or one.is_symlink())
    if not there.is_dir():
        raise PickupRefused(
            f"Output {path} has to be a folder, and {there} is a file; give another output, or move"
            " that file away."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PickupRefused(
            f"Output {path} has to be writable, and this user may not write to {there}; change its"
            " permissions, or give another output."
        )


def _bucket(url: str, *, endpoint: str | None, region: str) -> ObjectStore:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    options: dict[str, Any] = {"region": region, "retry_config": _RETRIES}
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    else:
        options["credential_provider"] = Boto3CredentialProvider()
    return S3Store(bucket, prefix=prefix or None, **options)


@contextmanager
def explained(url: str, action: str) -> Iterator[None]:
    """Raise `OutputUnavailable`, a sentence, for the errors of obstore."""
    from obstore import exceptions

    denied = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
    try:
        yield
    except (exceptions.BaseError, OSError, ValueError) as error:
        text = clean_text(str(error).partition("\n")[0], limit=_REASON_LENGTH)
        raise OutputUnavailable(
            f"Output {clean_text(url)} cannot be {action}: {text}.{_advice(url, text)}",
            denied=isinstance(error, denied),
        ) from None


def _advice(url: str, text: str) -> str:
    if not url.startswith("s3://"):
        return " Check the folder, its permissions and the free space."
    if "builder error" in text and not os.environ.get("AWS_ALLOW_HTTP"):
        return " Its endpoint is not https: set AWS_ALLOW_HTTP=true if that is meant."
    return " Check the credentials in the environment, and the endpoint."
